"""Where a database is, by its URL, so that two spellings of one place are known as one; and what a DNS name, a network and an address of this host are."""

import ipaddress
import os
import re
from contextlib import suppress
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

_SQLITE = "sqlite:///"
_POSTGRES = frozenset({"postgresql", "postgres", "postgresql+psycopg"})
_POSTGRES_PORT = "5432"
#: Of a DNS name, in characters (RFC 1035, 2.3.4).
LONGEST_DNS_NAME = 253
#: Letters of any script, digits and hyphens.
_DNS_LABEL = re.compile(r"(?!-)(?:[^\W_]|-){1,63}(?<!-)")


def places(url: str) -> frozenset[str]:
    """Where a database is, so that two URLs of one have something in common: the true path of a file, and the device and inode of one that is
    there; the name at each host and port. Nothing for one in memory, or what is no URL of a database.
    """
    if url.startswith(_SQLITE):
        path = url.removeprefix(_SQLITE).partition("?")[0]
        if path in {"", ":memory:"}:
            return frozenset()
        found = {os.path.realpath(path)}
        with suppress(OSError):
            status = Path(path).stat()
            found.add(f"{status.st_dev}:{status.st_ino}")
        return frozenset(found)
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
    except ValueError:
        return frozenset()
    if parts.scheme not in _POSTGRES:
        return frozenset()
    user, _, hosts = parts.netloc.rpartition("@")
    name = options.get("dbname") or unquote(parts.path[1:]) or unquote(user.partition(":")[0])
    port = options.get("port", "")
    return frozenset(f"{_endpoint(host, port)}/{name}" for host in (options.get("host") or hosts).split(","))


def _endpoint(host: str, port: str) -> str:
    """`host`, or `host:port`, or `[address]:port`, as libpq means it. `port`: what else says it."""
    name, colon, own = host.rpartition(":")
    if not colon or not (own.isdigit() or not own) or (":" in name and not name.endswith("]")):
        name, own = host, port
    return f"{plain(unquote(name))}:{own or _POSTGRES_PORT}"


def plain(name: str) -> str:
    """As two spellings of one DNS name are the same."""
    return name.rstrip(".").lower()


def is_dns_name(text: str) -> bool:
    """One that domain/management_agents.py takes as that of a source, too. What ends in a number is an address."""
    labels = text.split(".")
    return (
        len(text) <= LONGEST_DNS_NAME and all(map(_DNS_LABEL.fullmatch, labels)) and not labels[-1].isdigit()
    )


def is_some_network(text: str) -> bool:
    """Not a name, and not everybody: whoever is believed may say any address."""
    try:
        return ipaddress.ip_network(text).prefixlen > 0
    except ValueError:
        return False


def is_loopback(address: str) -> bool:
    """Whether nobody else can reach what listens there."""
    return address in {"localhost", "::1"} or address.startswith("127.")


def wrong_collector(url: str) -> str:
    """Why spans are not sent there; empty: they may be. Whoever listens in on the way would learn how the bastion is used."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", 0, urlsplit("")
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host))
    if safe and host and port != 0 and not {"@", "?", "#"} & {*url}:
        return ""
    return (
        "telemetry.endpoint is an https:// address, or http:// of this host, without a name or password in it"
    )
