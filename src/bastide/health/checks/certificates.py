"""TLS of this server: name, chain, days left, and the key that belongs to it; and the authorities that others are believed by."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bastide.config import Config, Server
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import Check
from bastide.health.checks.events import OFF
from bastide.health.checks.service import near
from bastide.health.look import Problem, bad, good, refusal, secret, unasked
from bastide.health.world import World
from bastide.places import is_loopback

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

#: A certificate authority may need some weeks; a week is what is left for a weekend and a holiday.
_SOON, _NOW = timedelta(days=30), timedelta(days=7)
#: It is read when the service starts, and not again.
_AT_START = "intake.ca"
_RENEW = "get a new one from your certificate authority, put it there, and restart bastide.service"


def server(world: World) -> Iterator[Finding]:
    """What TLS needs; without a certificate only loopback is served."""
    table = world.config.server
    if not table.certificate:
        yield _none(table)
        return
    remedy = "set server.certificate to a PEM file with the certificate and its chain"
    try:
        chain = read_chain(Path(table.certificate))
    except (Problem, OSError) as error:
        yield refusal("server: certificate", error, remedy)
    else:
        yield life("server: certificate", chain[0], world.clock.now(), _RENEW)
        yield names(chain[0], _wanted(world.config))
        yield links(chain)
    yield secret("server: key", table.key, "set server.key to the PEM file with the certificate's key")


def _none(table: Server) -> Finding:
    if is_loopback(table.address):
        return good("server: TLS", "none; loopback only")
    return bad(
        "server: TLS",
        f"no certificate, and {table.address} is not loopback",
        'set server.certificate and server.key, or server.address = "127.0.0.1"',
    )


def _wanted(config: Config) -> list[str]:
    found = [urlsplit(config.server.url).hostname or "", config.http.priv_host, config.http.corp_host]
    return list(dict.fromkeys(name.lower() for name in found if name))


def read_chain(path: Path) -> "Sequence[Certificate]":
    """All of a PEM file, at least one. Raises Problem, OSError."""
    from cryptography import x509  # noqa: PLC0415  # heavy, and only here

    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except ValueError as error:
        raise Problem(f"{path} is no certificate: {error}") from None


def life(key: str, found: "Certificate", now: datetime, remedy: str) -> Finding:
    """Whether it counts now, and for how long."""
    begin, end = found.not_valid_before_utc, found.not_valid_after_utc
    evidence = f"{found.subject.rfc4514_string()}, from {begin:%Y-%m-%d} until {end:%Y-%m-%d}"
    left = end - now
    if left <= timedelta(0):
        text = f"the certificate is over since {end:%Y-%m-%d %H:%M} UTC"
        return bad(key, text, remedy, evidence, severity=Severity.CRITICAL)
    if begin > now:
        text = f"the certificate counts from {begin:%Y-%m-%d %H:%M} UTC on only"
        return bad(key, text, "wait, mend the clock of this machine, or get another one", evidence)
    text = f"{left.days} days left, until {end:%Y-%m-%d}"
    if left < _SOON:
        return bad(key, text, remedy, evidence, severity=Severity.ERROR if left < _NOW else Severity.WARNING)
    return good(key, text, evidence)


def names(found: "Certificate", wanted: Sequence[str]) -> Finding:
    """Whether browsers take it for each name that people use (RFC 9525: subjectAltName alone counts)."""
    from cryptography import x509  # noqa: PLC0415  # heavy, and only here

    key = "server: names"
    try:
        extension = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        remedy = "get a certificate that has a subjectAltName"
        return bad(key, "the certificate names no host (subjectAltName)", remedy)
    dns = [str(one).lower() for one in extension.get_values_for_type(x509.DNSName)]
    addresses = [str(one) for one in extension.get_values_for_type(x509.IPAddress)]
    missing = [one for one in wanted if one not in addresses and not any(_covers(name, one) for name in dns)]
    evidence = ", ".join([*dns, *addresses])
    if missing:
        return bad(
            key, f"the certificate does not name {', '.join(missing)}", "get one that names every host of this server",
            evidence,
        )  # fmt: skip
    return good(key, "it names every host of this server", evidence)


def _covers(pattern: str, name: str) -> bool:
    star, _, rest = pattern.partition(".")
    return pattern == name or (star == "*" and name.partition(".")[2] == rest)


def links(chain: "Sequence[Certificate]") -> Finding:
    """Whether each is signed by the next one in the file. Whether the last is believed is for clients to say."""
    key = "server: chain"
    for one, issuer in pairwise(chain):
        try:
            one.verify_directly_issued_by(issuer)
        except Exception:  # noqa: BLE001  # ValueError, TypeError, InvalidSignature: it is not signed by that one
            return bad(
                key,
                f"{one.subject.rfc4514_string()} is not signed by the one that follows it in the file",
                "put the certificate first, then the one that signed it, and so on up to the authority's",
                f"next is {issuer.subject.rfc4514_string()}",
            )
    last = chain[-1]
    if len(chain) == 1 and last.issuer != last.subject:
        return good(
            key, "the certificate alone: clients must have the authority's", last.issuer.rfc4514_string()
        )
    return good(key, f"{len(chain)} certificates, each signed by the next", last.issuer.rfc4514_string())


def authorities(world: World) -> Iterator[Finding]:
    """Each file of authorities that the settings name: one that is over believes nobody."""
    config = world.config
    for name, file in (
        ("audit.syslog_ca", config.audit.syslog_ca),
        ("oidc.ca_file", "" if config.oidc is None else config.oidc.ca_file),
        ("notifications.ca", "" if config.notifications is None else config.notifications.ca),
        *_of_alerts(config),
        (_AT_START, "" if config.intake is None else config.intake.ca),
        ("telemetry.ca", "" if config.telemetry is None else config.telemetry.ca),
    ):
        if file:
            yield _authority(name, Path(file), world.clock.now())


def _of_alerts(config: Config) -> Iterator[tuple[str, str]]:
    """A file that several destinations name is looked at once."""
    if config.alerts is not None:
        yield "alerts.ca", config.alerts.ca
        for file in dict.fromkeys(one.syslog_ca for one in config.alerts.destinations):
            names = [one.name for one in config.alerts.destinations if one.syslog_ca == file]
            yield f"alerts.destinations.syslog_ca: {', '.join(names)}", file


def _authority(name: str, file: Path, now: datetime) -> Finding:
    try:
        chain = read_chain(file)
    except (Problem, OSError) as error:
        return refusal(name, error, f"set {name} to a PEM file with the authority's certificate")
    longest = max(chain, key=lambda one: one.not_valid_after_utc)
    remedy = f"put the authority's new certificate into {file}"
    if name == _AT_START:
        remedy += ", and restart bastide.service"
    return life(name, longest, now, remedy)


def door(world: World) -> Iterator[Finding]:
    """What the door for events shows now: it reads the file when the service starts, and not again."""
    from cryptography import x509  # noqa: PLC0415  # heavy, and only here

    table, key = world.config.intake, "events: certificate"
    if table is None:
        yield unasked(key, OFF)
        return
    try:
        shown = x509.load_pem_x509_certificate(
            world.network.certificate(near(table.address), table.port).encode()
        )
    except (OSError, ValueError):
        yield unasked(key, f"port {table.port} shows none on this node: see service.listening")
        return
    yield life(key, shown, world.clock.now(), _RENEW)
    file = Path(world.config.server.certificate)
    with suppress(Problem, OSError):  # certificates.server says what is wrong with the file
        if read_chain(file)[0] != shown:
            yield bad(
                "events: file",
                f"the door for events shows another certificate than {file} has",
                "restart bastide.service",
                severity=Severity.WARNING,
            )


CHECKS = (
    Check(
        id="certificates.server",
        category=Category.CERTIFICATES,
        subject="this server's certificate",
        why="With a certificate that is over or names another host nobody comes in, and people learn to click warnings away.",
        run=server,
    ),
    Check(
        id="certificates.authorities",
        category=Category.CERTIFICATES,
        subject="authorities that others are believed by",
        why="When the authority of a receiver is over, records and messages do not leave any more.",
        run=authorities,
    ),
    Check(
        id="certificates.events",
        category=Category.CERTIFICATES,
        subject="what the door for events shows",
        why="Forwarders that do not believe it keep what they have to say, and lose it when their queues are full.",
        run=door,
    ),
)
