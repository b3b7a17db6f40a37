"""What an agent may say at most; page: docs/reference/wire.md."""

from typing import Any

import msgspec
import pytest

from bastide import wire

GUID = "0e8dd3d5-7b5c-5d1a-b0ef-000000000001"
LARGEST: dict[str, Any] = {
    "reference": GUID,
    "user_guid": GUID.upper(),
    "user_sid": "S" * wire.SID_LIMIT,
    "account": "🐟" * wire.NAME_LIMIT,
    "changed_at": 2**63 - 1,
    "revision": wire.LARGEST_REVISION,
    "origin": GUID,
    "attempt": 2**63 - 1,
    "secret": bytes(wire.SECRET_LIMIT),
    "check": bytes(wire.CHECK_LIMIT),
}


def test_the_largest_notification_is_one() -> None:
    told = wire.Notification(**LARGEST)
    assert wire.from_agent(wire.encode(told)) == told
    least = wire.Notification(
        **{
            **LARGEST,
            "user_sid": "",
            "account": "",
            "changed_at": 0,
            "revision": 0,
            "attempt": 0,
            "secret": b"",
        }
    )
    assert wire.from_agent(wire.encode(least)) == least


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reference", "r1"),
        ("reference", GUID + "\n"),
        ("reference", "a" * 64),
        ("user_guid", ""),
        ("origin", GUID.replace("-", "")),
        ("user_sid", "S" * (wire.SID_LIMIT + 1)),
        ("account", "a" * (wire.NAME_LIMIT + 1)),
        ("changed_at", -1),
        ("changed_at", 2**63),
        ("revision", -1),
        ("revision", wire.LARGEST_REVISION + 1),
        ("revision", 2**63),
        ("attempt", -1),
        ("secret", bytes(wire.SECRET_LIMIT + 1)),
        ("check", bytes(wire.CHECK_LIMIT + 1)),
    ],
)
def test_what_is_beyond_a_limit_is_no_message(field: str, value: object) -> None:
    raw = msgspec.msgpack.encode({"type": "notification", **LARGEST, field: value})
    with pytest.raises(wire.WireError, match="no message"):
        wire.from_agent(raw)


@pytest.mark.parametrize(
    "said",
    [
        {"type": "heartbeat", "waiting": -1, "oldest": 0},
        {"type": "heartbeat", "waiting": 0, "oldest": 2**63},
        {"type": "hello", "version": 1, "software": "x" * 257, "domain": "d", "controller": "c"},
        {"type": "hello", "version": -1, "software": "x", "domain": "d", "controller": "c"},
    ],
)
def test_the_other_messages_have_limits_too(said: dict[str, object]) -> None:
    with pytest.raises(wire.WireError, match="no message"):
        wire.from_agent(msgspec.msgpack.encode(said))
