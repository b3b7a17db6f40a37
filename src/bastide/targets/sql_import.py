"""Tables and views of databases, imported: all rows, or those that changed."""

import datetime as dt
import json
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection

from bastide.domain.errors import BadSource, CapabilityMissing, NotConfigured
from bastide.services.passwords.ports import Imported, Page
from bastide.targets.kinds import Opening
from bastide.targets.sql_errors import check_catalogue, in_the_open, translated
from bastide.targets.sql_settings import Reading, SqlSettings
from bastide.targets.sql_statements import selecting
from bastide.targets.sql_vendor import Vendor, engine_for

_PAGE = 500


class SqlConnector:
    """Reads a table or view, one object a row."""

    def __init__(self, vendor: Vendor, settings: SqlSettings, opening: Opening) -> None:
        self._vendor = vendor
        self._settings = settings
        self._opening = opening

    def read(self, cookie: bytes) -> Iterator[Page]:
        """All rows, or those whose change column is not below the mark. Rows that were deleted show in a full import only, unless a
        column says so. Raises TargetUnavailable, TargetDenied, BadSource, NotConfigured, CapabilityMissing.
        """
        reading = self._settings.read
        if reading is None:
            raise NotConfigured("the settings name nothing to read", remedy="add `read` to the settings")
        if in_the_open(self._settings, self._opening):
            raise NotConfigured(
                "tls is off, and without it no secret is sent over the network",
                remedy="set tls to verify, or waive the secure connection for this agent (audited)",
            )
        since = _mark(reading, cookie)
        engine = engine_for(self._vendor, self._settings, self._opening.secret)
        with translated(self._vendor, self._opening.secret):
            try:
                with engine.connect() as connection:
                    yield from self._pages(connection, reading, since, cookie)
            finally:
                engine.dispose()

    def _pages(
        self, connection: Connection, reading: Reading, since: object, cookie: bytes
    ) -> Iterator[Page]:
        names = list(
            dict.fromkeys(
                filter(
                    None, (reading.anchor, reading.dn, reading.change, reading.deleted, *reading.attributes)
                )
            )
        )
        columns = check_catalogue(
            connection, self._vendor, self._settings, reading.schema, reading.table, names
        )
        # Reading needs a transaction: psycopg streams from a cursor of the server.
        streaming = connection.execution_options(stream_results=True, max_row_buffer=_PAGE)
        parameters = {} if since is None else {"since": since}
        statement = selecting(columns, reading.change if since is not None else "", reading.row_limit + 1)
        # Closed here and now: PyMySQL's unread rows stand in the way of closing the connection.
        with streaming.execute(statement, parameters) as rows:
            yield from _objects(reading, names, rows, cookie)


def _objects(reading: Reading, names: Sequence[str], rows: Iterable[Any], cookie: bytes) -> Iterator[Page]:
    newest, page = None, list[Imported]()
    for number, row in enumerate(rows, 1):
        if number > reading.row_limit:
            raise BadSource(
                f"there are more than {reading.row_limit} rows", remedy="raise settings.read.row_limit"
            )
        values: dict[str, object] = dict(zip(names, row, strict=True))
        newest = _later(newest, values.get(reading.change))
        page.append(_imported(reading, values, number))
        if len(page) == _PAGE:
            yield Page(tuple(page), cookie)
            page.clear()
    yield Page(tuple(page), _cookie(newest) or cookie)


def _imported(reading: Reading, values: dict[str, object], number: int) -> Imported:
    texts = {name: _text(value, number) for name, value in values.items()}
    if sum(len(text or "") for text in texts.values()) > reading.size_limit:
        raise BadSource(
            f"row {number} has more than {reading.size_limit} characters",
            remedy="raise settings.read.size_limit",
        )
    anchor = texts[reading.anchor]
    if not anchor:
        raise BadSource(f"row {number} has no {reading.anchor}")
    dn = texts[reading.dn] if reading.dn else anchor
    if reading.deleted and values[reading.deleted] not in (None, 0, False, "", "0", b"\0"):
        return Imported(anchor, dn or anchor, reading.type, {}, deleted=True)
    attributes = {
        name: found for name in reading.attributes if (found := _several(reading, name, texts[name])) != ()
    }
    return Imported(anchor, dn or anchor, reading.type, attributes)


def _several(reading: Reading, name: str, text: str | None) -> tuple[str, ...]:
    if text is None or text == "":
        return ()
    if name not in reading.multi_valued:
        return (text,)
    return tuple(part for part in text.split(reading.separator) if part)


def _text(value: object, number: int) -> str | None:
    """A value as text; the same for the same value, whenever it is read."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    if isinstance(value, list | dict):
        raise BadSource(
            f"row {number} has a column that holds a list or a document", remedy="read it through a view"
        )
    return str(value)


def _mark(reading: Reading, cookie: bytes) -> object:
    """From where a delta is read; None: everything. Raises CapabilityMissing, BadSource."""
    if not cookie:
        return None
    if not reading.change:
        raise CapabilityMissing(
            "this agent reads no changes", remedy="name a change column, or import all of it"
        )
    try:
        kind, text = json.loads(cookie)
        if kind == "number":
            return Decimal(text) - reading.overlap
        if kind == "time":
            return dt.datetime.fromisoformat(text) - dt.timedelta(seconds=reading.overlap)
    except (ValueError, TypeError, ArithmeticError):
        pass
    raise BadSource("the mark of the last import is not ours", remedy="import all of it")


def _later(newest: Any, value: Any) -> Any:
    if value is None:
        return newest
    if not isinstance(value, int | Decimal | dt.datetime):
        raise BadSource("the change column holds neither numbers nor times with a date")
    return value if newest is None or value > newest else newest


def _cookie(newest: object) -> bytes:
    if newest is None:
        return b""
    if isinstance(newest, dt.datetime):
        return json.dumps(["time", newest.isoformat()]).encode()
    return json.dumps(["number", str(newest)]).encode()
