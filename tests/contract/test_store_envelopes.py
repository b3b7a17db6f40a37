"""Envelopes of emergency accounts are kept as they are, on each database."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.break_glass import Envelope, State, Trace
from bastide.domain.errors import Conflict, NotFound
from bastide.domain.ids import Sid
from bastide.store.unit_of_work import SqlStore
from tests.support.break_glass import EmergencyNode
from tests.support.world import START

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
TRACE = Trace(last_logon=START, logons=3, password_set=START, groups=("CN=A,DC=x", "CN=B,DC=x"))


def envelope(number: int, name: str = "breakglass1", **said: object) -> Envelope:
    made = Envelope(
        number=number,
        account=Sid(f"S-1-5-21-1-2-3-{number}"),
        name=name,
        domain="priv.bastide.test",
        sealed_at=START + timedelta(minutes=number),
        sealed_by="S-1-5-21-1-2-3-500",
        sealer="Administrator",
        threshold=2,
        custodians=("Ann", "Ben", "Cy"),
        verifier="a hash",
        baseline={"dc1": TRACE, "dc2": Trace(shown=False)},
        seen={"dc1": TRACE},
    )
    return replace(made, **said)  # type: ignore[arg-type]


def test_it_reads_as_it_was_written(store: SqlStore) -> None:
    with EmergencyNode() as node:
        receipt = node.receipt(node.seal().envelope)
    kept = envelope(7, receipts=(receipt,), drilled_at=START, state=State.USED, ended_at=START, why="opened")
    with store.write() as uow:
        uow.envelopes.add(envelope(7))
        uow.envelopes.save(kept)
        uow.commit()
    with store.read() as uow:
        assert uow.envelopes.find(7) == kept
        assert uow.envelopes.find(8) is None


def test_those_that_count_are_by_name_and_all_by_age(store: SqlStore) -> None:
    with store.write() as uow:
        for number, name, state in ((1, "b", State.REPLACED), (2, "b", State.SEALED), (3, "A", State.USED), (4, "c", State.REMOVED)):  # fmt: skip
            uow.envelopes.add(envelope(number, name, state=state))
        uow.commit()
    with store.read() as uow:
        assert [one.number for one in uow.envelopes.all()] == [1, 2, 3, 4]
        assert [one.number for one in uow.envelopes.current()] == [3, 2]


def test_a_number_is_used_once(store: SqlStore) -> None:
    with store.write() as uow:
        uow.envelopes.add(envelope(7))
        uow.commit()
    with pytest.raises(Conflict), store.write() as uow:
        uow.envelopes.add(envelope(7, "other"))
    with pytest.raises(NotFound), store.write() as uow:
        uow.envelopes.save(envelope(9))
