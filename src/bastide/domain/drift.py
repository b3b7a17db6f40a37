"""Drift: what a directory shows and nobody asked for. Each has a rule, an object, an owner, a reason in words, and an action by rule. Pure.

A finding stands as long as what it says is true; what was true once (a sign-in, a difference) stands until somebody accepts it. In order:

  (1) A member of a PAM group that no request explains, before or after the directory was read; in a group that others keep too, one that was not accepted.
  (2) A member that a settled request demands, before and after, and that is not there.
  (3) A PAM group or a PRIV account that was renamed, moved, rescoped, disabled or deleted; a PRIV account that was made easier to misuse; a CORP group that was
      rescoped or deleted.
  (4) An account that is open though nothing keeps it open; one that is kept alive and was closed, though its person may sign in.
  (5) Permissions or a trust that are not what was accepted, or permissions that were shown and are not any more.
  (6) Who hides a group's members hides no drift: while its permissions, or those of what it lies in, are not the accepted ones, no finding of its members
      is over.
  (7) What is said of an object as a whole, (3) and (5), is one finding for what differs now. When something else differs it is another one: it is told, and
      who accepts the first does not accept the second.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from bastide.domain.differing import ACCOUNT, GONE, GROUP, SCOPE, TRUST, changes, digest, listed
from bastide.domain.ids import Sid
from bastide.domain.monitored import Kind, Moment, Seen, Watched, shows_members
from bastide.domain.people import Forest, PamUser
from bastide.domain.roles import Carrier, PamGroup

#: So many at once, and more than half of what PAM stands on: the right to read was lost, or the wrong domain answered. Nothing is concluded from it.
LOST_AT_ONCE = 10
#: 48 bits tell the drifts of one rule apart.
_KEY = 12


class Rule(StrEnum):
    """What kind of drift."""

    STRANGER = "stranger"
    OTHER_MEMBER = "other-member"
    MISSING_MEMBER = "missing-member"
    GROUP_CHANGED = "group-changed"
    ACCOUNT_CHANGED = "account-changed"
    OPEN_ACCOUNT = "open-account"
    CLOSED_ACCOUNT = "closed-account"
    USED_OUTSIDE = "used-outside"
    RIGHTS_CHANGED = "rights-changed"
    TRUST_CHANGED = "trust-changed"
    MISSED_CHANGE = "missed-change"
    UNREADABLE = "unreadable"
    MOMENTARY_MEMBER = "momentary-member"
    NESTED_MEMBER = "nested-member"
    UNSEEN_MEMBER = "unseen-member"


class Action(StrEnum):
    """What is done about it. `repair`: within what is delegated to Bastide; the two that repair differ in what is told."""

    REPORT = "report"
    REPAIR = "repair"
    REPAIR_AND_ALERT = "repair and alert"


#: What Bastide may put right: `member` of its groups and of the listed CORP groups, and accountExpires of PAM users.
REPAIRABLE = frozenset({Rule.STRANGER, Rule.MISSING_MEMBER, Rule.OPEN_ACCOUNT, Rule.CLOSED_ACCOUNT})
#: What is opened by itself could be opened by whoever administers CORP, where it shows that a person is back: an administrator of PRIV says that it may.
_ASKED_FOR = frozenset({Rule.CLOSED_ACCOUNT})
DEFAULTS: Mapping[Rule, Action] = {
    rule: Action.REPAIR_AND_ALERT if rule in REPAIRABLE - _ASKED_FOR else Action.REPORT for rule in Rule
}
#: These say what was once: they stand until they are accepted.
ONCE = frozenset({Rule.USED_OUTSIDE, Rule.MISSED_CHANGE, Rule.MOMENTARY_MEMBER, Rule.UNSEEN_MEMBER})
#: Of these the accepted state is what an administrator can move.
ACCEPTABLE = ONCE | {
    Rule.OTHER_MEMBER, Rule.NESTED_MEMBER, Rule.GROUP_CHANGED, Rule.ACCOUNT_CHANGED, Rule.CLOSED_ACCOUNT, Rule.RIGHTS_CHANGED, Rule.TRUST_CHANGED,
}  # fmt: skip


#: What is said of members: over only where members are surely shown.
OF_MEMBERS = frozenset({Rule.STRANGER, Rule.OTHER_MEMBER, Rule.MISSING_MEMBER, Rule.NESTED_MEMBER})

#: (7): one for each object.
OF_OBJECTS = frozenset({Rule.GROUP_CHANGED, Rule.ACCOUNT_CHANGED, Rule.RIGHTS_CHANGED, Rule.TRUST_CHANGED})


@dataclass(frozen=True, slots=True)
class Drift:
    """One thing that is not as it should be. `detail`: what tells it from others of the same object (a SID, a controller, a digest of what differs)."""

    rule: Rule
    domain: Forest
    guid: str
    name: str
    detail: str
    reason: str
    remedy: str

    @property
    def key(self) -> str:
        """The same thing has the same key at every look, short enough to be typed."""
        said = f"{self.guid} {self.detail}".encode()
        return f"{self.domain.value}-{self.rule.value}-{hashlib.sha256(said).hexdigest()[:_KEY]}"


@dataclass(frozen=True, slots=True)
class Finding:
    """A drift on record. `tried`: when it was last repaired, to no avail so far. `wrong`: why a repair failed."""

    drift: Drift
    owner: str
    action: Action
    found_at: datetime
    tried: datetime | None = None
    wrong: str = ""
    #: Of SIDs in it, as they were called when they could be looked up.
    names: Mapping[Sid, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return self.drift.key

    @property
    def repairs(self) -> bool:
        return self.action is not Action.REPORT and self.drift.rule in REPAIRABLE


@dataclass(frozen=True, slots=True)
class Rules:
    """Data, from the settings: what is done about which drift, and whose it is."""

    actions: Mapping[Rule, Action]
    owners: Mapping[Rule, str]
    owner: str

    def judge(self, drift: Drift, now: datetime) -> Finding:
        """The drift as a finding."""
        action = self.actions.get(drift.rule, DEFAULTS[drift.rule])
        return Finding(drift, self.owners.get(drift.rule, self.owner), action, now)


def drifts(
    watched: Mapping[str, Watched], people: Mapping[str, Watched], moment: Moment, side: Forest
) -> tuple[Drift, ...]:
    """All that stand in one domain. `people`: the CORP persons by GUID, as last seen."""
    found: list[Drift] = []
    for group in moment.after.groups:
        found += _of_group(group, watched, moment, side)
    if side is Forest.PRIV:
        for user in moment.after.users:
            found += _of_account(user, watched.get(user.priv.guid), people.get(user.corp.guid), moment)
    for one in watched.values():
        found += _of_object(one)
    return tuple(map(addressed, found))


def addressed(drift: Drift) -> Drift:
    """A remedy that can be copied: with the drift's own key."""
    return replace(drift, remedy=drift.remedy.replace(" accept DRIFT ", f" accept {drift.key} "))


