"""Takes lines of a source in. In order:

(1) Only lines of a source that proved who it is; which one it is never comes from the line.
(2) A line that is no event of the source's format, or of a computer that the source may not speak for, is refused and counted; that it happens is on record, once an hour.
(3) What concerns nothing privileged goes no further. Of a group that is named by its DN alone that is told when it is judged: no directory is asked here.
(4) One commit: the changes, each once however often it is told of, what is known of the source, and the work that judges after the window for late arrival.
    What an event says belongs to its identity: a number alone comes again.
(5) Of a source that brings every record, a number that is missing is a gap, and on record.
(6) A log that began anew is a gap, and on record: a number that is far below the last, or one that there was already with a later time. It goes on from there,
    or one huge number would hide all gaps after it.
(7) One record for each computer and batch, with how many gaps there were: a forwarder that says whatever it likes does not fill the audit with each line.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeGuard

from bastide.domain.observed import Change, Judged, Named, Ours, is_nameless
from bastide.domain.observed_lines import BadLineError, Heard, read
from bastide.services.events import by_worker
from bastide.services.intake.ports import Source, Station
from bastide.services.pace import INTAKE
from bastide.services.ports import Store, UnitOfWork

KEY = "judge"
_AN_HOUR = timedelta(hours=1)
#: A time that is later than now by more is a clock's fault, and counts as now.
_AHEAD = timedelta(minutes=10)
_COMPUTERS = 500
#: A record comes after so many later ones at most: a forwarder that sends its last batches again. What is further back is a log that began anew.
_BEHIND = 5000
#: Records of one log are not written quite in the order of their times.
_DISORDER = timedelta(seconds=10)


def ours_of(uow: UnitOfWork, own: Sequence[Named]) -> Ours:
    """What is ours, as the database has it now."""
    return Ours(
        users=uow.users.all(),
        groups=uow.groups.all(),
        own=own,
        emergency=[one.account for one in uow.envelopes.current()],
    )


@dataclass(frozen=True, slots=True)
class _Gap:
    """`count`: how many there were. A log that began anew says more than a number that is missing."""

    expected: int
    came: int
    count: int = 1

    @property
    def is_back(self) -> bool:
        return self.came < self.expected

    def and_then(self, later: "_Gap") -> "_Gap":
        told = later if later.is_back and not self.is_back else self
        return replace(told, count=self.count + later.count)


@dataclass(slots=True)
class _Batch:
    changes: list[Change] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    times: dict[str, datetime] = field(default_factory=dict)
    #: By computer.
    gaps: dict[str, _Gap] = field(default_factory=dict)
    refused: int = 0
    refusal: str = ""


class Accept:
    """The use case of the door. `late`: how long what explains a change may come after it."""

    def __init__(self, *, store: Store, late: timedelta, now: Callable[[], datetime]) -> None:
        self._store = store
        self._late = late
        self._now = now

    def lines(self, source: Source, lines: Sequence[bytes]) -> None:
        """(1) is the caller's. Raises StoreError: then nothing of it was taken, and the same lines may be given again."""
        with self._store.read() as uow:
            known = uow.observed.station(source.name)
            ours = ours_of(uow, ())
        batch = _read(source, lines, known, self._now())
        with self._store.write() as uow:
            now = self._now()
            before = uow.observed.station(source.name) or Station(name=source.name, heard_at=now)
            for change in batch.changes:
                concerns = ours.concerns(change)
                if concerns or is_nameless(change):  # (3)
                    at = now if change.at > now + _AHEAD else change.at
                    judged = Judged(change=replace(change, at=at), unsure=not concerns)
                    uow.observed.add(judged, now + self._late)  # (4)
            uow.work.poke(INTAKE, KEY, now + self._late)
            for computer, gap in batch.gaps.items():  # (5), (6), (7)
                data = {
                    "because": "record numbers go back" if gap.is_back else "record numbers jump",
                    "computer": computer,
                    "expected": gap.expected,
                    "came": gap.came,
                    "gaps": gap.count,
                }
                uow.audit.append(
                    by_worker("intake.gap", now, subject=source.name, subject_name=source.name, data=data)
                )
            uow.observed.put(_after(uow, before, batch, len(lines), now))
            uow.commit()


def _after(uow: UnitOfWork, before: Station, batch: _Batch, count: int, now: datetime) -> Station:
    """What is known of the source afterwards, with records of what must be said."""
    refused_at = before.refused_at
    if batch.refused and (refused_at is None or now - refused_at >= _AN_HOUR):  # (2)
        refused_at = now
        data = {"count": batch.refused, "because": batch.refusal}
        uow.audit.append(
            by_worker("intake.refused", now, subject=before.name, subject_name=before.name, data=data)
        )
    good = batch.refused < count
    if before.silent and good:
        data = {"silent_since": before.heard_at.isoformat()}
        uow.audit.append(
            by_worker("intake.heard", now, subject=before.name, subject_name=before.name, data=data)
        )
    return replace(
        before,
        heard_at=now if good else before.heard_at,
        silent=before.silent and not good,
        taken=before.taken + count - batch.refused,
        refused=before.refused + batch.refused,
        refusal=batch.refusal or before.refusal,
        refused_at=refused_at,
        numbers=batch.numbers,
        times=batch.times,
    )


def _read(source: Source, lines: Sequence[bytes], known: Station | None, now: datetime) -> _Batch:
    batch = _Batch() if known is None else _Batch(numbers=dict(known.numbers), times=dict(known.times))
    for line in lines:
        try:
            heard = read(source.format, source.name, line)
            _follow(source, heard, batch, now)
        except BadLineError as error:  # (2)
            batch.refused += 1
            batch.refusal = str(error)
            continue
        if heard.change is not None:
            batch.changes.append(heard.change)
    return batch


def _follow(source: Source, heard: Heard, batch: _Batch, now: datetime) -> None:
    """Raises BadLineError."""
    if heard.number is None:
        return
    computer = heard.computer.casefold()
    if source.computers and computer not in source.computers:
        raise BadLineError("it is of a computer that this source does not speak for")
    last = batch.numbers.get(computer)
    if last is None:
        if len(batch.numbers) >= _COMPUTERS:
            raise BadLineError("the source speaks for too many computers")
        _newest(batch, computer, heard, now)
        return
    anew = _began_anew(heard, last, batch.times.get(computer), now)
    if anew or (source.complete and heard.number > last + 1):
        gap = _Gap(last + 1, heard.number)
        batch.gaps[computer] = batch.gaps[computer].and_then(gap) if computer in batch.gaps else gap
    if anew or heard.number > last:
        _newest(batch, computer, heard, now)


def _began_anew(heard: Heard, last: int, written: datetime | None, now: datetime) -> bool:
    """(6). `written`: when the record of number `last` was."""
    if heard.number is None or heard.number > last:
        return False
    if heard.number < last - _BEHIND:
        return True
    return _is_time(heard.at, now) and written is not None and heard.at > written + _DISORDER


def _newest(batch: _Batch, computer: str, heard: Heard, now: datetime) -> None:
    if heard.number is not None:
        batch.numbers[computer] = heard.number
    if _is_time(heard.at, now):
        batch.times[computer] = heard.at


def _is_time(at: datetime | None, now: datetime) -> TypeGuard[datetime]:
    """One that is far ahead would hide until then that a log began anew."""
    return at is not None and at <= now + _AHEAD
