"""A statement with many rows goes to the driver as it is: on SQLite and PostgreSQL alike it says the same as with one."""

from datetime import timedelta

import pytest
from sqlalchemy import bindparam, case, select, update

from bastide.store import tables
from bastide.store.engine import open_database
from bastide.store.session import Session
from bastide.store.statements import one_of, upserts
from bastide.store.transactions import transaction

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]

_PUT = upserts(tables.audit_cursors, ["sink"])
_c = tables.audit_cursors.c
_ALL = select(_c.sink, _c.seq).where(_c.sink.like("rows-%")).order_by(_c.sink)
#: A value that is the same for each row, one that is bound under another name than the column's, and a per cent sign.
_MOVE = (
    update(tables.audit_cursors)
    .where(_c.sink == bindparam("sink_"))
    .values(seq=case((_c.sink.like("%-2"), 20), else_=bindparam("seq_")))
)


def rows(session: Session) -> list[tuple[str, int]]:
    return [(row.sink, row.seq) for row in session.run(_ALL)]


def test_many_rows_are_what_each_of_them_says(shared_url: str) -> None:
    database = open_database(shared_url, busy=timedelta(seconds=10), pool=1)
    try:
        with transaction(database, write=True) as session:
            put = _PUT[session.dialect]
            session.run(put, [{"sink": f"rows-{number}", "seq": number} for number in range(3)])
            session.run(put, [{"sink": "rows-1", "seq": 11}])
            assert rows(session) == [("rows-0", 0), ("rows-1", 11), ("rows-2", 2)]
            moved = session.run(_MOVE, [{"sink_": f"rows-{number}", "seq_": -number} for number in (1, 2, 7)])
            assert moved.rowcount == 2
            assert rows(session) == [("rows-0", 0), ("rows-1", -1), ("rows-2", 20)]
            with pytest.raises(ValueError, match="rows without seq_"):
                session.run(_MOVE, [{"sink_": "rows-0"}, {"sink_": "rows-1"}])
    finally:
        database.close()


def test_any_number_of_texts_in_one_parameter(shared_url: str) -> None:
    """Quotes and all; none at all finds nothing."""
    database = open_database(shared_url, busy=timedelta(seconds=10), pool=1)
    found = select(_c.sink).where(one_of(_c.sink, "ids")).order_by(_c.sink)
    names = [f"many-{number:05}" for number in range(40_000)]
    odd = ["many-' OR 1=1 --", 'many-"quoted"', "many-{a,b}", "many-é€", "many-\\"]
    try:
        with transaction(database, write=True) as session:
            session.run(_PUT[session.dialect], [{"sink": one, "seq": 1} for one in (*names[::1000], *odd)])
            assert [row.sink for row in session.run(found, {"ids": names})] == names[::1000]
            for one in odd:
                assert [row.sink for row in session.run(found, {"ids": [one, "other"]})] == [one]
            assert session.run(found, {"ids": []}).all() == []
    finally:
        database.close()