# ---------------------------------------------------------------------------------------------------------------- groups


def _of_group(
    group: PamGroup, watched: Mapping[str, Watched], moment: Moment, side: Forest
) -> Iterator[Drift]:
    if side is Forest.PRIV:
        if (one := watched.get(group.priv.guid)) is not None:
            yield from _shape(one, side, "PAM group", moved=True)
            if one.gone_at is None:
                yield from _members(group, one, moment)
                yield from _missing(group, one, moment)
    elif group.carrier is not Carrier.DIRECT and (one := watched.get(group.corp.guid)) is not None:
        yield from _shape(one, side, "the CORP group behind a PAM group", moved=False)
        if one.gone_at is None:
            yield from _link(group, one, moment)
            yield from _others(group, one, {group.priv.sid}, side)


def _members(group: PamGroup, one: Watched, moment: Moment) -> Iterator[Drift]:
    """(1), on the side of PRIV. In a group that Bastide made nobody else has business."""
    explained = moment.explained(group.id)
    accounts = {user.priv.sid: user for user in moment.after.users}
    for sid in sorted(set(one.now.members) - explained):
        if not group.is_ours and (sid in one.accepted.members or sid not in accounts):
            continue
        who = accounts[sid].priv.name if sid in accounts else str(sid)
        yield _drift(
            Rule.STRANGER,
            one,
            str(sid),
            f"{who} is a member of {one.now.name}, and no request explains it",
            f"take {who} out of {one.now.name}, and ask who put it there",
        )
    if not group.is_ours:
        yield from _others(group, one, explained | accounts.keys(), Forest.PRIV)


def _others(group: PamGroup, one: Watched, known: Iterable[Sid], side: Forest) -> Iterator[Drift]:
    """(1), where others keep members too: it is theirs to say."""
    for sid in sorted(set(one.now.members) - set(one.accepted.members) - set(known)):
        yield Drift(
            Rule.OTHER_MEMBER,
            side,
            one.guid,
            one.now.name,
            str(sid),
            f"{sid} became a member of {one.now.name}, which {group.name} gives by request only",
            f"take it out of {one.now.name}, or accept it: `bastide monitor accept DRIFT --reason TEXT`",
        )


def _missing(group: PamGroup, one: Watched, moment: Moment) -> Iterator[Drift]:
    """(2)."""
    wanted = moment.demanded(group.id)
    for user in moment.after.users:
        if user.id in wanted and user.priv.sid not in one.now.members:
            yield _drift(
                Rule.MISSING_MEMBER,
                one,
                str(user.priv.sid),
                f"{user.priv.name} has access by a request, and was taken out of {one.now.name}",
                f"end the request if that was meant (`bastide kill --user {user.name}`), or put {user.priv.name} back",
            )


