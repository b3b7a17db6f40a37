"""The peer: what an administrator's python-ldap script does for the same effect, with nothing around it.

No policy, no audit, no database, no second controller, no answer to a crash: it shows what the directory itself costs. It reads back too,
because a script that does not look cannot say that a grant is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ldap
import ldap.sasl

SEALED = 256
#: Seconds from 1601-01-01 to 1970-01-01; accountExpires counts 100 ns ([MS-ADA1] 2.2).
EPOCH_DIFFERENCE = 11_644_473_600
#: Values in one modify when many leave a group together. Bastide writes up to 1,000.
BATCH = 200


@dataclass(frozen=True, slots=True)
class Account:
    """One PRIV account of the run."""

    name: str
    dn: str


def filetime(epoch: float) -> int:
    """A moment as accountExpires holds it."""
    return int((epoch + EPOCH_DIFFERENCE) * 10_000_000)


def connect(controller: str) -> Any:
    """Sealed by Kerberos, with the keytab that KRB5_CLIENT_KTNAME names."""
    connection = ldap.initialize(f"ldap://{controller}", bytes_strictness="error")
    connection.set_option(ldap.OPT_REFERRALS, 0)
    connection.set_option(ldap.OPT_NETWORK_TIMEOUT, 10.0)
    connection.set_option(ldap.OPT_TIMEOUT, 60.0)
    connection.set_option(ldap.OPT_X_SASL_NOCANON, ldap.OPT_ON)
    connection.set_option(ldap.OPT_X_SASL_SSF_MIN, 56)
    connection.sasl_interactive_bind_s("", ldap.sasl.gssapi())
    if connection.get_option(ldap.OPT_X_SASL_SSF) < SEALED:
        raise RuntimeError("the connection is not sealed with AES")
    return connection


def grant(connection: Any, group: str, account: Account, until: float) -> None:
    """Member in, account open, both read back."""
    connection.modify_s(group, [(ldap.MOD_ADD, "member", [account.dn.encode()])])
    end = str(filetime(until)).encode()
    connection.modify_s(account.dn, [(ldap.MOD_REPLACE, "accountExpires", [end])])
    shown = connection.search_s(account.dn, ldap.SCOPE_BASE, attrlist=["memberOf", "accountExpires"])[0][1]
    if shown["accountExpires"] != [end] or group.encode() not in shown["memberOf"]:
        raise RuntimeError(f"{account.name} is not what was written")


def remove(connection: Any, group: str, accounts: Sequence[Account], batch: int = BATCH) -> None:
    """Members out, in batches, and read back."""
    for start in range(0, len(accounts), batch):
        values = [account.dn.encode() for account in accounts[start : start + batch]]
        connection.modify_s(group, [(ldap.MOD_DELETE, "member", values)])
    left = set(members(connection, group))
    if left & {account.dn for account in accounts}:
        raise RuntimeError("members are left")


def members(connection: Any, group: str) -> list[str]:
    """Up to 1,500: the most that a controller gives without ranges."""
    shown = connection.search_s(group, ldap.SCOPE_BASE, attrlist=["member"])[0][1]
    return [value.decode() for value in shown.get("member", ())]
