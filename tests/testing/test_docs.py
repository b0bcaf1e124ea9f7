"""docs/bots.md holds what it says: its bot and its test are run as they stand there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from chat_client.replaying import find_bot

PAGE = (Path(__file__).parents[2] / "docs" / "bots.md").read_text(encoding="utf-8")


def block(beginning: str) -> str:
    """The Python on the page that begins so."""
    found: list[str] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    [code] = [code for code in found if code.startswith(beginning)]
    return code


def test_the_bot_and_its_test(tmp_path: Path) -> None:
    script = block("import random").replace("bot.run()", 'if __name__ == "__main__":\n    bot.run()')
    (tmp_path / "dice.py").write_text(script)
    (tmp_path / "test_dice.py").write_text(block("from chat_testing"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


def test_the_bot_as_it_stands_can_be_replayed(tmp_path: Path) -> None:
    (tmp_path / "dice_as_shown.py").write_text(block("import random"))
    bot = find_bot(str(tmp_path / "dice_as_shown.py"))
    assert bot.handlers.help("") in PAGE
