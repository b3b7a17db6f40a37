"""The least rights that Bastide's accounts need, as scripts for an administrator. Pure text; tests/integration runs it and tries to do more.

The service account writes `member` of PAM groups, `accountExpires` of PAM users, and `member` of the listed CORP groups. The preparer makes
and deletes users and groups in the PAM containers. Who resets passwords in CORP is a third account, which does nothing else. None is a member of any
administrative group (F18: MIM made its own a Domain Admin).

Rights are SDDL ([MS-DTYP] 2.5.1): CC/DC create and delete a child, LC list, RP/WP read and write a property, LO list object, CR extended
right; CI children inherit, IO the object itself does not; OW is OWNER RIGHTS, which keeps the maker of an object from rewriting its ACL.
"""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from bastide.directory.constants import (
    GUID_ACCOUNT_EXPIRES,
    GUID_ASSIGNED_POLICY,
    GUID_CLASS_GROUP,
    GUID_CLASS_PASSWORD_SETTINGS,
    GUID_CLASS_SHADOW_PRINCIPAL,
    GUID_CLASS_USER,
    GUID_LOCKOUT_TIME,
    GUID_MEMBER,
    GUID_RESET_PASSWORD,
    GUID_RESULTANT_PSO,
    GUID_SET_ACCOUNT_RESTRICTIONS,
    GUID_SET_MEMBERSHIP,
    GUID_SUPPORTED_ENCRYPTION,
    GUID_USER_ACCOUNT_CONTROL,
    PASSWORD_SETTINGS,
    POLICIES,
    SHADOW_PRINCIPALS,
)
from bastide.directory.names import check_account_name, check_cap
from bastide.domain.ids import Sid
from bastide.domain.people import Forest


@dataclass(frozen=True, slots=True)
class Account:
    r"""An account that gets rights: its SID for SDDL, its DOMAIN\\name for dsacls."""

    sid: Sid
    name: str


@dataclass(frozen=True, slots=True)
class CorpGroup:
    """A CORP group that PRIV groups are put into. `protected`: AdminSDHolder resets its permissions."""

    dn: str
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Resets:
    """For self-service reset: the account of the domain's management agent, and the containers in which it sets passwords and unlocks."""

    account: Account
    containers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """Who gets rights on what. DNs throughout; `priv_base` and `corp_base` are those of the domains."""

    service: Account
    preparer: Account
    priv_base: str
    corp_base: str
    users: str
    groups: tuple[str, ...]
    corp_groups: tuple[CorpGroup, ...] = ()
    #: PRIV groups outside of the containers, one by one.
    priv_groups: tuple[str, ...] = ()
    policy: str = "bastide-ticket-cap"
    cap: timedelta = timedelta(minutes=15)
    #: Whether PRIV can carry CORP groups by shadow principals.
    shadow_principals: bool = False
    #: None: nobody resets a password here.
    resets: Resets | None = None


@dataclass(frozen=True, slots=True)
class Right:
    """One entry: where, what it is for, and the same right for both tools. `deep`: dsacls gives it to children only."""

    dn: str
    why: str
    sddl: str
    dsacls: str
    deep: bool = False


def rights(plan: Plan, forest: Forest) -> tuple[Right, ...]:
    """All rights of one forest, each place once per need."""
    if forest is Forest.CORP:
        return (*_corp(plan), *_resets(plan))
    return (*_service(plan), *_preparer(plan), *_shadow_principals(plan))


def samba_script(plan: Plan, forest: Forest) -> str:
    """For `sh script [options]`: the options (-H, -U, -s) go to samba-tool. Safe to run again."""
    lines = [
        "#!/bin/sh",
        f"# Rights of Bastide's accounts in {_base(plan, forest)}. Run as a domain administrator.",
        "set -eu",
    ]
    lines += [f"# {warning}" for warning in warnings(plan, forest)]
    for right in rights(plan, forest):
        lines.append(f"# {_one_line(right.why)}")
        lines.append(
            f'samba-tool dsacl set --objectdn={shlex.quote(right.dn)} --sddl={shlex.quote(right.sddl)} "$@"'
        )
    return "\n".join(lines) + "\n"


def windows_script(plan: Plan, forest: Forest) -> str:
    """For cmd.exe on a domain controller, as a domain administrator."""
    lines = [
        "@echo off",
        f"rem Rights of Bastide's accounts in {_base(plan, forest)}. Run as a domain administrator.",
    ]
    lines += [f"rem {warning}" for warning in warnings(plan, forest)]
    for right in rights(plan, forest):
        lines.append(f"rem {_one_line(right.why)}")
        inherit = " /I:S" if right.deep else ""
        lines.append(f"dsacls {_cmd(right.dn)}{inherit} /G {_cmd(right.dsacls)} || exit /b 1")
    return "\r\n".join(lines) + "\r\n"


