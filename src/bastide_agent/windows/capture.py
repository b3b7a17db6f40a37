"""From the filter in LSA into the queue. It has the face of the capture on Samba (bastide_agent/capture.py); there the directory is read, here the filter tells.

The procedure for each frame:
  (1) It is a frame of the version that is known; else it gets no answer (FrameError), and the filter counts it as lost.
  (2) What the filter has lost since it was last heard is said (6002).
  (3) The account is found in the directory by its RID. While the directory does not answer, or no configuration is known, the filter keeps the change.
  (4) Machines and the KDC's own accounts are no persons: nothing is told of them.
  (5) The reference is made from the object, the start of lsass and the number of the change: told twice, it is counted once.
  (6) Who is told is decided by the groups that the object has at that moment.
  (7) The password is encrypted to the certificates of those servers, and not kept. A server whose certificate cannot be used gets nothing, and that is said (6022).
  (8) The queue has the ciphertext on the disk; then the filter is told so, and wipes its copy.

The time of a change is the moment LSA told of it, not pwdLastSet: when an account changes twice in a moment, both look-ups find the second change, and the first password would pass for the newest. For the
same reason `revision` is 0, not known. `check` is empty: made from the password that came it would prove nothing.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Protocol
from uuid import UUID

from bastide import wire
from bastide.pcns import Configuration, Target, sid_text
from bastide_agent.events import EventLog
from bastide_agent.failures import DirectoryGone, NoAccount, SpoolFull, Unusable
from bastide_agent.metadata import sid_beside
from bastide_agent.spool import Change
from bastide_agent.windows.frames import Frame, Reply, answer, parse

NAMES = (
    "objectGUID",
    "objectSid",
    "sAMAccountName",
    "primaryGroupID",
    "tokenGroups",
    "userAccountControl",
    "msDS-SecondaryKrbTgtNumber",
)
#: [MS-ADTS] 2.2.16: accounts of trusts, members and controllers.
_MACHINES = 0x800 | 0x1000 | 0x2000
_KRBTGT = 502
_Found = Mapping[str, Sequence[bytes]]
#: Encrypts a password to certificates; raises Unusable.
Seal = Callable[[bytes, Sequence[bytes]], bytes]


class Directory(Protocol):
    """What is asked of the directory."""

    def highest_usn(self) -> int:
        """Raises DirectoryGone."""

    def by_rid(self, rid: int, names: Sequence[str]) -> _Found:
        """The account of this domain with that RID. Raises NoAccount, DirectoryGone."""


class Queue(Protocol):
    """What is asked of the queue (spool.Spool)."""

    def knows(self, reference: str) -> bool: ...
    def add(self, found: Iterable[tuple[Change, Sequence[str]]], now: int) -> list[Change]: ...


@dataclass(frozen=True, slots=True)
class _Account:
    """Whose password it is."""

    guid: str
    sid: str
    name: str
    groups: frozenset[str]


class _Nobody(Exception):
    """No server is to be told of this change; the event has been written."""


class WindowsCapture:
    """`take` is called by the thread that serves the pipe, everything else by the agent's own."""

    def __init__(self, directory: Directory, queue: Queue, seal: Seal, log: EventLog) -> None:
        self._directory = directory
        self._queue = queue
        self._seal = seal
        self._log = log
        self._lock = Lock()
        self._origin = ""
        self._configuration: Configuration | None = None
        self._taken = 0
        self._usn = -1
        self._lost: dict[UUID, int] = {}

    # ----------------------------------------------------------------------------------------- the face that Samba's has

    def begin(self, base: str, invocation: str) -> None:  # noqa: ARG002  # the filter has no place in the directory's history
        """From now on changes are of this database."""
        self._origin = invocation

    def come_back(self, base: str, invocation: str) -> None:
        """After the directory was away."""
        self.begin(base, invocation)

    def flush(self) -> None:
        """Nothing is held back: what was answered is in the queue."""

    @property
    def seen_usn(self) -> int:
        """There is a configuration to look at when the directory's highest USN is another."""
        return self._usn

    def round(self, configuration: Configuration) -> int:
        """Go by this configuration. How many changes went into the queue since the last round. Raises DirectoryGone."""
        self._usn = self._directory.highest_usn()
        with self._lock:
            self._configuration = configuration
            taken, self._taken = self._taken, 0
        return taken

    # ------------------------------------------------------------------------------------------------------------- frames

    def take(self, raw: bytes) -> bytes:
        """Handle one frame; the answer for the filter. Raises FrameError: then there is none."""
        frame = parse(raw)  # (1)
        self._say_lost(frame)  # (2)
        return answer(frame.number, self._reply(frame))

    def _say_lost(self, frame: Frame) -> None:
        new = frame.lost - self._lost.get(frame.marker, 0)
        self._lost = {frame.marker: frame.lost}
        if new > 0:
            self._log.write(
                6002,
                count=new,
                detail="so many changes came to the filter while nobody took them from it, and are lost",
            )

    def _reply(self, frame: Frame) -> Reply:
        with self._lock:
            configuration, origin = self._configuration, self._origin
        if configuration is None or not origin:
            return Reply.LATER
        try:
            account = self._account(frame)  # (3), (4)
            reference = wire.reference_of(account.guid, str(frame.marker), frame.number)  # (5)
            if self._queue.knows(reference):
                return Reply.TAKEN
            change, targets = self._sealed(frame, account, reference, configuration, origin)
            self._store(change, targets, frame.changed_at)  # (8)
        except _Nobody:
            return Reply.DISCARD
        except DirectoryGone:
            return Reply.LATER
        except SpoolFull as error:
            self._log.write(6018, detail=str(error))
            return Reply.LATER
        return Reply.TAKEN

    def _account(self, frame: Frame) -> _Account:
        try:
            found = self._directory.by_rid(frame.rid, NAMES)
        except NoAccount:
            self._log.write(4101, detail=f"{frame.name} (RID {frame.rid})")
            raise _Nobody from None
        name = _one(found, "sAMAccountName").decode(errors="replace")
        try:
            if _is_machine(frame.rid, found):
                raise _Nobody
            guid = str(UUID(bytes_le=_one(found, "objectGUID")))
            sid = _one(found, "objectSid")
            account = _Account(guid, sid_text(sid), name, _groups(found, sid))
        except (ValueError, struct.error):
            self._log.write(6010, detail=f"{name} (RID {frame.rid})")
            raise _Nobody from None
        if not name:
            self._log.write(6004, detail=guid)
            raise _Nobody
        return account

    def _sealed(
        self, frame: Frame, account: _Account, reference: str, configuration: Configuration, origin: str
    ) -> tuple[Change, list[Target]]:
        names = {"tracking_id": reference, "user_guid": account.guid, "user": account.name}
        targets = list(self._usable(self._covered(names, account, configuration)))
        if not frame.password:
            self._log.write(6005, detail=f"{account.name} ({reference}): the account has no password")
            raise _Nobody
        if not targets:
            raise _Nobody
        change = Change(
            reference=reference,
            user_guid=account.guid,
            user_sid=account.sid,
            account=account.name,
            changed_at=frame.changed_at,
            revision=0,
            origin=origin,
            secret=self._seal(frame.password, [target.certificate for target in targets]),  # (7)
            check=b"",
        )
        try:
            wire.encode(change.notification(1))
        except wire.WireError as error:
            self._log.write(6024, account=account.name, detail=str(error))
            raise _Nobody from None
        return change, targets

    def _covered(
        self, names: Mapping[str, str], account: _Account, configuration: Configuration
    ) -> Iterator[Target]:
        """(6)."""
        active = [target for target in configuration.targets if not target.disabled]
        if not active:
            self._log.write(4201, **names)
        for target in active:
            if target.covers(account.groups):
                yield target
            else:
                self._log.write(2303, **names, target=target.name)

    def _usable(self, targets: Iterable[Target]) -> Iterator[Target]:
        """Those whose certificate encrypts: one bad certificate must not silence the others."""
        for target in targets:
            try:
                self._seal(b"", [target.certificate])
            except Unusable as error:
                self._log.write(
                    6022, target=target.name, detail=f"{error}: it is not told of changes of this controller"
                )
            else:
                yield target

    def _store(self, change: Change, targets: Sequence[Target], now: int) -> None:
        if self._queue.add([(change, [str(target.guid) for target in targets])], now):
            with self._lock:
                self._taken += 1
            self._log.write(2201, **change.names(), targets=[target.name for target in targets])


def _one(found: _Found, name: str) -> bytes:
    return next(iter(found.get(name, ())), b"")


def _groups(found: _Found, sid: bytes) -> frozenset[str]:
    """Nested groups too. Raises ValueError."""
    primary = sid_beside(sid, int(_one(found, "primaryGroupID") or 0))
    return frozenset(sid_text(group) for group in (*found.get("tokenGroups", ()), primary))


def _is_machine(rid: int, found: _Found) -> bool:
    control = int(_one(found, "userAccountControl") or 0)
    return bool(control & _MACHINES) or rid == _KRBTGT or "msDS-SecondaryKrbTgtNumber" in found
