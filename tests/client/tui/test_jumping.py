"""Places by a part of their name."""

from __future__ import annotations

import pytest

from chat_client.tui.jumping import FOUND_MAX, find

TITLES = ["#lobby", "#ops", "#devops", "#garden", "@ola", "@bob", "#o-p-s"]


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("ops", ["#ops", "#devops", "#o-p-s"]),
        ("OPS ", ["#ops", "#devops", "#o-p-s"]),
        ("#ops", ["#ops", "#devops", "#o-p-s"]),
        ("o", ["#ops", "@ola", "#o-p-s", "#lobby", "#devops", "@bob"]),
        ("@o", ["@ola", "@bob"]),
        ("gdn", ["#garden"]),
        ("zz", []),
        ("", TITLES),
        ("@", ["@ola", "@bob"]),
    ],
)
def test_the_best_comes_first(part: str, found: list[str]) -> None:
    assert find(TITLES, part) == found


def test_what_is_found_is_bounded() -> None:
    assert len(find([f"#room{number}" for number in range(500)], "room")) == FOUND_MAX
