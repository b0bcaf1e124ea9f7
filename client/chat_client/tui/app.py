"""The full screen: it shows what the transcript says and passes on what is typed.

Nothing is sent, stored or repaired here. Whatever happens comes through `Conversation`, which every other
screen uses as well; this one keeps the rows, each room's on a page of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo
from datetime import time as time_of_day
from typing import ClassVar

from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import OptionList

from chat_client import slash
from chat_client.conversation import Conversation
from chat_client.events import Link
from chat_client.front import Chat
from chat_client.outcome import Outcome, outcome_of, outcome_of_closing
from chat_client.pages import OLDER_AT_ONCE, ItemKind, Older, Page, Pages
from chat_client.preferences import Keeper
from chat_client.rows import Row, RowKind, plain, reason
from chat_client.slash import ScreenCommand
from chat_client.transcript import Place
from chat_client.tui.cells import calm, links
from chat_client.tui.composer import Composer
from chat_client.tui.desktop import Notifications, open_address
from chat_client.tui.dialogs import Destination, Dialog, Help, Jump, LinkList
from chat_client.tui.errands import Errands
from chat_client.tui.frame import Frame
from chat_client.tui.paint import Drawn, draw_under_way
from chat_client.tui.panels import unread
from chat_client.tui.themes import CSS, THEMES
from chat_client.tui.transcript_view import TranscriptView
from chat_client.tui.wishes import Wishes
from chat_protocol.errors import BadText, CallerError, ChatError, Refused, Unreachable
from chat_protocol.messages import RoomKind
from chat_protocol.names import check_text, clean_text

ANSWERED_S = 10.0  # how long leaving waits for the last lines to be stored
SHOWN_S = 1.0  # and then to be shown
REDRAWN_S = 0.03  # in a busy room the screen is brought up to date so often, not once a line
TICK_S = 1.0
KEY_S = 1.0  # for so long a key waits for what was typed before it
OLDER_AGAIN_S = 5.0
TWICE_S = 3.0
LINKS_LISTED_MAX = 100

_BESIDE_DIALOGS = frozenset(
    {"jump", "next_room", "next_unread", "links", "retry", "folds", "help", "panel", "scroll"}
)


class ChatScreen(App[Outcome]):
    """One account's talk on a full screen. `sentences` is what is to be printed when it is over."""

    CSS = CSS
    TITLE = "Simple Chat"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "leave", "leave", priority=True),
        Binding("ctrl+c,super+c", "copy_or_clear", priority=True, show=False),
        Binding("ctrl+k", "jump", priority=True, show=False),
        Binding("ctrl+n,alt+down", "next_room(1)", show=False, priority=True),
        Binding("ctrl+p,alt+up", "next_room(-1)", show=False, priority=True),
        Binding("ctrl+g", "next_unread", show=False, priority=True),
        Binding("ctrl+l", "links", show=False, priority=True),
        Binding("ctrl+r", "retry", show=False, priority=True),
        Binding("ctrl+o", "folds", show=False, priority=True),
        Binding("ctrl+t", "theme", show=False, priority=True),
        Binding("f1", "help", show=False, priority=True),
        Binding("f2", "panel('rooms')", show=False, priority=True),
        Binding("f3", "panel('members')", show=False, priority=True),
        Binding("pageup", "scroll(-1)", show=False, priority=True),
        Binding("pagedown", "scroll(1)", show=False, priority=True),
        Binding("escape", "step_back", show=False),
    ]

    def __init__(
        self,
        chat: Chat,
        room: str,
        keeper: Keeper,
        *,
        clock: Callable[[], float] = time.time,
        tz: tzinfo | None = None,
        theme: str = "dark",
    ) -> None:
        super().__init__()
        self.sentences: list[str] = []
        self._chat = chat
        self._first_room = room
        self._wishes = Wishes(keeper)
        self._clock, self._tz = clock, tz
        self._conversation = Conversation(chat, self._take_rows, clock=clock, tz=tz, obey=self._obey)
        self._transcript = self._conversation.transcript
        self._errands = Errands(self._conversation, self._change, self._give_back)
        self._pages = Pages()
        self._desktop = Notifications()
        self._frame = Frame(chat.name, self._known, self.say)
        self._view, self._composer = self._frame.view, self._frame.composer
        self._drafts: dict[str, str] = {}
        self._shown_room = ""
        self._keeps_rooms = False  # those of last time are here again
        self._going = ""  # the title, in lower case, of a room that is being opened to go there
        self._came = self._new_below = 0  # lines since the last update; of those, below what is in sight
        self._changing = False
        self._leaving = False
        self._interrupted_at = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []
        for each in THEMES.values():
            self.register_theme(each)
        self.theme = self._wishes.theme if self._wishes.theme in THEMES else theme

    # ------------------------------------------------------------------ beginning and end

    def compose(self) -> ComposeResult:
        yield self._frame

    def on_mount(self) -> None:
        self._composer.focus()
        self._tasks = [asyncio.create_task(work) for work in (self._talk(), self._conversation.listen())]
        for task in self._tasks:
            task.add_done_callback(self._over)
        self.set_interval(TICK_S, self._tick)
        self._change()

    async def on_event(self, event: events.Event) -> None:
        """One key after the other: what was typed before it is done first. So a burst of keys, as a slow
        link hands them over, does what the same keys do one by one."""
        if isinstance(event, events.Key) and event.key not in ("ctrl+c", "super+c"):
            self._interrupted_at = float("-inf")
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded and self.focused:
            done = asyncio.Event()
            self.focused.call_later(done.set)  # comes behind the keys that it was sent before
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEY_S):
                    await done.wait()
        await super().on_event(event)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A dialog has the keys to itself, but those to copy and to leave."""
        return not isinstance(self.screen, Dialog) or action not in _BESIDE_DIALOGS

    async def _talk(self) -> None:
        await self._conversation.start(self._first_room, person=False)
        await self._follow_again()
        await self._errands.run()

    async def _follow_again(self) -> None:
        """Public rooms are followed where one went to them, until one leaves; others, the broker brings."""

        async def follow(title: str) -> None:
            with contextlib.suppress(CallerError, Refused):  # it is gone
                await self._conversation.follow(title)

        try:
            await asyncio.gather(*map(follow, self._wishes.rooms))
        except Unreachable:
            return  # then what was kept is kept
        self._keeps_rooms = True

    def _keep_rooms(self) -> None:
        if self._keeps_rooms and self._transcript.link is not Link.CLOSED:
            titles = [place.title for place in self._transcript.places if place.kind is RoomKind.PUBLIC]
            with contextlib.suppress(CallerError):  # what cannot be saved is remembered for this run
                self._wishes.keep_rooms(titles)

    def _over(self, task: asyncio.Task[None]) -> None:
        """The session was closed, the person wants to leave, or something failed."""
        if task.cancelled() or self._leaving:
            return
        error = task.exception()
        if error is None:
            self.action_leave()
        elif isinstance(error, ChatError):
            self.sentences.append(reason(str(error)))
            self.exit(outcome_of(error))
        else:
            self._handle_exception(error if isinstance(error, Exception) else RuntimeError(str(error)))

    def action_leave(self) -> None:
        """Leave when what was typed is done and the last lines are stored; asked twice, at once."""
        if self._leaving:
            self._tasks.append(asyncio.create_task(self._leave(0.0, 0.0)))
            return
        self._leaving = True
        if (self._errands.waiting or self._transcript.unanswered) and self._conversation.closed is None:
            self.flash("Waiting until the last lines are stored; Ctrl-Q leaves at once.", urgent=True)
        self._tasks.append(asyncio.create_task(self._leave(ANSWERED_S, SHOWN_S)))

    async def _leave(self, answered_s: float, shown_s: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(answered_s):
                await self._errands.until_done()
        self._errands.drop("you left first")
        self._tasks[0].cancel()
        await self._conversation.settle(answered_s, shown_s)
        self._end()

    def _end(self) -> None:
        conversation = self._conversation
        outcome = Outcome.UNKNOWN if conversation.outcome is Outcome.UNKNOWN else Outcome.DONE
        if conversation.closed is not None:
            outcome = max(outcome, outcome_of_closing(conversation.closed))
            self.sentences += [reason(conversation.closed.reason)] if conversation.closed.reason else []
        self.exit(outcome)

    async def on_unmount(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ------------------------------------------------------------------ what happens

    def _take_rows(self, rows: Sequence[Row]) -> None:
        """Something happened: rows come with it or not."""
        here = self._transcript.here
        self._pages.file(rows, here, self._transcript.rooms)
        for row in rows:
            if row.said and not row.replayed:
                self._alert(row)
            if self._leaving and row.kind is RowKind.PROBLEM:
                self.sentences.append(plain(row))
        self._came += sum(row.said and row.where == here for row in rows)
        self._change()

    def _alert(self, row: Row) -> None:
        place = self._transcript.place(row.where)
        direct = place is not None and place.kind is RoomKind.DIRECT
        looking = row.where == self._transcript.here and self.app_focus
        alert = self._wishes.alert(
            row, direct=direct, looking=looking, now=self._chat.now(), at=self._time_of_day()
        )
        if alert is not None:
            self.bell()
            self._desktop.show(alert)

    def _change(self) -> None:
        """Bring the screen up to date, soon."""
        if not self._changing and self.is_running:
            self._changing = True
            self.set_timer(REDRAWN_S, self._bring_up_to_date)

    def _bring_up_to_date(self) -> None:
        self._changing = False
        if self._view.is_attached:
            self._update()

    def _tick(self) -> None:
        """What changes with the time alone."""
        if self._view.is_attached:
            self._update_bars()

    def _update(self) -> None:
        transcript, here = self._transcript, self._transcript.here
        self._pages.keep(transcript.rooms)
        self._keep_rooms()
        page = self._pages[here]
        self._arrive(here, page, transcript.place(here))
        if self._view.at_end:
            page.trim()
        self._view.show(page, self._under_way(here))
        self._frame.show(transcript, self._wishes.muted)
        self._update_bars()

    def _arrive(self, here: str, page: Page, place: Place | None) -> None:
        """Mark what is new: where one comes to, and where one does not look."""
        if here != self._shown_room:
            if self._going and self._going == self._transcript.title.lower():
                self._change_drafts(self._shown_room, here)
            self._pages[self._shown_room].mark_new(0)
            self._shown_room, self._new_below, self._came = here, 0, 0
        if not self._view.at_end:
            self._new_below += self._came
        self._came = 0
        if place is not None and place.unread and not page.has_mark() and not self._sees_all(page):
            page.mark_new(place.first_unread)

    def _sees_all(self, page: Page) -> bool:
        """Whether what comes on this page is seen as it comes."""
        return self.app_focus and self._view.at_end and self._view.shows(page)

    def _update_bars(self) -> None:
        quiet, now = self._wishes.is_quiet(self._time_of_day()), self._chat.now()
        self._frame.show_bars(self._transcript, self._wishes.muted, self._new_below, now, quiet=quiet)

    def _time_of_day(self) -> time_of_day:
        return datetime.fromtimestamp(self._clock(), self._tz).time()

    def flash(self, text: str, *, urgent: bool = False) -> None:
        """Say something in the last row, for a while."""
        self._frame.flash(text, self._chat.now(), urgent=urgent)
        self._change()

    def _under_way(self, here: str) -> list[Drawn]:
        """Lines said here that are not shown yet, and commands not done."""
        pending = [line for line in self._transcript.pending if line.room == here]
        link = self._transcript.link
        return draw_under_way(pending, self._errands.waiting, self._transcript.name, link, self._view.columns)

    def _give_back(self, typed: str, why: str) -> None:
        self._take_rows(self._transcript.undone(typed, why, self._clock()))

    # ------------------------------------------------------------------ what is typed

    def say(self, typed: str) -> bool:
        """Take a typed line, or return False and say why not."""
        command = slash.parse(typed, slash.SCREEN_VERBS)
        try:
            if isinstance(command, slash.Invalid):
                raise CallerError(command.sentence)
            if self._leaving:
                raise CallerError("You are leaving; Ctrl-Q leaves at once")
            if isinstance(command, slash.Say) and not (self._transcript.here or self._errands.lead_elsewhere):
                raise CallerError("You are in no room now, and what stands here was not said anywhere")
            if isinstance(command, slash.Say | slash.Msg):
                limits = self._chat.limits
                check_text(clean_text(command.text), line_bytes=limits.line_bytes, line_rows=limits.line_rows)
        except (CallerError, BadText) as error:
            self.flash(reason(str(error)), urgent=True)
            return False
        self.flash("")
        self._pages[self._transcript.here].mark_new(0)
        if isinstance(command, slash.Help):
            self.action_help()
        elif isinstance(command, slash.History):
            self._view.to_last(command.count)
        else:
            goes = isinstance(command, slash.Going)
            self._errands.add(typed, self._transcript.here, goes=goes)
            self._view.to_end()
            self._change()
        return True

    @on(Composer.LeaveAsked)
    def leave_asked(self) -> None:
        self.action_leave()

    @on(Composer.Choosing)
    def choosing(self, event: Composer.Choosing) -> None:
        self._frame.choose(event.found, event.at)

    @on(OptionList.OptionSelected, "#choices")
    def chosen(self, event: OptionList.OptionSelected) -> None:
        self._composer.choose(event.option_index)

    def _known(self) -> tuple[set[str], set[str]]:
        """People and rooms, for completion."""
        place = self._transcript.place(self._transcript.here)
        people = {*self._transcript.people, *(place.names if place else ())} - {self._transcript.name}
        return people, {*self._transcript.titles, *self._conversation.rooms_seen}

    # ------------------------------------------------------------------ commands of the screen

    def _obey(self, command: ScreenCommand) -> None:
        match command:
            case slash.Mute(room, muted):
                self._mute(room, muted)
            case slash.QuietHours(hours):
                self._set_quiet(hours.strip())
            case slash.Theme(name):
                self.action_theme(name)
            case slash.Links():
                self.action_links()
            case slash.Retry(again):
                self._retry_all(again)

    def _mute(self, title: str | None, muted: bool) -> None:
        room = self._transcript.find(title) if title else self._transcript.here
        place = self._transcript.place(room)
        if place is None:
            raise CallerError(f"You are not in {title or 'a room'}, so nothing rings there")
        self._wishes.mute(room, muted)
        rings = "rings no more; its lines are still counted" if muted else "rings again"
        self.flash(f"{place.title} {rings}")

    def _set_quiet(self, hours: str) -> None:
        if hours:
            self._wishes.set_quiet(hours)
        quiet = self._wishes.quiet
        hours = f"Nothing rings from {quiet.start:%H:%M} to {quiet.end:%H:%M}" if quiet else ""
        self.flash(hours or "There are no quiet hours")

    def action_theme(self, name: str = "") -> None:
        self.theme = name or ("light" if self.theme == "dark" else "dark")
        try:
            self._wishes.set_theme(self.theme)
        except CallerError as error:
            self.flash(reason(str(error)), urgent=True)

    # ------------------------------------------------------------------ lines that failed

    def action_retry(self) -> None:
        self._retry_all(again=True)

    def _retry_all(self, again: bool) -> None:
        here = self._transcript.here
        refs = [
            each.ref
            for each in self._transcript.failed
            if here in (each.room, self._transcript.find(each.room))
        ]
        if not refs:
            self.flash("Nothing has failed here")
        for ref in refs:
            self._retry(ref, again)

    def _retry(self, ref: int, again: bool) -> None:
        try:
            if again:
                self._conversation.retry(ref)
            else:
                self._transcript.take_failed(ref)
        except ChatError as error:
            self.flash(reason(str(error)), urgent=True)
        self._pages[self._transcript.here].take_out(ref)
        self._change()

    # ------------------------------------------------------------------ going from room to room

    def _go(self, title: str) -> None:
        """Go to a room by its title; what was being composed stays with the room it was composed in."""
        room = self._transcript.find(title)
        if not room:
            self._going = title.lower()
            self._errands.add(f"/join {title}", self._transcript.here, goes=True)
            self._change()
        elif room != self._transcript.here:
            before = self._transcript.here
            self._take_rows(self._transcript.switch(room, self._clock()))
            self._change_drafts(before, room)
        self._composer.focus()
        self._frame.fold_over()

    def _change_drafts(self, before: str, room: str) -> None:
        self._going = ""
        self._drafts[before] = self._composer.text
        self._composer.put(self._drafts.pop(room, ""))

    def _listed(self) -> list[Place]:
        """The rooms as they stand at the side."""
        return sorted(self._transcript.places, key=lambda place: place.kind is RoomKind.DIRECT)

    def action_next_room(self, step: int) -> None:
        places = self._listed()
        at = next((n for n, place in enumerate(places) if place.room == self._transcript.here), 0)
        if places:
            self._go(places[(at + step) % len(places)].title)

    def action_next_unread(self) -> None:
        found = [place for place in self._listed() if place.unread and place.room != self._transcript.here]
        found.sort(key=lambda place: (place.room in self._wishes.muted, not place.mentions))
        if found:
            self._go(found[0].title)
        else:
            self.flash("Nothing is unread elsewhere")

    async def action_jump(self) -> None:
        places = sorted(self._listed(), key=lambda place: not place.unread)
        known = [Destination(place.title, f"{unread(place)} new" if place.unread else "") for place in places]
        known += [Destination(f"@{name}", "") for name in sorted(_known_people(self._known()[0], places))]
        dialog = Jump(known)

        def jumped(title: str | None) -> None:
            self._composer.focus()
            if title:
                self._go(title)

        await self.push_screen(dialog, jumped)
        self.run_worker(self._offer_more(dialog), exclusive=True, group="jump")

    async def _offer_more(self, dialog: Jump) -> None:
        try:
            titles, names = await self._conversation.everywhere()
        except ChatError:
            return  # what is known already serves
        if dialog.is_attached:
            rooms = [title for title in titles if title.startswith("#") and not self._transcript.find(title)]
            more = [Destination(title, "not joined") for title in rooms]
            more += [Destination(f"@{name}", "connected") for name in names if name != self._transcript.name]
            dialog.offer(more)

    @on(OptionList.OptionSelected, "#rooms")
    def room_chosen(self, event: OptionList.OptionSelected) -> None:
        place = self._transcript.place(event.option.id or "")
        if place is not None:
            self._go(place.title)

    @on(OptionList.OptionSelected, "#members")
    def member_chosen(self, event: OptionList.OptionSelected) -> None:
        if event.option.id and event.option.id != self._transcript.name:
            self._go(f"@{event.option.id}")

    # ------------------------------------------------------------------ scrolling, and older rows

    @on(TranscriptView.Moved)
    def moved(self) -> None:
        here = self._transcript.here
        page, place = self._pages[here], self._transcript.place(here)
        if self._view.at_end:
            if self._new_below:
                self._new_below = 0
                self._change()
            if place is not None and self.app_focus and self._view.shows(page):
                if place.unread:
                    self._change()
                self._conversation.looked(here)
        near = self._view.near_top and self._view.shows(page)
        if near and place is not None and place.level and page.first_seq and page.older is Older.MAYBE:
            page.look_for_older(Older.COMING)
            self.run_worker(self._fetch_older(here, page), group="older")
            self._change()

    async def _fetch_older(self, room: str, page: Page) -> None:
        kept_from = max(0, page.first_seq - 1 - OLDER_AT_ONCE)
        try:
            entries = await self._conversation.older(room, page.first_seq, OLDER_AT_ONCE)
        except ChatError:
            page.look_for_older(Older.FAILED)
            self.set_timer(OLDER_AGAIN_S, lambda: self._try_older_again(page))
        else:
            page.put_above(self._transcript.older(entries), kept_from=kept_from)
        self._change()

    def _try_older_again(self, page: Page) -> None:
        if page.older is Older.FAILED:
            page.look_for_older(Older.MAYBE)
            self._change()

    def action_scroll(self, step: int) -> None:
        rows = max(1, self._view.size.height - 2)
        self._view.scroll_relative(y=step * rows, animate=False)

    def action_step_back(self) -> None:
        """Esc: away from whatever is open, then to the end."""
        self._composer.stop_completing()
        over = self._frame.fold_over()
        if not self._composer.has_focus:
            self._composer.focus()
        elif not over:
            self._view.to_end()

    def action_folds(self) -> None:
        """Open all folds of the page, or close them."""
        page = self._pages[self._transcript.here]
        folds = [item for item in page.items if item.kind is ItemKind.FOLD]
        closed = [fold for fold in folds if not fold.is_open]
        page.turn(*(closed or folds))
        self._change()

    # ------------------------------------------------------------------ links, clicks and copies

    @on(TranscriptView.Acted)
    def acted(self, event: TranscriptView.Acted) -> None:
        act, _, what = event.act.partition(" ")
        row = event.item.row
        match act:
            case "link":
                self._open_link(what)
            case "fold":
                self._pages[self._transcript.here].turn(event.item)
                self._change()
            case "name" if what != self._transcript.name:
                self._composer.add_word(f"@{what}")
            case "retry" | "discard" if row is not None:
                self._retry(row.ref, act == "retry")

    def action_links(self) -> None:
        found: dict[str, str] = {}
        for item in reversed(self._pages[self._transcript.here].items):
            if item.row is not None and item.row.said and "://" in item.row.text:
                text = calm(item.row.text)
                for start, end in reversed(links(text)):
                    found.setdefault(text[start:end], item.row.sender)
            if len(found) >= LINKS_LISTED_MAX:
                break
        if not found:
            self.flash("There is no address here")
            return

        def done(what: str | None) -> None:
            self._composer.focus()
            act, _, url = (what or "").partition(" ")
            if act == "open":
                self._open_link(url)
            elif act == "copy":
                self._copy(url)

        self.push_screen(LinkList([(who, url) for url, who in found.items()]), done)

    def _open_link(self, url: str) -> None:
        if open_address(url):
            self.flash(f"Opened {url}")
        else:
            self._copy(url)

    def _copy(self, text: str) -> None:
        self.copy_to_clipboard(text)
        self.flash(f"Copied {text}")

    def action_copy_or_clear(self) -> None:
        """Ctrl-C copies what is selected; else it clears what is being composed, and twice it leaves."""
        selected = self.screen.get_selected_text() or self._composer.selected_text
        now = self._chat.now()
        if selected:
            self.copy_to_clipboard(selected)
            self.screen.clear_selection()
            self.flash("Copied")
        elif self._leaving or (not self._composer.text and now < self._interrupted_at + TWICE_S):
            self.action_leave()
        else:
            self._composer.put("")
            self._interrupted_at = now
            self.flash("Ctrl-C once more leaves", urgent=True)

    # ------------------------------------------------------------------ panels and size

    def action_help(self) -> None:
        def closed(_: str | None) -> None:
            self._composer.focus()

        self.push_screen(Help(), closed)

    def action_panel(self, which: str) -> None:
        self._frame.turn(which)
        self._change()

    def on_resize(self, _: events.Resize) -> None:
        self._change()

    def watch_app_focus(self, focus: bool) -> None:
        """The terminal's window is looked at again, or no longer."""
        if not focus:
            self._pages[self._transcript.here].mark_new(0)
        self._change()


def _known_people(people: set[str], places: Sequence[Place]) -> set[str]:
    """Those with whom there is no direct conversation yet."""
    return people - {place.title.removeprefix("@") for place in places if place.kind is RoomKind.DIRECT}
