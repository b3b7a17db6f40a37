"""Make, change and remove management agents; their secrets; whether passwords come from them and go to them.

Of every change, in this order:

  (1) The caller administers.
  (2) Names, numbers and rules are right; no credential is named as an attribute; the settings hold no secret.
  (3) The kind of system accepts its settings.
  (4) A source reads the domain whose changes it is told of, and this server can ask that domain who its controllers are. Targets exist, and no password could come back to where it was changed (domain/sync_graph.py).
  (5) A secret is forgotten when kind or settings change: it would be shown to whatever the new settings lead to.
  (6) What was read under other rules is read again, and an import that runs loses the pen.
  (7) What the system says it is counts as a name of it (identity.py). It is asked before anything is written, and without the secret if the settings
      are new: that was not meant for them.
      Nothing becomes a target whose system never said it. A target that may be another system now, and could not be asked, is disabled with that
      change; to enable it asks with the secret.
  (8) A waiver of the secure connection has an audit record of its own.
"""

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from bastide.domain.audit import Event
from bastide.domain.errors import Conflict, InvalidInput
from bastide.domain.management_agents import Flow, JoinRule, MaId, ManagementAgent, check
from bastide.domain.people import Actor, Right, require, require_reader
from bastide.domain.sync_graph import domains_of, refuse_cycles
from bastide.services.events import by_actor
from bastide.services.pace import IMPORT
from bastide.services.passwords.identity import asked, leads_elsewhere, require_right_domain, together
from bastide.services.passwords.lookup import find_agent, secret_context, secret_of
from bastide.services.passwords.ports import ConnectedSystems
from bastide.services.passwords.sync import Course, Sync, pieces
from bastide.services.ports import Random, Sealer, Store, UnitOfWork

SECRET_LIMIT = 4096
#: Not part of what a person says.
_OWN = frozenset({"id", "version", "cookie", "imported_at", "run", "system"})
_NAMES_OF_SECRETS = frozenset(
    {"password", "passwd", "pwd", "secret", "bind_password", "passphrase", "token", "api_key"}
)
_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_DEEPEST = 8


