"""Makes PAM accounts and groups, with an account of its own that is delegated to the PAM containers (delegation.py).

An account is made in steps: (1) disabled, expired, without RC4 and delegation; (2) its password; (3) enabled. If (2) or (3) fails, it is
deleted again; if that fails too, the error says what is left. Everything goes over a sealed connection: unicodePwd is refused on others.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

import ldap

from bastide.directory import membership
from bastide.directory.capabilities import View
from bastide.directory.constants import (
    AES_ONLY,
    POLICIES,
    RID_PROTECTED_USERS,
    SHADOW_PRINCIPALS,
    AccountControl,
    GroupType,
)
from bastide.directory.entries import Entry, by_guid, by_sid, child, to_filetime
from bastide.directory.ldap import Controllers
from bastide.directory.names import USER_NAME_LIMIT, check_account_name, check_cap
from bastide.directory.session import REPLACE, Session
from bastide.domain.errors import (
    CapabilityMissing,
    DirectoryDenied,
    DirectoryError,
    InvalidInput,
    NoSuchObject,
)
from bastide.domain.grants import LEAST_TICKET_CAP, PROTECTED_USERS_TICKET
from bastide.domain.ids import ObjectRef, Sid
from bastide.services.ports import NewAccount

_T = TypeVar("_T")
_BORN = AccountControl.NORMAL | AccountControl.DISABLED | AccountControl.NOT_DELEGATED
_LIVING = AccountControl.NORMAL | AccountControl.NOT_DELEGATED
#: msDS-UserTGTLifetime counts 100 ns ([MS-ADA2] 2.463).
_UNITS_PER_SECOND = 10_000_000
_REF = ("objectGUID", "objectSid", "sAMAccountName")


class AdPreparer:
    """Preparer over LDAP."""

    def __init__(self, controllers: Controllers) -> None:
        self._controllers = controllers
        self._view = View(controllers)

    def close(self) -> None:
        """Hang up everywhere."""
        self._controllers.close()

    def create_account(self, account: NewAccount, password: str) -> ObjectRef:
        name = check_account_name(account.name, limit=USER_NAME_LIMIT)
        dn = child(name, account.container)

        def make(session: Session) -> ObjectRef:
            session.add(dn, _new_account(account, name))  # (1)
            ref = _or_undo(session, dn, lambda: session.must_read(dn, _REF).ref())
            _or_undo(session, dn, lambda: write_password(session, by_guid(ref.guid), password))  # (2)
            _or_undo(
                session,
                dn,
                lambda: session.modify(
                    by_guid(ref.guid), [(REPLACE, "userAccountControl", [_number(_LIVING)])]
                ),
            )  # (3)
            return ref

        return self._controllers.on_any(f"create {dn}", make, repeat=False)

    def protect(self, account: ObjectRef, policy: str) -> None:
        domain = self._view.domain()
        guards = Sid(f"{domain.sid}-{RID_PROTECTED_USERS}")

        def guard(session: Session) -> None:
            if policy:
                session.must_read(policy, ["cn"])
            group = session.must_read(by_sid(guards), _REF).ref()
            membership.add(session, domain, group, [account.sid])
            if not membership.present(session, group, [account.sid]):
                raise NoSuchObject(f"the account {account.name} is gone")
            if policy:
                session.modify(
                    by_guid(account.guid), [(REPLACE, "msDS-AssignedAuthNPolicy", [policy.encode()])]
                )

        self._controllers.on_any(f"protect {account.name}", guard)

    def set_password(self, account: ObjectRef, password: str) -> None:
        self._controllers.on_any(
            f"set the password of {account.name}",
            lambda session: write_password(session, by_guid(account.guid), password),
        )

    def ensure_ticket_policy(self, name: str, cap: timedelta) -> str:
        """As the port says. Making or changing a policy takes an Enterprise Admin; with the right one in place, reading is enough."""
        check_cap(cap)
        domain = self._view.domain()
        if not self._view.capabilities().authentication_policies:
            raise CapabilityMissing(
                f"{domain.dns_name} has no authentication policies: {self._view.capabilities().evidence['authentication_policies']}",
                remedy="raise the domain's functional level to 2012 R2 or higher",
            )
        dn = child(check_account_name(name), f"{POLICIES},{domain.configuration}")
        try:
            self._controllers.on_any(f"ensure {dn}", lambda session: _ensure_policy(session, dn, cap))
        except DirectoryDenied as error:
            raise DirectoryDenied(
                f"this account may not write the policy {dn}",
                remedy="let a domain administrator run the policy part of the delegation script once",
            ) from error
        return dn

    def ticket_cap(self, account: ObjectRef) -> timedelta | None:
        domain = self._view.domain()
        policies = self._view.capabilities().authentication_policies

        def look(session: Session) -> timedelta | None:
            entry = session.must_read(
                by_guid(account.guid), ["msDS-AssignedAuthNPolicy", "msDS-AssignedAuthNPolicySilo"]
            )
            cap = policy_cap(session, entry) if policies else None
            if cap is not None:
                return cap
            group = session.must_read(by_sid(Sid(f"{domain.sid}-{RID_PROTECTED_USERS}")), _REF).ref()
            guarded = membership.present(session, group, [account.sid])
            return PROTECTED_USERS_TICKET if guarded else None

        return self._controllers.on_any(f"read the ticket cap of {account.name}", look)

    def create_group(self, name: str, container: str, description: str) -> ObjectRef:
        clean = check_account_name(name)
        # groupType is a signed 32-bit number on the wire.
        kind = int(GroupType.GLOBAL | GroupType.SECURITY) - (1 << 32)
        values: dict[str, Sequence[bytes]] = {
            "objectClass": [b"top", b"group"],
            "sAMAccountName": [clean.encode()],
            "groupType": [str(kind).encode()],
        }
        if description:
            values["description"] = [description.encode()]
        return self._make(child(clean, container), values).ref()

    def create_shadow_principal(self, name: str, corp: Sid) -> ObjectRef:
        domain = self._view.domain()
        if not self._view.capabilities().shadow_principals:
            raise CapabilityMissing(
                f"{domain.dns_name} has no shadow principals: {self._view.capabilities().evidence['shadow_principals']}",
                remedy="use the carrier foreign-principal",
            )
        clean = check_account_name(name)
        values = {
            "objectClass": [b"top", b"msDS-ShadowPrincipal"],
            "msDS-ShadowPrincipalSid": [corp.to_bytes()],
        }
        entry = self._make(child(clean, f"{SHADOW_PRINCIPALS},{domain.configuration}"), values)
        return ObjectRef(guid=entry.guid(), sid=corp, dn=entry.dn, name=clean)

    def delete(self, ref: ObjectRef) -> None:
        def gone(session: Session) -> None:
            try:
                session.delete(by_guid(ref.guid))
            except NoSuchObject:
                return

        self._controllers.on_any(f"delete {ref.name}", gone)

    def _make(self, dn: str, values: Mapping[str, Sequence[bytes]]) -> Entry:
        def make(session: Session) -> Entry:
            session.add(dn, values)
            return _or_undo(session, dn, lambda: session.must_read(dn, _REF))

        return self._controllers.on_any(f"create {dn}", make, repeat=False)


def _new_account(account: NewAccount, name: str) -> dict[str, Sequence[bytes]]:
    return {
        "objectClass": [b"top", b"person", b"organizationalPerson", b"user"],
        "sAMAccountName": [name.encode()],
        "userPrincipalName": [account.upn.encode()],
        "displayName": [(account.display_name or name).encode()],
        "userAccountControl": [_number(_BORN)],
        "accountExpires": [_number(to_filetime(account.end))],
        "msDS-SupportedEncryptionTypes": [_number(AES_ONLY)],
    }


def _number(value: int) -> bytes:
    return str(int(value)).encode()


def write_password(session: Session, dn: str, password: str) -> None:
    """Set it, over a sealed connection ([MS-ADTS] 3.1.1.3.1.5: unicodePwd, in quotes, UTF-16LE). Raises InvalidInput if the domain's rules refuse it."""
    quoted = f'"{password}"'.encode("utf-16-le")
    try:
        session.modify(dn, [(REPLACE, "unicodePwd", [quoted])])
    except DirectoryError as error:
        # CONSTRAINT_VIOLATION is how both Windows and Samba say 0x52D, ERROR_PASSWORD_RESTRICTION.
        if isinstance(error.__cause__, ldap.CONSTRAINT_VIOLATION):
            raise InvalidInput(
                "password", "the domain's password rules refuse it", remedy="choose a longer one"
            ) from error
        raise


