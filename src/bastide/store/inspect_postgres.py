"""Each server that a DSN names, asked on its own: who can be written to, who follows whom, and how far behind. Imported only where psycopg is there."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import psycopg
from psycopg import conninfo

from bastide.domain.errors import StoreError
from bastide.store.inspect import ServerFacts, StandbyFacts

_DEFAULT_PORT = "5432"
_SECONDS = "3"
_SECRETS = frozenset({"password", "sslpassword", "passfile"})
_ITSELF = """
SELECT NOT pg_is_in_recovery() AND current_setting('default_transaction_read_only') = 'off', current_setting('server_version'),
       current_setting('synchronous_standby_names'), (SELECT timeline_id FROM pg_control_checkpoint()),
       CASE WHEN pg_is_in_recovery() AND pg_last_wal_receive_lsn() IS DISTINCT FROM pg_last_wal_replay_lsn()
            THEN extract(epoch FROM now() - pg_last_xact_replay_timestamp())
            WHEN pg_is_in_recovery() THEN 0 END
"""
_STANDBYS = """
SELECT coalesce(application_name, ''), coalesce(state, ''), coalesce(sync_state, ''),
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN NULL ELSE pg_current_wal_lsn() END, replay_lsn)
  FROM pg_stat_replication ORDER BY 1
"""


def options_of(url: str) -> Mapping[str, str]:
    """What the DSN says, without secrets. Raises StoreError."""
    return {name: value for name, value in _given(url).items() if name not in _SECRETS}


def servers_of(url: str) -> tuple[ServerFacts, ...]:
    """Every host of the DSN. Raises StoreError if it cannot be read."""
    given = _given(url)
    hosts = given.get("host", "").split(",")
    ports = given.get("port", _DEFAULT_PORT).split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return tuple(_server(given, host, port or _DEFAULT_PORT) for host, port in zip(hosts, ports, strict=True))


def _given(url: str) -> dict[str, str]:
    try:
        found = conninfo.conninfo_to_dict(url.replace("postgresql+psycopg://", "postgresql://", 1))
    except (psycopg.Error, UnicodeDecodeError):
        # From None: both repeat the URL they do not understand.
        raise StoreError("the PostgreSQL URL cannot be read") from None
    return {name: str(value) for name, value in found.items() if value is not None}


def _server(given: Mapping[str, str], host: str, port: str) -> ServerFacts:
    alone: dict[str, Any] = {
        **{name: value for name, value in given.items() if name != "hostaddr"},
        "host": host,
        "port": port,
        "target_session_attrs": "any",
        "connect_timeout": _SECONDS,
        "application_name": "bastide-validate",
    }
    shown = host or "local socket"
    try:
        with psycopg.connect(conninfo.make_conninfo(**alone), autocommit=True) as connection:
            writable, version, synchronous, timeline, lag = connection.execute(_ITSELF).fetchone() or (
                False, "", "", 0, None,
            )  # fmt: skip
            standbys = tuple(
                StandbyFacts(name, state, sync, None if behind is None else int(behind))
                for name, state, sync, behind in connection.execute(_STANDBYS).fetchall()
            )
    except psycopg.Error as error:
        return ServerFacts(shown, int(port), _said(error, given.get("password", "")))
    return ServerFacts(
        shown,
        int(port),
        "",
        str(version),
        bool(writable),
        int(timeline or 0),
        str(synchronous),
        standbys,
        None if lag is None else timedelta(seconds=float(lag)),
    )


def _said(error: psycopg.Error, password: str) -> str:
    """The first line, without the password: what libpq says of a connection may repeat parts of the DSN."""
    lines = str(error).splitlines()
    said = lines[0] if lines else type(error).__name__
    return said.replace(password, "***") if password else said
