"""CORP as an administrator prepares it for self-service reset: a container of people, an account that resets their passwords and does nothing else, and what the delegation script
gives to it and to the service account. Made once for each lab.
"""

import secrets
import time
from dataclasses import dataclass, replace

from bastide.directory import delegation
from bastide.directory.entries import by_guid, child
from bastide.directory.kerberos import Identity
from bastide.directory.ldap import Controllers, SealedConnect, discover
from bastide.directory.session import ADD, REPLACE
from bastide.domain.ids import ObjectRef
from bastide.domain.people import Forest
from tests.support.directory_lab import CORP, CORP_BASE, DirectoryLab

ACCOUNT = "svc-reset"
_made: dict[str, "ResetLab"] = {}


@dataclass(frozen=True)
class ResetLab:
    """`staff`: the container in which passwords are reset. `account`: who does it."""

    forests: DirectoryLab
    staff: str
    account: ObjectRef
    identity: Identity

    def person(self, *, password: str = "", mail: str = "", container: str = "", **more: str) -> ObjectRef:
        """An enabled account of the container, or of another; with that password, set by the administrator."""
        name = self.forests.new_name("rs")
        made = self.forests.add_user(
            Forest.CORP, name, display_name=f"{name} Example", container=container or self.staff, settle=False
        )
        changes = [(ADD, key, [value.encode()]) for key, value in ({"mail": mail} | more).items() if value]
        if password:
            changes += [
                (REPLACE, "unicodePwd", [f'"{password}"'.encode("utf-16-le")]),
                (REPLACE, "userAccountControl", [b"512"]),
            ]
        if changes:
            self.forests.admin_modify(Forest.CORP, by_guid(made.guid), changes)
        return made

    def connect(self) -> Controllers:
        """As the account that resets. The caller closes it."""
        connect = SealedConnect(self.identity, self.forests.now)
        return Controllers(CORP, discover(CORP), connect, time.monotonic)


def reset_lab(forests: DirectoryLab) -> ResetLab:
    """Prepared, and delegated by the script as it is generated."""
    prefix = forests.lab.prefix
    if prefix not in _made:
        _made[prefix] = _make(forests)
    return _made[prefix]


def _make(forests: DirectoryLab) -> ResetLab:
    staff = child(forests.new_name("Staff"), CORP_BASE).replace("CN=", "OU=", 1)
    forests.admin_add(Forest.CORP, staff, {"objectClass": [b"organizationalUnit"]}, settle=False)
    account = forests.add_user(Forest.CORP, ACCOUNT, settle=False)
    quoted = f'"Aa1-{secrets.token_urlsafe(18)}"'.encode("utf-16-le")
    forests.admin_modify(
        Forest.CORP,
        account.dn,
        [(REPLACE, "unicodePwd", [quoted]), (REPLACE, "userAccountControl", [b"512"])],
    )
    resets = delegation.Resets(delegation.Account(account.sid, rf"CORP\{ACCOUNT}"), (staff,))
    script = forests.work / "delegate-resets.sh"
    plan = replace(forests.plan, corp_groups=(), resets=resets)  # the groups are delegated already
    script.write_text(delegation.samba_script(plan, Forest.CORP))
    done = forests.lab.exec("corpdc", ["sh", script], timeout=120)
    if done.returncode != 0:
        raise RuntimeError(done.stdout + done.stderr)
    return ResetLab(forests, staff, account, forests.identity(ACCOUNT, "corp"))
