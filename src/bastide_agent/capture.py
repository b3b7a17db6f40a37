"""From the directory into the queue: which passwords changed, as ciphertext.

The procedure, for every round:
  (1) The USN is read before the changes: what comes in between is seen by the next round, and by it alone.
  (2) DirSync says of which users `unicodePwd` changed, on whichever controller. It says nothing of what else is taken.
  (3) Each object is read again, whole and at one moment: name, groups, times and ciphertext belong together.
  (4) The replication metadata decides whether that is a change of the password since the last round, and names it. A directory that shows old things as new is not believed.
  (5) Taken is Samba's message to the server's public key, and a check made from the NT hash; never the hash, and nothing else of the credentials.
  (6) Who is told is decided by the groups the object has at that moment.
  (7) The queue has it on the disk; then the new place in the history is written. A crash in between repeats the round, and the queue knows the references.
  (8) A USN below the place's: the database went back, and kept its invocation id. The cookie is ahead of it and would hide what comes: said (6007), and a new place is taken.

The first round takes the place and no password: what was set before the agent came is not told to anybody.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

from bastide import wire
from bastide.clock import Clock
from bastide.pcns import Configuration, Target, sid_text
from bastide_agent.configuration import active
from bastide_agent.events import EventLog, Value
from bastide_agent.failures import CookieRefused, NoAccount, SpoolFull
from bastide_agent.ldapi import Changed
from bastide_agent.metadata import TICKS, Malformed, Origin, origin_of, package, sid_beside
from bastide_agent.spool import Change, Spool
from bastide_agent.state import PLACE, Place, PlaceFile, PlaceLost

PASSWORD = "unicodePwd"  # noqa: S105  # the attribute's name
NAMES = (
    PASSWORD,
    "supplementalCredentials",
    "pwdLastSet",
    "replPropertyMetaData",
    "sAMAccountName",
    "objectSid",
    "primaryGroupID",
    "tokenGroups",
    "userAccountControl",
    "msDS-SecondaryKrbTgtNumber",
)
#: [MS-ADTS] 2.2.16: accounts of trusts, members and controllers.
_MACHINES = 0x800 | 0x1000 | 0x2000
_KRBTGT = 502
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
#: Seconds after which the place is written although nobody's password changed.
_PLACE_EVERY = 30.0
_Found = Mapping[str, Sequence[bytes]]


class Source(Protocol):
    """What is asked of the directory."""

    def highest_usn(self) -> int: ...
    def changed(self, base: str, cookie: bytes, attribute: str) -> Iterator[Changed]: ...
    def read_guid(self, guid: str, names: Sequence[str]) -> _Found: ...


def ticks(moment: datetime) -> int:
    """100 ns since 1601, as the directory counts ([MS-DTYP] 2.3.3)."""
    passed = moment - _EPOCH
    return (passed.days * 86_400 + passed.seconds) * TICKS + passed.microseconds * 10


class _Later:
    """Events of one page, until it is in the queue: what is read again, since the disk is full or the directory went, is said once."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._events: list[tuple[int, Mapping[str, Value]]] = []

    def write(self, number: int, /, **fields: Value) -> None:
        """As EventLog, later."""
        self._events.append((number, fields))

    def tell(self) -> None:
        """Now."""
        events, self._events = self._events, []
        for number, fields in events:
            self._log.write(number, **fields)

    def forget(self) -> None:
        """They come again."""
        self._events = []


@dataclass(frozen=True, slots=True)
class _Taken:
    """A change, and the groups that its account is in."""

    change: Change
    groups: frozenset[str]


