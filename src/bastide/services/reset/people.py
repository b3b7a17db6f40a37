"""Whom a name means, and whether that person may reset a password here. Of every name the same is asked, and the answer is known to nobody outside.

(1) A name costs the directory the same questions, whoever it is: the page would tell by its time who exists. So `find` looks at the account of that name alone, once on each
    controller.
(2) A new password goes to all accounts that are joined to the person. `of` looks at all of them, as the help desk does (services/help_desk/tier.py), where nobody outside waits
    for the answer: before a code leaves, at each gate that was passed, before the choice.
(3) The commit of the choice asks once more what the database knows: an account that was joined meanwhile was looked at by nobody.
(4) Each reachable controller is asked: who is disabled or expired on one of them may not, and who is in a group on one of them is in it. `of` also follows chains of groups
    whose links are on different controllers.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bastide.domain.errors import Conflict, DirectoryDenied, NotConfigured, NotFound, Refused
from bastide.domain.ids import NAME_LIMIT, ObjectRef, Sid, parse_name
from bastide.domain.joins import CONNECTED
from bastide.domain.management_agents import CsId, MvId
from bastide.domain.people import Forest
from bastide.domain.reset.exclusion import EMERGENCY, JOINED, OWN, PAM_USER, RIGHTS, why_excluded
from bastide.domain.reset.gates import Rule, rule_for
from bastide.domain.reset.lockout import folded
from bastide.services.help_desk.tier import MOST_GROUPS, Tier
from bastide.services.passwords.own_accounts import signs_in_as
from bastide.services.ports import Directory, Group, Person, Store, UnitOfWork
from bastide.services.reset.ports import Settings

#: Names of groups are looked up again after this.
_REMEMBERED = timedelta(minutes=5)
#: BUILTIN\\Administrators, which is no person: asked for in the place of nobody.
_NOBODY = Sid("S-1-5-32-544")


@dataclass(frozen=True, slots=True)
class Found:
    """`rule` None: none fits. `excluded`: why; empty: may. `accounts`: those that are joined to the person, where they were looked at too."""

    person: Person
    rule: Rule | None
    excluded: str
    accounts: frozenset[CsId] = frozenset()


@dataclass(frozen=True, slots=True)
class _Groups:
    """By SID."""

    rules: tuple[Rule, ...]
    excluded: frozenset[Sid]
    guarded: frozenset[Sid]


class People:
    """The accounts of one domain."""

    def __init__(
        self,
        *,
        store: Store,
        directory: Directory,
        tier: Tier,
        settings: Settings,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._directory = directory
        self._tier = tier
        self._settings = settings
        self._now = now
        self._resolved: tuple[datetime, _Groups] | None = None

    def bare(self, account: str) -> str:
        """The account's name without the domain before or after it; empty: of another domain, or no name. Only this form finds somebody, so that no other spelling of a
        name counts apart from it.
        """
        try:
            name = parse_name("account", account[: NAME_LIMIT + 1])
        except Refused:
            return ""
        domain = self._settings.domain.casefold()
        before, slash, rest = name.rpartition("\\")
        if slash and before.casefold() not in {"corp", domain, domain.partition(".")[0]}:
            return ""
        name, at, after = rest.partition("@")
        if at and after.casefold() != domain:
            return ""
        return name

    def find(self, bare: str) -> Found | None:
        """(1) None: there is no such person, the account is disabled or expired, or nobody can say which groups it is in. Raises DirectoryError, NotConfigured, Conflict."""
        groups = self._groups()
        if not bare:
            return None
        person = self._named(bare)
        sid = _NOBODY if person is None else person.ref.sid
        try:
            account, above = self._directory.find_everywhere(sid)  # (4)
        except (Refused, DirectoryDenied):
            return None
        if person is None or folded(account.ref.name) != folded(bare) or not account.open_at(self._now()):
            return None
        return self._judged(account, above, groups)

    def of(self, sid: Sid) -> Found | None:
        """(2) As `find`, of somebody who is known."""
        groups = self._groups()
        try:
            person, above = self._directory.find_everywhere(sid)  # (4)
        except NotFound:
            return None
        if not person.open_at(self._now()):
            return None
        nested = self._directory.groups_everywhere(above | {sid}, most=MOST_GROUPS)
        above |= {group.ref.sid for group in nested.groups}
        with self._store.read() as uow:
            owner, accounts = self._joined(uow, person.ref)
        found = replace(self._judged(person, above, groups), accounts=accounts)
        if found.excluded:
            return found
        why = self._tier.above(sid, owner)
        return replace(found, excluded=f"{JOINED}: {why}") if why else found

    def require_as_judged(self, uow: UnitOfWork, found: Found) -> None:
        """(3) Raises Conflict."""
        _, accounts = self._joined(uow, found.person.ref)
        if accounts != found.accounts or self._of_bastide(uow, found.person):
            raise Conflict(
                "the accounts that are connected with yours changed at this moment", remedy="choose again"
            )

    def sid_of(self, bare: str) -> Sid | None:
        """Of the account of that name, disabled or not; None: there is none. Raises DirectoryError."""
        person = self._named(bare) if bare else None
        return None if person is None else person.ref.sid

    def rules(self) -> tuple[Rule, ...]:
        """With their groups by SID. Raises DirectoryError, NotConfigured, Conflict."""
        return self._groups().rules

    def _named(self, bare: str) -> Person | None:
        try:
            return self._directory.find_person(bare)
        except Refused:  # nobody, or several
            return None

    def _joined(self, uow: UnitOfWork, person: ObjectRef) -> tuple[MvId | None, frozenset[CsId]]:
        """What a new password goes to."""
        owner = owner_of(uow, self._settings.domain, person)
        if owner is None:
            return None, frozenset()
        return owner, frozenset(one.id for one in uow.space.of_mv(owner) if one.link in CONNECTED)

    def _groups(self) -> _Groups:
        """A group that is gone stops everything. Among those that exclude nobody could say who is; and those that a rule was for would go through the next one, which asks for
        less as a rule.
        """
        now = self._now()
        if self._resolved is not None and now - self._resolved[0] < _REMEMBERED:
            return self._resolved[1]
        rules = tuple(
            Rule(one.gates, self._sids("rules", one.groups), one.cooling) for one in self._settings.rules
        )
        excluded = self._sids("excluded", self._settings.excluded)
        found = _Groups(rules, excluded, self._tier.guarded())
        self._resolved = (now, found)
        return found

    def _sids(self, setting: str, names: Collection[str]) -> frozenset[Sid]:
        """Outsiders read what this says: no name. Raises NotConfigured, DirectoryError."""
        try:
            return frozenset(named_group(self._directory, name).ref.sid for name in names)
        except Refused:
            raise NotConfigured(
                f"reset.{setting} names a group that is not there, so nobody can reset a password",
                remedy="an administrator corrects the name in bastide.toml; `bastide validate` says which",
            ) from None

    def _judged(self, person: Person, above: frozenset[Sid], groups: _Groups) -> Found:
        why = why_excluded(person.ref.sid, above, protected=person.protected, excluded=groups.excluded)
        if not why and not groups.guarded.isdisjoint(above):
            why = RIGHTS
        if not why:
            with self._store.read() as uow:
                why = self._of_bastide(uow, person)
        return Found(person, rule_for(groups.rules, above | {person.ref.sid}), why)

    def _of_bastide(self, uow: UnitOfWork, person: Person) -> str:
        """What Bastide itself knows of the account."""
        sid = person.ref.sid
        if uow.users.by_sid(sid) is not None:
            return PAM_USER
        if any(one.account == sid for one in uow.envelopes.current()):
            return EMERGENCY
        names = {person.ref.name.casefold(), person.upn.casefold()}
        own = set(self._settings.own)
        for agent in uow.agents.all():
            own |= set(signs_in_as(agent, self._settings.domain.casefold()))
            if agent.source is not None and sid in agent.source.own_accounts:
                return OWN
        return OWN if names & own else ""


def named_group(directory: Directory, name: str) -> Group:
    """As the table [reset] writes it. Raises NotFound, Conflict for several, DirectoryError."""
    return directory.find_group(name.rpartition("\\")[2])


def directory_of(forests: Mapping[Forest, Directory]) -> Directory:
    """Where everyday accounts are: CORP, and with a single forest that one."""
    return forests.get(Forest.CORP, forests[Forest.PRIV])


def owner_of(uow: UnitOfWork, domain: str, account: ObjectRef) -> MvId | None:
    """Whose it is, by the objectGUID in the connector space of the domain's agent; None: nobody's. `domain`: casefolded."""
    agent = uow.agents.by_domain(domain)
    if agent is None:
        return None
    return next((one.mv for one in uow.space.by_anchor(agent.id, [account.guid]).values()), None)
