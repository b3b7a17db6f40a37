"""Looks at the world as Bastide will use it: DNS, ports, tickets, sealed LDAP, keys, database. Each check says ok, or problem and remedy."""

import os
import shlex
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from bastide.cli.exits import Stop, missing_extra
from bastide.clock import SystemClock
from bastide.config import (
    Config,
    ConfigError,
    NotificationChannel,
    Notifications,
    Oidc,
    secret_path,
    source_domains,
)
from bastide.domain.errors import BastideError
from bastide.extras import install

#: Kerberos, LDAP (sealed by Kerberos), password set.
PORTS = (88, 389, 464)
_CONNECT_SECONDS = 3.0
_OTHERS_MAY = 0o077
_CREDENTIAL = "credential:"
#: What `bastide keys generate` makes, and does not overwrite.
_KEY_FILES = ("master.key", "signing.key", "signing.pub")
_OPENPGP_FILES = ("openpgp.key", "openpgp.pgp")
_HOW_TO_NAME = "write one address into it, as in mailtos://user:password@mail.example.com, mode 0600, or set notifications.channels.url"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and what was found. An empty problem: it is right; `detail` says how we know."""

    name: str
    detail: str = ""
    problem: str = ""
    remedy: str = ""
    #: False: nothing was looked at; `detail` says why.
    checked: bool = True

    @property
    def ok(self) -> bool:
        return not self.problem


def look(name: str, probe: Callable[[], str], remedy: str = "") -> Check:
    """Run one probe. Whatever it raises on purpose becomes its problem."""
    try:
        return Check(name, detail=probe())
    except (BastideError, Stop) as error:
        return Check(name, problem=error.message, remedy=error.remedy or remedy)
    except ImportError as error:
        extra = missing_extra(error)
        return Check(name, problem=str(error), remedy=f"`{install(extra)}`" if extra else remedy)
    except ConfigError as error:
        return Check(name, problem=str(error), remedy=remedy)
    except OSError as error:
        return _of_system(name, error, remedy)


def _of_system(name: str, error: OSError, remedy: str) -> Check:
    """An error about a file names it; one about anything else, a socket for example, has no name to say."""
    file = error.filename
    if file is None:
        return Check(name, problem=(error.strerror or str(error)).lower(), remedy=remedy)
    if isinstance(error, FileNotFoundError):
        return Check(name, problem=f"there is no file {file}", remedy=remedy)
    if isinstance(error, PermissionError):
        who = "`sudo bastide config check`, or be the service's user"
        return Check(name, problem=f"{file} cannot be read by this user", remedy=who)
    return Check(name, problem=f"{file}: {(error.strerror or str(error)).lower()}", remedy=remedy)


def find_controllers(domain: str) -> Sequence[str]:
    """Full names from DNS SRV. Raises DirectoryUnavailable, Stop."""
    from bastide.directory.ldap import discover  # noqa: PLC0415  # needs the extra `ad`

    return discover(domain)()


def network(domain: str, controllers: Sequence[str]) -> Iterator[Check]:
    """DNS, then each controller's ports."""
    found = list(controllers)
    check = look(
        f"{domain}: domain controllers",
        lambda: ", ".join(found or find_controllers(domain)),
        f"set `controllers` beside domain = {domain} in bastide.toml, or mend the name servers of this host",
    )
    yield check
    if not check.ok:
        return
    for name in found or check.detail.split(", "):
        remedy = f"open ports 88, 389 and 464 from here to it; `nc -vz {shlex.quote(name)} 389` tries one"
        yield look(f"{name}: ports", partial(_ports, name), remedy)


def _ports(host: str) -> str:
    for port in PORTS:
        try:
            socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
        except OSError as error:
            raise Stop(f"port {port} does not answer: {error}") from None
    return ", ".join(map(str, PORTS))


def identity(domain: str, principal: str, keytab: str, controllers: Sequence[str]) -> Iterator[Check]:
    """The keytab's file, a ticket with it, and a sealed bind with the ticket."""
    export = _export(keytab, _Name(domain, principal))
    check = secret(f"{principal}: keytab", keytab, export)
    yield check
    if check.ok and check.checked:
        yield look(f"{principal}: ticket", lambda: _ticket(principal, keytab), export)
        yield look(f"{domain}: sealed LDAP", lambda: _bind(domain, principal, keytab, controllers))


