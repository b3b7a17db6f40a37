"""The queue: which changes wait for which targets. It survives kill -9 and power cuts; every entry is sealed (spool_file.py).

What it promises: a change that `add` has taken is delivered or given up with an event, never forgotten; per user and target in the order in which changes were made, but for those that the target refused; and of each user
the newest change outlives every limit but age and retries. That a target took it may be forgotten by a power cut, or by a kill before the answers of a window are noted: it is then told again, under the same reference.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition

import msgspec

from bastide.wire import Notification
from bastide_agent.events import EventLog
from bastide_agent.failures import SpoolFull
from bastide_agent.spool_file import Contents, Damage, SealedFile, load_key, read

QUEUE, KEY = "queue.dat", "queue.key"
#: Finished references that are still known: what DirSync shows twice after a crash is told once.
_REMEMBERED = 4096
#: Entries in the file that mean nothing any more, before it is written anew.
_WASTE = 1024


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One captured change; see wire.Notification. Its repr is silent."""

    reference: str
    user_guid: str
    user_sid: str
    account: str
    changed_at: int
    revision: int
    origin: str
    secret: bytes
    check: bytes

    def __repr__(self) -> str:
        return f"Change({self.reference}, {self.account})"

    def notification(self, attempt: int) -> Notification:
        """As it is sent."""
        return Notification(**{name: getattr(self, name) for name in self.__struct_fields__}, attempt=attempt)

    def names(self) -> dict[str, str]:
        """Tracking ID, User GUID and User of an event."""
        return {"tracking_id": self.reference, "user_guid": self.user_guid, "user": self.account}


