"""What people do with requests: ask, prove, decide, extend, end. Each is one commit of state, audit record and work row.

The subject of a request is always the person who calls. Status, approver and votes are never taken from a caller (CVE-2025-1969).
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain import approvals, policy, requests
from bastide.domain.errors import Conflict, InvalidInput, NotAuthorized, NotFound
from bastide.domain.grants import enforcer_for
from bastide.domain.ids import RequestId, RoleId, parse_id, parse_text, typed
from bastide.domain.once import is_done
from bastide.domain.people import Actor, PamUser, Right, is_fresh, require, require_fresh_mfa, require_reader
from bastide.domain.policy import Draft
from bastide.domain.requests import (
    GRANTING,
    KILLED,
    LIVE,
    OPEN,
    Decision,
    Place,
    Request,
    Signature,
    State,
    Vote,
)
from bastide.domain.roles import PamGroup, Role
from bastide.services.caps import Caps, keep_cap
from bastide.services.closing import close_request
from bastide.services.events import on_request
from bastide.services.kill import Aim
from bastide.services.lookup import OWN_ROLES, find_role, find_user
from bastide.services.offers import RoleOffer, offers
from bastide.services.once import asked_once, extended_once, made_before, marked, voted_once
from bastide.services.pace import ACCOUNT
from bastide.services.ports import Directory, Random, Store, UnitOfWork
from bastide.services.recovery import require_open

REASON_LIMIT = 400
HISTORY_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Ballot:
    """A stage of a request: what it still needs, what was voted in it, and whether the caller is one of its approvers."""

    stage: str
    missing: int
    votes: tuple[Vote, ...]
    mine: bool


class Requests:
    """The use cases of candidates, approvers and administrators around requests."""

    def __init__(
        self, *, store: Store, priv: Directory, caps: Caps, random: Random, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._priv = priv
        self._caps = caps
        self._random = random
        self._now = now

    # ------------------------------------------------------------------------------------------------------ candidates

    def offers(self, actor: Actor) -> tuple[RoleOffer, ...]:
        """The roles the caller may ask for. Raises NotAuthorized."""
        require(actor, Right.USE)
        with self._store.read() as uow:
            return offers(uow, _user_of(uow, actor), actor, self._now())

    def submit(
        self,
        actor: Actor,
        role_name: str,
        draft: Draft,
        *,
        proved: bool = False,
        dry_run: bool = False,
    ) -> Request:
        """Ask for a role. `proved`: a second factor that is needed must be there now, it is not waited for. `dry_run`: every rule is asked, nothing is
        kept. `draft.key`: the request that a call with this key made before is the answer. Raises NotAuthorized, NotFound, InvalidInput, Conflict, MfaRefused, DirectoryUnavailable.
        """
        require(actor, Right.USE)
        with self._store.read() as uow:
            user = _user_of(uow, actor)
            once = asked_once(user, role_name, draft)
            if (done := made_before(uow, once)) is not None:
                return done
            require_open(uow)
            role = find_role(uow, role_name, remedy=OWN_ROLES)
            held = {g for r in uow.requests.of_users([user.id], LIVE) for g in r.privileges}
            new = [group for group in uow.groups.many(role.privileges) if group.id not in held]
        self._refuse_below_floor(user, role)
        self._refuse_standing(user, new)
        cap = self._caps.of(user.priv)
        with self._store.write() as uow:
            if (done := made_before(uow, once)) is not None:
                return done
            require_open(uow)
            now = self._now()
            role = uow.roles.get(role.id)
            keep_cap(uow, user, cap, now)
            request = policy.submit(
                draft,
                id=once.request_id if once is not None else RequestId(self._random.uuid()),
                role=role,
                groups=uow.groups.many(role.privileges),
                user=user,
                actor=actor,
                open_requests=uow.requests.of_users([user.id], OPEN),
                now=now,
                once=once,
            )
            if request.state is State.PENDING_MFA and (proved or is_fresh(actor.mfa, now, request.factor)):
                proof = require_fresh_mfa(actor.mfa, now, request.factor)
                request = requests.prove(request, proof, now)
            request = approvals.auto_approve(request, role, actor=actor, user=user, now=now)
            uow.requests.add(request)
            asked = {
                "ttl": int(request.ttl.total_seconds()),
                "justification": request.justification,
                "ticket": request.ticket,
            }
            uow.audit.append(
                on_request("request.submitted", now, actor, request, method=request.method, **asked)
            )
            _wake(uow, request, now)
            if not dry_run:
                uow.commit()
        return request

    def _refuse_below_floor(self, user: PamUser, role: Role) -> None:
        enforcer = enforcer_for(user, link_ttl=self._priv.capabilities().link_ttl)
        if enforcer.strength < role.floor.strength:
            raise Conflict(
                f"the directory can enforce {enforcer.value} only; {role.name} demands {role.floor.value}",
                remedy="lower the role's floor, or make the account dormant between grants",
            )

    def _refuse_standing(self, user: PamUser, groups: Collection[PamGroup]) -> None:
        """A standing member would be made temporary by nothing, and would lose the standing right at the end: refuse, and say what to do."""
        by_guid = {group.priv.guid: group for group in groups if group.id not in user.owed}
        seen = self._priv.observe([user.priv.sid]).values()
        states = [accounts[user.priv.sid] for accounts in seen if user.priv.sid in accounts]
        if not states:
            raise Conflict(
                f"the PRIV account of {user.name} is gone", remedy="ask an administrator to prepare it again"
            )
        for guid in frozenset().union(*(state.groups for state in states)) & by_guid.keys():
            raise Conflict(
                f"{user.priv.name} is a standing member of {by_guid[guid].priv.name} already",
                remedy="ask an administrator to take the account out of the group; then ask again",
            )

    def prove(self, actor: Actor, request_id: str) -> Request:
        """Take the caller's fresh second factor for a request that waits for it. Raises NotFound, Conflict, MfaRefused."""
        require(actor, Right.USE)
        with self._store.write() as uow:
            now = self._now()
            user = _user_of(uow, actor)
            before = _own(uow, user, request_id)
            require_open(uow)
            proof = require_fresh_mfa(actor.mfa, now, before.factor)
            after = requests.prove(before, proof, now)
            after = approvals.auto_approve(after, uow.roles.get(after.role), actor=actor, user=user, now=now)
            after = uow.requests.save(after)
            uow.audit.append(on_request("request.mfa", now, actor, after, method=proof.method))
            _wake(uow, after, now)
            uow.commit()
        return after

    def close(
        self, actor: Actor, request_id: str, reason: str = "", *, begun: bool = True, dry_run: bool = False
    ) -> Request:
        """End one's own access early, or withdraw what is not active yet; without `begun` only that. Raises NotFound, Conflict."""
        require(actor, Right.USE)
        with self._store.write() as uow:
            now = self._now()
            before = _own(uow, _user_of(uow, actor), request_id)
            text = _own_reason(reason)
            if not begun and before.state in GRANTING:
                raise Conflict("the access has begun: it is ended, not withdrawn")
            after = close_request(uow, before, text, now, actor)
            if not dry_run:
                uow.commit()
        return after

    def give_back(self, actor: Actor, role_name: str, reason: str = "", *, dry_run: bool = False) -> Request:
        """End all of one's own access by this role now. Gives the latest of the requests. Raises NotFound, Conflict."""
        require(actor, Right.USE)
        with self._store.write() as uow:
            now = self._now()
            user, role = _user_of(uow, actor), find_role(uow, role_name, remedy=OWN_ROLES)
            mine = [r for r in uow.requests.of_users([user.id], GRANTING) if r.role == role.id]
            if not mine:
                raise Conflict(f"you have no access by {role.name} that could be given back")
            text = _own_reason(reason)
            closed = [close_request(uow, one, text, now, actor) for one in mine]
            if not dry_run:
                uow.commit()
        return max(closed, key=lambda one: one.created_at)

    def extend(
        self, actor: Actor, request_id: str, by: timedelta, *, key: str = "", dry_run: bool = False
    ) -> Request:
        """Ask for a later end of one's own active access; once, if the call has a `key`. Raises NotFound, Conflict, MfaRefused, InvalidInput."""
        require(actor, Right.USE)
        if by < timedelta(seconds=1):
            raise InvalidInput("by", "must be at least one second")
        with self._store.write() as uow:
            now = self._now()
            before = _own(uow, _user_of(uow, actor), request_id)
            once = extended_once(before, key, by)
            if is_done(before.once, once):
                return before
            require_open(uow)
            role = uow.roles.get(before.role)
            user = uow.users.get(before.user)
            if not user.enabled or not policy.is_candidate(role, user, actor.sids):
                raise NotAuthorized(f"{user.name} is no longer a candidate of {role.name}")
            if not role.extension or not role.enabled:
                raise Conflict(
                    f"{role.name} does not allow extensions",
                    remedy="ask for the role again: grants overlap without a gap",
                )
            if role.stages:
                raise Conflict(
                    f"{role.name} needs approval, so its access is not extended without one",
                    remedy="ask for the role again: the new grant overlaps the old one without a gap",
                )
            if before.needs_mfa:
                require_fresh_mfa(actor.mfa, now, before.factor)
            after = requests.extend(before, by, role.ttl.maximum, now)
            after = uow.requests.save(marked(after, once))
            uow.audit.append(
                on_request("request.extension-asked", now, actor, after, until=after.last_end().isoformat())
            )
            uow.work.poke(ACCOUNT, after.user, now)
            if not dry_run:
                uow.commit()
        return after

    def mine(self, actor: Actor, *, limit: int = 100, before: Place | None = None) -> tuple[Request, ...]:
        """The caller's own requests, newest first."""
        require(actor, Right.USE)
        with self._store.read() as uow:
            return uow.requests.history(
                user=_user_of(uow, actor).id, limit=min(limit, HISTORY_LIMIT), before=before
            )

    def show(self, actor: Actor, request_id: str) -> Request:
        """One request, for its person, its approvers, auditors and administrators; for others it does not exist. Raises NotFound."""
        with self._store.read() as uow:
            request = uow.requests.get(RequestId(parse_id("request", request_id)))
            user = uow.users.by_sid(actor.sid)
            if user is not None and request.user == user.id:
                return request
            if actor.rights & {Right.ADMINISTER, Right.AUDIT} or _may_decide(uow, request, actor, user):
                return request
        raise _absent(request_id)

    def missing(self, shown: Collection[Request]) -> Mapping[RequestId, Mapping[str, int]]:
        """Stage to the approvals it still needs, for requests the caller was shown; empty where none is waited for, or the role is gone."""
        waiting = [request for request in shown if request.state is State.PENDING_APPROVAL]
        known: dict[RoleId, Role] = {}
        if waiting:
            with self._store.read() as uow:
                known = {role.id: role for role in uow.roles.all()}
        empty: Mapping[str, int] = {}
        needed = {r.id: approvals.missing(r, known[r.role]) for r in waiting if r.role in known}
        return {request.id: needed.get(request.id, empty) for request in shown}

    def person(self, actor: Actor) -> PamUser | None:
        """The PAM user that the caller is, with either account; None: the caller is none."""
        with self._store.read() as uow:
            return uow.users.by_sid(actor.sid)

    def current(self, actor: Actor) -> tuple[Request, ...]:
        """The caller's own requests that are not over, newest first; none for who is no PAM user."""
        require(actor, Right.USE)
        with self._store.read() as uow:
            user = uow.users.by_sid(actor.sid)
            mine = uow.requests.of_users([user.id], OPEN) if user is not None else ()
            return tuple(sorted(mine, key=lambda r: r.created_at, reverse=True))

    def gives(self, shown: Collection[Request]) -> Mapping[RequestId, tuple[PamGroup, ...]]:
        """The PAM groups that requests the caller was shown give. One that was deleted since is left out."""
        with self._store.read() as uow:
            known = {group.id: group for group in uow.groups.many({g for r in shown for g in r.privileges})}
        return {r.id: tuple(known[g] for g in r.privileges if g in known) for r in shown}

    # ------------------------------------------------------------------------------------------------------- approvers

    def to_approve(self, actor: Actor) -> tuple[Request, ...]:
        """Requests that wait for the caller's decision, oldest first."""
        require(actor, Right.APPROVE)
        with self._store.read() as uow:
            user = uow.users.by_sid(actor.sid)
            now = self._now()
            pending = uow.requests.in_states({State.PENDING_APPROVAL})
            wanted = [r for r in pending if r.pending_until > now and _may_decide(uow, r, actor, user)]
            return tuple(sorted(wanted, key=lambda r: r.created_at))

    def ballots(self, actor: Actor, shown: Request) -> tuple[Ballot, ...]:
        """The stages of a request that the caller was shown, in the order of its role; none if the role is gone."""
        with self._store.read() as uow:
            user = uow.users.by_sid(actor.sid)
            try:
                role = uow.roles.get(shown.role)
            except NotFound:
                return ()
            mine = _may_decide(uow, shown, actor, user)
        needed = approvals.missing(shown, role)
        return tuple(
            Ballot(
                stage.name,
                needed.get(stage.name, 0),
                tuple(vote for vote in shown.votes if vote.stage == stage.name),
                mine=mine and approvals.may_approve(stage, actor, user),
            )
            for stage in role.stages
        )

    def decide(
        self,
        actor: Actor,
        request_id: str,
        decision: Decision,
        reason: str = "",
        *,
        stage: str = "",
        signature: Signature | None = None,
        key: str = "",
    ) -> Request:
        """Vote on a request, in the named stage or the first that is the caller's; once, if the call has a `key`. `signature`: out of SecurityKeys.sign. Raises NotAuthorized, NotFound, Conflict, MfaRefused, InvalidInput."""
        require(actor, Right.APPROVE)
        with self._store.write() as uow:
            now = self._now()
            before = uow.requests.get(RequestId(parse_id("request", request_id)))
            user = uow.users.by_sid(actor.sid)
            if not _may_decide(uow, before, actor, user) and (user is None or before.user != user.id):
                raise _absent(request_id)
            once = voted_once(actor, user, before, key, decision, reason, stage)
            if is_done(before.once, once):
                return before
            if decision is Decision.APPROVE:
                require_open(uow)
            after = approvals.decide(
                before,
                uow.roles.get(before.role),
                requester=uow.users.get(before.user),
                voter=actor,
                voter_user=user,
                decision=decision,
                reason=reason,
                stage=stage,
                now=now,
                signature=signature,
                once=once,
            )
            after = uow.requests.save(after)
            vote = after.votes[-1]
            uow.audit.append(
                on_request(
                    f"request.vote.{decision.value}",
                    now,
                    actor,
                    after,
                    stage=vote.stage,
                    reason=vote.reason,
                    mfa=vote.proof.method if vote.proof is not None else "",
                    signed=vote.signature is not None,
                )
            )
            if after.state is State.REJECTED:
                uow.audit.append(on_request("request.rejected", now, actor, after))
            _wake(uow, after, now)
            uow.commit()
        return after

    def voted(
        self, actor: Actor, request_id: str, decision: Decision, reason: str, *, stage: str, key: str
    ) -> Request | None:
        """The request, if the caller's vote by a call with this key is in it: a signature is good for one call. Raises NotFound, Conflict."""
        request = self.show(actor, request_id)
        user = self.person(actor)
        done = is_done(request.once, voted_once(actor, user, request, key, decision, reason, stage))
        return request if done else None

    # -------------------------------------------------------------------------------------------------- administrators

    def kill(
        self,
        actor: Actor,
        reason: str,
        *,
        request: str = "",
        role: str = "",
        user: str = "",
        everything: bool = False,
        dry_run: bool = False,
    ) -> tuple[Request, ...]:
        """The kill switch: end all open requests that match (kill.Aim). `dry_run`: nothing is kept, and nothing left to end is no error. Raises NotAuthorized,
        NotFound, Conflict, InvalidInput.
        """
        require(actor, Right.ADMINISTER)
        aim = Aim(request, role, user, everything=everything)
        aim.check()
        text = parse_text("reason", reason, REASON_LIMIT)
        if not text:
            raise InvalidInput("reason", "the kill switch needs a reason")
        with self._store.write() as uow:
            now = self._now()
            hit = aim.hits(uow)
            # One that is named is refused in words of its own.
            left = [one for one in hit if aim.request or one.state is not State.CLOSING]
            if not hit or not (left or dry_run):
                raise NotFound(
                    "no open request matches: nothing was ended",
                    remedy="`bastide request list --all` shows what is open; what is Closing ends already",
                )
            uow.audit.append(aim.event(actor, now, text, len(left)))
            ended = tuple(close_request(uow, one, f"{KILLED}{text}", now, actor) for one in left)
            if not dry_run:
                uow.commit()
        return ended

    def all(
        self, actor: Actor, *, user: str = "", limit: int = 100, before: Place | None = None
    ) -> tuple[Request, ...]:
        """Everybody's requests, or one PAM user's by name or id, newest first. Raises NotAuthorized, NotFound."""
        require_reader(actor)
        with self._store.read() as uow:
            chosen = find_user(uow, user).id if user else None
            return uow.requests.history(user=chosen, limit=min(limit, HISTORY_LIMIT), before=before)

    def open(self, actor: Actor) -> tuple[Request, ...]:
        """Everybody's requests that are not over, newest first. Raises NotAuthorized."""
        require_reader(actor)
        with self._store.read() as uow:
            return uow.requests.in_states(OPEN)[::-1]


