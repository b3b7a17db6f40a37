"""PAM users, group, role, sessions and grants, put into the database through the real unit of work."""

import hashlib
import secrets
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bastide.domain import roles
from bastide.domain.ids import GroupId, ObjectRef, RequestId, RoleId, Sid, UserId
from bastide.domain.people import Forest, PamUser
from bastide.domain.requests import Request, State
from bastide.domain.roles import Carrier, Enforcer, PamGroup, Role, Scope, Subject, Ttl
from bastide.services.pace import ACCOUNT
from bastide.services.ports import Sealer, Store
from bastide.services.signin import Factor, Session

CAP = timedelta(minutes=15)
LIFE = timedelta(hours=1)
Reference = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Registered:
    """What the database was told."""

    users: Mapping[str, PamUser]
    group: PamGroup
    role: Role


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def reference(shown: Reference) -> ObjectRef:
    """An object as the domain names it."""
    return ObjectRef(guid=shown["guid"], sid=Sid.parse(shown["sid"]), dn=shown["dn"], name=shown["name"])


def register(
    store: Store,
    people: Mapping[str, tuple[Reference, Reference]],
    group: tuple[Reference, Reference],
    candidates: Reference,
) -> Registered:
    """`people`: PRIV name to CORP and PRIV account; `group`: CORP and PRIV side."""
    at = now()
    users = {
        name: PamUser(UserId(_id()), name, reference(corp), reference(priv), at, ticket_cap=CAP)
        for name, (corp, priv) in people.items()
    }
    corp, priv = map(reference, group)
    pam_group = PamGroup(
        GroupId(_id()), priv.name, Carrier.FOREIGN_PRINCIPAL, corp, priv, Scope.DOMAIN_LOCAL, at
    )
    role = roles.check(
        Role(
            id=RoleId(_id()),
            name="Benchmark",
            privileges=(pam_group.id,),
            candidates=(Subject(Sid.parse(candidates["sid"]), candidates["name"], is_group=True),),
            created_at=at,
            ttl=Ttl(default=LIFE),
        )
    )
    with store.write() as uow:
        for user in users.values():
            uow.users.add(user)
        uow.groups.add(pam_group)
        uow.roles.add(role)
        uow.commit()
    return Registered(users, pam_group, role)


def open_sessions(
    store: Store, registered: Registered, names: Sequence[str], sealer: Sealer
) -> dict[str, str]:
    """A token for each person, as after a sign-in with the CORP account and a second factor."""
    tokens = {name: secrets.token_hex(32) for name in names}
    at = now()
    with store.write() as uow:
        for name, token in tokens.items():
            corp, factor = registered.users[name].corp, str(uuid.uuid4())
            unused = sealer.seal(secrets.token_bytes(20), f"factor:{factor}")
            uow.factors.add(
                Factor(factor, registered.users[name].priv.sid, "totp", unused, at, confirmed=True)
            )
            session = Session(
                token_hash=hashlib.sha256(token.encode()).hexdigest(),
                sid=corp.sid,
                name=f"CORP\\{corp.name}",
                forest=Forest.CORP,
                via="password",
                created_at=at,
                expires_at=at + timedelta(minutes=15),
                mfa_method="totp",
                mfa_factor=factor,
                mfa_at=at,
            )
            uow.factors.add_session(session)
        uow.commit()
    return tokens


def plant_grants(store: Store, registered: Registered, ends: Mapping[str, datetime]) -> dict[str, RequestId]:
    """Active grants that end at these moments, as if activated an hour before; the directory holds them already."""
    ids: dict[str, RequestId] = {}
    with store.write() as uow:
        for name, end in ends.items():
            request = _active(registered, registered.users[name], end)
            uow.requests.add(request)
            uow.work.poke(ACCOUNT, request.user, end)
            ids[name] = request.id
        uow.commit()
    return ids


def _active(registered: Registered, user: PamUser, end: datetime) -> Request:
    began = end - LIFE
    return Request(
        id=RequestId(_id()),
        role=registered.role.id,
        role_name=registered.role.name,
        user=user.id,
        user_name=user.name,
        requester=user.corp.sid,
        privileges=registered.role.privileges,
        state=State.ACTIVE,
        created_at=began,
        pending_until=began + LIFE,
        ttl=LIFE,
        justification="benchmark",
        enforcer=Enforcer.DORMANT_ACCOUNT,
        processing_since=began,
        active_from=began,
        ends_at=end,
        true_end=end + CAP,
        directory_end=end + CAP,
    )


def states(store: Store, ids: Sequence[RequestId]) -> dict[State, int]:
    """How many of the requests are in which state."""
    counted: dict[State, int] = {}
    with store.read() as uow:
        for id_ in ids:
            state = uow.requests.get(id_).state
            counted[state] = counted.get(state, 0) + 1
    return counted


def _id() -> str:
    return str(uuid.uuid4())
