"""Password changes on their way: what is taken in, in which order, and when a failure is final. Holds no password.

A change is one event on a domain controller. Each target gets a delivery of its own. The newest change of an object wins: an older one never
overwrites it, however late it arrives (6918 at the source, 6919 at a target).

A change that we caused ourselves, by a delivery into a domain that is also a source, is not passed on again (`echo`).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from bastide.domain.management_agents import CsId, MaId, PasswordManagement

#: How far the clock of a controller may be ahead of ours.
SKEW = timedelta(minutes=5)
#: What the agent keeps at most by default (72 h), and a quarter more: older changes are replays.
OLDEST = timedelta(hours=90)


#: A write of ours and the change it caused in a domain have the same time, but for the clocks and the length of a batch.
ECHO = timedelta(minutes=5)
#: Longest password, in UTF-16 units: what Active Directory takes.
LONGEST = 256
#: Changes of one object are counted for so long (6917).
DAY = timedelta(hours=24)


_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, order=False)
class Stamp:
    """When a password was changed. `revision` is AD's own counter for the attribute of the object `source`. Which of two changes is newer:

    (1) Of one object, the counter says, whatever the clocks of its controllers do: AD itself keeps the higher one.
    (2) But not between changes that are OLDEST or more apart. No believed change comes so late, and no clock is so wrong: the domain was put back
        from a backup, and counts from below.
    (3) Counters of different objects have nothing to do with each other, an order has none, and two controllers that have not heard of each other
        count alike: there time says; within one second, their ids (`untied`).
    """

    changed_at: datetime
    revision: int = 0
    source: str = ""

    def newer_than(self, other: "Stamp | None") -> bool:
        """Whether this change came after the other."""
        if other is None:
            return True
        if self.counted_with(other) and self.revision != other.revision:  # (1)
            return self.revision > other.revision
        return self.changed_at > other.changed_at  # (3)

    def counted_with(self, other: "Stamp") -> bool:
        """Whether one counter has counted both."""
        counted = bool(self.revision and other.revision) and self.source == other.source
        return counted and abs(self.changed_at - other.changed_at) < OLDEST  # (2)


class Receipt(StrEnum):
    """What became of a notification when it was taken in."""

    STAGED = "staged"  # 6903, 6907
    DUPLICATE = "duplicate"  # known reference: nothing to do
    NOT_IN_CS = "not-in-connector-space"  # 6904
    NOT_JOINED = "not-joined"  # 6905
    NO_TARGETS = "no-targets"  # 6906
    OWN_ACCOUNT = "own-account"  # 6912
    ECHO = "echo"  # 6912, too: made by us, with the account we set passwords with
    DAILY_LIMIT = "daily-limit"  # 6917
    OUT_OF_DATE = "out-of-date"  # 6918
    NOT_A_SOURCE = "not-a-source"  # 6926
    STALE_SECRET = "stale-secret"  # the secret is not the password the account has: hash-only set  # noqa: S105
    UNREADABLE = "unreadable"  # encrypted to a key we do not have, or damaged
    FUTURE = "future"  # changed later than now, by more than SKEW
    TOO_OLD = "too-old"  # older than OLDEST
    OVERDUE = "overdue"  # as old, but AD's own counter says that nothing newer is known
    OTHER_ACCOUNT = "other-account"  # the SID is not the one that was imported with this GUID
    UNFIT = "unfit-password"  # empty, or longer than LONGEST


class Purpose(StrEnum):
    """What a change and its deliveries are for."""

    SYNC = "synchronization"  # a domain told of it, and its source passes it on
    SET = "set"  # somebody had it set, in the accounts that were chosen
    CHANGE = "change"  # somebody had it changed there, with the old password


class State(StrEnum):
    """Of a delivery."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CLEARED = "cleared"


class Code(StrEnum):
    """What a target, or we on its behalf, said. The first eight are never tried again."""

    OUT_OF_DATE = "out-of-date"  # 6919
    NOT_ENABLED = "not-enabled"  # 6921
    NOT_CONFIGURED = "not-configured"  # 6922
    OBJECT_MISSING = "object-missing"  # 6923
    POLICY = "new-password-violate-policy"  # 6927
    SET_UNSUPPORTED = "set-not-supported"  # 6928
    KEY_GONE = (
        "key-gone"  # the vault has no key for it, or the row was tampered with: nobody can open it any more
    )
    OUT_OF_REACH = "out-of-reach"  # of an order: the person has privileges by now, or the account that was reset is closed
    SUCCESS = "success"
    UNAVAILABLE = "server-down"
    DENIED = "access-denied"
    CREDENTIALS = "ma-credentials-failure"
    INSECURE = "connection-not-secure"
    FAILED = "error"