def _user_of(uow: UnitOfWork, actor: Actor) -> PamUser:
    user = uow.users.by_sid(actor.sid)
    if user is None:
        raise NotAuthorized(
            f"{actor.name} is not a PAM user", remedy="ask an administrator for `bastide pam user add`"
        )
    return user


def _own_reason(text: str) -> str:
    """Why a person ends what is their own. Raises InvalidInput: the words of the kill switch say what it ended, and nothing else."""
    said = parse_text("reason", text, REASON_LIMIT) or "by the person"
    if said.casefold().startswith(KILLED.strip()):
        raise InvalidInput(
            "reason", "begins with the words of the kill switch", remedy="say it in other words"
        )
    return said


def _own(uow: UnitOfWork, user: PamUser, request_id: str) -> Request:
    """A request of the caller's own; any other does not exist for them."""
    request = uow.requests.get(RequestId(parse_id("request", request_id)))
    if request.user != user.id:
        raise _absent(request_id)
    return request


def _absent(request_id: str) -> NotFound:
    """In the words of the store: whoever may not see a request does not learn that it exists."""
    return NotFound(f"there is no request {typed(request_id)}")


def _may_decide(uow: UnitOfWork, request: Request, actor: Actor, user: PamUser | None) -> bool:
    if Right.APPROVE not in actor.rights or (user is not None and request.user == user.id):
        return False
    try:
        role = uow.roles.get(request.role)
    except NotFound:
        return False
    return any(approvals.may_approve(stage, actor, user) for stage in role.stages)


def _wake(uow: UnitOfWork, request: Request, now: datetime) -> None:
    """The worker looks at the account when something is to be done: now, at the start, or when the request is over."""
    due = now if request.state is State.PROCESSING else request.next_due()
    if due is not None:
        uow.work.poke(ACCOUNT, request.user, due)
