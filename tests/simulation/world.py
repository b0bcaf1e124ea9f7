"""One run from a seed: people talk, everything fails now and then, then all is calm and must come right."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from chat_broker.settings import Settings
from chat_protocol.errors import Code
from chat_protocol.messages import Limits
from tests.simulation.clock import Clock
from tests.simulation.history import History, Violation
from tests.simulation.machine import BrokerMachine
from tests.simulation.network import Weather
from tests.simulation.person import Operator, Person

NAMES = ["alice", "bob", "carol", "dave", "erin", "frank"]
CALM_S = 60.0  # after the last fault everything is right again within this time


class World:
    """Everything about a run comes from its seed. `trace_lines` of what led to a violation are told
    with it; None: all."""

    def __init__(self, seed: int, trace_lines: int | None = 150) -> None:
        self.seed = seed
        self.trace_lines = trace_lines
        self.rng = rng = Random(seed)
        self.clock = clock = Clock()
        self.history = History(lambda: clock.now)
        self.weather = Weather()
        self.until = rng.uniform(4.0, 15.0)
        self.broker = BrokerMachine(clock, rng, self.weather, self.history, _settings(rng))
        self.people = [
            Person(name, clock, rng, self.weather, self.broker, self.history)
            for name in NAMES[: rng.choice((2, 3, 3, 4, 5))]
        ]
        self.operator = Operator(clock, rng, self.weather, self.broker, self.history)
        self.everybody = [*self.people, self.operator]
        self.converged_after = 0.0

    def run(self) -> World:
        """Raises Violation, or what the code under test raises; either tells the seed and what led to it."""
        try:
            self._run()
        except Exception as error:
            error.add_note(f"\n{self.history.trace(self.trace_lines)}\n\nseed {self.seed}: {error}")
            raise
        return self

    def _run(self) -> None:
        self.broker.start()
        for person in self.people:
            self.clock.at(self.rng.uniform(0.0, 1.0), person.start)
            self._plan_acts(person)
        self.clock.at(0.5, self.operator.start)
        self._plan_faults()
        self.clock.run_until(self.until)
        self._calm_down()
        self._converge()

    def _converge(self) -> None:
        begin = self.clock.now
        while unsettled := self._unsettled():
            if self.clock.now > begin + CALM_S:
                raise Violation(f"not right {CALM_S:g} s after the last fault: {unsettled}")
            self.clock.run_until(self.clock.now + 0.5)
            for person in self.people:
                person.start()  # again, where it was shut out before it was let in
        self.converged_after = self.clock.now - begin
        for person in self.people:
            self.history.require_settled(person.process)

    def _unsettled(self) -> str:
        hub = self.broker.hub
        if hub is None:
            return "the broker is not there"
        if len(hub.state.roster) != len(self.everybody):
            return f"the broker has {len(hub.state.roster)} sessions of {len(self.everybody)} people"
        return next((told for person in self.everybody if (told := person.unsettled())), "")

    # ------------------------------------------------------------------ what happens

    def _plan_acts(self, person: Person) -> None:
        pause_s = self.rng.choice((0.1, 0.4, 1.0))
        names = [one.name for one in self.people]

        def act() -> None:
            if self.clock.now < self.until:
                person.act(names)
                self.clock.after(self.rng.expovariate(1.0 / pause_s), act)

        self.clock.at(self.rng.uniform(0.0, 2.0), act)

    def _plan_faults(self) -> None:
        every_s = self.rng.choice((0.3, 1.0, 3.0))
        kinds = [
            self._cut, self._cut, self._drop_feed, self._crash_broker, self._burn_broker, self._freeze_broker,
            self._freeze_person, self._crash_person, self._person_leaves, self._slow_disk, self._full_disk,
            self._weather_turns, self._weather_turns, self._cut_joining, self._ban, self._week_passes,
        ]  # fmt: skip
        usual = self.rng.sample(kinds, self.rng.randint(1, len(kinds)))
        if self.rng.random() < 0.1:
            usual.append(self._restore_backup)

        def strike() -> None:
            if self.clock.now < self.until:
                self.rng.choice(usual)()
                self.clock.after(self.rng.expovariate(1.0 / every_s), strike)

        self.clock.at(self.rng.uniform(0.0, 3.0), strike)

    def _calm_down(self) -> None:
        self.history.note("world", "calms down")
        vars(self.weather).update(vars(Weather()))
        self.broker.calm_down()
        self.operator.calm_down()
        for person in self.people:
            if person.was_banned:
                self.operator.unban(person.name)
            person.calm_down()

    def _someone(self) -> Person:
        return self.rng.choice(self.people)

    def _cut(self) -> None:
        rng = self.rng
        late_s = rng.choice((0.0, rng.uniform(0.0, 0.3), rng.uniform(0.0, 8.0)))
        self._someone().cut(late_s, rng.choice((0.0, rng.uniform(0.0, 2.0), None)))

    def _cut_joining(self) -> None:
        rng = self.rng
        person = self._someone()
        person.cut_when_joining = rng.choice((0.0, rng.uniform(0.0, 1.0), rng.uniform(0.0, 8.0)))
        person.cut(0.0, 0.0)

    def _ban(self) -> None:
        person = self._someone()
        if self.operator.session is None or not person.is_enrolled:
            return
        person.was_banned = True
        self.operator.ban(person.name)
        self.clock.after(self.rng.uniform(0.5, 3.0), lambda: self.operator.unban(person.name))
        self.clock.after(self.rng.uniform(3.0, 5.0), person.start)

    def _restore_backup(self) -> None:
        if all(person.is_enrolled for person in self.people):
            self.broker.disk.back_up()
            self.clock.after(self.rng.uniform(0.1, 5.0), self._go_back)

    def _go_back(self) -> None:
        if self.clock.now < self.until:
            self.broker.crash()
            self.broker.disk.restore()
            self._start_broker()

    def _week_passes(self) -> None:
        self.history.note("world", "a week passes")
        self.clock.skipped_ms += 8 * 24 * 3_600_000
        self.broker.disk.forget_senders()

    def _drop_feed(self) -> None:
        self._someone().drop_feed()

    def _crash_broker(self) -> None:
        self.broker.crash()
        self._start_broker()

    def _start_broker(self) -> None:
        self.clock.after(self.rng.choice((0.05, self.rng.uniform(0.0, 5.0))), self.broker.start)

    def _burn_broker(self) -> None:
        """Killed at one of its next commits or sends."""
        self.broker.fuse = self.rng.randint(1, 12)
        self._start_broker()

    def _freeze_broker(self) -> None:
        self.broker.freeze(self.rng.choice((0.5, 3.0, self.rng.uniform(4.0, 20.0))))

    def _freeze_person(self) -> None:
        self._someone().freeze(self.rng.choice((0.5, 4.0, self.rng.uniform(5.0, 25.0))))

    def _crash_person(self) -> None:
        person = self._someone()
        person.crash()
        self.clock.after(self.rng.uniform(0.1, 3.0), person.start)

    def _person_leaves(self) -> None:
        person = self._someone()
        person.leave()
        self.clock.after(self.rng.uniform(0.1, 3.0), person.start)

    def _slow_disk(self) -> None:
        self.broker.commit_s = self.rng.choice((0.002, 0.05, 1.0, 7.0))

    def _full_disk(self) -> None:
        self.broker.disk.fail = self.rng.choice((Code.STORAGE_FULL, Code.STORAGE_FAILED))
        self.history.note("disk", "is broken")
        self.clock.after(self.rng.uniform(0.1, 4.0), self._mend_disk)

    def _mend_disk(self) -> None:
        self.history.note("disk", "is mended")
        self.broker.disk.fail = None

    def _weather_turns(self) -> None:
        rng = self.rng
        self.weather.delay_s = rng.choice((0.002, 0.05, 0.5))
        self.weather.swallowed = rng.choice((0.0, 0.0, 0.01, 0.1))
        self.weather.feed_lost = rng.choice((0.0, 0.05, 0.5, 1.0))
        self.weather.feed_twice = rng.choice((0.0, 0.2))
        self.weather.feed_late = rng.choice((0.0, 0.2))
        self.weather.feed_forged = rng.choice((0.0, 0.2))


def _settings(rng: Random) -> Settings:
    limits = Limits(
        says_in_flight=rng.choice((2, 8, 64)),
        requests_in_flight=rng.choice((8, 256)),
        lines_per_s=rng.choice((50, 100)),
        lines_burst=rng.choice((20, 100, 5_000)),
    )
    settings = Settings(limits=limits, newcomer_lines=rng.choice((3, 50)))
    settings = replace(settings, fold_every=rng.choice((5, 20, 1_000)))
    settings = replace(settings, batch_bytes=rng.choice((0, 20_000, 1 << 20)))
    if rng.random() < 0.5:
        settings = replace(settings, keep_entries=rng.choice((1, 10, 50)))
    if rng.random() < 0.2:
        settings = replace(settings, pending_bytes_max=rng.choice((20_000, 200_000)))
    return settings