class _Name(NamedTuple):
    """A principal of a domain. `account`: that which holds it, where it is not its own."""

    domain: str
    principal: str
    account: str = ""


def _export(keytab: str, *names: _Name) -> str:
    """What makes a keytab of these names. A second export into a file adds to it."""
    is_credential = keytab.startswith(_CREDENTIAL)
    file = keytab.removeprefix(_CREDENTIAL) if is_credential else Path(keytab).name
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


def _ticket(principal: str, keytab: str) -> str:
    from bastide.directory.kerberos import Identity  # noqa: PLC0415  # needs the extra `ad`

    with Identity(principal, secret_path(keytab)).used() as life:
        return f"lasts {life // 60} minutes"


def _bind(domain: str, principal: str, keytab: str, controllers: Sequence[str]) -> str:
    from bastide.directory.kerberos import Identity  # noqa: PLC0415  # needs the extra `ad`
    from bastide.directory.ldap import SealedConnect  # noqa: PLC0415

    connect = SealedConnect(Identity(principal, secret_path(keytab)), SystemClock().now)
    names = list(controllers) or list(find_controllers(domain))
    for name in names:
        session, _ = connect(name)
        session.raw.unbind_ext_s()
    return f"encrypted with {', '.join(names)}"


def secret(name: str, reference: str, remedy: str = "put it there, mode 0600, or name another file") -> Check:
    """A file that holds a secret: there, readable, and for nobody else. `remedy`: what makes it."""
    if reference.startswith(_CREDENTIAL) and "CREDENTIALS_DIRECTORY" not in os.environ:
        return Check(name, "comes as a systemd credential, which only the unit sees", checked=False)

    def probe() -> str:
        path = secret_path(reference)
        mode = path.stat().st_mode
        with path.open("rb") as file:
            if not file.read(1):
                raise Stop(f"{path} is empty", remedy=remedy)
        if mode & _OTHERS_MAY:
            raise Stop(
                f"others may read {path} (mode {mode & 0o777:o})",
                remedy=f"chmod 600 {shlex.quote(str(path))}",
            )
        return str(path)

    return look(name, probe, remedy)


def certificate(config: Config) -> Iterator[Check]:
    """What TLS needs; without a certificate only loopback is served."""
    server = config.server
    if not server.certificate:
        address = server.address
        problem = "" if is_loopback(address) else f"no certificate, and {address} is not loopback"
        yield Check(
            "server: TLS",
            "none; loopback only",
            problem,
            'set server.certificate and server.key, or server.address = "127.0.0.1"',
        )
        return
    remedy = "set server.certificate to a PEM file with the certificate and its chain"
    yield look("server: certificate", lambda: _certificate(Path(server.certificate)), remedy)
    yield secret("server: key", server.key, "set server.key to the PEM file with the certificate's key")


def _certificate(path: Path) -> str:
    from cryptography import x509  # noqa: PLC0415  # heavy, and only here

    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError as error:
        raise Stop(f"{path} is no certificate: {error}") from None
    return f"{found.subject.rfc4514_string()}, until {found.not_valid_after_utc:%Y-%m-%d}"


def is_loopback(address: str) -> bool:
    return address in {"localhost", "::1"} or address.startswith("127.")


def directories(config: Config) -> Iterator[Check]:
    """Everything about the forests."""
    yield from network(config.priv.domain, config.priv.controllers)
    yield from identity(
        config.priv.domain, config.priv.principal, config.priv.keytab, config.priv.controllers
    )
    if config.priv.preparer is not None:
        preparer = config.priv.preparer
        export = _export(preparer.keytab, _Name(config.priv.domain, preparer.principal))
        check = secret(f"{preparer.principal}: keytab", preparer.keytab, export)
        yield check
        if check.ok and check.checked:
            yield look(
                f"{preparer.principal}: ticket",
                lambda: _ticket(preparer.principal, preparer.keytab),
                export,
            )
    if config.corp is not None:
        corp = config.corp
        yield from network(corp.domain, corp.controllers)
        keytab = secret(f"{corp.domain}: trust", config.priv.keytab)
        yield (
            keytab
            if not keytab.checked
            else look(
                f"{corp.domain}: trust",
                lambda: _bind(corp.domain, config.priv.principal, config.priv.keytab, corp.controllers),
                "CORP must trust PRIV, and the names of both forests must resolve here; `bastide trust test` says more",
            )
        )
    yield from _further_sources(config)
    if config.http.keytab:
        export = _export(config.http.keytab, *_http_names(config))
        keytab = secret("http: keytab", config.http.keytab, export)
        yield keytab
        if keytab.ok and keytab.checked:
            yield look("http: HTTP/", lambda: _http(config), export)