class Capture:
    """Used by one thread."""

    def __init__(self, source: Source, spool: Spool, place: PlaceFile, log: EventLog, clock: Clock) -> None:
        self._source = source
        self._spool = spool
        self._file = place
        self._log = log
        #: For what is about an account.
        self._said = _Later(log)
        self._clock = clock
        self._place: Place | None = None
        self._written = float("-inf")

    # ------------------------------------------------------------------------------------------------------------- place

    def begin(self, base: str, invocation: str) -> None:
        """Find the place in the history of this database, or take one. Raises DirectoryGone, SpoolFull."""
        try:
            found = self._file.load()
            lost = "there is none" if found is None and self._spool.was_used else ""
        except PlaceLost as error:
            found, lost = None, str(error)
        if found and (found.base, found.invocation) != (base, invocation):
            found, lost = None, "it belongs to another database: was this domain controller restored?"
        if lost:
            self._say_lost(lost, "changes since the agent last ran are not told")
        self._place = found or self._baseline(base, invocation)

    def come_back(self, base: str, invocation: str) -> None:
        """After the directory was away: the same database goes on where we were, another one begins anew. Raises DirectoryGone, SpoolFull."""
        if self._place is None or (self._place.base, self._place.invocation) != (base, invocation):
            self.begin(base, invocation)

    def _baseline(self, base: str, invocation: str) -> Place:
        usn, cookie = self._source.highest_usn(), b""
        for page in self._source.changed(base, cookie, PASSWORD):
            cookie = page.cookie
        place = Place(base=base, invocation=invocation, usn=usn, cookie=cookie)
        self._store(place)
        return place

    def _say_lost(self, why: str, what_now: str) -> None:
        self._log.write(6007, key=PLACE, value="", error=f"{why}; {what_now}")

    def _store(self, place: Place) -> None:
        self._file.store(place)
        self._written = self._clock.monotonic()

    def flush(self) -> None:
        """Write the place; after it a crash repeats nothing. Raises SpoolFull."""
        if self._place:
            self._store(self._place)

    @property
    def seen_usn(self) -> int:
        """There is something to do when the directory's highest USN is another."""
        return self._place.usn if self._place else -1

    # ------------------------------------------------------------------------------------------------------------- round

    def round(self, configuration: Configuration) -> int:
        """Take what changed. How many changes went into the queue. Raises DirectoryGone, SpoolFull."""
        place = self._place
        if place is None:
            raise ValueError("begin comes first")
        usn = self._source.highest_usn()  # (1)
        if usn < place.usn:  # (8)
            self._say_lost(
                f"the directory went back from USN {place.usn} to {usn}: was this domain controller put back from a snapshot?",
                "changes from then until now are not told",
            )
            self._place = self._baseline(place.base, place.invocation)
            return 0
        taken = 0
        for page in self._pages(place):  # (2)
            self._said.forget()
            changes = [found for guid in page.guids if (found := self._take(guid, place.usn))]
            taken += self._queue(changes, configuration)
            place = Place(base=place.base, invocation=place.invocation, usn=place.usn, cookie=page.cookie)
            self._place = place
        self._place = Place(base=place.base, invocation=place.invocation, usn=usn, cookie=place.cookie)
        if taken or self._clock.monotonic() - self._written > _PLACE_EVERY:
            self._store(self._place)  # (7)
        return taken

    def _pages(self, place: Place) -> Iterator[Changed]:
        try:
            yield from self._source.changed(place.base, place.cookie, PASSWORD)
        except CookieRefused as error:
            self._say_lost(
                str(error), "all accounts are looked at, and what changed since is found by its USN"
            )
            yield from self._source.changed(place.base, b"", PASSWORD)

    def _queue(self, found: Sequence[_Taken], configuration: Configuration) -> int:
        told = [(taken.change, self._targets(taken, configuration)) for taken in found]
        try:
            new = self._spool.add(
                [(change, [str(target.guid) for target in targets]) for change, targets in told if targets],
                ticks(self._clock.now()),
            )
        except SpoolFull as error:
            self._log.write(6018, detail=str(error))
            raise
        self._said.tell()
        names = {change.reference: [target.name for target in targets] for change, targets in told}
        for change in new:
            self._log.write(2201, **change.names(), targets=names[change.reference])
        return len(new)

    def _targets(self, taken: _Taken, configuration: Configuration) -> list[Target]:
        """(6)."""
        targets = active(configuration)
        if not targets:
            self._said.write(4201, **taken.change.names())
        covered = [target for target in targets if target.covers(taken.groups)]
        for target in targets:
            if target not in covered:
                self._said.write(2303, **taken.change.names(), target=target.name)
        return covered

    # ------------------------------------------------------------------------------------------------------------ object

    def _take(self, guid: str, since: int) -> _Taken | None:
        """(3), (4). None: nothing to tell; where somebody would expect something, an event says why."""
        try:
            found = self._source.read_guid(guid, NAMES)
        except NoAccount:
            self._said.write(4101, detail=guid)
            return None
        try:
            origin = origin_of(_one(found, "replPropertyMetaData"))
        except Malformed as error:
            self._said.write(7000, error_code="replPropertyMetaData", detail=f"{guid}: {error}")
            return None
        if origin is None or origin.local_usn <= since or _is_machine(found):
            return None
        return self._change(guid, found, origin)

    def _change(self, guid: str, found: _Found, origin: Origin) -> _Taken | None:
        reference = wire.reference_of(guid, origin.invocation, origin.usn)
        account = _one(found, "sAMAccountName").decode(errors="replace")
        if not account:
            self._said.write(6004, detail=guid)
            return None
        try:
            sid = _one(found, "objectSid")
            user_sid, groups = sid_text(sid), _groups(found, sid)
        except ValueError:
            self._said.write(6010, detail=f"{account} ({guid})")
            return None
        secret = self._secret(account, reference, found)  # (5)
        if not secret:
            return None
        change = Change(
            reference=reference,
            user_guid=guid,
            user_sid=user_sid,
            account=account,
            changed_at=max(int(_one(found, "pwdLastSet") or 0), 0) or origin.changed_at,
            revision=origin.version,
            origin=origin.invocation,
            secret=secret,
            check=wire.check_of(reference, _one(found, PASSWORD)),
        )
        return _Taken(change, groups) if self._fits(change) else None

    def _secret(self, account: str, reference: str, found: _Found) -> bytes:
        try:
            secret = package(_one(found, "supplementalCredentials"))
            why = "" if secret else "the directory holds no ciphertext of this change"
        except Malformed as error:
            secret, why = b"", str(error)
        if not why and not _one(found, PASSWORD):
            secret, why = b"", "the account has no password"
        if why:
            self._said.write(6005, detail=f"{account} ({reference}): {why}")
        return secret

    def _fits(self, change: Change) -> bool:
        try:
            wire.from_agent(wire.encode(change.notification(1)))
        except wire.WireError as error:
            self._said.write(6024, account=change.account, detail=str(error))
            return False
        return True


def _one(found: _Found, name: str) -> bytes:
    return next(iter(found.get(name, ())), b"")


def _groups(found: _Found, sid: bytes) -> frozenset[str]:
    """Nested groups too. Raises ValueError."""
    primary = sid_beside(sid, int(_one(found, "primaryGroupID") or 0))
    return frozenset(sid_text(group) for group in (*found.get("tokenGroups", ()), primary))


def _is_machine(found: _Found) -> bool:
    """Trusts, members, controllers, and the KDC's own accounts: no person's password."""
    rid = int.from_bytes(_one(found, "objectSid")[-4:], "little")
    control = int(_one(found, "userAccountControl") or 0)
    return bool(control & _MACHINES) or rid == _KRBTGT or "msDS-SecondaryKrbTgtNumber" in found


def guid_text(raw: bytes) -> str:
    """A GUID as the directory stores it, as text."""
    return str(UUID(bytes_le=raw))
