"""What the contract tests of password policies stand on: the twin in memory and CORP on Samba, arranged by the same few verbs."""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import pytest

from bastide.directory.constants import PASSWORD_SETTINGS
from bastide.directory.entries import by_guid, child
from bastide.directory.memory_policy import MemoryPolicyReader
from bastide.directory.password_policy import AdPolicyReader
from bastide.directory.session import REPLACE
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide.domain.reset.password_rules import Policy
from bastide.services.reset.ports import PolicyReader
from tests.support.directory_lab import CORP_BASE, DirectoryLab
from tests.support.reset_lab import reset_lab

_names = itertools.count(1)
_NEVER = -0x8000000000000000


class PolicyWorld(Protocol):
    """A domain with people."""

    def person(self) -> ObjectRef: ...
    def nobody(self) -> Sid:
        """Of the domain, and not there."""

    def domain(self, policy: Policy) -> Policy:
        """Let that be the domain's until the test is over; it comes back with its source."""

    def fine(self, policy: Policy, *people: ObjectRef) -> Policy:
        """Let a policy of their own be that until the test is over; it comes back with its source."""

    def reader(self) -> PolicyReader:
        """As the service account."""

    def blind(self) -> PolicyReader:
        """As an account that nobody gave rights to."""

    def undo(self) -> None:
        """The test is over."""


class MemoryPolicyWorld:
    def __init__(self) -> None:
        self._domain = Policy("DC=corp", 7, complex=True, history=24, least_age=timedelta(0))
        self._held = MemoryPolicyReader(self._domain)

    def person(self) -> ObjectRef:
        number = next(_names)
        return ObjectRef(
            guid=f"00000000-0000-4000-8000-{number:012}",
            sid=Sid(f"S-1-5-21-1-2-3-{1000 + number}"),
            dn=f"CN=p{number},DC=corp",
            name=f"p{number}",
        )

    def nobody(self) -> Sid:
        sid = Sid("S-1-5-21-1-2-3-99999999")
        self._held.gone.add(sid)
        return sid

    def domain(self, policy: Policy) -> Policy:
        self._held.domain = policy = replace(policy, source="DC=corp")
        return policy

    def fine(self, policy: Policy, *people: ObjectRef) -> Policy:
        policy = replace(policy, source=f"CN=fine{next(_names)},DC=corp")
        self._held.own |= {one.sid: policy for one in people}
        return policy

    def reader(self) -> PolicyReader:
        return self._held

    def blind(self) -> PolicyReader:
        return MemoryPolicyReader(self._held.domain, self._held.own, may=False)

    def undo(self) -> None:
        self._held.domain = self._domain
        self._held.own.clear()


