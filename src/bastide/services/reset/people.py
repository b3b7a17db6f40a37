"""Whom a name means, and whether that person may reset a password here. Of every name the same is asked, and the answer is known to nobody outside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain.errors import NotConfigured, NotFound, Refused
from bastide.domain.ids import NAME_LIMIT, Sid, parse_name
from bastide.domain.people import Forest
from bastide.domain.reset.exclusion import EMERGENCY, OWN, PAM_USER, why_excluded
from bastide.domain.reset.gates import Rule, rule_for
from bastide.domain.reset.lockout import folded
from bastide.services.passwords.own_accounts import signs_in_as
from bastide.services.ports import Directory, Person, Store, UnitOfWork
from bastide.services.reset.ports import Settings

#: Names of groups are looked up again after this.
_REMEMBERED = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Found:
    """`rule` None: none fits. `excluded`: why; empty: may."""

    person: Person
    rule: Rule | None
    excluded: str


class People:
    """The accounts of one domain."""

    def __init__(
        self, *, store: Store, directory: Directory, settings: Settings, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._directory = directory
        self._settings = settings
        self._now = now
        self._resolved: tuple[datetime, tuple[Rule, ...], frozenset[Sid]] | None = None

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
        """None: there is no such person, or the account is disabled or expired. Raises DirectoryError, NotConfigured."""
        rules, excluded = self.rules()
        if not bare:
            return None
        try:
            person, groups = self._directory.find_caller(bare)
        except Refused:  # nobody, or several
            return None
        if folded(person.ref.name) != folded(bare) or not person.open_at(self._now()):
            return None
        return self._judged(person, groups, rules, excluded)

    def of(self, sid: Sid) -> Found | None:
        """As `find`, of somebody who is known."""
        rules, excluded = self.rules()
        try:
            person, groups = self._directory.find_caller(sid)
        except NotFound:
            return None
        return self._judged(person, groups, rules, excluded) if person.open_at(self._now()) else None

    def rules(self) -> tuple[tuple[Rule, ...], frozenset[Sid]]:
        """The rules with their groups, and the groups that are excluded. A group that is gone fits nobody in a rule; among the excluded it stops everything."""
        now = self._now()
        if self._resolved is not None and now - self._resolved[0] < _REMEMBERED:
            return self._resolved[1], self._resolved[2]
        rules = tuple(
            Rule(one.gates, groups, one.cooling)
            for one in self._settings.rules
            if (groups := frozenset(filter(None, map(self._group, one.groups)))) or not one.groups
        )
        excluded = frozenset(map(self._group, self._settings.excluded))
        if None in excluded:
            raise NotConfigured(
                "reset.excluded names a group that is not there, so nobody can reset a password",
                remedy="correct the name in bastide.toml",
            )
        kept = frozenset(sid for sid in excluded if sid is not None)
        self._resolved = (now, rules, kept)
        return rules, kept

    def _group(self, name: str) -> Sid | None:
        try:
            return self._directory.find_group(name.rpartition("\\")[2]).ref.sid
        except Refused:
            return None

    def _judged(
        self, person: Person, groups: frozenset[Sid], rules: tuple[Rule, ...], excluded: frozenset[Sid]
    ) -> Found:
        why = why_excluded(person.ref.sid, groups, protected=person.protected, excluded=excluded)
        if not why:
            with self._store.read() as uow:
                why = self._of_bastide(uow, person)
        return Found(person, rule_for(rules, groups | {person.ref.sid}), why)

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


def directory_of(forests: Mapping[Forest, Directory]) -> Directory:
    """Where everyday accounts are: CORP, and with a single forest that one."""
    return forests.get(Forest.CORP, forests[Forest.PRIV])