FINAL = frozenset(
    {
        Code.OUT_OF_DATE,
        Code.NOT_ENABLED,
        Code.NOT_CONFIGURED,
        Code.OBJECT_MISSING,
        Code.POLICY,
        Code.SET_UNSUPPORTED,
        Code.KEY_GONE,
        Code.OUT_OF_REACH,
    }
)


class Proof(StrEnum):
    """Whether an accepted password was proved by a bind: accepted and proved are different outcomes."""

    NOT_ASKED = "not-asked"
    PROVED = "proved"
    NOT_PROVED = "not-proved"  # the target accepted the password and then refused it
    NOT_TRIED = "not-tried"  # account locked or near its threshold, or the target cannot


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One notification, or one order of a person, without its secret. `origin` is the controller that took the change, `controller` the one that told us.

    Of an order: `by` is the name of who gave it, `reason` why, `mv` whose password it is; `account` is the person's name, and no domain told of it.
    """

    reference: str
    ma: MaId | None
    object: CsId | None
    domain: str
    user_guid: str
    account: str
    stamp: Stamp
    controller: str
    origin: str
    attempt: int
    received_at: datetime
    receipt: Receipt
    purpose: Purpose = Purpose.SYNC
    by: str = ""
    reason: str = ""
    mv: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One change on its way to one target object. `mv`: the person for whom it was staged. `sealed` is empty as soon as it is over. `echoed`: the
    domain told us of this very write (`echo`). `held_until`: it was taken over from a worker that may still write an older password, so what
    is sealed is kept until then, also when delivered, to be set again. `late_writes`: how often such a worker did. `must_change` and `unlock` are those of
    an order; what a domain told of is set as the target's agent says. `written_on`: the controller (invocation id) that surely took the only try; empty: not known.
    """

    id: str
    reference: str
    ma: MaId
    object: CsId
    dn: str
    stamp: Stamp
    created_at: datetime
    state: State = State.PENDING
    attempts: int = 0
    due: datetime | None = None
    code: Code | None = None
    proof: Proof = Proof.NOT_ASKED
    detail: str = ""
    attempted_at: datetime | None = None
    shadow: bool = False
    retry_limit_reached: bool = False
    sealed: bytes = b""
    mv: str = ""
    echoed: bool = False
    held_until: datetime | None = None
    late_writes: int = 0
    purpose: Purpose = Purpose.SYNC
    must_change: bool = False
    unlock: bool = False
    written_on: str = ""

    def __repr__(self) -> str:
        return f"Delivery({self.id}, {self.state.value})"


def after_attempt(
    delivery: Delivery,
    code: Code,
    detail: str,
    proof: Proof,
    rules: PasswordManagement,
    now: datetime,
    origin: str = "",
) -> Delivery:
    """The delivery after a try, which the controller `origin` took: done, failed for good, or due again. What is over loses its secret."""
    over: dict[str, Any] = {"due": None, "sealed": b""}
    if code is Code.SUCCESS:
        outcome = {"state": State.DELIVERED, **over}
    elif code in FINAL:
        outcome = {"state": State.FAILED, **over}
    elif delivery.attempts >= rules.retry_limit:
        outcome = {"state": State.FAILED, "retry_limit_reached": True, **over}
    else:
        outcome = {"due": now + rules.retry_interval}
    return replace(
        delivery,
        attempts=delivery.attempts + 1,
        code=code,
        detail=detail,
        proof=proof,
        attempted_at=now,
        shadow=rules.shadow,
        # An earlier try may have written too, on whatever controller.
        written_on="" if delivery.attempts else origin,
        **outcome,
    )


def context_of(delivery: Delivery) -> str:
    """What a password is sealed to: this delivery, of this change, to this object. A sealed text in another row does not open."""
    return f"delivery\n{delivery.id}\n{delivery.reference}\n{delivery.object}"


def tied(stamp: Stamp, last: Stamp) -> bool:
    """Whether two controllers that had not heard of each other counted these two alike, in the same second."""
    if stamp == last or not stamp.counted_with(last) or stamp.revision != last.revision:
        return False
    return stamp.changed_at.replace(microsecond=0) == last.changed_at.replace(microsecond=0)


def untied(stamp: Stamp, last: Stamp, origin: str, last_origin: str) -> Stamp:
    """One that is tied with the last, on the side of it where Active Directory has it: times are whole seconds there, and of equals the one of the higher
    invocation id stays (measured on Samba). Where one of the two is not known, nothing is known but the time.
    """
    if not origin or not last_origin or origin == last_origin:
        return stamp
    if origin > last_origin:
        return replace(stamp, changed_at=max(stamp.changed_at, last.changed_at + _TICK))
    return replace(stamp, changed_at=min(stamp.changed_at, last.changed_at))