def policy_ldif(plan: Plan) -> str:
    """The ticket-cap policy, for ldapadd or ldifde by an Enterprise Admin: the containers of policies belong to them, and samba-tool
    knows no life below 45 minutes. The preparer finds it and only assigns it.
    """
    check_cap(plan.cap)
    units = int(plan.cap.total_seconds()) * 10_000_000
    name = check_account_name(plan.policy)
    return (
        f"dn: CN={name},{POLICIES},CN=Configuration,{plan.priv_base}\n"
        "changetype: add\n"
        "objectClass: msDS-AuthNPolicy\n"
        f"msDS-UserTGTLifetime: {units}\n"
        "msDS-AuthNPolicyEnforced: TRUE\n"
    )


def warnings(plan: Plan, forest: Forest) -> tuple[str, ...]:
    """What the reader must know before running it."""
    if forest is Forest.PRIV and plan.shadow_principals:
        return (
            "The last rights are in the configuration, on shadow principals: an Enterprise Admin runs this, or at least its end.",
        )
    if forest is not Forest.CORP or not any(group.protected for group in plan.corp_groups):
        return ()
    names = ", ".join(_one_line(group.dn) for group in plan.corp_groups if group.protected)
    return (
        f"WARNING: AdminSDHolder resets the permissions of {names} every hour.",
        "A lasting right can only be put on AdminSDHolder itself: then the service account may write the members of EVERY protected group.",
        "Better: carry such a group by a shadow principal, or put a domain-local group of your own into it and list that one here.",
    )


def _service(plan: Plan) -> Iterator[Right]:
    for container in plan.groups:
        yield from _on_children(
            container, plan.service, "group", GUID_CLASS_GROUP, (("member", GUID_MEMBER),)
        )
    for dn in plan.priv_groups:
        yield _members_of(dn, plan.service)
    yield from _on_children(
        plan.users, plan.service, "user", GUID_CLASS_USER, (("accountExpires", GUID_ACCOUNT_EXPIRES),)
    )


def _preparer(plan: Plan) -> Iterator[Right]:
    account = plan.preparer
    for kind, guid, containers in (
        ("user", GUID_CLASS_USER, (plan.users,)),
        ("group", GUID_CLASS_GROUP, plan.groups),
    ):
        for container in containers:
            yield _makes(container, account, kind, guid)
    yield Right(
        plan.users,
        f"{account.name} sets passwords here",
        f"(OA;CIIO;CR;{GUID_RESET_PASSWORD};{GUID_CLASS_USER};{account.sid})",
        f"{account.name}:CA;Reset Password;user",
        deep=True,
    )
    yield from _on_children(
        plan.users,
        account,
        "user",
        GUID_CLASS_USER,
        (
            ("userAccountControl", GUID_USER_ACCOUNT_CONTROL),
            ("accountExpires", GUID_ACCOUNT_EXPIRES),
            ("msDS-SupportedEncryptionTypes", GUID_SUPPORTED_ENCRYPTION),
            ("msDS-AssignedAuthNPolicy", GUID_ASSIGNED_POLICY),
        ),
    )
    for container in dict.fromkeys((plan.users, *plan.groups)):
        yield _owners(container)
    yield _members_of(f"CN=Protected Users,CN=Users,{plan.priv_base}", account)


def _shadow_principals(plan: Plan) -> Iterator[Right]:
    """[MS-ADTS] 6.1.1.2.4.1.15: they live in the configuration, whose container belongs to Enterprise Admins. Each is a SID of CORP: who makes
    one can carry any group of CORP that the trust lets through, so the service account only writes members of those that are there.
    """
    if not plan.shadow_principals:
        return
    container = f"{SHADOW_PRINCIPALS},CN=Configuration,{plan.priv_base}"
    kind, guid = "msDS-ShadowPrincipal", GUID_CLASS_SHADOW_PRINCIPAL
    yield from _on_children(container, plan.service, kind, guid, (("member", GUID_MEMBER),))
    yield _makes(container, plan.preparer, kind, guid)
    yield from _on_children(container, plan.preparer, kind, guid, ())
    yield _owners(container)