def _or_undo(session: Session, dn: str, step: Callable[[], _T]) -> _T:
    """A step after the object was made. If it fails, the object goes away again, or the error says that it is left."""
    try:
        return step()
    except (DirectoryError, InvalidInput) as error:
        try:
            session.delete(dn)
        except NoSuchObject:
            raise error from None
        except DirectoryError as failed:
            raise DirectoryError(
                f"{error.message}; and {dn} is left behind, disabled or expired: {failed.message}",
                remedy=f"delete {dn} by hand, then try again",
            ) from error
        raise


def _ensure_policy(session: Session, dn: str, cap: timedelta) -> None:
    wanted = [str(int(cap.total_seconds()) * _UNITS_PER_SECOND).encode()]
    try:
        entry = session.must_read(dn, ["msDS-UserTGTLifetime", "msDS-AuthNPolicyEnforced"])
    except NoSuchObject:
        session.add(
            dn,
            {
                "objectClass": [b"top", b"msDS-AuthNPolicy"],
                "msDS-UserTGTLifetime": wanted,
                "msDS-AuthNPolicyEnforced": [b"TRUE"],
            },
        )
        return
    enforced = entry.text("msDS-AuthNPolicyEnforced").upper() == "TRUE"
    if list(entry.all("msDS-UserTGTLifetime")) != wanted or not enforced:
        session.modify(
            dn,
            [(REPLACE, "msDS-UserTGTLifetime", wanted), (REPLACE, "msDS-AuthNPolicyEnforced", [b"TRUE"])],
        )


def policy_cap(session: Session, account: Entry) -> timedelta | None:
    """A silo goes before a policy of the account's own ([MS-KILE] 3.3.5.7). Only what is enforced and not too short to work counts."""
    dn = account.text("msDS-AssignedAuthNPolicy")
    silo = account.text("msDS-AssignedAuthNPolicySilo")
    if silo:
        found = session.must_read(silo, ["msDS-UserAuthNPolicy", "msDS-AuthNPolicySiloEnforced"])
        if found.text("msDS-AuthNPolicySiloEnforced").upper() == "TRUE":
            dn = found.text("msDS-UserAuthNPolicy") or dn
    if not dn:
        return None
    policy = session.must_read(dn, ["msDS-UserTGTLifetime", "msDS-AuthNPolicyEnforced"])
    cap = timedelta(seconds=policy.number("msDS-UserTGTLifetime") // _UNITS_PER_SECOND)
    enforced = policy.text("msDS-AuthNPolicyEnforced").upper() == "TRUE"
    return cap if enforced and cap >= LEAST_TICKET_CAP else None
