"""Debug tracing: the steps of an operation with their durations and outcomes, as records of the log at the level `verbose`.

Nothing is measured of an operation that is not traced. A step is what happens at a port (directory, store, connected system) while an operation that is traced is under way in this
thread. A record holds names of methods, durations, ids, and how it ended as the code or type of an error: no argument, no result, no message.

The same steps leave as spans where the settings name a collector (`spans`; wiring/telemetry.py), whatever is traced here: with names of methods, how it ended, and of all
ids that of a request alone.
"""

import inspect
import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from bastide.domain import traces
from bastide.domain.errors import BastideError, NotFound
from bastide.domain.ids import typed
from bastide.domain.journal import TRACE
from bastide.domain.people import Actor, Right, require
from bastide.domain.traces import Trace
from bastide.services.events import by_actor
from bastide.services.ports import Random, Store, Work

_log = logging.getLogger(TRACE)
#: Between INFO and DEBUG, as journal/lines.py calls it.
VERBOSE = 15
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: What a span says: the id of the request that it is about, and how many rows of work were claimed together.
REQUEST, ROWS = "bastide.request.id", "bastide.work.rows"
#: Ids of one record.
_IDS = 8


class Span(Protocol):
    """Something that goes on."""

    def call(self, name: str) -> None:
        """A better name, which is known only now."""

    def say(self, facts: Mapping[str, str | int]) -> None:
        """Names and numbers: no value of anybody's."""


class Spans(Protocol):
    """Where spans go. A span inside another one is its child, also in the thread that the outer one waits for."""

    def span(self, name: str, facts: Mapping[str, str | int]) -> AbstractContextManager[Span]: ...


@dataclass(frozen=True, slots=True)
class _UnderWay:
    operation: str
    #: Empty: it is no record of the log.
    trace: str


_under_way: ContextVar[_UnderWay | None] = ContextVar("bastide_trace", default=None)


class Tracer:
    """Of one process. `turn` says what is traced; everything else asks."""

    def __init__(
        self,
        *,
        node: str,
        partition: str,
        random: Random,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
    ) -> None:
        self._node = node
        self._partition = partition
        self._random = random
        self._now = now
        self._monotonic = monotonic
        self._ends: Mapping[str, datetime] = {}
        #: Set once, before anything is done, where the settings name a collector.
        self.spans: Spans | None = None

    def turn(self, wanted: Collection[Trace]) -> None:
        """From now on these are traced, each until its end, and nothing else."""
        self._ends = {trace.operation: trace.ends_at for trace in wanted}

    def traces(self, operation: str) -> bool:
        """Whether it is traced now. While nothing is, the clock is not even read."""
        ends_at = self._ends.get(operation)
        return ends_at is not None and self._now() < ends_at

    def watches(self, operation: str) -> bool:
        """Whether anybody hears of it: the log or a collector."""
        return self.spans is not None or self.traces(operation)

    @staticmethod
    def under_way() -> bool:
        """Whether this thread is inside an operation that somebody hears of."""
        return _under_way.get() is not None

    @contextmanager
    def operation(
        self, operation: str, step: str, subject: str = "", facts: Mapping[str, str | int] | None = None
    ) -> Iterator[None]:
        """All of it is a step of its own, the last; inside another one it is a step of that. `facts`: for its span."""
        if not self.watches(operation):
            yield
            return
        before = _under_way.get()
        if before is None or not before.trace:
            before = _UnderWay(operation, self._random.uuid() if self.traces(operation) else "")
        token = _under_way.set(before)
        of_request = {REQUEST: subject} if operation == "requests" and _ID.fullmatch(subject) else {}
        try:
            with self.step(step, subject, {**of_request, **(facts or {})}):
                yield
        finally:
            _under_way.reset(token)

    @contextmanager
    def step(
        self, step: str, subject: str = "", facts: Mapping[str, str | int] | None = None
    ) -> Iterator[None]:
        """Measured if an operation that is traced is under way."""
        running = _under_way.get()
        if running is None:
            yield
            return
        with (
            nullcontext() if self.spans is None else self.spans.span(step, facts or {}),
            self._logged(running, step, subject) if running.trace else nullcontext(),
        ):
            yield

    @contextmanager
    def _logged(self, running: _UnderWay, step: str, subject: str) -> Iterator[None]:
        began, outcome = self._monotonic(), "ok"
        try:
            yield
        except BaseException as error:
            outcome = error.code if isinstance(error, BastideError) else type(error).__name__
            raise
        finally:
            seconds = self._monotonic() - began
            _log.log(
                VERBOSE,
                "%s %s %s %.6f s",
                running.operation,
                step,
                outcome,
                seconds,
                extra={
                    "trace": {
                        "operation": running.operation,
                        "trace": running.trace,
                        "step": step,
                        "seconds": round(seconds, 6),
                        "outcome": outcome,
                        "subject": subject,
                        "node": self._node,
                        "partition": self._partition,
                    }
                },
            )

    @contextmanager
    def work(self, works: Collection[Work]) -> Iterator[None]:
        """A batch of one job. Its keys are the subject."""
        kind = next(iter(works)).kind
        operation = traces.operation_of(kind)
        if not self.watches(operation):
            yield
            return
        subject = _few([work.key for work in works])
        with self.operation(operation, f"run {kind}", subject, {ROWS: len(works)}):
            yield


