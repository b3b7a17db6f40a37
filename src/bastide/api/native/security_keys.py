"""Security keys (WebAuthn): what a browser is to ask one, and what it answered."""

import json
from typing import Any

from litestar import Request, delete, post
from litestar.params import FromPath, JSONBody

from bastide.api.native import inputs, render, views
from bastide.domain.errors import Conflict
from bastide.domain.people import Right
from bastide.http.door import needs, session_of
from bastide.http.handed import Caller, UseCases
from bastide.services.security_keys import Asked, Ballot

TAGS = ["people"]


@post(
    "/me/keys/registration",
    opt=needs(Right.USE),
    sync_to_thread=True,
    tags=TAGS,
    summary="What to ask a new security key",
)
def ask_to_register(request: Request[Any, Any, Any], actor: Caller, services: UseCases) -> views.Asked:
    """Options for navigator.credentials.create, good for one answer within five minutes and for the session they were asked in."""
    return _asked(services.security_keys.ask_to_register(actor, session_of(request)))


@post("/me/keys", opt=needs(Right.USE), sync_to_thread=True, tags=TAGS, summary="Register a security key")
def register_key(
    request: Request[Any, Any, Any], data: JSONBody[inputs.NewKey], actor: Caller, services: UseCases
) -> views.FactorView:
    """The first factor of a person takes an invitation or a ticket of the PRIV account, another one a fresh proof of one there is."""
    made = services.security_keys.register(
        actor, session_of(request), data.name, data.answer(), invitation=data.invitation
    )
    return render.security_key(made)


@delete(
    "/me/keys/{name:str}",
    opt=needs(Right.USE),
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Remove a security key",
)
def remove_key(name: FromPath[str], actor: Caller, services: UseCases) -> views.FactorView:
    """By its id or its name. Needs a fresh second factor; the last one goes by an administrator only."""
    return render.security_key(services.security_keys.remove(actor, name))


@post(
    "/me/keys/challenge",
    opt=needs(Right.USE),
    sync_to_thread=True,
    tags=TAGS,
    summary="What to ask your security key",
)
def ask_to_prove(request: Request[Any, Any, Any], actor: Caller, services: UseCases) -> views.Asked:
    """Options for navigator.credentials.get. The proof is kept in the session, so there must be one."""
    return _asked(services.security_keys.ask_to_prove(actor, _in_session(request)))


@post(
    "/me/keys/proof",
    opt=needs(Right.USE),
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Show your security key",
)
def prove_key(
    request: Request[Any, Any, Any], data: JSONBody[inputs.KeyAnswer], actor: Caller, services: UseCases
) -> views.MfaView:
    """The session holds this second factor for five minutes."""
    token = _in_session(request)
    proof = services.security_keys.prove(actor, token, data.answer())
    services.authn.keep_proof(token, proof)
    return render.proof(proof)


@post(
    "/approvals/{request_id:str}/challenge",
    opt=needs(Right.APPROVE),
    sync_to_thread=True,
    tags=["requests"],
    summary="What to sign for an approval",
)
def ask_to_sign(
    request: Request[Any, Any, Any],
    request_id: FromPath[str],
    data: JSONBody[inputs.Ballot],
    actor: Caller,
    services: UseCases,
) -> views.AskedToSign:
    """Options for navigator.credentials.get: the challenge is the digest of the request, the decision, the reason and the stage. Send the same
    again with the signature.
    """
    services.requests.show(
        actor, request_id
    )  # a request that is none of the caller's business does not exist
    ballot = Ballot(request_id, data.decision, data.reason, data.stage)
    asked = services.security_keys.ask_to_sign(actor, session_of(request), ballot)
    return views.AskedToSign(challenge=asked.id, options=json.loads(asked.options), stage=asked.stage)


def _asked(asked: Asked) -> views.Asked:
    return views.Asked(challenge=asked.id, options=json.loads(asked.options))


def _in_session(request: Request[Any, Any, Any]) -> str:
    token = session_of(request)
    if not token:
        raise Conflict(
            "this call has no session, which could hold the proof", remedy="send the token of a session"
        )
    return token


HANDLERS = [ask_to_register, register_key, remove_key, ask_to_prove, prove_key, ask_to_sign]
