"""Keytabs, the names in them, and a ticket with each that buys tickets."""

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bastide.config import Config, secret_path, source_domains
from bastide.domain.errors import DirectoryUnavailable
from bastide.domain.health import Category, Finding
from bastide.health.check import PATIENT, Check, Need
from bastide.health.look import CREDENTIAL, is_open, look, secret, unasked
from bastide.health.world import World

_KDC = 88


class _Name(NamedTuple):
    """A principal of a domain. `account`: that which holds it, where it is not its own."""

    domain: str
    principal: str
    account: str = ""


class Identity(NamedTuple):
    """An account of ours, its keytab, and the domain that knows it."""

    domain: str
    principal: str
    keytab: str

    def file(self) -> Finding:
        """The keytab's file."""
        return secret(f"{self.principal}: keytab", self.keytab, self.export)

    @property
    def export(self) -> str:
        return _export(self.keytab, _Name(self.domain, self.principal))


def _identities(config: Config) -> Iterator[Identity]:
    """Each that buys tickets, once."""
    priv = config.priv
    yield Identity(priv.domain, priv.principal, priv.keytab)
    if priv.preparer is not None:
        yield Identity(priv.domain, priv.preparer.principal, priv.preparer.keytab)
    known = source_domains(config)
    for named in [] if config.passwords is None else config.passwords.source_domains:
        one = known[named.domain.lower()]
        if one.principal != priv.principal:
            yield Identity(one.domain, one.principal, one.keytab)


def keytabs(world: World) -> Iterator[Finding]:
    """The files: there, readable, and for nobody else; with the names in them that others ask for."""
    config = world.config
    yield from (one.file() for one in _identities(config))
    if config.http.keytab:
        yield from _accepting("http", "HTTP/", config.http.keytab, tuple(_http_names(config)), config)
    if config.passwords is not None:
        yield from _accepting(
            "passwords", "PCNSCLNT/", config.passwords.keytab, tuple(_pcns_names(config)), config
        )


def _accepting(
    what: str, service: str, keytab: str, names: tuple[_Name, ...], config: Config
) -> Iterator[Finding]:
    export = _export(keytab, *names)
    found = secret(f"{what}: keytab", keytab, export)
    yield found
    if is_open(found):
        probe = _http if what == "http" else _acceptor
        yield look(f"{what}: {service}", lambda: probe(config, keytab), export)


def _export(keytab: str, *names: _Name) -> str:
    """What makes a keytab of these names. A second export into a file adds to it."""
    is_credential = keytab.startswith(CREDENTIAL)
    file = keytab.removeprefix(CREDENTIAL) if is_credential else Path(keytab).name
    steps = []
    for domain, principal, account in names:
        register = (
            f"`{shlex.join(['samba-tool', 'spn', 'add', principal, account])}` once, " if account else ""
        )
        export = f"samba-tool domain exportkeytab {shlex.quote(file)} --principal={shlex.quote(principal)}"
        steps.append(f"on a domain controller of {domain} {register}`{export}`")
    place = f"where LoadCredential={file} of the unit looks" if is_credential else f"at {keytab}"
    return f"{', then into the same file '.join(steps)}; put it {place}, mode 0600"


def _http_names(config: Config) -> Iterator[_Name]:
    """One in each forest: a one-way trust gives CORP no ticket for the name in PRIV."""
    priv, corp = config.priv, config.corp
    yield _Name(priv.domain, _of_host("HTTP", config.http.priv_host), priv.principal.partition("@")[0])
    if corp is not None:
        yield _Name(corp.domain, _of_host("HTTP", config.http.corp_host), "svc-bastide-http")


def _pcns_names(config: Config) -> Iterator[_Name]:
    """One in each domain whose passwords are synchronized: CORP, or PRIV where it is alone; and the further ones."""
    if config.corp is not None:
        domain, host = config.corp.domain, config.http.corp_host
    else:
        domain, host = config.priv.domain, config.http.priv_host or urlsplit(config.server.url).hostname or ""
    yield _Name(domain, _of_host("PCNSCLNT", host), "svc-bastide-pcns")
    label = host.partition(".")[0] or "HOST"
    for one in [] if config.passwords is None else config.passwords.source_domains:
        yield _Name(one.domain, f"PCNSCLNT/{label}.{one.domain.lower()}", "svc-bastide-pcns")


def _of_host(service: str, host: str) -> str:
    return f"{service}/{host or 'HOST'}"


def _http(config: Config, keytab: str) -> str:
    from bastide.directory.keytab import require  # noqa: PLC0415  # its room is not needed before

    hosts = {config.priv.domain: config.http.priv_host} | (
        {config.corp.domain: config.http.corp_host} if config.corp else {}
    )
    wanted = [f"HTTP/{host or '*'}@{domain.upper()}" for domain, host in hosts.items()]
    require(secret_path(keytab), *wanted)
    return ", ".join(wanted)


def _acceptor(config: Config, keytab: str) -> str:
    """Which host agents ask for is theirs to say (`bastide pcns target add --spn`); each asks in its own realm."""
    from bastide.directory.channel import GssAcceptor  # noqa: PLC0415  # needs the extra `ad`
    from bastide.directory.keytab import require  # noqa: PLC0415

    require(
        secret_path(keytab),
        *(f"PCNSCLNT/*@{name.domain.rstrip('.').upper()}" for name in _pcns_names(config)),
    )
    GssAcceptor(secret_path(keytab)).begin()
    return "tickets can be accepted"


def tickets(world: World) -> Iterator[Finding]:
    """One with each keytab that can be read, where a KDC answers at all."""
    silent: dict[str, str] = {}
    for one in _identities(world.config):
        if not is_open(one.file()):
            yield unasked(f"{one.principal}: ticket", "there is no keytab to use: see kerberos.keytabs")
            continue
        if one.domain not in silent:
            silent[one.domain] = _silence(world, one.domain)
        if why := silent[one.domain]:
            yield unasked(f"{one.principal}: ticket", why)
        else:
            yield ticket(one)


def ticket(one: Identity) -> Finding:
    """Buys one with the keytab."""
    return look(f"{one.principal}: ticket", lambda: _ticket(one), one.export)


def _ticket(one: Identity) -> str:
    from bastide.directory.kerberos import Identity as Account  # noqa: PLC0415  # needs the extra `ad`

    with Account(one.principal, secret_path(one.keytab)).used() as life:
        return f"lasts {life // 60} minutes"


def _silence(world: World, domain: str) -> str:
    """Why no KDC of the domain can be asked; empty: one answers. Of a domain that cannot be found the other checks say so."""
    try:
        names = world.domains()[domain.rstrip(".").lower()].controllers()
    except DirectoryUnavailable:
        return f"no controller of {domain} is known: see dns.services"
    answers: Mapping[str, str] = {name: world.network.knock(name, _KDC) for name in names}
    if all(answers.values()):
        return f"no controller of {domain} answers on port {_KDC}: see ports.controllers"
    return ""


CHECKS = (
    Check(
        id="kerberos.keytabs",
        category=Category.KERBEROS,
        subject="keytabs and the names in them",
        why="Who can read a keytab is that account; a name that is missing there keeps everybody out who asks for it.",
        run=keytabs,
    ),
    Check(
        id="kerberos.tickets",
        category=Category.KERBEROS,
        subject="a ticket with each keytab",
        why="A password that was changed in the directory makes the keytab worthless, and nothing can be granted or ended.",
        run=tickets,
        needs=(Need.NETWORK,),
        timeout=PATIENT,
    ),
)