def out_of_order(stamp: Stamp, now: datetime) -> Receipt | None:
    """FUTURE or TOO_OLD, where the change is outside of the window in which changes are believed."""
    if stamp.changed_at > now + SKEW:
        return Receipt.FUTURE
    if stamp.changed_at < now - OLDEST:
        return Receipt.TOO_OLD
    return None


class Own(StrEnum):
    """Whether a change was made by us."""

    NO = "no"
    YES = "yes"
    #: Our write is on its way, and nobody knows yet.
    ASK_LATER = "ask-later"
    #: The passwords must be compared; where ours cannot be opened any more, it counts as a person's.
    COMPARE = "compare"


def echo(
    stamp: Stamp, last: Stamp | None, deliveries: Collection[Delivery], now: datetime, origin: str = ""
) -> tuple[Own, tuple[Delivery, ...]]:
    """Whether this change of an object is what a delivery to that same object did. `last`: the newest change known of the object. `origin`: the
    controller (invocation id) that took the change; empty: not known. Also the deliveries that the change accounts for: the caller marks them `echoed`, so
    that each explains one change only.

    No digest of a password is kept to recognize it by; what is known is when we wrote, and how often:

      (1) While a delivery is being made, its echo can be faster than our own commit: ask later. One that waits for its next try is not
          being made; its last try is known.
      (2) A write explains a change if the two are at most ECHO apart: clocks differ, and a batch takes its time.
      (3) A write explains one change. If AD counted more changes since the last one known than we made writes, then a person changed the
          password too, within these minutes, and the newest one is not ours: it is passed on. Nothing of a person's is lost for the sake of
          (2), and at worst a password of ours goes one step further, in a graph that has no cycle (sync_graph.py).
      (4) Where AD's counter is not known, before or now, or went back (Stamp, 2), and where a write of ours only may have happened, the passwords
          decide: the one that was opened is compared with ours, as long as its key exists. Later than that it is passed on, as in (3).
      (5) A row that was taken over from a worker that died may have been written by both: such a write explains a second change, by its password (4).
      (6) AD counts on each controller, and two that have not heard of each other count alike. So a change with the number of our write is not ours where it is
          known that another controller took it: then, too, the passwords decide (4).
      (7) A change that the controller of our write took, with the number of the change before it but a later time, is that write: it counts as one.
    """
    near = writes_near(stamp, deliveries)
    writes = tuple(one for one in near if not one.echoed)
    if any(_in_flight(d, stamp, now) for d in deliveries):
        return Own.ASK_LATER, ()  # (1)
    if not near:
        return Own.NO, ()  # (2)
    sure = tuple(one for one in writes if one.code is Code.SUCCESS)
    counted = _counted(stamp, last, sure, origin)
    if counted is None:
        return Own.COMPARE, near  # (4)
    known_before = counted <= 0
    if counted <= len(sure) and (known_before or any(_taken_by(one, origin) for one in sure)):  # (6)
        return Own.YES, _accounted(writes, counted)
    at_most = len(writes) + sum(map(_may_be_made_twice, near))
    return (Own.COMPARE if counted <= at_most else Own.NO), near  # (3), (4), (5), (6)


def _counted(stamp: Stamp, last: Stamp | None, sure: Collection[Delivery], origin: str) -> int | None:
    """How many changes AD counted since the last one known, this one among them; none, if it is no newer than that. None: nobody knows."""
    if last is None or not stamp.revision or not last.revision:
        return None
    counted = stamp.revision - last.revision
    if not stamp.newer_than(last):
        return min(counted, 0)
    if counted < 0:
        return None  # (4)
    ours_too = origin and any(one.written_on == origin for one in sure)
    return max(counted, 1) if ours_too else counted  # (7)


_MAY_HAVE_WRITTEN = frozenset({Code.SUCCESS, Code.UNAVAILABLE, Code.FAILED})


def writes_near(stamp: Stamp, deliveries: Collection[Delivery]) -> tuple[Delivery, ...]:
    """Those that may be what made a change of that time (`echo`, 2), and that explain no other change yet, or may explain two."""
    near = (
        d for d in deliveries if d.attempted_at is not None and abs(stamp.changed_at - d.attempted_at) <= ECHO
    )
    fresh = (d for d in near if not d.echoed or _may_be_made_twice(d))
    return tuple(d for d in fresh if not d.shadow and d.code in _MAY_HAVE_WRITTEN)


