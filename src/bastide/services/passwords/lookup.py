"""Find management agents and their objects by what people call them, and open the secret of an agent."""

from bastide.domain.errors import Ambiguous, InvalidInput, NotFound
from bastide.domain.ids import parse_id, typed
from bastide.domain.management_agents import CsId, CsObject, MaId, ManagementAgent
from bastide.services.ports import Sealer, UnitOfWork

#: Objects that hold the name of one somewhere: DNs contain each other, and so do values.
_LOOKED_AT = 1000


def find_agent(uow: UnitOfWork, name: str) -> ManagementAgent:
    """By name or id. Raises NotFound."""
    try:
        return uow.agents.by_name(name)
    except NotFound:
        try:
            return uow.agents.get(MaId(parse_id("agent", name)))
        except InvalidInput:
            raise NotFound(
                f"no management agent {typed(name)}", remedy="`bastide ma list` shows those there are"
            ) from None


def find_object(uow: UnitOfWork, name: str, agent: str = "") -> CsObject:
    """A CS object by id, by anchor, or by DN in whatever case; `agent` narrows it down. Raises NotFound, Ambiguous."""
    agents = (find_agent(uow, agent),) if agent else uow.agents.all()
    try:
        by_id = uow.space.many([CsId(parse_id("object", name))])
    except InvalidInput:
        by_id = {}
    found = [one for one in by_id.values() if any(one.ma == a.id for a in agents)]
    found = found or [one for a in agents for one in uow.space.by_anchor(a.id, [name]).values()]
    found = found or [one for a in agents for one in _by_dn(uow, a.id, name)]
    if not found:
        raise NotFound(
            f"no object {typed(name)} in the connector space",
            remedy="`bastide cs search` finds it; an object that was never imported is not there",
        )
    if len(found) > 1:
        names = {a.id: a.name for a in agents}
        raise Ambiguous(
            f"{typed(name)} is in the spaces of {', '.join(sorted(names[one.ma] for one in found))}",
            remedy="give its id" if agent else "name the agent",
        )
    return found[0]


def _by_dn(uow: UnitOfWork, agent: MaId, name: str) -> list[CsObject]:
    near = uow.space.search(ma=agent, text=name, link="", limit=_LOOKED_AT) if name else ()
    return [one for one in near if one.dn.casefold() == name.casefold()]


def secret_context(id: MaId) -> str:  # noqa: A002  # the port's word
    """What the secret of an agent is sealed to."""
    return f"ma:{id}"


def secret_of(uow: UnitOfWork, sealer: Sealer, id: MaId) -> str:  # noqa: A002  # the port's word
    """The secret of an agent, to be given to ConnectedSystems; empty if it has none. Raises StoreError."""
    sealed = uow.agents.secret(id)
    return sealer.open(sealed, secret_context(id)).decode() if sealed else ""
