"""Who may never reset a password here: accounts that open more than their own. Silence is no: what cannot be looked at is excluded."""

from collections.abc import Collection

from bastide.domain.ids import Sid

#: Relative ids of groups of a domain, [MS-DTYP] 2.4.2.4: Domain Admins, Domain Controllers, Cert Publishers, Schema Admins, Enterprise Admins, Group Policy Creator Owners,
#: Read-only Domain Controllers, Cloneable Domain Controllers, Key Admins, Enterprise Key Admins, Enterprise Read-only Domain Controllers.
_DOMAIN_GROUPS = frozenset({512, 516, 517, 518, 519, 520, 521, 522, 526, 527, 498})
#: BUILTIN: Administrators, Account, Server, Print and Backup Operators, Replicator, Hyper-V Administrators, Remote Management Users excepted.
_BUILTIN = frozenset({544, 548, 549, 550, 551, 552, 578})
_BUILTIN_DOMAIN = "S-1-5-32"
#: Of accounts: Administrator, Guest, krbtgt.
_ACCOUNTS = frozenset({500, 501, 502})
PAM_USER = "is a PAM user"
EMERGENCY = "is an emergency account"
OWN = "is an account of Bastide's own"
PRIVILEGED = "is in a privileged group"
PROTECTED = "is protected by AdminSDHolder"
BUILT_IN = "is a built-in account"
RIGHTS = "is in a group that gives rights here, or that the help desk may not reach"
JOINED = "belongs to somebody who has more than that"
NAMED = "is in a group that reset.excluded names"


def why_excluded(account: Sid, groups: Collection[Sid], *, protected: bool, excluded: Collection[Sid]) -> str:
    """What the account or one of its groups, nested ones too, says against it; empty: nothing. `excluded`: groups of the settings."""
    if account.rid in _ACCOUNTS:
        return BUILT_IN
    if protected:
        return PROTECTED
    if any(_is_privileged(group) for group in groups):
        return PRIVILEGED
    return NAMED if not set(groups).isdisjoint(excluded) else ""


def _is_privileged(group: Sid) -> bool:
    if group.domain == _BUILTIN_DOMAIN:
        return group.rid in _BUILTIN
    return group.rid in _DOMAIN_GROUPS
