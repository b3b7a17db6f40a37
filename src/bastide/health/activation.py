"""Why one request is not what somebody expects: its state, whose turn it is, the row of work that moves it, what each controller shows, and when its tickets end.

The steps are walked as in diagnose.py, up to the first error.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bastide.domain import approvals
from bastide.domain.errors import NotFound
from bastide.domain.health import Finding, Severity
from bastide.domain.ids import RequestId, parse_id
from bastide.domain.people import Forest, PamUser
from bastide.domain.requests import GRANTING, LIVE, PENDING, Request, State
from bastide.domain.roles import PamGroup, Role
from bastide.health.checks.work import Row, rows_of
from bastide.health.diagnose import Seen, Step
from bastide.health.look import bad, good, unasked
from bastide.health.world import World
from bastide.services.pace import ACCOUNT, LINK
from bastide.services.ports import AccountState

#: A worker takes what is due within a second, and a controller is asked at most every 30 s.
_LATE = timedelta(minutes=1)
_AFTER = "see work.overdue of `bastide validate`: no worker of this partition runs"


def steps_of(world: World, name: str) -> tuple[str, tuple[Step, ...]]:
    """Raises NotFound, InvalidInput."""
    with world.store().read() as uow:
        request = uow.requests.get(RequestId(parse_id("request", name)))
        user = uow.users.get(request.user)
        groups = uow.groups.many(set(request.privileges))
        try:
            role = uow.roles.get(request.role)
        except NotFound:  # it was removed since
            role = None
    now = world.clock.now()
    title = f"request {request.id}: {request.role_name} for {request.user_name}"
    return title, (
        Step("state", lambda: judge_state(request, now)),
        Step("whose turn", lambda: judge_turn(request, role)),
        Step(
            "work",
            lambda: judge_work(
                request, {ACCOUNT: {user.id: request.user_name}, LINK: linked(groups)}, rows_of(world), now
            ),
        ),
        Step("PRIV controllers", lambda: _in_priv(world, request, user, groups, now)),
        Step("CORP controllers", lambda: _in_corp(world, request, groups)),
        Step("tickets", lambda: judge_tickets(request, now)),
    )


def linked(groups: Sequence[PamGroup]) -> dict[str, str]:
    """Id to name of those that have a link on the CORP side, which is a piece of work of its own."""
    return {group.id: group.name for group in groups if group.needs_link}


def normal(seen: Sequence[Seen]) -> str:
    """Of a walk without a cause: where the request is, and whose turn it is, in words."""
    return "; ".join(one.finding.text for one in seen if one.title in {"state", "whose turn"})


def judge_state(request: Request, now: datetime) -> Finding:
    """Where it is, and whether time alone should have moved it on."""
    said = f"{request.state.value} ({request.reason})" if request.reason else request.state.value
    due = request.next_due()
    if request.state is State.FAILED:
        remedy = "mend what it says, and ask for the role again"
        return bad("state", f"it failed: {request.reason}", remedy, f"asked {request.created_at:%Y-%m-%d %H:%M} UTC")  # fmt: skip
    if due is not None and now - due > _LATE:
        text = f"it is {said}, and should have moved on at {due:%Y-%m-%d %H:%M:%S} UTC"
        return bad("state", text, _AFTER)
    waits = "" if due is None else f"; until {due:%Y-%m-%d %H:%M:%S} UTC at most"
    return good(
        "state", f"it is {said}{waits}", f"asked {request.created_at:%Y-%m-%d %H:%M} UTC by {request.method}"
    )


def judge_turn(request: Request, role: Role | None) -> Finding:
    """Who must do something before it goes on: a person, time, or a worker."""
    match request.state:
        case State.PENDING_MFA:
            text = f"it waits for the second factor of {request.user_name}"
            return _waits(text, f"`bastide request prove {request.id}`")
        case State.PENDING_APPROVAL if role is None:
            return bad(
                "turn", "its role is gone: nobody can approve it", f"`bastide request close {request.id}`"
            )
        case State.PENDING_APPROVAL if role is not None:
            return _approvals(request, role)
        case State.SCHEDULED:
            text = f"it is approved, and starts at {request.start_at:%Y-%m-%d %H:%M} UTC"
            return _waits(text, "wait, or ask for the role without a start")
        case State.PROCESSING | State.CLOSING:
            return good("turn", "it is the worker's turn: see the next step")
        case _:
            return good("turn", "it is nobody's turn")


def _approvals(request: Request, role: Role) -> Finding:
    missing = approvals.missing(request, role)
    names = {stage.name: ", ".join(one.name for one in stage.approvers) for stage in role.stages}
    waits = "; ".join(
        f"{number} more of {names[stage]}{f' ({stage})' if stage else ''}"
        for stage, number in missing.items()
    )
    if not waits:
        return bad(
            "turn",
            "its role has no stage any more: nobody can approve it",
            f"`bastide request close {request.id}`",
        )
    voted = ", ".join(f"{vote.name} {vote.decision.value}" for vote in request.votes)
    return _waits(
        f"it waits for approval: {waits}",
        "one of them: `bastide approval list`; approvers.reachable of `bastide validate` says whether they can",
        f"voted: {voted}" if voted else "nobody voted yet",
    )


def _waits(text: str, remedy: str, evidence: str = "") -> Finding:
    """That it is a person's turn, or too early, is as it should be."""
    return Finding("turn", Severity.OK, text, evidence, remedy)


