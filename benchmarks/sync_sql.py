"""Passwords of database accounts: Bastide's targets beside the bare drivers, both over TLS with the server's name verified, in turns."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg
import pymysql
from psycopg import sql

from bastide.domain.management_agents import CsId, CsObject, MaId, ManagementAgent
from bastide.domain.passwords import Code
from bastide.services.passwords.ports import NewPassword
from bastide.targets.registry import Registry

Order = Mapping[str, Any]
ROUNDS = 3
WARM_UP = 10
#: As the worker does: a connection of its own for what it has claimed, in parts.
PART = 100
Bare = Callable[[Sequence[str], str], None]


def compare(order: Order) -> object:
    """Rates of each turn, by whose they are."""
    arrange, bare = {
        "postgresql": (_arrange_postgres, _bare_postgres),
        "mariadb": (_arrange_maria, _bare_maria),
    }[order["kind"]]
    names = [f"r{number:04}" for number in range(order["accounts"])]
    arrange(order, names)
    _bastide(order, names[:WARM_UP], "Warm-Up-aA7")
    bare(order, names[:WARM_UP], "Warm-Up-aA7")
    rates: dict[str, list[float]] = {"bastide": [], "bare": []}
    for turn in range(ROUNDS):
        for who in ("bare", "bastide") if turn % 2 else ("bastide", "bare"):
            password = f"Turn-{turn}-{who}-aA7"
            began = time.monotonic()
            if who == "bare":
                bare(order, names, password)
            else:
                _bastide(order, names, password)
            rates[who].append(len(names) / (time.monotonic() - began))
    return rates


def _bastide(order: Order, names: Sequence[str], password: str) -> None:
    agent = ManagementAgent(
        id=MaId("bench"),
        name="bench",
        connector=order["kind"],
        settings={
            "host": order["host"],
            "port": order["port"],
            "database": order["base"],
            "user": order["admin"],
            "ca": order["ca"],
            "passwords": {"kind": "role"},
        },
    )
    registry = Registry(lambda: datetime.now(UTC), time.monotonic)
    with registry.target(agent, order["password"]) as target:
        for start in range(0, len(names), PART):
            part = [NewPassword(_object(name), password) for name in names[start : start + PART]]
            wrong = [one for one in target.set(part) if one.code is not Code.SUCCESS]
            if wrong:
                raise RuntimeError(wrong[0].detail)


def _object(name: str) -> CsObject:
    return CsObject(id=CsId(name), ma=MaId("bench"), anchor=name, dn=name, type="user", attributes={})


# ------------------------------------------------------------------------------------------------------------ PostgreSQL


def _postgres(order: Order) -> psycopg.Connection:
    return psycopg.connect(
        host=order["host"],
        port=order["port"],
        dbname=order["base"],
        user=order["admin"],
        password=order["password"],
        sslmode="verify-full",
        sslrootcert=order["ca"],
        autocommit=True,
    )


def _arrange_postgres(order: Order, names: Sequence[str]) -> None:
    with _postgres(order) as raw:
        for name in names:
            raw.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(name)))


def _bare_postgres(order: Order, names: Sequence[str], password: str) -> None:
    """As psql does on a change: hashed here, so that the server's log cannot hold it."""
    with _postgres(order) as raw:
        for name in names:
            verifier = raw.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
            raw.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                    sql.Identifier(name), sql.Literal(verifier.decode())
                )
            )


# --------------------------------------------------------------------------------------------------------------- MariaDB


def _maria(order: Order) -> "pymysql.Connection[pymysql.cursors.Cursor]":
    return pymysql.connect(
        host=order["host"],
        port=order["port"],
        user=order["admin"],
        password=order["password"].encode(),
        ssl_ca=order["ca"],
        ssl_verify_identity=True,
        autocommit=True,
    )


def _arrange_maria(order: Order, names: Sequence[str]) -> None:
    with closing(_maria(order)) as raw, raw.cursor() as cursor:
        for name in names:
            cursor.execute("CREATE USER %s@'%%' IDENTIFIED BY %s", (name, "First-Pass-aA7"))


def _bare_maria(order: Order, names: Sequence[str], password: str) -> None:
    with closing(_maria(order)) as raw, raw.cursor() as cursor:
        for name in names:
            cursor.execute("SET PASSWORD FOR %s@'%%' = PASSWORD(%s)", (name, password))
