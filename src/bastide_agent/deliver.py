"""From the queue to one target: what is sent, what its answer means, and when to come again. The transport is a Protocol; threads are in threads.py.

Per user, changes go in the order in which they were made: one that was answered `later` holds back the later ones of its user, and nobody else's. One that was
refused holds back nobody: it may be one that nobody can ever read, and the newest password is what counts. The server knows the order by their stamps.

`later` to a change is about that change. Whether the whole target wants a pause is asked with a heartbeat: `later` to that, or to Hello, pauses it.

Up to WINDOW changes, each of another user, are sent before their answers are read; whose answer does not come is sent again. The first over a new
connection goes alone, and so does the first after a pause: a target that takes nothing is not asked WINDOW times. The exception is a connection that had
answered and is found dead (the target was started anew): what was on its way over it is said again at once over a new one, all of it. So a target that takes
nothing since then is asked WINDOW times, once; the heartbeat that follows, or the failure, is its pause.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from bastide import wire
from bastide.clock import Clock
from bastide.pcns import ServiceSettings, Target
from bastide.wire import Answer, FromAgent, FromServer, Heartbeat, Verdict, WireError
from bastide_agent.events import EventLog
from bastide_agent.failures import Refused, SealBroken, Unreachable, Unusable
from bastide_agent.spool import Spool, Waiting

#: A keep-alive interval below would be a flood.
_SHORTEST_BEAT = 5.0
_FOREVER = 3600.0
#: What the server takes in with one commit.
WINDOW = 200
#: Bytes of ciphertext in flight: what the server takes in at once.
_WINDOW_BYTES = 128 * 1024


class Channel(Protocol):
    """An open, sealed connection whose server has said Welcome."""

    def say(self, messages: Sequence[FromAgent]) -> None:
        """Say something; each message has an answer. Raises Unreachable, SealBroken, WireError."""

    def hear(self) -> FromServer:
        """The next answer. Raises Unreachable, SealBroken, WireError."""

    def close(self) -> None: ...


class Connector(Protocol):
    """Connects to targets."""

    def connect(self, target: Target) -> Channel:
        """Raises Unreachable, Unusable, Refused, SealBroken, WireError."""


@dataclass(frozen=True, slots=True)
class _Try:
    """One change on its way, for the so-manieth time."""

    item: Waiting
    attempts: int


@dataclass(slots=True)
class Status:
    """For people; times are 100 ns since 1601, 0: never."""

    connected: bool = False
    last_contact: int = 0
    problem: str = ""
    usable: bool = True


class Delivery:
    """One target. Used by one thread; `target` and `service` may be replaced between two steps."""

    def __init__(
        self,
        target: Target,
        service: ServiceSettings,
        *,
        spool: Spool,
        connector: Connector,
        log: EventLog,
        clock: Clock,
        ticks: Callable[[], int],
        names: Callable[[], Mapping[str, str]],
    ) -> None:
        """`ticks`: now, in 100 ns since 1601. `names`: GUIDs of targets to their names."""
        self.target = target
        self.service = service
        self.status = Status()
        self._guid = str(target.guid)
        self._spool = spool
        self._connector = connector
        self._log = log
        self._clock = clock
        self._ticks = ticks
        self._names = names
        self._channel: Channel | None = None
        self._window = 1
        self._held: dict[str, float] = {}
        self._refused: dict[str, float] = {}
        self._asks = False
        self._not_before = float("-inf")
        self._beat_at = float("-inf")
        self._warn_at = float("-inf")
        self._warned = False

    # ---------------------------------------------------------------------------------------------------------- what next

    def next_job(self) -> Callable[[], None] | float:
        """Something to do now, or how many seconds nothing is due. Call it with `spool.changed` held, so that nothing is missed in between."""
        now = self._clock.monotonic()
        self._check_level(now)
        if not self.status.usable:
            return self._until(now, now + _FOREVER)
        if now < self._not_before:
            return self._until(now, self._not_before)
        if self._asks:
            return self.beat
        self._held, self._refused = _still(self._held, now), _still(self._refused, now)
        items = self._spool.next_few(self._guid, self._held, self._window, self._refused)
        if items:
            return lambda: self.deliver(_within(items))
        if self._beats and now >= self._beat_at:
            return self.beat
        beat_at = self._beat_at if self._beats else now + _FOREVER
        return self._until(now, min([*self._held.values(), *self._refused.values(), beat_at]))

    def _until(self, now: float, due: float) -> float:
        if self._warned:
            due = min(due, self._warn_at)
        return max(due - now, 0.001)

    @property
    def _beats(self) -> bool:
        return self.target.keep_alive > 0

    def _check_level(self, now: float) -> None:
        level, waiting = self.target.warning_level, self._spool.waiting(self._guid)
        if level and waiting >= level:
            if now >= self._warn_at:
                self._log.write(4005, target=self.target.name, count=waiting)
                self._warn_at = now + max(self.target.warning_interval, 1) * 60
            self._warned = True
        elif self._warned:
            self._warned, self._warn_at = False, float("-inf")
            self._log.write(2005, target=self.target.name, count=waiting)

    # --------------------------------------------------------------------------------------------------------------- beat

    def beat(self) -> None:
        """Say that we live; and hear whether the target wants a pause."""
        self._asks = False
        message = Heartbeat(waiting=self._spool.waiting(self._guid), oldest=self._spool.oldest(self._guid))
        try:
            (answer,) = self._answers_to({"": message})
        except (Unreachable, WireError, SealBroken, Refused, Unusable) as error:
            self._failed(error)
            if isinstance(error, Unreachable | Refused):
                self._log.write(4004, target=self.target.name, detail=str(error))
            return
        if answer.verdict is Verdict.LATER:
            self._wait_as_told(answer.delay)

    # ------------------------------------------------------------------------------------------------------------ deliver

    def deliver(self, items: Sequence[Waiting]) -> None:
        """Try each of these once. What was answered is noted together, also if the rest never is."""
        tries = self._begin(items)
        messages = {one: tried.item.change.notification(tried.attempts) for one, tried in tries.items()}
        if not messages:
            return  # discarded since
        through: dict[str, bool] = {}
        try:
            for answer in self._answers_to(messages):
                self._judge(tries.pop(answer.reference), answer, through)
        except (Unreachable, WireError, SealBroken, Refused, Unusable) as error:
            self._failed(error)
            for tried in tries.values():
                self._unanswered(tried, error, through)
        finally:
            self._through(through)

    def _begin(self, items: Sequence[Waiting]) -> dict[str, _Try]:
        counted = self._spool.tried(self._guid, [item.change.reference for item in items])
        tries: dict[str, _Try] = {}
        for item in items:
            if attempts := counted.get(item.change.reference):
                self._log.write(2302, **self._said(item), delivery_attempts=attempts)
                tries[item.change.reference] = _Try(item, attempts)
        return tries

    def _said(self, item: Waiting) -> Mapping[str, str]:
        return {**item.change.names(), "target": self.target.name}

    def _unanswered(self, tried: _Try, error: Exception, through: dict[str, bool]) -> None:
        said, attempts = self._said(tried.item), tried.attempts
        if isinstance(error, Unreachable):
            self._log.write(4003, **said, delivery_attempts=attempts, detail=str(error))
        if isinstance(error, Refused):
            self._log.write(4301, **said, delivery_attempts=attempts, detail=str(error))
        self._give_up_after_limit(tried.item, attempts, through)

    def _judge(self, tried: _Try, answer: Answer, through: dict[str, bool]) -> None:
        """`through`: references that are done with, and whether the target took it."""
        item, attempts, reference = tried.item, tried.attempts, tried.item.change.reference
        match answer.verdict:
            case Verdict.ACCEPTED:
                through[reference] = True
            case Verdict.LATER:
                self._held[reference] = self._clock.monotonic() + self._bounded(answer.delay)
                self._asks = True
            case Verdict.REFUSED:
                self._log.write(4301, **self._said(item), delivery_attempts=attempts, detail=answer.reason)
                self._refused[reference] = self._clock.monotonic() + self.service.retry_interval
                self._give_up_after_limit(item, attempts, through)
            case Verdict.DISCARD:
                detail = f"never to be sent again: {answer.reason}"
                self._log.write(4301, **self._said(item), delivery_attempts=attempts, detail=detail)
                through[reference] = False

    def _give_up_after_limit(self, item: Waiting, attempts: int, through: dict[str, bool]) -> None:
        """Retries come after the first attempt; 0 is no limit."""
        limit = self.service.max_notification_retries
        if limit and attempts > limit:
            self._log.write(4200, **item.change.names(), target=self.target.name)
            through[item.change.reference] = False

    def _through(self, through: Mapping[str, bool]) -> None:
        """Done with these; the last target says how it ended for all."""
        if not through:
            return
        for reference in through:
            self._held.pop(reference, None)
            self._refused.pop(reference, None)
        names = self._names()
        for item in self._spool.done(self._guid, through).values():
            took = [names.get(one, one) for one in item.delivered]
            if item.failed:
                failed = [names.get(one, one) for one in item.failed]
                self._log.write(4100, **item.change.names(), successful_targets=took, failed_targets=failed)
            else:
                self._log.write(2100, **item.change.names(), targets=took)

    # --------------------------------------------------------------------------------------------------------------- talk

    def _answers_to(self, messages: Mapping[str, FromAgent]) -> Iterator[Answer]:
        """`messages`: by the reference of the answer. A connection that has been idle may be dead without our knowing: then what has no answer
        is said once more, over a new one. Raises what Connector and Channel raise.
        """
        waiting, known = dict(messages), self._channel
        try:
            yield from self._heard(waiting)
        except (Unreachable, SealBroken):
            if known is None:
                raise
            self.hang_up()
            yield from self._heard(waiting)

    def _heard(self, waiting: dict[str, FromAgent]) -> Iterator[Answer]:
        """Takes out of `waiting` what was answered."""
        channel = self._connected()
        channel.say([*waiting.values()])
        while waiting:
            answer = channel.hear()
            if not isinstance(answer, Answer) or waiting.pop(answer.reference, None) is None:
                raise WireError("the target answered something else")
            now = self._clock.monotonic()
            self._beat_at = now + max(self.target.keep_alive, _SHORTEST_BEAT)
            self.status.last_contact, self.status.problem = self._ticks(), ""
            self._window = WINDOW
            yield answer

    def _connected(self) -> Channel:
        if self._channel is None:
            self._channel = self._connector.connect(self.target)
            self.status.connected = True
        return self._channel

    def _failed(self, error: Exception) -> None:
        """After any failure the whole target waits for the retry interval, or as long as it asks for."""
        self.hang_up()
        self.status.problem = str(error)
        now = self._clock.monotonic()
        self._not_before = now + self.service.retry_interval
        self._beat_at = self._not_before
        match error:
            case Unusable():
                self.status.usable = False
                self._log.write(6027, target=self.target.name, detail=str(error))
            case WireError():
                self._log.write(6025, error_code="wire", target=self.target.name, detail=str(error))
            case SealBroken():
                self._log.write(6022, target=self.target.name, detail=str(error))
            case Refused() if error.delay:
                self._wait_as_told(error.delay)

    def _wait_as_told(self, delay: int) -> None:
        """The server may ask for a pause, within bounds."""
        self._window = 1
        self._not_before = self._clock.monotonic() + self._bounded(delay)
        self._beat_at = self._not_before

    def _bounded(self, delay: int) -> int:
        """Seconds that are waited where so many were asked for."""
        name = self.target.name
        if delay < 0:
            self._log.write(4207, target=name, count=delay)
            return self.service.retry_interval
        if not 1 <= delay <= wire.DELAY_LIMIT:
            seconds = min(max(delay, 1), wire.DELAY_LIMIT)
            self._log.write(4206, target=name, count=delay, detail=f"{seconds} s are waited")
            return seconds
        self._log.write(2202, target=name, count=delay)
        return delay

    def hang_up(self) -> None:
        """The next message connects again."""
        channel, self._channel = self._channel, None
        self._window = 1
        self.status.connected = False
        if channel is not None:
            channel.close()


def _still(held: Mapping[str, float], now: float) -> dict[str, float]:
    return {reference: due for reference, due in held.items() if due > now}


def _within(items: Sequence[Waiting]) -> Sequence[Waiting]:
    """As many of them as may be in flight together: one, at least."""
    size = 0
    for number, item in enumerate(items):
        size += len(item.change.secret)
        if number and size > _WINDOW_BYTES:
            return items[:number]
    return items
