"""Who can reach which group by which role, as the directories stand now."""

from bastide.domain.access_graph import MOST, AccessGraph, Way, chosen
from bastide.domain.errors import Conflict
from bastide.domain.people import Actor, require_reader
from bastide.services.eligibility import Eligibility, Eligible
from bastide.services.ports import Store
from bastide.services.reach import Reach, Reached


class AccessGraphs:
    """The use case. Raises NotAuthorized."""

    def __init__(self, *, store: Store, eligibility: Eligibility, reach: Reach) -> None:
        self._store = store
        self._eligibility = eligibility
        self._reach = reach

    def graph(self, actor: Actor, *, person: str = "", role: str = "", group: str = "") -> AccessGraph:
        """Filtered by names; empty ones do not filter. Raises Conflict if it is too big; what a directory does not say is a note."""
        require_reader(actor)
        with self._store.read() as uow:
            roles = [one for one in uow.roles.all() if not role or one.name.casefold() == role.casefold()]
            groups = {one.id: one for one in uow.groups.all()}
        people, problems = self._eligibility.people(roles)
        reached = self._reach.of(groups.values())
        ways = [
            way
            for one in people
            for privilege in one.role.privileges
            if privilege in reached
            for way in _ways(one, reached[privilege])
        ]
        found = chosen(set(ways), person=person, role=role, group=group)
        if len(found) > MOST:
            raise Conflict(
                f"the graph has {len(found)} ways; {MOST} are the limit",
                remedy="choose a person, a role or a group: --person, --role, --group",
            )
        notes = [*problems, *(said for one in reached.values() for said in one.problems)]
        return AccessGraph(found, tuple(dict.fromkeys(notes)))


def _ways(one: Eligible, reached: Reached) -> list[Way]:
    why_not = ""
    if one.user is None:
        why_not = "not prepared"
    elif not one.enabled:
        why_not = "cannot sign in, or is switched off"
    elif not one.role.enabled:
        why_not = "the role is switched off"
    own = Way(one.name, one.role.name, reached.group.corp.name, reached.protected, why_not=why_not)
    return [
        own,
        *(
            Way(one.name, one.role.name, further.name, further.protected, nested=True, why_not=why_not)
            for further in reached.further
        ),
    ]
