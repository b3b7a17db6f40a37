"""DNS: the records by which controllers are found, and whether short name, full name, address and reverse name agree."""

import ipaddress
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from bastide.config import Config
from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import PATIENT, Check, Need
from bastide.health.look import bad, good, unfound
from bastide.health.world import Network, World


@dataclass(frozen=True, slots=True)
class Names:
    """What DNS says of a host. `short`: addresses of its first label alone; none: it is not resolved. `reverse`: address to name, empty if it has none."""

    full: str
    addresses: frozenset[str]
    short: frozenset[str]
    reverse: tuple[tuple[str, str], ...]


def services(world: World) -> Iterator[Finding]:
    """The SRV records of each domain, unless the settings list its controllers."""
    for domain in world.domains().values():
        yield from domain.name_service()


def hosts(world: World) -> Iterator[Finding]:
    """This server by each of its names, and every controller."""
    own = _own_names(world.config)
    for name in own:
        yield asked(world.network, name, own)
    seen: set[str] = set()
    for key, domain in world.domains().items():
        try:
            controllers = domain.controllers()
        except DirectoryUnavailable:
            yield unfound(key)
            continue
        for name in controllers:
            if name not in seen:
                seen.add(name)
                yield asked(world.network, name, [name])


def _own_names(config: Config) -> list[str]:
    found = [urlsplit(config.server.url).hostname or "", config.http.priv_host, config.http.corp_host]
    return list(dict.fromkeys(name.lower() for name in found if name and not _is_address(name)))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def asked(network: Network, name: str, own: Collection[str]) -> Finding:
    """One host. `own`: all names that it may have."""
    try:
        addresses = network.addresses(name)
    except OSError as error:
        return bad(
            name,
            f"{name} has no address: {error}",
            f"add an A or AAAA record for it; `getent hosts {name}` must answer here",
        )
    try:
        short = network.addresses(name.partition(".")[0])
    except OSError:
        short = frozenset()
    reverse = tuple((address, _reverse(network, address)) for address in sorted(addresses))
    return judge(Names(name, addresses, short, reverse), own)


def _reverse(network: Network, address: str) -> str:
    try:
        return network.name_of(address)
    except OSError:
        return ""


def judge(names: Names, own: Collection[str]) -> Finding:
    """`own`: all names that the host may have."""
    evidence = f"{names.full}: {', '.join(sorted(names.addresses))}" + "".join(
        f"; {address} is {name or 'without a name'}" for address, name in names.reverse
    )
    if names.short and not names.short & names.addresses:
        return bad(
            names.full,
            f"the short name of {names.full} leads to another host ({', '.join(sorted(names.short))})",
            "mend the search domains in resolv.conf, or use full names everywhere",
            evidence,
            severity=Severity.WARNING,
        )
    for address, name in names.reverse:
        if not name:
            return bad(
                names.full,
                f"{names.full} has the address {address}, which has no name (reverse record)",
                f"add a PTR record for {address} that says {names.full}",
                evidence,
                severity=Severity.WARNING,
            )
        if name not in {one.lower() for one in own}:
            return bad(
                names.full,
                f"{names.full} has the address {address}, which is {name} (reverse record)",
                f"let the PTR record of {address} say {names.full}",
                evidence,
                severity=Severity.WARNING,
            )
    return good(names.full, f"{names.full}, its address and its reverse record agree", evidence)


CHECKS = (
    Check(
        id="dns.services",
        category=Category.DNS,
        subject="SRV records of the domains",
        why="Kerberos and every client find the domain controllers by them.",
        run=services,
        needs=(Need.NETWORK,),
        timeout=PATIENT,
    ),
    Check(
        id="dns.names",
        category=Category.DNS,
        subject="short name, full name, address and reverse record of each host",
        why="Kerberos asks for a host by its name: where names do not agree, tickets are asked for the wrong one.",
        run=hosts,
        needs=(Need.NETWORK,),
        timeout=PATIENT,
    ),
)
