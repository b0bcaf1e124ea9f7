"""All widgets of the screen in their places, and which of them there is room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import OptionList

from chat_client.transcript import Place, Transcript
from chat_client.tui.composer import Composer
from chat_client.tui.paint import new_below
from chat_client.tui.panels import Banner, Hints, MembersPanel, Panel, RoomsPanel, TitleBar
from chat_client.tui.transcript_view import TranscriptView
from chat_protocol.names import clean_text

FLASH_S = 6.0
ROOMS_COLUMNS_MIN = 64  # the width from which on the rooms stand at the side by themselves
MEMBERS_COLUMNS_MIN = 104
LONG_HINTS_COLUMNS_MIN = 90

_HINTS = "Enter says it   Alt-Enter new row   Tab completes   Ctrl-K jump   F1 help   Ctrl-Q leave"
_SHORT_HINTS = "Ctrl-K jump   F1 help   Ctrl-Q leave"
_PANELS = ("rooms", "members")


class Frame(Vertical):
    """Title, rooms, transcript, composer, members and hints. On narrow terminals panels are folded, and
    stand over the transcript while somebody looks at them."""

    def __init__(
        self, name: str, known: Callable[[], tuple[set[str], set[str]]], say: Callable[[str], bool]
    ) -> None:
        super().__init__(id="frame")
        self.view = TranscriptView(name)
        self.composer = Composer(known, say)
        self.choices = OptionList(id="choices", markup=False)
        self._panels: dict[str, Panel] = {"rooms": RoomsPanel(), "members": MembersPanel()}
        self._title, self._banner, self._hints = TitleBar(), Banner(), Hints()
        self._wanted: dict[str, bool] = {}  # panels that a person folded or unfolded
        self._flash = ("", False, 0.0)  # text, whether urgent, until when

    def compose(self) -> ComposeResult:
        yield self._title
        yield self._banner
        with Horizontal(id="middle"):
            yield self._panels["rooms"]
            with Vertical(id="talk"):
                yield self.view
                yield self.choices
                yield self.composer
            yield self._panels["members"]
        yield self._hints

    # ------------------------------------------------------------------ what stands around the transcript

    def show(self, transcript: Transcript, muted: set[str]) -> None:
        """Bring panels and composer up to date."""
        place = transcript.place(transcript.here)
        rooms, members = self._panels["rooms"], self._panels["members"]
        assert isinstance(rooms, RoomsPanel), "as they were made"
        assert isinstance(members, MembersPanel), "as they were made"
        rooms.show(transcript.places, transcript.here, muted)
        members.show(place, transcript.name)
        title = transcript.title
        self.composer.placeholder = f"Say something in {title}" if title else "You are in no room"

    def show_bars(
        self, transcript: Transcript, muted: set[str], below: int, now: float, *, quiet: bool
    ) -> None:
        """Bring title, banner and hints up to date. `below`: lines that came below what is in sight; `now`
        is the session's clock."""
        columns, place = self.size.width, transcript.place(transcript.here)
        self._banner.say(transcript.status(now), place, columns - 2)
        elsewhere = "" if self.stands("rooms") else _elsewhere(transcript.places, place, muted)
        is_muted = place is not None and place.room in muted
        self._title.show(place, transcript.link, elsewhere, muted=is_muted, quiet=quiet)
        text, urgent, until = self._flash
        if now >= until:
            text, urgent = _HINTS if columns >= LONG_HINTS_COLUMNS_MIN else _SHORT_HINTS, False
        self._hints.say(text, below=new_below(below) if below else "", urgent=urgent)

    def flash(self, text: str, now: float, *, urgent: bool = False) -> None:
        """Say something in the last rows, for a while; nothing ends what was said before. `show_bars` puts
        it there."""
        self._flash = (" ".join(clean_text(text).split()), urgent, now + FLASH_S if text else now)

    def choose(self, found: list[str], at: int) -> None:
        """Show the ways to complete a word, none when that is over."""
        self.choices.display = bool(found)
        if found:
            if [str(option.prompt) for option in self.choices.options] != found:
                self.choices.set_options(found)
            self.choices.highlighted = at

    # ------------------------------------------------------------------ folding

    def stands(self, which: str) -> bool:
        """Whether a panel is to be seen."""
        return self._wanted.get(which, self.size.width >= _columns_for(which))

    def turn(self, which: str) -> None:
        """Go to a panel, unfolding it; from there, fold it."""
        panel = self._panels[which]
        fold = self.stands(which) and panel.has_focus
        self._wanted[which] = not fold
        self.fold()
        (self.composer if fold else panel).focus()

    def fold(self) -> None:
        """Fold and unfold panels as there is room, and as was wanted."""
        for which, panel in self._panels.items():
            panel.set_class(not self.stands(which), "-folded")
            panel.set_class(self.size.width < _columns_for(which), "-over")

    def fold_over(self) -> bool:
        """Fold the panels that stand over the transcript; whether there was one."""
        over = [which for which in _PANELS if self.stands(which) and self.size.width < _columns_for(which)]
        for which in over:
            del self._wanted[which]
        self.fold()
        return bool(over)

    def on_resize(self, _: events.Resize) -> None:
        self._wanted.clear()
        self.fold()


def _columns_for(which: str) -> int:
    return ROOMS_COLUMNS_MIN if which == "rooms" else MEMBERS_COLUMNS_MIN


def _elsewhere(places: Sequence[Place], here: Place | None, muted: set[str]) -> str:
    """Unread lines in other rooms, in a word or two."""
    counted = [each for each in places if each.unread and each != here and each.room not in muted]
    total, named = sum(each.unread for each in counted), sum(each.mentions for each in counted)
    if not total:
        return ""
    return (
        f"@{named} of {total} elsewhere" if 0 < named < total else f"{'@' if named else ''}{total} elsewhere"
    )
