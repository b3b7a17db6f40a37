"""The privileged groups of a domain and the accounts in them, read from Active Directory; and what an administrator mends of them. In order:

(1) A group's members are read from the group's side, where the right to read is given: a CORP domain shows no memberOf to an account of PRIV.
(2) Each group is read once, so a loop of groups ends. Whose primary group it is, is a member too, although `member` does not list them.
(3) A member that cannot be read is named by its SID: nothing is left out. One of this domain is hidden: whoever owns it took it from our sight.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ldap.filter import filter_format

from bastide.directory import membership
from bastide.directory.active_directory import ActiveDirectory
from bastide.directory.caller import named_caller
from bastide.directory.capabilities import Domain, View
from bastide.directory.constants import (
    AES_ONLY,
    BUILTIN_DOMAIN,
    POLICIES,
    PROTECTED_BUILTIN_RIDS,
    RID_PROTECTED_USERS,
    AccountControl,
)
from bastide.directory.entries import Entry, any_sid, by_guid, by_sid, child, from_filetime, sid_of_dn
from bastide.directory.ldap import Controllers
from bastide.directory.membership import chunks
from bastide.directory.preparer import policy_cap
from bastide.directory.session import EXTENDED_DN, REPLACE, Session
from bastide.domain.baseline import Account, Change
from bastide.domain.census import Seat, Sort
from bastide.domain.errors import NoSuchObject
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.services.cluster.ports import Caller

#: Those that AdminSDHolder guards and people are in: Domain, Schema, Enterprise Admins, Group Policy Creator Owners, Key and Enterprise Key Admins.
GUARDED_RIDS = (512, 518, 519, 520, 526, 527)
#: Its controller that can only be read came with the level that makes AES keys: Read-only Domain Controllers ([MS-DTYP] 2.4.2.4).
_RID_WITH_AES = 521
_IN_FILTER = 100
_ROW = ("objectGUID", "objectSid", "sAMAccountName", "objectClass", "userAccountControl", "sAMAccountType")
_FACTS = (
    "objectSid", "sAMAccountName", "userAccountControl", "msDS-SupportedEncryptionTypes", "pwdLastSet",
    "servicePrincipalName", "msDS-AssignedAuthNPolicy", "msDS-AssignedAuthNPolicySilo",
)  # fmt: skip
#: SAM_NORMAL_USER_ACCOUNT ([MS-SAMR] 2.2.1.9).
_PERSON_TYPE = 805306368
_BITS: Mapping[Change, tuple[AccountControl, bool]] = {
    Change.NOT_DELEGATED: (AccountControl.NOT_DELEGATED, True),
    Change.PREAUTH: (AccountControl.DONT_REQUIRE_PREAUTH, False),
    Change.NO_REVERSIBLE: (AccountControl.REVERSIBLE_PASSWORD, False),
    Change.PASSWORD_NEEDED: (AccountControl.PASSWORD_NOT_REQUIRED, False),
    Change.SMART_CARD: (AccountControl.SMARTCARD_REQUIRED, True),
}


@dataclass(frozen=True, slots=True)
class _Row:
    """A member, as its own entry shows it."""

    sid: Sid
    name: str
    sort: Sort
    guid: str = ""
    enabled: bool | None = None


class AdCensus:
    """As the port Census."""

    def __init__(self, controllers: Controllers) -> None:
        self._controllers = controllers
        self._view = View(controllers)
        self.domain = controllers.domain.rstrip(".").lower()

    def seats(self, also: Collection[Sid]) -> tuple[Seat, ...]:
        domain = self._view.domain()
        wanted = dict.fromkeys([*_guarded(domain), *also])
        return self._controllers.on_any(
            "read privileged groups", lambda session: tuple(_Walk(session, domain).seats(list(wanted)))
        )

    def accounts(self, sids: Collection[Sid]) -> Mapping[Sid, Account]:
        domain, policies = self._view.domain(), self._view.capabilities().authentication_policies
        return self._controllers.on_any(
            "read privileged accounts",
            lambda session: _accounts(session, domain, sids, self.domain, policies=policies),
        )

    def manager(self, account: Sid) -> Sid | None:
        def look(session: Session) -> Sid | None:
            try:
                entry = session.must_read(by_sid(account), ["manager"], controls=[EXTENDED_DN])
            except NoSuchObject:
                return None
            return sid_of_dn(entry.text("manager"))

        return self._controllers.on_any("read a manager", look)

    def find(self, name: str) -> Sid:
        return ActiveDirectory(Forest.PRIV, self._controllers).find_person(name).ref.sid


class AdHardener(AdCensus):
    """As the port Hardener; written and read back is on one controller."""

    def __init__(self, controllers: Controllers, main: str) -> None:
        super().__init__(controllers)
        self._main = main

    def caller(self) -> Caller:
        return self._controllers.on(self._main, named_caller)

    def accounts(self, sids: Collection[Sid]) -> Mapping[Sid, Account]:
        domain, policies = self._view.domain(), self._view.capabilities().authentication_policies
        return self._controllers.on(
            self._main, lambda session: _accounts(session, domain, sids, self.domain, policies=policies)
        )

    def apply(self, account: Sid, change: Change, policy: str) -> None:
        domain = self._view.domain()

        def write(session: Session) -> None:
            if change is Change.PROTECT:
                guards = session.must_read(by_sid(_protected_users(domain)), _ROW).ref()
                membership.add(session, domain, guards, [account])
            elif change is Change.AES_ONLY:
                session.modify(
                    by_sid(account),
                    [(REPLACE, "msDS-SupportedEncryptionTypes", [str(AES_ONLY).encode()])],
                )
                _set_bit(session, account, AccountControl.USE_DES_KEY_ONLY, on=False)
            elif change is Change.TICKET_CAP:
                dn = child(policy, f"{POLICIES},{domain.configuration}")
                session.must_read(dn, ["cn"])
                session.modify(by_sid(account), [(REPLACE, "msDS-AssignedAuthNPolicy", [dn.encode()])])
            else:
                bit, on = _BITS[change]
                _set_bit(session, account, bit, on=on)

        self._controllers.on(self._main, write)


def _set_bit(session: Session, account: Sid, bit: AccountControl, *, on: bool) -> None:
    """The other bits stay. What is so already is not written."""
    now = session.must_read(by_sid(account), ["userAccountControl"]).number("userAccountControl")
    wanted = now | bit if on else now & ~bit
    if wanted != now:
        session.modify(by_sid(account), [(REPLACE, "userAccountControl", [str(int(wanted)).encode()])])


def _guarded(domain: Domain) -> Iterator[Sid]:
    yield from (Sid(f"{domain.sid}-{rid}") for rid in GUARDED_RIDS)
    yield from (Sid(f"{BUILTIN_DOMAIN}-{rid}") for rid in sorted(PROTECTED_BUILTIN_RIDS))


def _protected_users(domain: Domain) -> Sid:
    return Sid(f"{domain.sid}-{RID_PROTECTED_USERS}")


class _Walk:
    """Down from groups to their members, on one controller. What was read once is remembered."""

    def __init__(self, session: Session, domain: Domain) -> None:
        self._session = session
        self._domain = domain
        self._rows: dict[Sid, _Row] = {}
        self._members: dict[Sid, tuple[Sid, ...]] = {}

    def seats(self, groups: Collection[Sid]) -> Iterator[Seat]:
        self._learn(groups)
        for sid in groups:
            top = self._rows[sid]
            if top.sort is Sort.GROUP:
                yield from self._below(top, top, (), {sid})

    def _below(self, top: _Row, group: _Row, path: tuple[str, ...], seen: set[Sid]) -> Iterator[Seat]:
        members = self._direct(group)
        for sid in members:
            row = self._rows[sid]
            yield Seat(top.sid, top.name, sid, row.name, row.sort, path, group.sid, row.enabled)
            if row.sort is Sort.GROUP and sid not in seen:  # (2)
                seen.add(sid)
                yield from self._below(top, row, (*path, row.name), seen)

    def _direct(self, group: _Row) -> tuple[Sid, ...]:
        known = self._members.get(group.sid)
        if known is not None:
            return known
        values = self._session.values(by_guid(group.guid), "member", controls=[EXTENDED_DN])  # (1)
        found = {sid for value in values if (sid := sid_of_dn(value)) is not None}
        if group.sid.domain == self._domain.sid:
            primary = filter_format("(primaryGroupID=%s)", [str(group.sid.rid)])
            found |= {
                one.sid() for one in self._session.search(self._domain.base, primary, ["objectSid"])
            }  # (2)
        self._learn(found)
        self._members[group.sid] = tuple(sorted(found))
        return self._members[group.sid]

    def _learn(self, sids: Collection[Sid]) -> None:
        new = [sid for sid in sids if sid not in self._rows]
        for chunk in chunks(new, _IN_FILTER):
            for entry in self._session.search(self._domain.base, any_sid(chunk), _ROW):
                self._rows[entry.sid()] = _row(entry)
        for sid in new:
            hidden = sid.domain == self._domain.sid
            self._rows.setdefault(sid, _Row(sid, sid, Sort.HIDDEN if hidden else Sort.FOREIGN))  # (3)


def _row(entry: Entry) -> _Row:
    classes = {one.lower() for one in entry.texts("objectClass")}
    if "group" in classes:
        sort = Sort.GROUP
    elif "foreignsecurityprincipal" in classes:
        return _Row(entry.sid(), entry.sid(), Sort.FOREIGN)
    elif "computer" in classes:
        sort = Sort.COMPUTER
    else:
        sort = Sort.PERSON
    enabled = None
    if entry.all("userAccountControl"):
        enabled = not entry.number("userAccountControl") & AccountControl.DISABLED
    return _Row(entry.sid(), entry.text("sAMAccountName") or entry.sid(), sort, entry.guid(), enabled)


def _accounts(
    session: Session, domain: Domain, sids: Collection[Sid], name: str, *, policies: bool
) -> dict[Sid, Account]:
    walk = _Walk(session, domain)
    guarded = {seat.member for seat in walk.seats([_protected_users(domain)])}
    since = _aes_since(session, domain)
    found = {}
    for chunk in chunks(list(sids), _IN_FILTER):
        condition = f"(&(sAMAccountType={_PERSON_TYPE}){any_sid(chunk)})"
        for entry in session.search(domain.base, condition, _FACTS):
            cap = policy_cap(session, entry) if policies else None
            found[entry.sid()] = _account(entry, name, guarded, since, cap)
    return found


def _account(
    entry: Entry, domain: str, guarded: Collection[Sid], since: datetime | None, cap: timedelta | None
) -> Account:
    control = entry.number("userAccountControl")

    def has(bit: AccountControl) -> bool:
        return bool(control & bit)

    types = entry.text("msDS-SupportedEncryptionTypes")
    return Account(
        sid=entry.sid(),
        name=entry.text("sAMAccountName"),
        domain=domain,
        shown=bool(entry.all("userAccountControl")),
        enabled=not has(AccountControl.DISABLED),
        guarded=entry.sid() in guarded,
        encryption=int(types) if types else None,
        password_set=from_filetime(entry.number("pwdLastSet")),
        aes_since=since,
        cap=cap,
        spns=tuple(sorted(entry.texts("servicePrincipalName"))),
        not_delegated=has(AccountControl.NOT_DELEGATED),
        trusted_to_delegate=has(AccountControl.TRUSTED_FOR_DELEGATION)
        or has(AccountControl.TRUSTED_TO_AUTH_FOR_DELEGATION),
        preauth_off=has(AccountControl.DONT_REQUIRE_PREAUTH),
        reversible=has(AccountControl.REVERSIBLE_PASSWORD),
        password_not_needed=has(AccountControl.PASSWORD_NOT_REQUIRED),
        never_expires=has(AccountControl.PASSWORD_NEVER_EXPIRES),
        smart_card=has(AccountControl.SMARTCARD_REQUIRED),
        des_only=has(AccountControl.USE_DES_KEY_ONLY),
    )


def _aes_since(session: Session, domain: Domain) -> datetime | None:
    """When the group came that comes with the level at which a domain makes AES keys; None: it is not there, or not shown."""
    try:
        entry = session.must_read(by_sid(Sid(f"{domain.sid}-{_RID_WITH_AES}")), ["whenCreated"])
    except NoSuchObject:
        return None
    text = entry.text("whenCreated")
    return datetime.strptime(text[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC) if text else None