def _http(config: Config) -> str:
    from bastide.directory.keytab import require  # noqa: PLC0415  # needs the extra `ad`

    hosts = {config.priv.domain: config.http.priv_host} | (
        {config.corp.domain: config.http.corp_host} if config.corp else {}
    )
    wanted = [f"HTTP/{host or '*'}@{domain.upper()}" for domain, host in hosts.items()]
    require(secret_path(config.http.keytab), *wanted)
    return ", ".join(wanted)


def _further_sources(config: Config) -> Iterator[Check]:
    """Domains that are asked for nothing but who their controllers are."""
    known = source_domains(config)
    for named in [] if config.passwords is None else config.passwords.source_domains:
        one = known[named.domain.lower()]
        yield from network(one.domain, one.controllers)
        yield from identity(one.domain, one.principal, one.keytab, one.controllers)


def local_things(config: Config) -> Iterator[Check]:
    """Keys and database."""
    sealed = _sealed(config)
    for name, made in (("master", _KEY_FILES), ("signing", _KEY_FILES[1:] + _KEY_FILES[:1])):
        reference = getattr(config.keys, name)
        remedy = f"{_generate('', reference, made)}, or set keys.{name}"
        if name == "master" and sealed:  # a new key would open nothing of that
            remedy = _put_back(sealed)
        check = secret(f"keys: {name}", reference, remedy)
        if check.ok and check.checked:
            check = _or_made(look(check.name, partial(_key, config, name, sealed), remedy), remedy)
        yield check
    yield look("database", lambda: _database(config), "`bastide db upgrade` makes and upgrades it")


def _or_made(check: Check, remedy: str) -> Check:
    """With a remedy that says where a new key belongs, where a new key is all that helps."""
    from bastide.store.keys import HOW_TO_MAKE  # noqa: PLC0415  # cryptography takes its time

    return replace(check, remedy=remedy) if check.remedy == HOW_TO_MAKE else check


def _sealed(config: Config) -> Counter[str] | None:
    """How many values each master key has sealed; None: database or vault cannot be read, which their own checks say."""
    from bastide.wiring.master_key import sealed_values  # noqa: PLC0415  # SQLAlchemy takes its time

    try:
        return sealed_values(config)
    except (BastideError, ConfigError, ImportError, OSError):
        return None


def _put_back(sealed: Counter[str]) -> str:
    from bastide.wiring.master_key import put_back  # noqa: PLC0415  # SQLAlchemy takes its time

    return put_back(sealed)


def _key(config: Config, name: str, sealed: Counter[str] | None) -> str:
    """As the service loads it at its start."""
    from bastide.store.keys import Ed25519Signer, read_key, read_public_key  # noqa: PLC0415  # cryptography takes its time
    from bastide.wiring.master_key import check_master_key  # noqa: PLC0415

    path = secret_path(getattr(config.keys, name))
    # Root looks for the service, and the file is its user's.
    user = path.stat().st_uid if os.geteuid() == 0 else None
    if name == "signing":
        Ed25519Signer(read_key(path, user), [read_public_key(Path(other)) for other in config.keys.trusted])
        return str(path)
    opened = check_master_key(config, Counter() if sealed is None else sealed, user)
    if sealed is None:
        return f"{path}; not compared with what is sealed: the database cannot be read"
    return f"{path} fits the {opened} sealed values" if opened else f"{path}; nothing is sealed yet"


