"""Where a broker leaves word for the clients of the same user on the same machine.

One file a broker, PORT.url, in the user's runtime folder, with a chat:// URL that holds an invite:
readable by its owner alone, written when the broker is ready, gone when it has stopped.
"""

from __future__ import annotations

import warnings
from pathlib import Path


def connection_folder() -> Path:
    """The folder of connection files; it need not exist."""
    import platformdirs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unusable XDG_RUNTIME_DIR: the one in the temporary folder serves
        return Path(platformdirs.user_runtime_dir("simple-chat"))


def connection_file(port: int) -> Path:
    """The file of the broker on this port."""
    return connection_folder() / f"{port}.url"
