"""A Bastide in memory that takes events in, and lines as domain controllers write them. Those of Windows are written by hand after Microsoft's pages of the events;
those of Samba have the form of Samba 4.22 on the lab (tests/integration/test_intake_on_samba.py reads real ones).
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bastide.domain.observed import Judged, Verdict
from bastide.domain.observed_lines import Format
from bastide.domain.people import Forest
from bastide.services.intake.ports import Source
from bastide.services.ports import AuditQuery
from bastide.wiring import Adapters
from bastide.wiring.intake import IntakeAdapters, IntakeServices
from tests.support.world import World

LATE = timedelta(minutes=5)
SAMBA = Source(name="dc1", format=Format.SAMBA, subject="dc1.corp.bastide.test", silence=timedelta(hours=1))
WINDOWS = Source(
    name="wec",
    format=Format.WINDOWS,
    subject="wec.corp.bastide.test",
    computers=frozenset({"windc.corp.bastide.test"}),
    complete=True,
)
STRANGER = "S-1-5-21-9-9-9-1500"


def samba_group(
    actor: str,
    user: str,
    group: str,
    *,
    event: int = 4728,
    at: str = "2026-11-20T09:00:00.000001+0000",
    **more: Any,
) -> bytes:
    body = {
        "version": {"major": 1, "minor": 1}, "eventId": event, "statusCode": 0, "status": "Success",
        "action": "Added" if event in {4728, 4732, 4756} else "Removed", "remoteAddress": "ipv4:10.0.0.9:40000",
        "localAddress": "ipv4:10.0.0.1:389", "userSid": actor, "group": group, "transactionId": "x", "sessionId": "y", "user": user,
    } | more  # fmt: skip
    return json.dumps({"timestamp": at, "type": "groupChange", "groupChange": body}).encode()


def samba_password(
    actor: str, dn: str, *, event: int = 4724, at: str = "2026-11-20T09:00:00.000002+0000"
) -> bytes:
    body = {
        "version": {"major": 1, "minor": 1}, "eventId": event, "statusCode": 0, "status": "Success", "remoteAddress": "ipv4:10.0.0.9:40000",
        "localAddress": "ipv4:10.0.0.1:389", "userSid": actor, "dn": dn, "action": "Reset" if event == 4724 else "Change",
        "transactionId": "x", "sessionId": "y",
    }  # fmt: skip
    return json.dumps({"timestamp": at, "type": "passwordChange", "passwordChange": body}).encode()


def samba_sign_in(sid: str, name: str, *, at: str = "2026-11-20T09:00:00.000003+0000") -> bytes:
    body = {
        "version": {"major": 1, "minor": 3}, "eventId": 4624, "status": "NT_STATUS_OK", "remoteAddress": "ipv4:10.0.0.9:40000",
        "becameAccount": name, "becameSid": sid,
    }  # fmt: skip
    return json.dumps({"timestamp": at, "type": "Authentication", "Authentication": body}).encode()


def nxlog(number: int, event: int, *, computer: str = "windc.corp.bastide.test", **data: Any) -> bytes:
    fields = {
        "EventTime": "2026-11-20T09:00:01.500000+00:00", "Hostname": computer, "EventType": "AUDIT_SUCCESS", "EventID": event,
        "RecordNumber": number, "Channel": "Security", "SourceName": "Microsoft-Windows-Security-Auditing",
    }  # fmt: skip
    return json.dumps({**fields, **data}).encode()


def winlogbeat(number: int, event: int, **data: Any) -> bytes:
    said = {
        "@timestamp": "2026-11-20T09:00:01.500Z",
        "event": {"code": str(event), "outcome": "success"},
        "winlog": {
            "event_id": str(event), "record_id": number, "channel": "Security", "computer_name": "windc.corp.bastide.test",
            "event_data": data,
        },
    }  # fmt: skip
    return json.dumps(said).encode()


class IntakeWorld(World):
    """Alice is a PAM user, FileAdmins a PAM group; dave's account is the one that Bastide signs in with. Not `prepared`: nobody is a PAM user yet."""

    def __init__(self, *, prepared: bool = True, **options: Any) -> None:
        super().__init__(**options)
        if prepared:
            self.ready()
        self.intake.judge.plant()

    def _adapters(self) -> Adapters:
        adapters = IntakeAdapters((SAMBA, WINDOWS), LATE, {Forest.PRIV: ("dave",)})
        return replace(super()._adapters(), intake=adapters)

    @property
    def intake(self) -> IntakeServices:
        assert self.services.intake is not None
        return self.services.intake

    @property
    def own(self) -> str:
        return str(self.dave.sid)

    def user_dn(self) -> str:
        with self.store.read() as uow:
            return uow.users.all()[0].priv.dn

    def group_dn(self) -> str:
        with self.store.read() as uow:
            return uow.groups.all()[0].priv.dn

    def take(self, *lines: bytes, source: Source = SAMBA) -> None:
        self.intake.accept.lines(source, lines)

    def judged(self) -> list[Judged]:
        """After the window for late arrival, oldest first."""
        self.clock.move(minutes=6)
        self.work()
        return list(self.all())[::-1]

    def all(self) -> tuple[Judged, ...]:
        with self.store.read() as uow:
            return uow.observed.since(self.clock.now() - timedelta(days=4000), tuple(Verdict), 1000)

    def audited(self, kind: str) -> list[dict[str, Any]]:
        with self.store.read() as uow:
            return [json.loads(one.data) for one in uow.audit.read(AuditQuery(kind=kind, limit=0))]


@pytest.fixture
def intake_world() -> Iterator[IntakeWorld]:
    made = IntakeWorld()
    yield made
    made.close()