def _link(group: PamGroup, one: Watched, moment: Moment) -> Iterator[Drift]:
    """(1) and (2), of the PRIV group in the CORP group."""
    if not group.needs_link:
        return
    there = group.priv.sid in one.now.members
    if there and not moment.linked(group):
        yield _drift(
            Rule.STRANGER,
            one,
            str(group.priv.sid),
            f"{group.name} is a member of {one.now.name}, and no request uses it",
            f"take {group.name} out of {one.now.name}",
        )
    elif not there and moment.must_link(group):
        yield _drift(
            Rule.MISSING_MEMBER,
            one,
            str(group.priv.sid),
            f"requests use {group.name}, and it was taken out of {one.now.name}",
            f"end the requests if that was meant, or put {group.name} back",
        )


def _shape(one: Watched, side: Forest, what: str, *, moved: bool) -> Iterator[Drift]:
    """(3). Where a group of others only moves, the database follows and nothing is wrong."""
    changed = changes(one, GROUP if moved else SCOPE)
    if changed:
        yield Drift(
            Rule.GROUP_CHANGED,
            side,
            one.guid,
            one.accepted.name,
            digest(changed),
            f"{what} {one.accepted.name}: {'; '.join(changed)}",
            "undo it in the directory, or accept it: `bastide monitor accept DRIFT --reason TEXT`",
        )


# -------------------------------------------------------------------------------------------------------------- accounts


def _of_account(
    user: PamUser, one: Watched | None, person: Watched | None, moment: Moment
) -> Iterator[Drift]:
    if one is None:
        return
    changed = changes(one, ACCOUNT)
    if changed:
        yield _drift(
            Rule.ACCOUNT_CHANGED,
            one,
            digest(changed),
            f"the PRIV account {one.accepted.name}: {'; '.join(changed)}",
            "undo it in the directory, or accept it: `bastide monitor accept DRIFT --reason TEXT`",
        )
    yield from _open_or_closed(user, one, person, moment)


def _open_or_closed(user: PamUser, one: Watched, person: Watched | None, moment: Moment) -> Iterator[Drift]:
    """(4)."""
    if one.gone_at is None and one.now.open_at(moment.now) and (why := _why_closed(user, person, moment)):
        yield _drift(
            Rule.OPEN_ACCOUNT,
            one,
            "",
            f"the PRIV account {one.now.name} is open, and {why}",
            f"set accountExpires of {one.now.name} to a time that is over, or disable it",
        )
    if one.gone_at is None and _was_closed(user, one, moment) and is_here(person, moment.now):
        yield _drift(
            Rule.CLOSED_ACCOUNT,
            one,
            "",
            f"the PRIV account {one.now.name} is kept alive and was closed; a request opens it until its end and no longer",
            f"set accountExpires of {one.now.name} to never if it is to be open again, or accept it: `bastide monitor accept DRIFT --reason TEXT`",
        )


def _was_closed(user: PamUser, one: Watched, moment: Moment) -> bool:
    """Its end came before the one that was accepted. While a grant opens it, that is so still."""
    end, accepted = one.now.expires, one.accepted.expires
    if not (user.kept_alive and user.enabled and one.now.enabled) or end is None:
        return False
    return (accepted is None or end < accepted) and (end <= moment.now or _has_access(user, moment))


def is_here(person: Watched | None, now: datetime) -> bool:
    """Whether the directory shows that a person may sign in: silence is no."""
    return person is not None and person.gone_at is None and person.now.open_at(now)


def of_kept_accounts(
    watched: Mapping[str, Watched], people: Mapping[str, Watched], moment: Moment
) -> frozenset[str]:
    """Keys of (4), of accounts that are kept alive: these alone follow a person in another domain, which moves when PRIV does not."""
    return frozenset(
        found.key
        for user in moment.after.users
        if user.kept_alive and (one := watched.get(user.priv.guid)) is not None
        for found in _open_or_closed(user, one, people.get(user.corp.guid), moment)
    )


def _why_closed(user: PamUser, person: Watched | None, moment: Moment) -> str:
    """(4). Empty: it may be open."""
    if _has_access(user, moment):
        return ""
    if person is not None and person.gone_at is not None:
        return "the person it belongs to is gone"
    if person is not None and person.now.enabled is not None and not person.now.open_at(moment.now):
        return "the person it belongs to is disabled or expired"
    return "" if user.kept_alive else "no request opens it"


def _has_access(user: PamUser, moment: Moment) -> bool:
    return any(request.user == user.id for pam in (moment.before, moment.after) for request in pam.live)