class _Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is written."""


class _Put(_Record, frozen=True, tag="put", kw_only=True):
    change: Change
    targets: list[str]
    queued_at: int
    attempts: dict[str, int] = {}
    delivered: list[str] = []
    failed: list[str] = []


class _Tried(_Record, frozen=True, tag="tried", kw_only=True):
    reference: str
    target: str
    attempts: int


class _Done(_Record, frozen=True, tag="done", kw_only=True):
    reference: str
    target: str
    ok: bool


class _Gone(_Record, frozen=True, tag="gone", kw_only=True):
    reference: str


class _Known(_Record, frozen=True, tag="known", kw_only=True):
    references: list[str]


_Any = _Put | _Tried | _Done | _Gone | _Known
_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[_Any] = msgspec.msgpack.Decoder(_Any)


@dataclass(slots=True)
class Waiting:
    """A change on its way. `attempts`: target to tries, of those that have not taken it yet. `queued_at`: 100 ns since 1601."""

    change: Change
    queued_at: int
    attempts: dict[str, int]
    delivered: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)


class Spool:
    """Safe to use from several threads. `changed` is notified when there may be something to do."""

    def __init__(self, directory: Path, log: EventLog, *, limit: int, aside: Callable[[], str]) -> None:
        """`limit`: bytes of the file. `aside` gives a name that tells when a damaged file was found. Raises Stop, SpoolFull."""
        self.changed = Condition()
        self._log = log
        self._items: dict[str, Waiting] = {}
        self._of: dict[str, dict[str, None]] = {}
        self._finished: deque[str] = deque(maxlen=_REMEMBERED)
        self._known: set[str] = set()
        self._waste = 0
        #: So much of it is borne before the file is written anew.
        self._bearable = _WASTE
        self._closed = False
        key = load_key(directory / KEY)
        self._file = SealedFile(directory / QUEUE, key, limit)
        found = read(directory / QUEUE, key)
        #: How many waiting changes were read; None: there was no file.
        self.loaded: int | None = None if found is None else 0
        #: The name under which a damaged file lies.
        self.saved_as = ""
        damage = self._replay(found) if found else None
        if damage:
            self._log_damage(damage)
            self.saved_as = self._file.set_aside(f"queue.corrupt-{aside()}.dat").name
        self._compact()

    def close(self) -> None:
        """Write what waits to be synced, and nothing afterwards, whoever still asks: the file may be another agent's then. Raises SpoolFull."""
        with self.changed:
            self._closed = True
            try:
                self._file.sync()
            finally:
                self._file.close()

    # ----------------------------------------------------------------------------------------------------------- loading

    def _replay(self, found: Contents) -> Damage | None:
        """Entries up to the first that means nothing."""
        for number, raw in enumerate(found.entries):
            try:
                self._apply(_DECODER.decode(raw))
            except (msgspec.MsgspecError, KeyError):
                return Damage(6017, f"entry {number} is no entry")
        self.loaded = len(self._items)
        return found.damage

    def _log_damage(self, damage: Damage) -> None:
        sizes = {"bytes_requested": damage.requested, "bytes_read": damage.read} if damage.requested else {}
        self._log.write(damage.number, detail=damage.detail, **sizes)
        self.loaded = len(self._items)

    def _apply(self, record: _Any) -> None:
        match record:
            case _Put(change=change):
                attempts = {target: record.attempts.get(target, 0) for target in record.targets}
                item = Waiting(change, record.queued_at, attempts, [*record.delivered], [*record.failed])
                self._insert(item)
            case _Tried():
                self._items[record.reference].attempts[record.target] = record.attempts
            case _Done():
                self._finish(record)
            case _Gone():
                self._remove(self._items[record.reference])
            case _Known():
                for reference in record.references:
                    self._remember(reference)

    def _insert(self, item: Waiting) -> None:
        reference = item.change.reference
        self._items[reference] = item
        self._known.add(reference)
        for target in item.attempts:
            self._of.setdefault(target, {})[reference] = None

    def _finish(self, record: _Done) -> None:
        item = self._items[record.reference]
        del item.attempts[record.target]
        del self._of[record.target][record.reference]
        (item.delivered if record.ok else item.failed).append(record.target)
        if not item.attempts:
            self._remove(item)

    def _remove(self, item: Waiting) -> None:
        reference = item.change.reference
        for target in item.attempts:
            self._of[target].pop(reference, None)
        del self._items[reference]
        self._remember(reference)

    def _remember(self, reference: str) -> None:
        if len(self._finished) == self._finished.maxlen:
            self._known.discard(self._finished[0])
        self._finished.append(reference)
        self._known.add(reference)

    # ----------------------------------------------------------------------------------------------------------- changing

    def add(self, found: Iterable[tuple[Change, Sequence[str]]], now: int) -> list[Change]:
        """Take changes for these targets (their GUIDs); those that are known already are left out. On the disk when it returns. Raises SpoolFull, and then none counts."""
        with self.changed:
            new: dict[str, _Put] = {}
            for change, targets in found:
                if change.reference not in self._known:
                    new.setdefault(
                        change.reference, _Put(change=change, targets=list(targets), queued_at=now)
                    )
            if new:
                self._write([*new.values()], sync=True)
                self.changed.notify_all()
            return [put.change for put in new.values()]

    def tried(self, target: str, references: Iterable[str]) -> dict[str, int]:
        """Count one more attempt for each of these. How many there were; a change that is gone, or that the target is through with, is left out."""
        with self.changed:
            attempts = {one: self._items[one].attempts[target] + 1 for one in self._open(target, references)}
            self._note(
                [_Tried(reference=one, target=target, attempts=number) for one, number in attempts.items()]
            )
            return attempts

    def done(self, target: str, ended: Mapping[str, bool]) -> dict[str, Waiting]:
        """A target is through with these; True: it took it. Those for which it was the last target: for the others, more are waited for, or they are gone."""
        with self.changed:
            items = {one: self._items[one] for one in self._open(target, ended)}
            self._note([_Done(reference=one, target=target, ok=ended[one]) for one in items])
            self.changed.notify_all()
            return {one: item for one, item in items.items() if not item.attempts}

    def _open(self, target: str, references: Iterable[str]) -> list[str]:
        waiting = self._of.get(target, {})
        return [one for one in references if one in waiting]

    def _note(self, records: Sequence[_Tried | _Done]) -> None:
        """What may be forgotten by a crash: a full disk is no reason to tell a target the same thing again and again."""
        try:
            self._write(records, sync=False)
        except SpoolFull as error:
            self._log.write(6018, detail=str(error))
            self._take_in(records)  # and a new file, one day, without what the old one still holds

    def forget_targets(self, left: Collection[str]) -> list[Waiting]:
        """Only these targets still get something. Changes that nobody waits for any more. Raises SpoolFull."""
        with self.changed:
            records: list[_Any] = []
            orphans: list[Waiting] = []
            for item in self._items.values():
                gone = [target for target in item.attempts if target not in left]
                if gone and len(gone) == len(item.attempts):
                    orphans.append(item)
                    records.append(_Gone(reference=item.change.reference))
                else:
                    records += [_Done(reference=item.change.reference, target=one, ok=False) for one in gone]
            self._write(records, sync=True)
            return orphans

    def expire(self, before: int) -> list[Waiting]:
        """Give up what was queued before that moment. Raises SpoolFull."""
        with self.changed:
            return self._discard([item for item in self._items.values() if item.queued_at < before])

    def trim(self, most: int) -> list[Waiting]:
        """Give up the oldest until at most so many wait, but only what a newer change of the same user follows to the same targets. Raises SpoolFull."""
        with self.changed:
            excess = len(self._items) - most
            return self._discard(self._superseded()[:excess]) if excess > 0 else []

    def _superseded(self) -> list[Waiting]:
        """Oldest first."""
        covered: dict[str, set[str]] = {}
        found: list[Waiting] = []
        for item in reversed(self._items.values()):
            later = covered.setdefault(item.change.user_guid, set())
            if later.issuperset(item.attempts):
                found.append(item)
            later.update(item.attempts)
        return found[::-1]

    def _discard(self, items: list[Waiting]) -> list[Waiting]:
        self._write([_Gone(reference=item.change.reference) for item in items], sync=True)
        return items

    def _write(self, records: Sequence[_Any], *, sync: bool) -> None:
        """On the disk first, in memory then. Raises SpoolFull, and then they are in neither."""
        if not records:
            return
        if self._closed:
            raise SpoolFull("the queue is closed")
        if self._file.broken:
            self._compact()
        encoded = [_ENCODER.encode(record) for record in records]
        try:
            self._file.append(encoded, sync=sync)
        except SpoolFull:
            if self._waste == 0 or self._file.broken:
                raise
            self._compact()
            self._file.append(encoded, sync=sync)
        self._take_in(records)
        if self._waste > max(self._bearable, 2 * len(self._items)):
            self._tidy()

    def _take_in(self, records: Sequence[_Any]) -> None:
        for record in records:
            self._apply(record)
            self._waste += 0 if isinstance(record, _Put) else 2

    def _tidy(self) -> None:
        """What was just written counts, whether this succeeds or not. If not, it is tried again when there is twice as much waste: it costs as much as the whole queue."""
        try:
            self._compact()
        except SpoolFull as error:
            self._log.write(6018, detail=f"{error}: it is not made smaller now")
            self._bearable = 2 * self._waste

    def _compact(self) -> None:
        known: list[_Any] = [_Known(references=list(self._finished))]
        live: list[_Any] = [
            _Put(
                change=item.change,
                targets=list(item.attempts),
                queued_at=item.queued_at,
                attempts=item.attempts,
                delivered=item.delivered,
                failed=item.failed,
            )
            for item in self._items.values()
        ]
        self._file.rewrite(_ENCODER.encode(record) for record in known + live)
        self._waste, self._bearable = 0, _WASTE

    def sync(self) -> None:
        """Make durable what targets took since. Raises SpoolFull."""
        with self.changed:
            self._file.sync()

    # ------------------------------------------------------------------------------------------------------------ looking

    @property
    def was_used(self) -> bool:
        """Whether it ever held a change."""
        with self.changed:
            return bool(self._known)

    def knows(self, reference: str) -> bool:
        """Whether this change was taken before."""
        with self.changed:
            return reference in self._known

    def next_for(self, target: str, held: Collection[str] = ()) -> Waiting | None:
        """The first of `next_few`."""
        return next(iter(self.next_few(target, held, 1)), None)

    def next_few(
        self, target: str, held: Collection[str], most: int, passed: Collection[str] = ()
    ) -> list[Waiting]:
        """The oldest changes for a target, each of another user, that are neither held back nor behind one of the same user that is. Those in `passed` are
        left out, and do not hold back later ones of their user.
        """
        with self.changed:
            users: set[str] = set()
            found: list[Waiting] = []
            for reference in self._of.get(target, ()):
                if reference in passed:
                    continue
                item = self._items[reference]
                if reference not in held and item.change.user_guid not in users:
                    found.append(item)
                    if len(found) == most:
                        break
                users.add(item.change.user_guid)
            return found

    def waiting(self, target: str | None = None) -> int:
        """How many changes wait for a target, or for any."""
        with self.changed:
            return len(self._items) if target is None else len(self._of.get(target, ()))

    def oldest(self, target: str | None = None) -> int:
        """When the oldest of them was queued; 0: there is none."""
        with self.changed:
            references = self._items if target is None else self._of.get(target, {})
            first = next(iter(references), None)
            return 0 if first is None else self._items[first].queued_at