def judge_work(
    request: Request, keys: Mapping[str, Mapping[str, str]], rows: Sequence[Row], now: datetime
) -> Finding:
    """The rows that move it: that of the account, and that of each link. `keys`: of each kind, with what the account or group is called."""
    mine = [replace(row, key=keys[row.kind][row.key]) for row in rows if row.key in keys.get(row.kind, {})]
    failing = [row for row in mine if row.error]
    if failing:
        row = failing[0]
        text = f"the worker tried {row.attempts} times, and was told: {row.error}"
        return bad("work", text, "mend that; it is tried again by itself", f"{row.kind} {row.key}")
    if request.state not in LIVE:
        return good("work", "no work is needed in this state")
    if request.state is State.ACTIVE and mine:
        return good("work", "its end is planned", _shown(mine))
    late = [row for row in mine if row.lease is None and row.due is not None and now - row.due > _LATE]
    stuck = [row for row in mine if row.lease is not None and now - row.lease > _LATE]
    if late or stuck or not any(row.kind == ACCOUNT for row in mine):
        text = "the work on it is overdue" if mine else "no work is planned for it"
        return bad("work", text, _AFTER, _shown(late or stuck))
    return good("work", "a worker has it in hand, or is about to", _shown(mine))


def _shown(rows: Sequence[Row]) -> str:
    return "; ".join(
        f"{row.kind} {row.key}: "
        + (f"in the hand of {row.owner} until {row.lease:%H:%M:%S} UTC" if row.lease else f"due {row.due:%Y-%m-%d %H:%M:%S} UTC" if row.due else "at rest")
        for row in rows
    )  # fmt: skip


def _in_priv(
    world: World, request: Request, user: PamUser, groups: Sequence[PamGroup], now: datetime
) -> Finding:
    if request.state in PENDING or request.state is State.SCHEDULED:
        return unasked("PRIV", "nothing is written before it is approved")
    seen = world.forests()[Forest.PRIV].observe([user.priv.sid])
    states = {name: found.get(user.priv.sid) for name, found in seen.items()}
    return judge_priv(request, {group.priv.guid: group.name for group in groups}, states, now)


def judge_priv(
    request: Request, groups: Mapping[str, str], states: Mapping[str, AccountState | None], now: datetime
) -> Finding:
    """What each controller shows of the account. `groups`: GUID to name; a state of None: the controller does not have the account."""
    evidence = "; ".join(f"{name}: {_said(state, groups, now)}" for name, state in states.items())
    lacking = [
        name
        for name, state in states.items()
        if state is None or not state.open_at(now) or not groups.keys() <= state.groups
    ]
    if request.state is State.ACTIVE and lacking:
        return bad(
            "PRIV", f"{', '.join(lacking)} does not show the access that is active: a ticket from there lacks it",
            "wait for replication; if it stays, somebody changed the account or the group: the directory's own log says who", evidence,
        )  # fmt: skip
    kept = [
        name
        for name, state in states.items()
        if state is not None and state.open_at(now) and groups.keys() & state.groups
    ]
    if request.state not in LIVE and kept:
        return bad(
            "PRIV", f"{', '.join(kept)} shows access that is over, unless another request gives it",
            "`bastide request list --all` shows other requests of the person; else the next look of the worker takes it away",
            evidence, severity=Severity.WARNING,
        )  # fmt: skip
    return good("PRIV", "every controller shows what it should", evidence)


def _said(state: AccountState | None, groups: Mapping[str, str], now: datetime) -> str:
    if state is None:
        return "no such account"
    held = ", ".join(groups[guid] for guid in groups if guid in state.groups) or "none of the groups"
    word = "until" if state.expires is None or state.expires > now else "since"
    when = f" {word} {state.expires:%Y-%m-%d %H:%M:%S} UTC" if state.expires else ""
    return f"{'open' if state.open_at(now) else 'dormant'}{when}, in {held}"


def _in_corp(world: World, request: Request, groups: Sequence[PamGroup]) -> Finding:
    corp = world.forests().get(Forest.CORP)
    needed = [group for group in groups if group.needs_link]
    if corp is None or not needed:
        return unasked("CORP", "no group of it has a link on the CORP side")
    if request.state not in GRANTING:
        return unasked("CORP", "no link is needed in this state; another request may hold it")
    seen = {group.name: corp.observe_link(group.corp, group.priv.sid) for group in needed}
    return judge_corp(request, seen)


def judge_corp(request: Request, seen: Mapping[str, Mapping[str, bool | None]]) -> Finding:
    """Group to controller to whether the link is there."""
    evidence = "; ".join(
        f"{name}: " + ", ".join(dc + (" yes" if there else " no") for dc, there in found.items())
        for name, found in seen.items()
    )
    missing = [f"{name} at {dc}" for name, found in seen.items() for dc, there in found.items() if not there]
    if request.state is State.ACTIVE and missing:
        return bad("CORP", f"the link of {', '.join(missing)} is missing: no CORP ticket has the rights", "wait for replication; if it stays, somebody took it out of the CORP group", evidence)  # fmt: skip
    return good(
        "CORP", "every controller shows the links" if not missing else "not all links are there yet", evidence
    )


def judge_tickets(request: Request, now: datetime) -> Finding:
    """A ticket outlives the membership that it was bought with."""
    end = request.true_end
    if request.active_from is None:
        return unasked("tickets", "it was never active: there is no ticket of it")
    if end is None:
        return good("tickets", "its end is not fixed yet")
    directory = request.directory_end
    alone = (
        ""
        if directory is None
        else f"; with Bastide down the directory ends it at {directory:%Y-%m-%d %H:%M:%S} UTC"
    )
    if request.state not in LIVE and end > now:
        text = f"tickets that were bought before its end work until {end:%Y-%m-%d %H:%M:%S} UTC"
        return Finding(
            "tickets",
            Severity.OK,
            text,
            remedy="wait; whoever cannot ends the sessions on the servers themselves",
        )
    return good("tickets", f"the last ticket ends at {end:%Y-%m-%d %H:%M:%S} UTC{alone}")
