"""Approvals: a request's stages, as approvers of Graph see them. An approval has the id of its request, and so has its stage if there is one only."""

from datetime import datetime
from uuid import UUID, uuid5

from bastide.api.graph.query import Query
from bastide.api.graph.shape import Row, Shape
from bastide.domain.errors import NotFound
from bastide.domain.people import Actor
from bastide.domain.requests import Decision, Request, State
from bastide.services.requests import Ballot
from bastide.wiring import Services

STAGE = Shape(
    {
        "id": str, "displayName": str, "status": str, "reviewResult": str, "justification": str,
        "reviewedDateTime": datetime, "assignedToMe": bool,
    },
    {"reviewedBy": Shape({"id": str, "displayName": str})},
)  # fmt: skip
#: The beta of Graph calls them steps.
APPROVAL = Shape({"id": str}, {}, {"stages": STAGE, "steps": STAGE})
#: What is expanded when nobody asks.
WHOLE = {"stages": Query(STAGE), "steps": Query(STAGE)}


def approval(services: Services, actor: Actor, key: str) -> Row:
    """The approval of a request that the caller may see. Raises NotFound, InvalidInput."""
    return _row(services, actor, _shown(services, actor, key))


def waiting(services: Services, actor: Actor) -> list[Row]:
    """What waits for the caller's decision, oldest first. Raises NotAuthorized."""
    return [_row(services, actor, one) for one in services.requests.to_approve(actor)]


def decide(
    services: Services,
    actor: Actor,
    key: str,
    stage: str,
    decision: Decision,
    reason: str,
    call_key: str,
) -> None:
    """A vote in a stage; the request's own id stands for the caller's stage, whichever that is. Raises NotFound and what the use case raises."""
    one = _shown(services, actor, key)
    ballots = services.requests.ballots(actor, one)
    names = {_stage_id(one, ballots, index): ballot.stage for index, ballot in enumerate(ballots)}
    if stage not in {*names, one.id}:
        raise NotFound("no such stage")
    services.requests.decide(actor, one.id, decision, reason, stage=names.get(stage, ""), key=call_key)


def _shown(services: Services, actor: Actor, key: str) -> Request:
    """One that was never to be approved has no approval."""
    one = services.requests.show(actor, key)
    if not one.needs_approval:
        raise NotFound("no such approval")
    return one


def _row(services: Services, actor: Actor, one: Request) -> Row:
    ballots = services.requests.ballots(actor, one)
    stages = [
        _stage(actor, one, ballot, _stage_id(one, ballots, index)) for index, ballot in enumerate(ballots)
    ]
    return {"id": one.id, "stages": stages, "steps": stages}


def _stage_id(one: Request, ballots: tuple[Ballot, ...], index: int) -> str:
    return one.id if len(ballots) == 1 else str(uuid5(UUID(one.id), ballots[index].stage))


def _stage(actor: Actor, one: Request, ballot: Ballot, key: str) -> Row:
    last = ballot.votes[-1] if ballot.votes else None
    rejected = any(vote.decision is Decision.REJECT for vote in ballot.votes)
    done = rejected or ballot.missing == 0
    waits = not done and one.state is State.PENDING_APPROVAL
    return {
        "id": key,
        "displayName": ballot.stage,
        "status": "Completed" if done else "InProgress" if waits else "Expired",
        "reviewResult": "Deny" if rejected else "Approve" if done else "NotReviewed",
        "justification": (last.reason or None) if last else None,
        "reviewedBy": {"id": last.person, "displayName": last.name} if last else None,
        "reviewedDateTime": last.at if last else None,
        "assignedToMe": waits and ballot.mine and all(vote.voter != actor.sid for vote in one.votes),
    }
