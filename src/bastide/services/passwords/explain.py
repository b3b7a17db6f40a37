"""What became of a user's passwords, in plain words: what came in, what each target said, what happens next."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.errors import NotFound
from bastide.domain.ids import typed
from bastide.domain.management_agents import CsObject, Link, ManagementAgent
from bastide.domain.passwords import REASONS, Code, Delivery, Proof, Receipt, State
from bastide.domain.people import Actor, require_reader
from bastide.services.passwords.queue import Past, agent_names, past
from bastide.services.ports import Store, UnitOfWork

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Story:
    """One change: when, what became of it, and a line for each target. `references` name it everywhere."""

    reference: str
    changed_at: datetime
    received_at: datetime
    controller: str
    receipt: Receipt
    summary: str
    targets: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """`standing`: what would happen to a change that comes now. `stories`: the last changes, newest first."""

    user: str
    standing: tuple[str, ...]
    stories: tuple[Story, ...]


class Explain:
    """The use case of `bastide passwords explain`."""

    def __init__(self, *, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now

    def user(self, actor: Actor, user: str) -> Explanation:
        """`user`: account name or objectGUID. Raises NotAuthorized; NotFound if nothing is known of the user, neither a change nor an object."""
        require_reader(actor)
        now = self._now()
        with self._store.read() as uow:
            names = agent_names(uow)
            found = uow.changes.history(user=user, before=None, limit=_SHOWN)
            pasts = [past(change, deliveries, names) for change, deliveries in found]
            standing = tuple(_standing(uow, user))
            coming = tuple(_coming(uow, heard=bool(pasts)))
        if not pasts and not standing:
            raise NotFound(
                f"nothing is known of {typed(user)}",
                remedy="give the account name or the objectGUID; `bastide passwords coverage` shows whom no notification came for",
            )
        enabled = (
            ()
            if self._enabled()
            else ("Password synchronization is switched off: nothing is taken in and nothing delivered.",)
        )
        return Explanation(user, (*enabled, *standing, *coming), tuple(_story(one, now) for one in pasts))

    def _enabled(self) -> bool:
        with self._store.read() as uow:
            return uow.switch.enabled()


def _standing(uow: UnitOfWork, user: str) -> Iterator[str]:
    """For each object of a source that goes by this name."""
    agents = {agent.id: agent for agent in uow.agents.all()}
    for agent in agents.values():
        if agent.source is None:
            continue
        for found in uow.space.search(ma=agent.id, text=user, link="", limit=_SHOWN):
            if not _is_called(found, user):
                continue
            yield _joined(found, agent)
            if found.mv is None:
                continue
            others = [o for o in uow.space.of_mv(found.mv) if o.ma in agent.source.targets and o.ma in agents]
            for other in others:
                yield f"{agents[other.ma].name}: {_readiness(agents[other.ma])} {other.dn}."
            if not others:
                yield f"No target of {agent.name} has an account of this person: a change goes nowhere."


def _coming(uow: UnitOfWork, *, heard: bool) -> Iterator[str]:
    """What has not come in yet."""
    if not heard:
        yield "No change of this user has come in yet."
    for one in uow.contacts.all():
        if one.waiting:
            yield f"{one.host} had {one.waiting} changes of its users waiting when it was last heard, at {_at(one.heard_at)}."


def _is_called(found: CsObject, user: str) -> bool:
    wanted = user.casefold()
    names = {value.casefold() for value in found.attributes.get("sAMAccountName", ())}
    return wanted == found.anchor.casefold() or wanted in names


def _joined(found: CsObject, agent: ManagementAgent) -> str:
    if found.mv is not None:
        how = (
            "by hand"
            if found.link is Link.MANUAL
            else f"by its rules ({found.because})"
            if found.because
            else "by its rules"
        )
        return f"{found.dn} is in the connector space of {agent.name} and joined to a person {how}."
    if found.link is Link.CONFLICT:
        return f"{found.dn} is in the connector space of {agent.name}, but several persons fit, so it is joined to none: {found.because}."
    return f"{found.dn} is in the connector space of {agent.name}, but joined to nobody: its password goes nowhere."


def _readiness(agent: ManagementAgent) -> str:
    if not agent.passwords.enabled:
        return "password management is not enabled here, so no change is set for"
    if agent.passwords.shadow:
        return "shadow mode: of the next change everything is done but the write, for"
    return "the next change is set for"


def _story(one: Past, now: datetime) -> Story:
    change = one.change
    if change.receipt is Receipt.STAGED:
        done = sum(item.delivery.state is State.DELIVERED for item in one.items)
        summary = (
            f"It was taken in from {change.controller} and delivered to {done} of {len(one.items)} targets."
        )
    else:
        summary = f"It came from {change.controller} and was not passed on: {REASONS[change.receipt]}."
    lines = tuple(f"{item.agent}: {outcome(item.delivery, now)}" for item in one.items)
    return Story(
        change.reference,
        change.stamp.changed_at,
        change.received_at,
        change.controller,
        change.receipt,
        summary,
        lines,
    )


def outcome(delivery: Delivery, now: datetime) -> str:
    """One delivery in a sentence, with what happens next."""
    tries = f"{delivery.attempts} {'try' if delivery.attempts == 1 else 'tries'}"
    if delivery.state is State.DELIVERED and delivery.shadow:
        return f"shadow mode: it would have been set for {delivery.dn}; nothing was written."
    if delivery.state is State.DELIVERED:
        return f"{delivery.dn} has the password since {_at(delivery.attempted_at)} ({tries}). {_PROOFS[delivery.proof]}"
    if delivery.state is State.CLEARED:
        return f"an administrator cleared the queue before {delivery.dn} had it ({tries}). Change the password again."
    said = _SAID[delivery.code] if delivery.code else "it has not been tried yet"
    detail = f" ({delivery.detail})" if delivery.detail else ""
    if delivery.state is State.FAILED:
        last = " No try is left." if delivery.retry_limit_reached else " This is never tried again."
        return f"{delivery.dn} did not get it after {tries}: {said}{detail}.{last}"
    if delivery.due is None or delivery.due <= now:
        return f"on its way to {delivery.dn}: {said}{detail}."
    return f"{delivery.dn} has not got it after {tries}: {said}{detail}. Next try at {_at(delivery.due)}."


def _at(moment: datetime | None) -> str:
    return moment.isoformat(timespec="seconds") if moment else "an unknown time"


_PROOFS = {
    Proof.NOT_ASKED: "Whether it signs in was not tried.",
    Proof.PROVED: "A sign-in with it was tried and worked.",
    Proof.NOT_PROVED: "The target accepted it, and then refused a sign-in with it.",
    Proof.NOT_TRIED: "A sign-in was not tried: the account is locked or near it, or the target cannot.",
}

_SAID = {
    Code.SUCCESS: "it was accepted",
    Code.OUT_OF_DATE: "a newer password took its place",
    Code.NOT_ENABLED: "password management is not enabled for the management agent",
    Code.NOT_CONFIGURED: "the management agent has no way to set passwords",
    Code.OBJECT_MISSING: "the account is gone, or belongs to somebody else now",
    Code.POLICY: "the password policy there refuses this password",
    Code.SET_UNSUPPORTED: "the management agent can change passwords, but not set them",
    Code.KEY_GONE: "nobody can open it any more",
    Code.OUT_OF_REACH: "the person was out of reach, or the account that was reset was closed, when the target could be asked",
    Code.UNAVAILABLE: "the target did not answer",
    Code.DENIED: "the target refused the write",
    Code.CREDENTIALS: "the target refused the account of the management agent",
    Code.INSECURE: "the connection to the target is not known to be secure",
    Code.FAILED: "the target reported an error",
}
