"""What bob does at his desk, as a program of its own on the client host: signs in everywhere, runs kpasswd once, and signs in everywhere again.

In: one JSON object on standard input, with his passwords. Out: one JSON object on standard output, without them. Times are milliseconds since kpasswd returned.

A system that counts wrong passwords must not be asked again and again: bob is signed in to OpenLDAP before the change, and there sees his own entry change.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import ldap
import psycopg
import pymysql

LIMIT = 60.0
PAUSE = 0.005
_ACCESS_DENIED = 1045  # ER_ACCESS_DENIED_ERROR


class System(Protocol):
    """How bob signs in to one system."""

    def enters(self, password: str) -> bool:
        """Whether the account opens with it. Raises what is no answer to that."""

    def until_changed(self) -> None:
        """Wait until it may be worth trying."""


class OpenLdap:
    def __init__(self, *, host: str, port: int, name: str, ca: str, password: str) -> None:
        self._url, self._ca, self._name = f"ldaps://{host}:{port}", ca, name
        self._own = self._bound(password)
        self._before = self._state()

    def enters(self, password: str) -> bool:
        try:
            self._bound(password).unbind_s()
        except ldap.INVALID_CREDENTIALS:
            return False
        return True

    def until_changed(self) -> None:
        deadline = time.monotonic() + LIMIT
        while self._state() == self._before and time.monotonic() < deadline:
            time.sleep(PAUSE)

    def _bound(self, password: str) -> Any:
        raw = ldap.initialize(self._url)
        raw.set_option(ldap.OPT_X_TLS_CACERTFILE, self._ca)
        raw.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
        raw.set_option(ldap.OPT_NETWORK_TIMEOUT, 10)
        raw.simple_bind_s(self._name, password)
        return raw

    def _state(self) -> object:
        return self._own.search_s(self._name, ldap.SCOPE_BASE, attrlist=["entryCSN"])


class PostgreSql:
    def __init__(self, *, host: str, port: int, name: str, ca: str, password: str, database: str) -> None:
        self._where: dict[str, Any] = {
            "host": host, "port": port, "user": name, "dbname": database, "sslmode": "verify-full", "sslrootcert": ca,
            "connect_timeout": 10,
        }  # fmt: skip
        if not self.enters(password):
            raise SystemExit("PostgreSQL does not know bob")

    def enters(self, password: str) -> bool:
        try:
            psycopg.connect(**self._where, password=password).close()
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                return False
            raise
        return True

    def until_changed(self) -> None:
        return


class MariaDb:
    def __init__(self, *, host: str, port: int, name: str, ca: str, password: str) -> None:
        self._where: dict[str, Any] = {
            "host": host, "port": port, "user": name, "ssl_ca": ca, "ssl_verify_identity": True, "connect_timeout": 10,
        }  # fmt: skip
        if not self.enters(password):
            raise SystemExit("MariaDB does not know bob")

    def enters(self, password: str) -> bool:
        try:
            pymysql.connect(**self._where, password=password.encode()).close()
        except pymysql.OperationalError as error:
            if error.args[0] == _ACCESS_DENIED:
                return False
            raise
        return True

    def until_changed(self) -> None:
        return


KINDS: dict[str, Callable[..., System]] = {"openldap": OpenLdap, "postgresql": PostgreSql, "mariadb": MariaDb}


def change(principal: str, old: str, new: str) -> str:
    """Once. What kpasswd said if it refused; without a terminal, or it would ask that."""
    command = ["setsid", "-w", "kpasswd", principal]
    done = subprocess.run(
        command, input=f"{old}\n{new}\n{new}\n", capture_output=True, text=True, timeout=LIMIT, check=False
    )
    return "" if done.returncode == 0 else f"{done.stdout}{done.stderr}"


def arrival(system: System, new: str, returned: float) -> float | None:
    """After how many milliseconds the new password opened it; None if it did not in time."""
    system.until_changed()
    while True:
        if system.enters(new):
            return (time.monotonic() - returned) * 1000
        if time.monotonic() - returned > LIMIT:
            return None
        time.sleep(PAUSE)


def main() -> int:
    """0 if kpasswd took the password; how it went elsewhere is in the answer."""
    order = json.load(sys.stdin)
    new = order["new"]
    systems = {name: KINDS[name](**given) for name, given in order["systems"].items()}
    began = time.monotonic()
    if problem := change(order["principal"], order["old"], new):
        print(problem, file=sys.stderr)
        return 1
    returned = time.monotonic()
    with ThreadPoolExecutor(len(systems)) as threads:
        arrivals = {name: threads.submit(arrival, system, new, returned) for name, system in systems.items()}
        took = {name: found.result() for name, found in arrivals.items()}
    old_opens = {name: systems[name].enters(given["password"]) for name, given in order["systems"].items()}
    print(json.dumps({"kpasswd": (returned - began) * 1000, "took": took, "old_opens": old_opens}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
