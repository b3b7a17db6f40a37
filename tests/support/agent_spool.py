"""The agent's queue, and changes to put into it."""

from pathlib import Path

from bastide_agent.spool import Change, Spool
from tests.support.agent import MemoryLog

A, B = "target-a", "target-b"
SECRET = b"CANARY-ciphertext-9f3b"


def change(reference: str, user: str = "u1") -> Change:
    return Change(
        reference=reference,
        user_guid=user,
        user_sid="S-1-5-21-1",
        account=f"name-{user}",
        changed_at=5,
        revision=1,
        origin="dc",
        secret=SECRET,
        check=b"c" * 32,
    )


def opened(path: Path, log: MemoryLog | None = None, limit: int = 1 << 20) -> Spool:
    return Spool(path, log or MemoryLog(), limit=limit, aside=lambda: "now")


def references(spool: Spool, target: str) -> list[str]:
    found: list[str] = []
    while item := spool.next_for(target, found):
        found.append(item.change.reference)
    return found