class SambaPolicyWorld:
    """CORP, as the delegation of self-service reset leaves it. What is arranged is written by the administrator with plain LDAP."""

    def __init__(self, forests: DirectoryLab) -> None:
        self.forests = forests
        self.staff = reset_lab(forests)
        self._stranger = forests.controllers(Forest.CORP, "svc-bastide-prepare", realm="priv")
        self._undo: list[str] = []
        self._domain: dict[str, Sequence[bytes]] = {}

    def person(self) -> ObjectRef:
        return self.staff.person()

    def nobody(self) -> Sid:
        return Sid(f"{self.staff.account.sid.domain}-99999999")

    def domain(self, policy: Policy) -> Policy:
        values = _of_domain(policy)
        before = self.forests.admin_read(Forest.CORP, CORP_BASE, *values)
        self._domain = self._domain or {name: before.all(name) for name in values}
        self._write(CORP_BASE, values)
        return replace(policy, source=CORP_BASE)

    def fine(self, policy: Policy, *people: ObjectRef, precedence: int = 10) -> Policy:
        dn = child(self.forests.new_name("pso"), f"{PASSWORD_SETTINGS},{CORP_BASE}")
        values = {name: [value] for name, value in _of_pso(policy).items()} | {
            "objectClass": [b"msDS-PasswordSettings"],
            "msDS-PasswordSettingsPrecedence": [str(precedence).encode()],
            "msDS-PasswordReversibleEncryptionEnabled": [b"FALSE"],
            "msDS-PSOAppliesTo": [one.dn.encode() for one in people],
        }
        self.forests.admin_add(Forest.CORP, dn, values, settle=False)
        self._undo.append(dn)
        return replace(policy, source=dn)

    def reader(self) -> PolicyReader:
        return AdPolicyReader(self.forests.corp.connections)

    def blind(self) -> PolicyReader:
        return AdPolicyReader(self._stranger)

    def undo(self) -> None:
        while self._undo:
            dn = self._undo.pop()
            self.forests.admins[Forest.CORP].on_any("tidy", lambda session, dn=dn: session.delete(dn))  # type: ignore[misc]
        if self._domain:
            self._write(CORP_BASE, {name: values[0] for name, values in self._domain.items()})
            self._domain = {}

    def hide(self, person: ObjectRef, attribute: str, whom: Sid) -> None:
        """As a hardened domain does: an attribute, by its schemaIDGUID, is not shown to somebody."""
        command = ["samba-tool", "dsacl", "set", f"--objectdn={person.dn}", f"--sddl=(OD;;RP;{attribute};;{whom})"]  # fmt: skip
        done = self.forests.lab.exec("corpdc", command)
        assert done.returncode == 0, done.stderr

    @contextmanager
    def group(self, *members: ObjectRef) -> Iterator[ObjectRef]:
        made = self.forests.add_group(Forest.CORP, self.forests.new_name("ps"))
        for one in members:
            self.forests.admin_modify(
                Forest.CORP, by_guid(made.guid), [(REPLACE, "member", [one.dn.encode()])]
            )
        yield made

    def resultant(self, person: ObjectRef) -> str:
        """The policy that counts, as an account sees it that nobody gave rights to."""
        return self._stranger.on_any(
            "look",
            lambda session: session.must_read(by_guid(person.guid), ["msDS-ResultantPSO"]).text(
                "msDS-ResultantPSO"
            ),
        )

    def _write(self, dn: str, values: dict[str, bytes]) -> None:
        self.forests.admin_modify(
            Forest.CORP, dn, [(REPLACE, name, [value]) for name, value in values.items()]
        )


def _of_domain(policy: Policy) -> dict[str, bytes]:
    return _numbers(
        {
            "minPwdLength": policy.length,
            "pwdProperties": int(policy.complex),
            "pwdHistoryLength": policy.history,
            "minPwdAge": _units(policy.least_age),
            "maxPwdAge": _units(policy.longest_age),
            "lockoutThreshold": policy.lockout.threshold,
            "lockOutObservationWindow": _units(policy.lockout.window),
            "lockoutDuration": _units(policy.lockout.lasts),
        }
    )


def _of_pso(policy: Policy) -> dict[str, bytes]:
    return _numbers(
        {
            "msDS-MinimumPasswordLength": policy.length,
            "msDS-PasswordHistoryLength": policy.history,
            "msDS-MinimumPasswordAge": _units(policy.least_age),
            "msDS-MaximumPasswordAge": _units(policy.longest_age),
            "msDS-LockoutThreshold": policy.lockout.threshold,
            "msDS-LockoutObservationWindow": _units(policy.lockout.window),
            "msDS-LockoutDuration": _units(policy.lockout.lasts),
        }
    ) | {"msDS-PasswordComplexityEnabled": b"TRUE" if policy.complex else b"FALSE"}


def _numbers(values: dict[str, int]) -> dict[str, bytes]:
    return {name: str(value).encode() for name, value in values.items()}


def _units(span: timedelta | None) -> int:
    """A negative number of 100 ns; None: never."""
    return _NEVER if span is None else -int(span.total_seconds()) * 10_000_000


@pytest.fixture
def policies(directory_lab: DirectoryLab) -> Iterator[SambaPolicyWorld]:
    made = SambaPolicyWorld(directory_lab)
    yield made
    made.undo()
