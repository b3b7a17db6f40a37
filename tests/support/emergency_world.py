"""What the contract tests of emergency accounts stand on: the twin in memory and PRIV on Samba, arranged by the same few verbs."""

import itertools
import os
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

from bastide.directory.constants import AccountControl
from bastide.directory.emergency import AdEmergencyDirectory, AdEmergencyReader, KdcProof
from bastide.directory.memory_emergency import (
    MemoryEmergencyDirectory,
    MemoryEmergencyDomain,
    MemoryEmergencyReader,
    MemoryProof,
)
from bastide.directory.session import ADD, REPLACE
from bastide.domain.break_glass import Trace
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.services.break_glass.ports import EmergencyDirectory, EmergencyReader, Found, PasswordProof
from tests.support.directory_lab import PRIV, PRIV_BASE, DirectoryLab

#: 512 with 'Password never expires', as docs/how-to/break-glass.md makes it.
_LIVING = AccountControl.NORMAL | AccountControl.PASSWORD_NEVER_EXPIRES
_names = itertools.count(1)
_START = datetime(2026, 3, 1, 9, tzinfo=UTC)


class EmergencyWorld(Protocol):
    """A domain in which people make accounts."""

    def account(self) -> Found:
        """A person's account that never expires, without a password."""

    def directory(self) -> EmergencyDirectory:
        """As the administrator."""

    def powerless(self) -> EmergencyDirectory:
        """As somebody who may not set passwords."""

    def reader(self) -> EmergencyReader:
        """As the service account."""

    def proof(self) -> PasswordProof: ...
    def count_wrong_passwords(self, found: Found) -> None:
        """Samba counts them only where a policy locks accounts for them."""

    def disable(self, found: Found) -> None: ...
    def promote(self, found: Found) -> str:
        """Into a group; its DN."""

    def remove(self, found: Found) -> None: ...


class MemoryEmergencyWorld:
    def __init__(self) -> None:
        self._now = _START
        self.domain = MemoryEmergencyDomain(PRIV, self._tick)

    def _tick(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now

    def account(self) -> Found:
        sid = self.domain.add(f"glass{next(_names)}", Trace())
        return self.directory().find(self.domain.names[sid])

    def directory(self) -> MemoryEmergencyDirectory:
        return MemoryEmergencyDirectory(self.domain)

    def powerless(self) -> MemoryEmergencyDirectory:
        return MemoryEmergencyDirectory(self.domain, name="nobody", may=False)

    def reader(self) -> MemoryEmergencyReader:
        return MemoryEmergencyReader(self.domain)

    def proof(self) -> MemoryProof:
        return MemoryProof(self.domain)

    def count_wrong_passwords(self, found: Found) -> None:
        """It always does."""

    def disable(self, found: Found) -> None:
        self.domain.change(found.sid, enabled=False)

    def promote(self, found: Found) -> str:
        self.domain.change(found.sid, groups=("CN=G,DC=test",))
        return "CN=G,DC=test"

    def remove(self, found: Found) -> None:
        self.domain.remove(found.sid)


class SambaEmergencyWorld:
    """PRIV, with two controllers."""

    def __init__(self, forests: DirectoryLab) -> None:
        self.forests = forests
        self.lab = forests.lab
        self._run = f"{os.getpid() % 1000}{int(time.monotonic()) % 1000}"

    def account(self) -> Found:
        made = self.forests.add_user(
            Forest.PRIV, f"glass{self._run}x{next(_names)}", container=f"CN=Users,{PRIV_BASE}", enabled=False
        )
        quoted = f'"Correct-Horse-{self._run}-Battery"'.encode("utf-16-le")
        self.forests.admin_modify(Forest.PRIV, made.dn, [(REPLACE, "unicodePwd", [quoted])])
        self._control(made.dn, _LIVING)
        self._settled(made.sid, enabled=True)
        return Found(made.sid, made.name, made.dn)

    def _control(self, dn: str, value: AccountControl) -> None:
        said = str(int(value)).encode()
        self.forests.admin_modify(Forest.PRIV, dn, [(REPLACE, "userAccountControl", [said])])

    def _settled(self, sid: Sid, **wanted: object) -> None:
        deadline = time.monotonic() + 60
        while True:
            seen = self.directory().traces(sid).values()
            if all(getattr(one, name, None) == value for one in seen for name, value in wanted.items()):
                return
            assert time.monotonic() < deadline, f"it did not replicate: {seen}"
            time.sleep(0.2)

    def directory(self) -> AdEmergencyDirectory:
        return self._as("Administrator")

    def powerless(self) -> AdEmergencyDirectory:
        return self._as("svc-bastide")

    def _as(self, who: str) -> AdEmergencyDirectory:
        return AdEmergencyDirectory(self.forests.controllers(Forest.PRIV, who), self.lab.fqdn("privdc"))

    def reader(self) -> AdEmergencyReader:
        return AdEmergencyReader(self.forests.controllers(Forest.PRIV, "svc-bastide"))

    def proof(self) -> KdcProof:
        return KdcProof()

    def count_wrong_passwords(self, found: Found) -> None:
        """By a policy of this account alone: the others of this lab are not to be locked."""
        pso = ["samba-tool", "domain", "passwordsettings", "pso"]
        name = f"pso-{found.name}"
        made = self.lab.exec("privdc", [*pso, "create", name, "1", "--account-lockout-threshold=50"])
        assert made.returncode == 0, made.stdout + made.stderr
        done = self.lab.exec("privdc", [*pso, "apply", name, found.name])
        assert done.returncode == 0, done.stdout + done.stderr
        self.forests.settle(Forest.PRIV, f"CN={name},CN=Password Settings Container,CN=System,{PRIV_BASE}")

    def disable(self, found: Found) -> None:
        self._control(found.dn, _LIVING | AccountControl.DISABLED)
        self._settled(found.sid, enabled=False)

    def promote(self, found: Found) -> str:
        group = self.forests.add_group(Forest.PRIV, f"gg{self._run}x{next(_names)}")
        self.forests.admin_modify(Forest.PRIV, group.dn, [(ADD, "member", [found.dn.encode()])])
        self._settled(found.sid, groups=(group.dn,))
        return group.dn

    def remove(self, found: Found) -> None:
        self.forests.admins[Forest.PRIV].on_each(lambda session: session.delete(found.dn))
