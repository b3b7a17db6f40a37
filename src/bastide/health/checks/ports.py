"""What must reach what, from this node. docs/how-to/validate-and-diagnose.md has the table of all of it."""

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from bastide.config import Config
from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.health import Category, Finding
from bastide.health.check import PATIENT, Check, Need
from bastide.health.look import bad, good, unfound
from bastide.health.world import World

_HTTP, _HTTPS, _POSTGRES = 80, 443, 5432
#: A host of a libpq URI; a socket, which begins with a slash in percent encoding, is none.
_ENDPOINT = re.compile(r"(?:\[(?P<six>[^]]+)\]|(?P<host>[^:%]*))(?::(?P<port>[0-9]*))?")
_SYSLOG = {"tcp": 601, "tls": 6514}


class Way(NamedTuple):
    """Somebody whom this node must reach, beside the controllers."""

    host: str
    port: int
    what: str


def controllers(world: World) -> Iterator[Finding]:
    """Of every domain: Kerberos, LDAP, SMB, password set."""
    for name, domain in world.domains().items():
        try:
            yield from domain.ports()
        except DirectoryUnavailable:
            yield unfound(name)


def others(world: World) -> Iterator[Finding]:
    """Database servers, receivers of the audit, of alerts and of spans, the issuer of tokens."""
    for way in ways(world.config):
        about = f"{way.host}:{way.port}"
        if why := world.network.knock(way.host, way.port):
            yield bad(about, f"{way.what} at {about} cannot be reached: {why}", _remedy(way, why))
        else:
            yield good(about, f"{way.what} at {about} can be reached")


def _remedy(way: Way, why: str) -> str:
    if why.startswith("refused"):
        return f"start {way.what} there, or mend the port in the settings"
    if why.startswith("unresolved"):
        return f"add a record for {way.host} to DNS, or mend its name in the settings"
    return f"open TCP {way.port} from here to {way.host} in the firewalls between, or start the host"


def ways(config: Config) -> Iterator[Way]:
    """Out of the settings. UDP and sockets say nothing when they are knocked at, and are left out."""
    database = urlsplit(config.database.url)
    if database.scheme.startswith("postgres"):
        for one in database.netloc.rpartition("@")[2].split(","):
            found = _ENDPOINT.fullmatch(one)
            if found and (host := found["six"] or found["host"]):
                yield Way(host, int(found["port"] or _POSTGRES), "the database server")
    syslog = urlsplit(config.audit.syslog)
    if syslog.scheme in _SYSLOG and syslog.hostname:
        yield Way(syslog.hostname, syslog.port or _SYSLOG[syslog.scheme], "the receiver of the audit")
    if config.oidc is not None:
        yield from _of_web(config.oidc.issuer, "the issuer of tokens")
    yield from _of_alerts(config)
    if config.telemetry is not None:
        yield from _of_web(config.telemetry.endpoint, "the collector of spans")


def _of_web(url: str, what: str) -> Iterator[Way]:
    place = urlsplit(url)
    if place.hostname:
        yield Way(place.hostname, place.port or (_HTTP if place.scheme == "http" else _HTTPS), what)


def _of_alerts(config: Config) -> Iterator[Way]:
    """Programs alone: where mail servers and chats are stands in secrets, and `bastide alert test` sends to them."""
    for one in () if config.alerts is None else config.alerts.destinations:
        receiver = urlsplit(one.syslog)
        if receiver.scheme in _SYSLOG and receiver.hostname:
            port = receiver.port or _SYSLOG[receiver.scheme]
            yield Way(receiver.hostname, port, f"the receiver of alerts {one.name}")


CHECKS = (
    Check(
        id="ports.controllers",
        category=Category.PORTS,
        subject="the ports of each controller",
        why="A firewall between Bastide and a controller looks like a controller that is down; the remedies are different.",
        run=controllers,
        needs=(Need.NETWORK,),
        timeout=PATIENT,
    ),
    Check(
        id="ports.others",
        category=Category.PORTS,
        subject="the ports of database, receivers and issuer",
        why="What cannot be reached is noticed at the worst moment otherwise.",
        run=others,
        needs=(Need.NETWORK,),
        timeout=PATIENT,
    ),
)