def ids_of(call: Callable[..., object], arguments: Sequence[object], named: Mapping[str, object]) -> str:
    """The ids that a call is given: what has the form of one, for a parameter that is called so. Nothing else of its arguments is ever said: a password may have
    any form.
    """
    try:
        given = inspect.signature(call).bind_partial(*arguments, **named).arguments
    except (TypeError, ValueError):  # what does not fit the call itself says best; of some nobody knows
        return ""
    ids = [one for name, one in given.items() if name.rstrip("_").rpartition("_")[2] == "id"]
    return _few([one for one in ids if isinstance(one, str) and _ID.fullmatch(one)])


def _few(ids: Collection[str]) -> str:
    more = len(ids) - _IDS
    return " ".join([*list(ids)[:_IDS], *([f"and {more} more"] if more > 0 else [])])


class Tracing:
    """What administrators switch, for all nodes."""

    def __init__(self, *, store: Store, tracer: Tracer, now: Callable[[], datetime]) -> None:
        self._store = store
        self._tracer = tracer
        self._now = now

    def switch_on(self, actor: Actor, operation: str, length: timedelta) -> Trace:
        """On all nodes, from their next look at the database on. One that is traced already gets the new end. Raises NotFound, InvalidInput."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            now = uow.nodes.time(self._now())
            trace = traces.begin(operation, length, actor.name, now)
            uow.traces.remove_before(now)
            uow.traces.put(trace)
            data = {"ends_at": trace.ends_at.isoformat()}
            uow.audit.append(by_actor("trace.on", now, actor, subject_name=operation, data=data))
            uow.work.wake()
            uow.commit()
        return trace

    def switch_off(self, actor: Actor, operation: str) -> None:
        """Raises NotFound: it is not traced."""
        require(actor, Right.ADMINISTER)
        traces.known(operation)
        with self._store.write() as uow:
            now = uow.nodes.time(self._now())
            uow.traces.remove_before(now)
            if not uow.traces.remove(operation):
                raise NotFound(
                    f"{typed(operation)} is not traced", remedy="`bastide trace show` says what is"
                )
            uow.audit.append(by_actor("trace.off", now, actor, subject_name=operation))
            uow.work.wake()
            uow.commit()

    def on(self, actor: Actor) -> tuple[Trace, ...]:
        """What is traced now."""
        require(actor, Right.ADMINISTER)
        return self._current()

    def look(self) -> None:
        """This process follows what the database says. Raises StoreError."""
        self._tracer.turn(self._current())

    def _current(self) -> tuple[Trace, ...]:
        with self._store.read() as uow:
            now = uow.nodes.time(self._now())
            return tuple(trace for trace in uow.traces.all() if trace.on(now))