def used_outside(account: Watched, controller: str, at: datetime) -> Drift:
    """A sign-in that no request covers."""
    found = _drift(
        Rule.USED_OUTSIDE,
        account,
        f"{controller} {at:%Y-%m-%dT%H:%M:%SZ}",
        f"{account.now.name} signed in at {controller}, {at:%Y-%m-%d %H:%M:%S} UTC, outside of any request",
        "ask whose sign-in it was; if nobody knows, set another password. Then `bastide monitor accept DRIFT --reason TEXT`",
    )
    return addressed(found)


# --------------------------------------------------------------------------------------------------------------- objects


def _of_object(one: Watched) -> Iterator[Drift]:
    """(5)."""
    if one.gone_at is None and one.now.kind is Kind.PERSON and one.now.enabled is None:
        yield _drift(
            Rule.UNREADABLE,
            one,
            "",
            f"whether {one.now.name} is enabled, and until when, is not shown to us",
            "run the delegation script of that forest again: `bastide delegation`",
        )
    if one.now.kind is Kind.TRUST:
        changed = changes(one, TRUST)
        if changed:
            yield _drift(
                Rule.TRUST_CHANGED,
                one,
                digest(changed),
                f"the trust with {one.accepted.name}: {'; '.join(changed)}",
                "see `bastide domain test --trust`; undo it, or accept it: `bastide monitor accept DRIFT --reason TEXT`",
            )
    if one.gone_at is None and one.now.rights is None and one.accepted.rights is not None:
        yield _drift(
            Rule.UNREADABLE,
            one,
            "permissions",
            f"the permissions of {one.now.dn} were shown to us and are not any more; whoever took them from our sight may hide members too",
            "look at its permissions as an administrator, and run the delegation script of that forest again: `bastide delegation`",
        )
    if one.now.kind is Kind.PLACE and one.is_missed:
        yield _drift(
            Rule.RIGHTS_CHANGED,
            one,
            GONE,
            f"permissions of {one.now.dn}, which all that lies in it inherits: it is {GONE}",
            "look at it as an administrator, and run the delegation script of that forest again: `bastide delegation`. If it was deleted, accept it:"
            " `bastide monitor accept DRIFT --reason TEXT`",
        )
    if one.gone_at is None and None not in (one.now.rights, one.accepted.rights):
        before, after = set(one.accepted.rights or ()), set(one.now.rights or ())
        if before != after:
            added, taken = sorted(after - before), sorted(before - after)
            yield _drift(
                Rule.RIGHTS_CHANGED,
                one,
                digest([*(f"+{line}" for line in added), *(f"-{line}" for line in taken)]),
                f"permissions of {one.now.dn}: {listed('added', added)}{listed('taken away', taken)}".rstrip(
                    "; "
                ),
                "compare with `bastide delegation`; undo it, or accept it: `bastide monitor accept DRIFT --reason TEXT`",
            )


def stays(finding: Finding, one: Watched | None, places: Collection[Watched]) -> bool:
    """(6): whether what a finding says of the members of `one` cannot be over, though it is not seen any more. `places`: of its domain."""
    if finding.drift.rule not in OF_MEMBERS or one is None:
        return False
    return not shows_members(one, places)


def missed(domain: Forest, before: Seen | None, after: Seen | None, fields: Iterable[str]) -> Drift:
    """A full read showed what no delta had said."""
    shown = after or before
    assert shown is not None  # noqa: S101  # one of the two is there: nothing differs from nothing
    found = Drift(
        Rule.MISSED_CHANGE,
        domain,
        shown.guid,
        shown.name,
        ",".join(fields),
        f"a full read of {shown.dn} showed what no change had told: {', '.join(fields)}",
        "look at the replication of that domain's controllers. Then `bastide monitor accept DRIFT --reason TEXT`",
    )
    return addressed(found)


def unreadable(domain: Forest, name: str, lost: int, stood_on: int) -> Drift:
    """Too much is gone at once to be true. Both count people, accounts and groups of PAM; groups within groups and containers would hide how many."""
    return Drift(
        Rule.UNREADABLE,
        domain,
        "",
        name,
        "",
        f"{lost} of {stood_on} objects of {name} that PAM stands on are not shown any more: nothing is concluded from it",
        "run the delegation script of that forest again: `bastide delegation`",
    )


def too_many_lost(lost: int, stood_on: int) -> bool:
    """Whether to doubt the read instead of the objects."""
    return lost > LOST_AT_ONCE and lost * 2 > stood_on


def _drift(rule: Rule, one: Watched, detail: str, reason: str, remedy: str) -> Drift:
    return Drift(rule, one.domain, one.guid, one.now.name, detail, reason, remedy)