def _corp(plan: Plan) -> Iterator[Right]:
    """The account is one of PRIV: it comes over the trust, CORP knows it by its SID, and shows it little more than names."""
    for name, guid in (
        ("Account Restrictions", GUID_SET_ACCOUNT_RESTRICTIONS),
        ("Group Membership", GUID_SET_MEMBERSHIP),
    ):
        yield Right(
            plan.corp_base,
            f"{plan.service.name} sees whether users are enabled and what they are members of",
            f"(OA;CIIO;RP;{guid};{GUID_CLASS_USER};{plan.service.sid})",
            f"{plan.service.name}:RP;{name};user",
            deep=True,
        )
    for group in plan.corp_groups:
        if not group.protected:
            yield _members_of(group.dn, plan.service)
    if any(group.protected for group in plan.corp_groups):
        yield _members_of(f"CN=AdminSDHolder,CN=System,{plan.corp_base}", plan.service)


def _resets(plan: Plan) -> Iterator[Right]:
    """The service account sees what a password must be, and the agent's account sets it. Neither does what the other does."""
    if plan.resets is None:
        return
    service, account = plan.service, plan.resets.account
    yield Right(
        plan.corp_base,
        f"{service.name} sees which password policy counts for a user",
        f"(OA;CIIO;RP;{GUID_RESULTANT_PSO};{GUID_CLASS_USER};{service.sid})",
        f"{service.name}:RP;msDS-ResultantPSO;user",
        deep=True,
    )
    policies = f"{PASSWORD_SETTINGS},{plan.corp_base}"
    yield Right(
        policies,
        f"{service.name} sees whether there are password policies",
        f"(A;;LCRP;;;{service.sid})",
        f"{service.name}:LCRP",
    )
    yield Right(
        policies,
        f"{service.name} reads them",
        f"(OA;CIIO;RP;;{GUID_CLASS_PASSWORD_SETTINGS};{service.sid})",
        f"{service.name}:RP;;msDS-PasswordSettings",
        deep=True,
    )
    for container in plan.resets.containers:
        yield Right(
            container,
            f"{account.name} sets passwords here",
            f"(OA;CIIO;CR;{GUID_RESET_PASSWORD};{GUID_CLASS_USER};{account.sid})",
            f"{account.name}:CA;Reset Password;user",
            deep=True,
        )
        yield Right(
            container,
            f"{account.name} unlocks here",
            f"(OA;CIIO;WP;{GUID_LOCKOUT_TIME};{GUID_CLASS_USER};{account.sid})",
            f"{account.name}:WP;lockoutTime;user",
            deep=True,
        )


def _makes(container: str, account: Account, kind: str, guid: str) -> Right:
    return Right(
        container,
        f"{account.name} makes and deletes {kind}s here",
        f"(OA;CI;CCDC;{guid};;{account.sid})",
        f"{account.name}:CCDC;{kind};",
    )


def _owners(container: str) -> Right:
    return Right(
        container,
        "whoever made an object here may not rewrite its permissions",
        "(A;CIIO;RC;;;OW)",
        "OWNER RIGHTS:RC;;",
        deep=True,
    )


def _members_of(dn: str, account: Account) -> Right:
    return Right(
        dn,
        f"{account.name} puts members in and takes them out, of this group only",
        f"(OA;;RPWP;{GUID_MEMBER};;{account.sid})",
        f"{account.name}:RPWP;member",
    )


def _on_children(
    container: str, account: Account, kind: str, guid: str, properties: Iterable[tuple[str, str]]
) -> Iterator[Right]:
    """Reading all, which hardened domains deny; writing the listed properties."""
    yield Right(
        container,
        f"{account.name} sees the {kind}s here",
        f"(OA;CIIO;LCRPLO;;{guid};{account.sid})",
        f"{account.name}:LCRPLO;;{kind}",
        deep=True,
    )
    for name, attribute in properties:
        yield Right(
            container,
            f"{account.name} writes {name} of the {kind}s here",
            f"(OA;CIIO;WP;{attribute};{guid};{account.sid})",
            f"{account.name}:WP;{name};{kind}",
            deep=True,
        )


def _base(plan: Plan, forest: Forest) -> str:
    return _one_line(plan.corp_base if forest is Forest.CORP else plan.priv_base)


def _one_line(text: str) -> str:
    """A comment must not end where a name says so."""
    return " ".join(text.split())


def _cmd(text: str) -> str:
    """Quoted for cmd.exe in a batch file: no quote inside, and % doubled."""
    return '"' + _one_line(text).replace('"', '""').replace("%", "%%") + '"'
