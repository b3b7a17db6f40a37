"""What is known of a person, read anew for each call: from the directories, and from what Bastide itself knows. Nothing is remembered: who was made an administrator a
minute ago is out of reach now, on whatever controller that was done. The help desk asks it, and so does self-service reset (services/reset/people.py): one judgment for
everything that sets a password.

(1) Each reachable controller of the person's domain is asked: groups and protection count if one of them says so.
(2) All that is found there is looked up in the other forest, on each of its controllers too.
(3) Of whom no controller knows, or not all groups can be read, nobody can say it: out of reach.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

from bastide.domain.errors import Conflict, NotFound
from bastide.domain.help_desk import Member, Standing, require_reach, why_above
from bastide.domain.ids import Sid
from bastide.domain.joins import CONNECTED
from bastide.domain.management_agents import CsId, CsObject, ManagementAgent, MvId
from bastide.domain.people import Actor, Forest
from bastide.services.help_desk.ports import Settings
from bastide.services.ports import Directory, Store, UnitOfWork

_SID = "objectsid"
_NAMES = frozenset({"samaccountname", "userprincipalname", "uid", "cn"})
#: Settings of agents that hold the name they sign in with.
_SIGN_IN = ("principal", "bind_name", "user")
MOST_GROUPS = 2000


class Tier:
    """Reads standings, and refuses."""

    def __init__(self, *, store: Store, forests: Mapping[Forest, Directory], settings: Settings) -> None:
        self._store = store
        self._forests = forests
        self._settings = settings

    def require(self, actor: Actor, person: MvId) -> None:
        """Raises NotFound, NotAuthorized, Conflict, DirectoryUnavailable."""
        require_reach(self._operator(actor), self._standing(person), self.guarded())

    def why(self, actor: Actor, person: MvId) -> str:
        """Why the person is out of reach; empty: in reach. Raises NotFound, Conflict, DirectoryUnavailable."""
        return why_above(self._operator(actor), self._standing(person), self.guarded())

    def above(self, account: Sid | None, person: MvId | None) -> str:
        """As `why`, for whoever acts: a reset has no operator. `account`: surely the person's, if one is known; `person` None: nobody joined it. Raises as `why`."""
        return why_above((), self._standing(person, account), self.guarded())

    def members(self, person: MvId, among: Collection[CsId] | None = None) -> tuple[Sid, ...]:
        """The accounts of a person in domains; `among`: of these. Raises NotFound."""
        with self._store.read() as uow:
            found = [one for one in _objects(uow, person) if among is None or one.id in among]
        return tuple(sid for one in found for sid in _sids(one))

    def guarded(self) -> frozenset[Sid]:
        """The groups of (4) of domain/help_desk.py. Raises Conflict for a group that is not there: nobody could say who was to be protected."""
        with self._store.read() as uow:
            carried = frozenset(sid for group in uow.groups.all() for sid in (group.corp.sid, group.priv.sid))
        return carried | {self._group(name) for name in self._settings.guarded}

    def _operator(self, actor: Actor) -> frozenset[Sid]:
        with self._store.read() as uow:
            user = uow.users.by_sid(actor.sid)
        return frozenset({actor.sid}) if user is None else user.sids | {actor.sid}

    def _standing(self, person: MvId | None, account: Sid | None = None) -> Standing:
        with self._store.read() as uow:
            found = [] if person is None else _objects(uow, person)
            agents = {one.id: one for one in uow.agents.all()}
            joined = frozenset(sid for one in found for sid in _sids(one))
            alone = frozenset(() if account is None else {account}) - joined
            sids = joined | alone
            users = [user for sid in sids if (user := uow.users.by_sid(sid)) is not None]
            emergency = any(one.account in sids for one in uow.envelopes.current())
            own_sids = {
                sid
                for agent in agents.values()
                if agent.source is not None
                for sid in agent.source.own_accounts
            }
        names = self._settings.own_names | frozenset(_signs_in(agents.values()))
        named = [(one.dn, sid) for one in found for sid in _sids(one)] + [(sid, sid) for sid in alone]
        known = [(dn, self._member(sid)) for dn, sid in named]
        unknown = [one.dn for one in found if not _sids(one) and _of_domain(agents[one.ma])]
        unknown += [dn for dn, member in known if member is None]
        members = [member for _, member in known if member is not None]
        return Standing(
            sids=sids | {sid for user in users for sid in user.sids},
            members=tuple(members),
            pam_user=bool(users),
            emergency=emergency,
            own=not sids.isdisjoint(own_sids) or any(not names.isdisjoint(_called(one)) for one in found),
            unknown=tuple(unknown),
        )

    def _member(self, sid: Sid) -> Member | None:
        """None: no directory knows it, or not all its groups. Raises DirectoryUnavailable."""
        for home in self._forests.values():
            try:
                person, groups = home.find_everywhere(sid)  # (1)
            except NotFound:
                continue
            for forest in (home, *(other for other in self._forests.values() if other is not home)):  # (2)
                above = forest.groups_everywhere(groups | {sid}, most=MOST_GROUPS)
                if not above.complete or above.unread:  # (3)
                    return None
                groups |= {group.ref.sid for group in above.groups}
            return Member(person.ref.sid, groups, person.protected)
        return None  # (3)

    def _group(self, name: str) -> Sid:
        """Of either forest, as [rights] writes it."""
        prefix, separator, rest = name.partition("\\")
        forest = Forest(prefix.lower()) if separator else Forest.PRIV
        directory = self._forests.get(forest)
        try:
            if directory is not None:
                return directory.find_group(rest if separator else name).ref.sid
        except NotFound:
            pass
        raise Conflict(
            f"bastide.toml names the group {name}, which is not there, so the help desk reaches nobody, and nobody resets a password",
            remedy="an administrator corrects [rights] or [help_desk] in bastide.toml",
        )


def _objects(uow: UnitOfWork, person: MvId) -> list[CsObject]:
    owner = uow.metaverse.get(person)
    return [one for one in uow.space.of_mv(owner.id) if one.link in CONNECTED]


def _sids(found: CsObject) -> tuple[Sid, ...]:
    return tuple(
        Sid.parse(value)
        for name, values in found.attributes.items()
        if name.casefold() == _SID
        for value in values
    )


def _of_domain(agent: ManagementAgent) -> bool:
    return agent.source is not None or agent.connector == "active-directory"


def _called(found: CsObject) -> frozenset[str]:
    named = {
        value.casefold()
        for name, values in found.attributes.items()
        if name.casefold() in _NAMES
        for value in values
    }
    return frozenset(named | {found.dn.casefold(), found.anchor.casefold()})


def _signs_in(agents: Iterable[ManagementAgent]) -> Iterator[str]:
    for agent in agents:
        for setting in _SIGN_IN:
            name = str(agent.settings.get(setting, "")).casefold()
            if name:
                yield name
                yield name.rpartition("\\")[2].partition("@")[0]