def _generate(option: str, reference: str, made: Sequence[str]) -> str:
    """What makes a key file, the first of those that `bastide keys generate` makes there, and where it then belongs."""
    command = f"`bastide keys generate {option}--to"
    if reference.startswith(_CREDENTIAL):
        name = reference.removeprefix(_CREDENTIAL)
        return f"{command} DIR` makes {made[0]}: put it where LoadCredential={name} of the unit looks"
    path = Path(reference)
    if any(os.path.lexists(path.parent / name) for name in made):
        return f"{command} NEW-DIR` makes {made[0]}: put it at {path}"
    here = f"{command} {shlex.quote(str(path.parent))}` makes"
    return f"{here} it" if path.name == made[0] else f"{here} {made[0]}: rename it {path.name}"


def passwords(config: Config) -> Iterator[Check]:
    """What password synchronization needs on this machine."""
    settings = config.passwords
    if settings is None:
        return
    keys = [
        secret(
            f"passwords: OpenPGP key {name}",
            name,
            f"{_generate('--openpgp ', name, _OPENPGP_FILES)}, or set passwords.openpgp",
        )
        for name in settings.openpgp
    ]
    export = _export(settings.keytab, *_pcns_names(config))
    keytab = secret("passwords: keytab", settings.keytab, export)
    yield from (*keys, keytab)
    if all(check.ok and check.checked for check in keys):
        yield look(
            "passwords: OpenPGP",
            lambda: _openpgp(settings.openpgp),
            "`bastide keys generate --openpgp` makes good keys",
        )
    if keytab.ok and keytab.checked:
        yield look("passwords: PCNSCLNT/", lambda: _acceptor(config, settings.keytab), export)
    yield look("passwords: vault", lambda: _vault(config), "set passwords.vault; no backup may hold it")


def issuer(config: Config) -> Iterator[Check]:
    """The issuer of tokens: it is asked for its keys."""
    if config.oidc is not None:
        yield look("oidc: issuer", partial(_issuer, config.oidc), "check oidc.issuer and oidc.ca_file")


def _issuer(settings: Oidc) -> str:
    from bastide.wiring.issuer import issuer_keys  # noqa: PLC0415  # needed where there is one

    number = issuer_keys(settings, SystemClock()).look()
    if not number:
        raise Stop("the issuer has no key for signatures that could be used")
    return f"{number} keys for signatures"


def channels(config: Config) -> Iterator[Check]:
    """The channels of notifications, as far as they can be judged without a connection: nothing is sent."""
    table = config.notifications
    if table is None:
        return
    for one in table.channels:
        check = secret(f"notifications: {one.name}", one.url, _HOW_TO_NAME)
        if check.ok and check.checked:
            check = look(check.name, partial(_channel, table, one), _HOW_TO_NAME)
        yield check


def _channel(table: Notifications, one: NotificationChannel) -> str:
    from bastide.wiring.notifications import notifier_of  # noqa: PLC0415  # SQLAlchemy takes its time

    path = secret_path(one.url)
    notifier = notifier_of(table, path.stat().st_uid if os.geteuid() == 0 else None)
    if problem := notifier.problem(one.name):
        raise Stop(f"the address in {path} cannot be used: {problem}", remedy=_HOW_TO_NAME)
    if one.people and not notifier.is_mail(one.name):
        raise Stop(
            f"people = true, but the address in {path} is not one of a mail server", remedy=_HOW_TO_NAME
        )
    return f"{path} can be used; `bastide notify test {one.name}` sends a message"


def _openpgp(names: Sequence[str]) -> str:
    from bastide.store.openpgp import load_opener  # noqa: PLC0415  # heavy, and only here

    load_opener([secret_path(name) for name in names])
    return f"{len(names)} can be used"


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


def _vault(config: Config) -> str:
    """A check makes nothing, least of all as root."""
    from bastide.store.sealed import waiting  # noqa: PLC0415  # SQLAlchemy takes its time
    from bastide.wiring.database import vault_url  # noqa: PLC0415

    if config.passwords is None:
        return ""
    number = waiting(vault_url(config.passwords))
    return "it is made when the service starts" if number is None else f"{number} changes are on their way"


def _database(config: Config) -> str:
    from bastide.store import migrations  # noqa: PLC0415  # SQLAlchemy takes its time
    from bastide.wiring.database import database_url  # noqa: PLC0415

    migrations.check(database_url(config))
    return "its schema is the newest"
