"""What a wake-up costs the agent in a large domain: its own reading of configuration and changes, on the controller, beside nothing else."""

import os
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import ldap

from bastide_agent.configuration import Reader
from bastide_agent.host import identify
from bastide_agent.ldapi import Directory

Order = Mapping[str, Any]


def wake_ups(order: Order) -> object:
    """Somebody's description changes, `times` times; the milliseconds until the agent's code knows that no password did.

    As root over the privileged socket, like the agent. `first`: seconds of the first DirSync, of all users.
    """
    path = order["socket"]
    directory = Directory(lambda: _opened(path))
    root, _, _ = identify(directory)
    reader = Reader(directory, root)
    began = time.monotonic()
    cookie = _read(directory, root.base, b"")
    first = time.monotonic() - began
    writer = ldap.initialize(f"ldapi://{quote(path, safe='')}")
    polls = [_timed(directory.highest_usn) for _ in range(50)]
    spans: list[float] = []
    for number in range(order["times"]):
        writer.modify_s(order["dn"], [(ldap.MOD_REPLACE, "description", [str(number).encode()])])
        began = time.monotonic()
        directory.highest_usn()
        reader.read()
        cookie = _read(directory, root.base, cookie)
        spans.append(time.monotonic() - began)
    directory.close()
    return {"first": first, "spans": spans, "polls": polls}


def _read(directory: Directory, base: str, cookie: bytes) -> bytes:
    for page in directory.changed(base, cookie, "unicodePwd"):
        cookie = page.cookie
    return cookie


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def _opened(path: str) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        return os.dup(connection.fileno())
