"""One phase of the second part, inside the lab. Gets its order as JSON on standard input (it holds passwords), writes the result to a file."""

import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import ldap
import ldap.modlist
from ldap.controls import SimplePagedResultsControl

from bastide import pcns
from bastide.clock import SystemClock
from bastide.directory.kerberos import Identity
from bastide.directory.ldap import Controllers, SealedConnect, discover
from bastide.directory.pcns import AdNotificationDirectory
from bastide.directory.session import Session
from benchmarks import sync_sql, sync_wake

Order = Mapping[str, Any]
PATIENCE = 60.0
#: Between two binds: a time is late by this at most, plus the bind.
PAUSE = 0.002
_MANY = 500
#: Operations on their way: with many more, libldap says BUSY when the socket is full.
_IN_FLIGHT = 32


def connect(order: Order, name: str, password: str) -> Any:
    """LDAPS with the server's name verified, as Bastide connects."""
    raw = ldap.initialize(f"ldaps://{order['host']}:{order['port']}")
    raw.set_option(ldap.OPT_X_TLS_CACERTFILE, order["ca"])
    raw.set_option(ldap.OPT_X_TLS_NEWCTX, 0)
    raw.set_option(ldap.OPT_NETWORK_TIMEOUT, 10.0)
    raw.simple_bind_s(name, password)
    return raw


def dn_of(order: Order, name: str) -> str:
    return f"uid={name},{order['base']}"


# --------------------------------------------------------------------------------------------------------------- arrange


def configure(order: Order) -> object:
    """The PCNS schema and one target, as an administrator's commands leave them."""
    connect_as = SealedConnect(Identity(order["principal"], Path(order["keytab"])), SystemClock().now)
    controllers = Controllers(order["domain"], discover(order["domain"]), connect_as, time.monotonic)

    def arrange(session: Session) -> None:
        directory = AdNotificationDirectory(session)
        directory.extend_schema()
        directory.save_service(pcns.ServiceSettings(retry_interval=10))
        target = pcns.Target(
            name="Bastide",
            guid=UUID(order["guid"]),
            server=order["server"],
            spn=order["spn"],
            inclusion=directory.group_sid("Domain Users"),
        )
        directory.add_target(target)

    controllers.on_any("arrange", arrange)
    controllers.close()
    return True


def people(order: Order) -> object:
    """Entries under a policy that locks nobody: who waits for a new password tries it again and again. Gives the entryUUID of each."""
    raw = connect(order, order["admin"], order["password"])
    policy = f"cn=bench,ou=policies,{order['admin'].partition(',')[2]}"
    rules = {
        "objectClass": ["device", "pwdPolicy"],
        "cn": ["bench"],
        "pwdAttribute": ["userPassword"],
        "pwdLockout": ["FALSE"],
    }
    raw.add_s(
        policy,
        ldap.modlist.addModlist({name: [one.encode() for one in many] for name, many in rules.items()}),
    )
    for start in range(0, len(order["names"]), _IN_FLIGHT):
        numbers = []
        for name in order["names"][start : start + _IN_FLIGHT]:
            values = {"objectClass": "inetOrgPerson", "uid": name, "cn": name, "sn": name}
            values["pwdPolicySubentry"] = policy
            added = ldap.modlist.addModlist({key: [value.encode()] for key, value in values.items()})
            numbers.append(raw.add_ext(dn_of(order, name), added))
        for number in numbers:
            raw.result3(number)
    return anchors_of(raw, order)


def anchors_of(raw: Any, order: Order) -> dict[str, str]:
    """In pages: a search has a limit of 500."""
    control = SimplePagedResultsControl(True, size=_MANY, cookie="")
    found: dict[str, str] = {}
    while True:
        number = raw.search_ext(
            order["base"],
            ldap.SCOPE_ONELEVEL,
            "(objectClass=inetOrgPerson)",
            ["uid", "entryUUID"],
            serverctrls=[control],
        )
        _, data, _, controls = raw.result3(number)
        found |= {shown["uid"][0].decode(): shown["entryUUID"][0].decode() for _, shown in data}
        (answer,) = controls
        if not answer.cookie:
            return found
        control.cookie = answer.cookie


# ------------------------------------------------------------------------------------------------------------- latencies


def changes(order: Order) -> object:
    """`kpasswd` by people, one after the other or at random moments of `spread` seconds; the seconds from its return until slapd lets them in."""
    spans: list[float] = []
    problems: list[str] = []
    lock = threading.Lock()

    def one(name: str, old: str, new: str, wait: float) -> None:
        time.sleep(wait)
        try:
            took = change(order, name, old, new)
        except Exception as error:  # noqa: BLE001  # a number without all of its people is no number
            problems.append(f"{name}: {error}")
            return
        with lock:
            spans.append(took)

    chance = random.Random(order["seed"])
    waits = [chance.uniform(0, order["spread"]) for _ in order["people"]]
    threads = [
        threading.Thread(target=one, args=(*who, wait), daemon=True)
        for who, wait in zip(order["people"], waits, strict=True)
    ]
    for thread in threads:
        thread.start()
        if not order["spread"]:
            thread.join()
    for thread in threads:
        thread.join()
    if problems:
        raise RuntimeError(problems[0])
    return {"spans": spans}


def change(order: Order, name: str, old: str, new: str) -> float:
    """One person's change with MIT's kpasswd, and the wait."""
    raw = connect(order, order["service"], order["password"])
    words = f"{old}\n{new}\n{new}\n"
    done = subprocess.run(
        ["kpasswd", f"{name}@{order['realm']}"],
        input=words,
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # without a terminal it reads standard input
    )
    returned = time.monotonic()
    if done.returncode:
        raise RuntimeError(f"kpasswd: {done.stdout}{done.stderr}")
    while True:
        try:
            raw.simple_bind_s(dn_of(order, name), new)
        except (ldap.INVALID_CREDENTIALS, ldap.INAPPROPRIATE_AUTH):
            if time.monotonic() - returned > PATIENCE:
                raise TimeoutError(f"not in slapd after {PATIENCE:g} s") from None
            time.sleep(PAUSE)
        else:
            return time.monotonic() - returned


# ----------------------------------------------------------------------------------------------------------------- rates


def bare_rate(order: Order) -> object:
    """The bare script: RFC 3062, one after the other, over one connection."""
    raw = connect(order, order["service"], order["password"])
    started = time.monotonic()
    for name in order["names"]:
        raw.passwd_s(dn_of(order, name), None, order["new"])
    return {"seconds": time.monotonic() - started}


def signs_in(order: Order) -> object:
    """How many of these get in with that password."""
    good = 0
    raw = connect(order, order["service"], order["password"])
    for name in order["names"]:
        try:
            raw.simple_bind_s(dn_of(order, name), order["new"])
        except ldap.INVALID_CREDENTIALS:
            continue
        good += 1
    return good


PHASES: Mapping[str, Callable[[Order], object]] = {
    "configure": configure,
    "people": people,
    "changes": changes,
    "bare_rate": bare_rate,
    "signs_in": signs_in,
    "wake_ups": sync_wake.wake_ups,
    "sql": sync_sql.compare,
}


def main() -> None:
    """As benchmarks/drive.py."""
    order = json.load(sys.stdin)
    result = PHASES[order["phase"]](order)
    Path(order["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
