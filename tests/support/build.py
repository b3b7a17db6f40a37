"""Domain objects with sensible fields, so that a test names only what it is about."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from bastide.domain.ids import GroupId, ObjectRef, RequestId, RoleId, Sid, UserId
from bastide.domain.people import Actor, Forest, MfaProof, PamUser, Right
from bastide.domain.requests import Request, State
from bastide.domain.roles import Carrier, PamGroup, Role, Scope, Stage, Subject

NOW = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
CORP_DOMAIN = "S-1-5-21-1-1-1"
PRIV_DOMAIN = "S-1-5-21-2-2-2"


def uid(text: str) -> str:
    return str(uuid5(NAMESPACE_OID, text))


def sid(rid: int, forest: Forest = Forest.PRIV) -> Sid:
    return Sid(f"{CORP_DOMAIN if forest is Forest.CORP else PRIV_DOMAIN}-{rid}")


def ref(name: str, rid: int, forest: Forest = Forest.PRIV) -> ObjectRef:
    return ObjectRef(
        guid=uid(f"{forest}{name}"),
        sid=sid(rid, forest),
        dn=f"CN={name},DC={forest.value},DC=test",
        name=name,
    )


def user(name: str = "alice", rid: int = 1101, **changes: Any) -> PamUser:
    fields: dict[str, Any] = {
        "id": UserId(uid(name)),
        "name": f"priv.{name}",
        "corp": ref(name, rid, Forest.CORP),
        "priv": ref(f"priv.{name}", rid),
        "created_at": NOW,
        "ticket_cap": timedelta(minutes=15),
    }
    return PamUser(**fields | changes)


def group(name: str = "FileAdmins", rid: int = 2101, **changes: Any) -> PamGroup:
    fields: dict[str, Any] = {
        "id": GroupId(uid(name)),
        "name": f"PAM-{name}",
        "carrier": Carrier.FOREIGN_PRINCIPAL,
        "corp": ref(name, rid, Forest.CORP),
        "priv": ref(f"PAM-{name}", rid),
        "scope": Scope.DOMAIN_LOCAL,
        "created_at": NOW,
    }
    return PamGroup(**fields | changes)


def subject(name: str, rid: int, forest: Forest = Forest.CORP, *, is_group: bool = False) -> Subject:
    return Subject(sid(rid, forest), f"{forest.value.upper()}\\{name}", is_group)


def role(name: str = "File administrators", **changes: Any) -> Role:
    fields: dict[str, Any] = {
        "id": RoleId(uid(name)),
        "name": name,
        "privileges": (group().id,),
        "candidates": (subject("alice", 1101),),
        "created_at": NOW,
        "mfa": False,
    }
    return Role(**fields | changes)


def stage(name: str = "owners", needed: int = 1, rids: tuple[int, ...] = (1201, 1202)) -> Stage:
    return Stage(name, tuple(subject(f"approver{rid}", rid, Forest.PRIV) for rid in rids), needed)


def actor(name: str = "alice", rid: int = 1101, forest: Forest = Forest.PRIV, **changes: Any) -> Actor:
    fields: dict[str, Any] = {
        "sid": sid(rid, forest),
        "name": f"{forest.value.upper()}\\{name}",
        "forest": forest,
        "groups": frozenset(),
        "rights": frozenset({Right.USE, Right.APPROVE}),
        "via": "kerberos",
    }
    return Actor(**fields | changes)


def proof(at: datetime = NOW) -> MfaProof:
    return MfaProof("totp", "factor-1", at)


def request(state: State = State.PROCESSING, **changes: Any) -> Request:
    fields: dict[str, Any] = {
        "id": RequestId(uid("request")),
        "role": role().id,
        "role_name": role().name,
        "user": user().id,
        "user_name": user().name,
        "requester": user().priv.sid,
        "privileges": (group().id,),
        "state": state,
        "created_at": NOW,
        "pending_until": NOW + timedelta(hours=24),
        "ttl": timedelta(hours=1),
    }
    return Request(**fields | changes)