@dataclass(frozen=True, slots=True)
class AgentDraft:
    """An agent as typed: `settings` holds all that needs no looking up; `targets`: names of agents that its source's changes go to."""

    agent: ManagementAgent
    targets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """An agent for people: targets by name, whether it has a secret, how many objects by link; `note`: what to know of its kind."""

    agent: ManagementAgent
    targets: tuple[str, ...]
    secret: bool
    objects: Mapping[str, int]
    note: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What `edit` did: before and after; rule to [old, new]; whether the secret was forgotten, and whether the target was disabled because nobody knows
    what it is now.
    """

    before: ManagementAgent
    after: Shown
    differences: Mapping[str, object]
    secret_forgotten: bool
    disabled: bool = False


class ManagementAgents:
    """The use cases of their administration. All raise NotAuthorized."""

    def __init__(
        self,
        *,
        store: Store,
        systems: ConnectedSystems,
        sealer: Sealer,
        random: Random,
        now: Callable[[], datetime],
        source_domains: frozenset[str] | None = None,
    ) -> None:
        """`source_domains`: those whose controllers would be admitted, in lower case; None: nothing comes in from the network, so any."""
        self._store = store
        self._source_domains = source_domains
        self._systems = systems
        self._sealer = sealer
        self._random = random
        self._now = now
        self._sync = Sync(store=store, random=random)

    def add(self, actor: Actor, draft: AgentDraft, *, dry_run: bool = False) -> Shown:
        """Make one. Raises InvalidInput, NotFound, Conflict."""
        require(actor, Right.ADMINISTER)  # (1)
        agent = replace(self._checked(draft), id=MaId(self._random.uuid()), version=0)
        said = self._asked(agent, "")  # (7)
        agent = replace(agent, system=said or ())
        _require_told(agent, said)
        with self._store.write() as uow:
            agent = self._aimed(uow, agent, draft.targets)
            uow.agents.add(agent)
            uow.audit.append(self._agent_event("ma.added", actor, agent, describe(agent)))
            self._tell_identity(uow, actor, (), agent)
            self._waiver(uow, actor, None, agent)
            self._plan(uow, agent)
            shown = self._shown(uow, agent)
            if not dry_run:
                uow.commit()
        return shown

    def edit(self, actor: Actor, name: str, draft: AgentDraft, *, dry_run: bool = False) -> Changed:
        """Replace all that a person can say of it. Raises as `add`."""
        require(actor, Right.ADMINISTER)  # (1)
        checked = self._checked(draft)
        with self._store.read() as uow:
            read = find_agent(uow, name)
            moved, on = leads_elsewhere(read, checked), _turned_on(read, checked)
            secret = secret_of(uow, self._sealer, read.id) if on and not moved else ""
        said = self._asked(checked, secret) if on or moved else read.system  # (7)
        with self._store.write() as uow:
            before = find_agent(uow, name)
            if checked.version not in {0, before.version}:
                raise _changed_meanwhile(before)
            _require_same(read, before)
            after, stopped = self._kept(before, checked, said)
            require_right_domain(after, after.system)  # (4)
            if on:
                _require_told(after, said)
            after = self._aimed(uow, after, draft.targets)
            changed = differences(before, after)
            if not changed:
                raise Conflict(f"management agent {before.name} is like that already: nothing was changed")
            forgotten = self._forget(uow, before, after)
            saved = uow.agents.save(after)
            data = {**changed, "secret": "forgotten"} if forgotten else changed
            uow.audit.append(self._agent_event("ma.changed", actor, saved, data))
            if stopped:
                uow.audit.append(self._agent_event("ma.disabled", actor, saved, {"because": _UNKNOWN}))
            self._tell_identity(uow, actor, before.system, saved)
            self._waiver(uow, actor, before, saved)
            self._plan(uow, saved)
            shown = self._shown(uow, saved)
            if not dry_run:
                uow.commit()
        return Changed(before, shown, changed, forgotten, stopped)

    def remove(self, actor: Actor, name: str, *, dry_run: bool = False) -> Shown:
        """Take it and its objects away; people who have no other connector go from the metaverse. Interrupted, it is to be repeated.

        Raises NotFound, Conflict.
        """
        require(actor, Right.ADMINISTER)  # (1)
        with self._store.read() as uow:
            agent = find_agent(uow, name)
            shown = self._shown(uow, agent)
            self._unused(uow, agent)
            ids = [cs.id for cs in uow.space.of_ma(agent.id)]
        if dry_run:
            return shown
        course = Course()
        with self._store.write() as uow:
            uow.agents.note(replace(uow.agents.get(agent.id), cookie="", run=""))  # (6)
            uow.commit()
        for piece in pieces(ids):
            with self._sync.transaction(course) as uow:
                self._sync.drop(uow, course, agent, piece)
        with self._store.write() as uow:
            self._unused(uow, agent)
            if uow.space.count(agent.id):
                raise Conflict(f"an import of {agent.name} was faster", remedy="remove it again")
            uow.agents.remove(agent.id)
            data = {
                **describe(agent),
                "objects": len(ids),
                "people_removed": course.statistics.people_removed,
            }
            uow.audit.append(self._agent_event("ma.removed", actor, agent, data))
            uow.commit()
        self._sync.join_loose(course)
        return shown

    def set_secret(self, actor: Actor, name: str, secret: str) -> Shown:
        """The secret it signs in with; empty: none. It is never shown again. Raises NotFound, InvalidInput."""
        require(actor, Right.ADMINISTER)  # (1)
        if len(secret) > SECRET_LIMIT or "\0" in secret:
            raise InvalidInput("secret", f"has at most {SECRET_LIMIT} characters, and no NUL")
        with self._store.write() as uow:
            agent = find_agent(uow, name)
            sealed = self._sealer.seal(secret.encode(), secret_context(agent.id)) if secret else b""
            uow.agents.set_secret(agent.id, sealed)
            kind = "ma.secret-set" if secret else "ma.secret-removed"
            uow.audit.append(self._agent_event(kind, actor, agent, {}))
            shown = self._shown(uow, agent)
            uow.commit()
        return shown

    def switch(
        self, actor: Actor, name: str, *, target: bool | None = None, source: bool | None = None
    ) -> Shown:
        """Enable or disable it as a target, as a source, or both; None leaves it. Raises NotFound, InvalidInput, Conflict."""
        require(actor, Right.ADMINISTER)  # (1)
        if target is None and source is None:
            raise InvalidInput("target", "say what is to be switched: target, source, or both")
        on = bool(target) or bool(source)
        with self._store.read() as uow:
            read = find_agent(uow, name)
            secret = secret_of(uow, self._sealer, read.id) if on else ""
        said = self._asked(read, secret) if on else None  # (7)
        with self._store.write() as uow:
            before = find_agent(uow, name)
            after = _switched(before, target=target, source=source)
            if on:
                _require_same(read, before)
                after = replace(after, system=together(said or (), before.system))
            if target:
                _require_told(after, said)
            if source:
                self._require_known(after)  # (4)
            if on:
                refuse_cycles([*(one for one in uow.agents.all() if one.id != after.id), after])
            changed = differences(before, after)
            if not changed:
                raise Conflict(f"management agent {before.name} is like that already: nothing was changed")
            saved = uow.agents.save(after)
            kind = "ma.enabled" if on else "ma.disabled"
            uow.audit.append(self._agent_event(kind, actor, saved, changed))
            self._tell_identity(uow, actor, before.system, saved)
            shown = self._shown(uow, saved)
            uow.commit()
        return shown

    def show(self, actor: Actor, name: str) -> Shown:
        """One. Raises NotFound."""
        require_reader(actor)
        with self._store.read() as uow:
            return self._shown(uow, find_agent(uow, name))

    def all(self, actor: Actor) -> tuple[Shown, ...]:
        """All, by name."""
        require_reader(actor)
        with self._store.read() as uow:
            return tuple(self._shown(uow, agent) for agent in uow.agents.all())

    # --------------------------------------------------------------------------------------------------------------- steps

    def _checked(self, draft: AgentDraft) -> ManagementAgent:
        agent = check(draft.agent)
        refuse_secrets("settings", agent.settings)  # (2)
        self._systems.check(agent.connector, agent.settings)  # (3)
        if agent.source is not None and len(domains_of(agent)) > 1:
            raise InvalidInput(
                "source.domain",
                f"is {agent.source.domain}, but the settings lead to another domain",
                remedy="settings.domain and source.domain name the same domain; another one has an agent of its own",
            )
        if draft.targets and agent.source is None:
            raise InvalidInput("source.targets", "an agent that is no source has no targets")
        self._require_known(agent)
        return agent

    def _require_known(self, agent: ManagementAgent) -> None:
        """(4). Raises InvalidInput: of another domain nothing could ever come in, and nobody would be told why."""
        known = self._source_domains
        if agent.source is None or known is None or agent.source.domain in known:
            return
        raise InvalidInput(
            "source.domain",
            f"{agent.source.domain} is no source domain of this server, which knows {', '.join(sorted(known))}",
            remedy="set up [passwords] in bastide.toml first, if it is not there; name the domain below [[passwords.source_domains]]; restart the service",
        )

    def _asked(self, agent: ManagementAgent, secret: str) -> tuple[str, ...] | None:
        """What its system says it is now; None: it cannot be read: (7), (4). Raises InvalidInput."""
        said = asked(self._systems, agent, secret)
        require_right_domain(agent, said or agent.system)
        return said

    @staticmethod
    def _aimed(uow: UnitOfWork, agent: ManagementAgent, targets: tuple[str, ...]) -> ManagementAgent:
        """With its targets found: (4)."""
        others = [one for one in uow.agents.all() if one.id != agent.id]
        if agent.source is not None:
            ids = tuple(dict.fromkeys(find_agent(uow, name).id for name in targets))
            if agent.id in ids:
                raise Conflict(f"{agent.name} cannot be a target of its own")
            _refuse_second(agent.source.domain, others)
            agent = replace(agent, source=replace(agent.source, targets=ids))
        if any(one.name.casefold() == agent.name.casefold() for one in others):
            raise Conflict(f"there is a management agent {agent.name!r} already")
        refuse_cycles([*others, agent])
        return agent

    @staticmethod
    def _kept(
        before: ManagementAgent, checked: ManagementAgent, said: tuple[str, ...] | None
    ) -> tuple[ManagementAgent, bool]:
        """The new rules with what is not said by people, and whether it had to be disabled as a target: (7). What was read under other rules is read
        again: (6).
        """
        same, moved = _reads(before) == _reads(checked), leads_elsewhere(before, checked)
        after = replace(
            checked,
            id=before.id,
            version=before.version,
            cookie=before.cookie if same else "",
            imported_at=before.imported_at,
            run=before.run if same else "",
            system=together(said or (), () if moved else before.system),
        )
        unknown = moved and not said and (said is None or bool(before.system))
        if not (unknown and before.passwords.enabled and after.passwords.enabled):
            return after, False
        return replace(after, passwords=replace(after.passwords, enabled=False)), True

    @staticmethod
    def _forget(uow: UnitOfWork, before: ManagementAgent, after: ManagementAgent) -> bool:
        """(5)."""
        if not leads_elsewhere(before, after) or not uow.agents.secret(before.id):
            return False
        uow.agents.set_secret(before.id, b"")
        return True

    def _waiver(
        self, uow: UnitOfWork, actor: Actor, before: ManagementAgent | None, after: ManagementAgent
    ) -> None:
        """(8)."""
        was = True if before is None else before.passwords.require_secure
        if was and not after.passwords.require_secure:
            uow.audit.append(self._agent_event("ma.security-waived", actor, after, {}))
        if not was and after.passwords.require_secure:
            uow.audit.append(self._agent_event("ma.security-required", actor, after, {}))

    def _tell_identity(
        self, uow: UnitOfWork, actor: Actor, was: tuple[str, ...], after: ManagementAgent
    ) -> None:
        """(7)."""
        if was != after.system:
            data = {"system": [list(was), list(after.system)]}
            uow.audit.append(self._agent_event("ma.identified", actor, after, data))

    def _plan(self, uow: UnitOfWork, agent: ManagementAgent) -> None:
        if agent.imports.every is not None:
            uow.work.poke(IMPORT, agent.id, self._now() + min(agent.imports.every, _SOON))

    @staticmethod
    def _unused(uow: UnitOfWork, agent: ManagementAgent) -> None:
        for other in uow.agents.all():
            if other.id != agent.id and other.source is not None and agent.id in other.source.targets:
                raise Conflict(
                    f"{agent.name} is a target of {other.name}",
                    remedy=f"`bastide ma edit {other.name}` first",
                )

    def _shown(self, uow: UnitOfWork, agent: ManagementAgent) -> Shown:
        names = {one.id: one.name for one in uow.agents.all()}
        targets = () if agent.source is None else agent.source.targets
        return Shown(
            agent,
            tuple(names.get(target, target) for target in targets),
            secret=bool(uow.agents.secret(agent.id)),
            objects=uow.space.count(agent.id),
            note=self._systems.note(agent.connector),
        )

    def _agent_event(
        self, kind: str, actor: Actor, agent: ManagementAgent, data: Mapping[str, object]
    ) -> Event:
        return by_actor(kind, self._now(), actor, subject=agent.id, subject_name=agent.name, data=data)


#: A new schedule begins this soon, so that its secret can be set before.
_SOON = timedelta(minutes=1)
_UNKNOWN = "its settings lead elsewhere, and the system there has not said yet what it is"


def disabled(agent: ManagementAgent) -> ManagementAgent:
    """Neither a target nor a source any more."""
    source = agent.source and replace(agent.source, enabled=False)
    return replace(agent, passwords=replace(agent.passwords, enabled=False), source=source)


def _turned_on(before: ManagementAgent, after: ManagementAgent) -> bool:
    """Whether it becomes a target or a source by this."""
    was, now = before.source, after.source
    as_source = now is not None and now.enabled and not (was is not None and was.enabled)
    return as_source or (after.passwords.enabled and not before.passwords.enabled)


def _require_told(agent: ManagementAgent, said: tuple[str, ...] | None) -> None:
    """A target has said once what it is: (7). Raises Conflict."""
    if agent.passwords.enabled and said is None and not agent.system:
        raise Conflict(
            f"{agent.name} cannot be enabled as a target: its system cannot be asked what it is",
            remedy="set its secret (`bastide ma secret`) and see that the system answers; enable it then. The log of the service says what it answered",
        )


def _require_same(read: ManagementAgent, now: ManagementAgent) -> None:
    """What (7) asked, and whether it had to be asked, is about the one that was read. Raises Conflict."""
    if (read.id, read.version) != (now.id, now.version):
        raise _changed_meanwhile(now)


def _changed_meanwhile(agent: ManagementAgent) -> Conflict:
    return Conflict(
        f"management agent {agent.name} was changed by somebody else",
        remedy="read it again, then change it",
    )


def _reads(agent: ManagementAgent) -> tuple[object, ...]:
    """What decides which objects there are and what becomes of them. The name decides between flows of equal rank."""
    return (agent.connector, agent.settings, agent.rules, agent.name)


def _refuse_second(domain: str, others: Collection[ManagementAgent]) -> None:
    """A change of a domain has one agent that it belongs to. Raises Conflict."""
    for other in others:
        if other.source is not None and other.source.domain == domain:
            raise Conflict(f"{other.name} is the source for {domain} already")


def _switched(agent: ManagementAgent, *, target: bool | None, source: bool | None) -> ManagementAgent:
    if target is not None:
        agent = replace(agent, passwords=replace(agent.passwords, enabled=target))
    if source is not None:
        if agent.source is None:
            raise InvalidInput(
                "source", f"{agent.name} is not set up as a source", remedy="give it a [source] with a domain"
            )
        agent = replace(agent, source=replace(agent.source, enabled=source))
    return agent


def refuse_secrets(field_name: str, value: object, depth: int = 0) -> None:
    """Settings are shown and audited. Raises InvalidInput for what looks like a secret in them."""
    if depth > _DEEPEST:
        raise InvalidInput(field_name, "is nested too deep")
    if isinstance(value, str) and _IN_URL.search(value):
        raise InvalidInput(field_name, "holds a password in a URL", remedy="`bastide ma secret` sets it")
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if str(name).casefold() in _NAMES_OF_SECRETS and inner not in ("", None):
                raise InvalidInput(
                    f"{field_name}.{name}", "a secret is no setting", remedy="`bastide ma secret` sets it"
                )
            refuse_secrets(f"{field_name}.{name}", inner, depth + 1)
    if isinstance(value, list | tuple):
        for inner in value:
            refuse_secrets(field_name, inner, depth + 1)


def describe(agent: ManagementAgent) -> dict[str, object]:
    """All that a person can say of an agent, in words and numbers, for audit and people."""
    return {f.name: plain(getattr(agent, f.name)) for f in fields(agent) if f.name not in _OWN}


def differences(before: ManagementAgent, after: ManagementAgent) -> dict[str, object]:
    """Field to [old, new], for those that differ."""
    old, new = describe(before), describe(after)
    return {name: [old[name], new[name]] for name in old if old[name] != new[name]}


def plain(value: object) -> object:
    """JSON of a rule: lengths of time in seconds, join pairs and flows in words."""
    match value:
        case Flow():
            told: object = f"{value.source} -> {value.target} ({value.rank})"
        case JoinRule():
            told = [f"{source} = {target}" for source, target in value.pairs]
        case timedelta():
            told = int(value.total_seconds())
        case Enum():
            told = value.value
        case Mapping():
            told = {str(name): plain(inner) for name, inner in value.items()}
        case list() | tuple():
            told = [plain(inner) for inner in value]
        case bool() | int() | float() | None:
            told = value
        case _:
            told = _fields(value) if is_dataclass(value) else str(value)
    return told


def _fields(value: object) -> dict[str, object]:
    return {one.name: plain(getattr(value, one.name)) for one in fields(value)}  # type: ignore[arg-type]