def _may_be_made_twice(delivery: Delivery) -> bool:
    """`echo` (5)"""
    return delivery.held_until is not None


def _taken_by(delivery: Delivery, origin: str) -> bool:
    """`echo` (6): whether that controller may have taken the write."""
    known = delivery.written_on and origin and not _may_be_made_twice(delivery)
    return not known or delivery.written_on == origin


def written_before(
    own: Own, made: Collection[Delivery], accounted: Collection[Delivery]
) -> tuple[Delivery, ...]:
    """Of the deliveries to an account, those that were written before a change of it that is none of ours (`echo` said `own` and what it accounts for).

    (1) What an earlier change accounted for: AD counted this one later.
    (2) What this one accounts for because AD counted more changes than we made: the newest one is this one. Not where passwords had to be compared.
    """
    counted = {one.id for one in accounted} if own is Own.NO else set()
    return tuple(one for one in made if one.echoed or one.id in counted)


def in_turn(stamp: Stamp, last: Stamp | None, writes: Collection[Delivery]) -> Stamp:
    """The change with a time that is not before that of our own writes which it came after (`written_before`, each with all deliveries of its change).

    The clock of a controller may be behind. AD's counter knows better, but what the other targets took of the same order, or of another domain, has no such
    number: there the change of a person would look older than ours, and would be lost. Without the counter nothing is known but the time.
    """
    if last is None or not last.revision or stamp.revision <= last.revision:
        return stamp
    floor = max((one.stamp.changed_at + _TICK for one in writes), default=stamp.changed_at)
    return replace(stamp, changed_at=max(stamp.changed_at, floor))


def _accounted(writes: Sequence[Delivery], counted: int) -> tuple[Delivery, ...]:
    """As many of the writes that surely happened as AD counted, the oldest first: the echo of a later one is still on its way, and marked now it
    would be taken for a person's. Those that only may have happened explain nothing more.
    """
    sure = sorted((one for one in writes if one.code is Code.SUCCESS), key=_attempted)
    return (*sure[: max(counted, 0)], *(one for one in writes if one.code is not Code.SUCCESS))


def _attempted(delivery: Delivery) -> tuple[datetime, str]:
    return delivery.attempted_at or delivery.created_at, delivery.id


def _in_flight(delivery: Delivery, stamp: Stamp, now: datetime) -> bool:
    being_made = delivery.state is State.PENDING and (delivery.due is None or delivery.due <= now)
    return being_made and stamp.changed_at >= delivery.created_at - SKEW


def newest(deliveries: Collection[Delivery]) -> Delivery:
    """The delivery with the newest change; of equals the one that came last. Raises ValueError for none."""
    first, *others = sorted(deliveries, key=lambda one: (one.created_at, one.id))
    for other in others:
        if not first.stamp.newer_than(other.stamp):
            first = other
    return first


def superseded(delivery: Delivery) -> Delivery:
    """Over without another try: a newer change took its place (6919)."""
    return replace(delivery, state=State.FAILED, code=Code.OUT_OF_DATE, due=None, sealed=b"")


#: What decided about each receipt, for people. Keys are complete: a test compares.
REASONS: Mapping[Receipt, str] = {
    Receipt.STAGED: "it was taken in",
    Receipt.DUPLICATE: "it had been taken in before",
    Receipt.NOT_IN_CS: "the user is not in the connector space of this domain: import the management agent",
    Receipt.NOT_JOINED: "the user is not joined to a person: `bastide join explain` says why",
    Receipt.NO_TARGETS: "the person has no account in any target of this domain",
    Receipt.OWN_ACCOUNT: "it is an account that passwords are set with; those are never passed on",
    Receipt.ECHO: "Bastide set this password itself; what it set is not passed on again",
    Receipt.DAILY_LIMIT: "the password was changed too often in 24 hours",
    Receipt.OUT_OF_DATE: "a newer change had been taken in before",
    Receipt.NOT_A_SOURCE: "the domain is not an enabled source, or has no targets",
    Receipt.STALE_SECRET: "the account had another password by then: a later change is on its way, or only a hash was set",
    Receipt.UNREADABLE: "it was encrypted to a key that this server does not have, or was damaged",
    Receipt.FUTURE: "it lies in the future: the clock of the domain controller is wrong, or ours",
    Receipt.TOO_OLD: "it is older than any change that a domain controller keeps",
    Receipt.OVERDUE: "it is too old to be believed, although nothing newer is known: the user must change the password again",
    Receipt.OTHER_ACCOUNT: "the account has another SID than the one that was imported, or none was: import the management agent, with objectSid",
    Receipt.UNFIT: f"the password is empty, or longer than {LONGEST} characters",
}
