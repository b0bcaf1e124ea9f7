"""A bot in somebody's module or script, loaded without running it."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType

from chat_protocol.errors import SetupError

#: While it is true, `Bot.run` returns at once: scripts end with it.
is_loading: ContextVar[bool] = ContextVar("is_loading", default=False)


def load(reference: str) -> tuple[ModuleType, str]:
    """The module behind `package.module:name`, or `path/to/file.py`, and the name in it ("": not given).
    Raises SetupError."""
    place, _, name = reference.rpartition(":") if ":" in reference else (reference, "", "")
    token = is_loading.set(True)
    try:
        return (_script(Path(place)) if place.endswith(".py") else _module(place)), name
    except SetupError:
        raise
    except (Exception, SystemExit) as error:  # whatever it is: it is somebody else's program
        raise SetupError(f"{place} cannot be loaded: {type(error).__name__}: {error}") from error
    finally:
        is_loading.reset(token)


def _script(path: Path) -> ModuleType:
    if not path.is_file():
        raise SetupError(f"there is no file {path}")
    sys.path.insert(0, str(path.resolve().parent))  # as when it is run
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _module(name: str) -> ModuleType:
    sys.path.insert(0, "")
    return importlib.import_module(name)
