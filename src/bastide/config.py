"""Settings: one TOML file, read once, checked as a whole. Secrets are named by file or systemd credential, never written here.

Every field is described in docs/reference/settings.md; a test compares.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from bastide.credentials import is_name, place
from bastide.places import LONGEST_DNS_NAME, is_dns_name, is_some_network, places, plain, wrong_collector
from bastide.sections import (
    Alerts,
    HelpDesk,
    Intake,
    Monitoring,
    Notifications,
    Reset,
    wrong_alerts,
    wrong_help_desk,
    wrong_intake,
    wrong_monitoring,
    wrong_names,
    wrong_reset,
)

DEFAULT_PATH = Path("/etc/bastide/bastide.toml")
_CREDENTIAL = "credential:"
#: Where the secret itself could be written by mistake.
_SECRETS = frozenset(
    {
        "database.password",
        "passwords.vault_password",
        "metrics.token",
        "telemetry.token",
        "notifications.channels.url",
        "alerts.destinations.url",
        "smb.password",
    }
)
_LEVELS = range(4)
#: 30 days: who is silent for longer is forgotten.
_SILENCES = range(43_201)
_COVERAGES = range(1, 10_081)
#: From a minute to a day.
_LEADS = range(1, 1441)
_KEPT = range(1, 1441)
#: From a second to an hour.
_BEATS = range(1, 3601)
_MEGABYTES = range(1, 1025)
#: Ten years.
_DRILLS = range(1, 3654)
#: What a partition is called.
_PARTITION = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


class ConfigError(Exception):
    """The settings cannot be used. The message names the file and the field."""


class NoCredential(ConfigError):
    """What the unit alone sees was asked for by hand. That says nothing about the settings."""


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file; a name that is not known is an error, because a mistyped safeguard would be no safeguard."""


class Server(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How this node is reached."""

    url: str = ""
    address: str = "0.0.0.0"  # noqa: S104  # a service for other machines; TLS and Kerberos guard it
    port: int = 8443
    certificate: str = ""
    key: str = ""
    #: Its name among the nodes; empty: the host's.
    node: str = ""
    #: Nodes of one service partition finish each other's work, and no other's.
    partition: str = "default"
    #: How often a node says that it is alive.
    heartbeat_seconds: int = 10
    threads: int = 8
    #: Addresses or networks of reverse proxies that say truly who calls (X-Forwarded-For).
    trusted_proxies: list[str] = []


class Database(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the state lives."""

    url: str = "sqlite:////var/lib/bastide/bastide.db"
    #: A file or `credential:NAME` that holds the password of a PostgreSQL URL.
    password: str = ""
    #: Outside of it: what this node saw of the audit. Empty: beside a SQLite file; with PostgreSQL in memory only.
    mark: str = ""


class Keys(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Key files, or `credential:NAME`. There is no default key."""

    master: str
    signing: str
    #: Public keys of earlier signing keys, so that old checkpoints still verify.
    trusted: list[str] = []
    #: Ids of earlier master keys that are lost for ever: what they sealed is given up.
    lost: list[str] = []


class Account(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A service account and its keytab."""

    principal: str
    keytab: str


class Priv(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The bastion forest."""

    domain: str
    principal: str
    keytab: str
    controllers: list[str] = []
    users_container: str
    groups_container: str
    user_prefix: str = "priv."
    group_prefix: str = "PAM-"
    preparer: Account | None = None


class Corp(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The existing forest. In single-forest mode the table is left out."""

    domain: str
    controllers: list[str] = []


class Http(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """SPNEGO: the keytab with an HTTP/ name in each forest."""

    keytab: str = ""
    #: Host names of the HTTP/ service in each forest, as in the keytab.
    priv_host: str = ""
    corp_host: str = ""
    session_minutes: int = 15
    #: Exact origins of browsers that may call; none is needed for the CLI.
    origins: list[str] = []


class Oidc(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An issuer of tokens that people may sign in with. Without this table there is none."""

    #: As its tokens say it, to the letter; its keys are found from there.
    issuer: str
    #: What a token for Bastide says in `aud`.
    audience: str
    #: The applications that may act for people: `azp`, `client_id` or `appid` of a token.
    applications: list[str]
    #: The claim that names the account, and what it holds.
    claim: str
    account: Literal["sid", "upn", "name"]
    #: Whose accounts the issuer speaks for.
    forest: Literal["corp", "priv"] = "corp"
    #: Authorities that the issuer's certificate is believed by; empty: the system's.
    ca_file: str = ""
    keys_minutes: int = 60
    #: `claim=value`, of which one says that a second factor was shown; empty: the issuer is not believed about that.
    second_factor: list[str] = []


class Rights(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """PRIV groups that give a right."""

    administrators: list[str]
    auditors: list[str]
    #: Groups of either forest (`CORP\\name`, `PRIV\\name`; no prefix: PRIV).
    approvers: list[str]


class Policy(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Rules for all roles."""

    ticket_cap_seconds: int = 900
    ticket_policy: str = "bastide-ticket-cap"
    #: Each change of a role waits for a second administrator.
    four_eyes: bool = False
    #: How long a drill proves that the words of emergency accounts are still there.
    drill_days: int = 180


class AuditSettings(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where audit records go besides the database."""

    file: str = ""
    #: udp://host:514, tcp://host:601, tls://host:6514 or unix:/dev/log
    syslog: str = ""
    syslog_ca: str = ""
    checkpoint_minutes: int = 5


class Logs(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Log records in files of this node, beside standard error. `bastide cluster log` reads them."""

    #: Made if its parent is there; empty: no files.
    folder: str = "/var/lib/bastide/logs"
    #: Of all files together, for each process.
    megabytes: int = 32


class Metrics(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Figures for Prometheus. Without this table there are none."""

    #: A file or `credential:NAME` that holds the token which monitoring shows.
    token: str


class Telemetry(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Spans for a collector of OpenTelemetry. Without this table none is made."""

    endpoint: str
    #: A file or `credential:NAME` that holds a bearer token for it. Empty: none.
    token: str = ""
    #: PEM file of who vouches for it.
    ca: str = "/etc/ssl/certs/ca-certificates.crt"


class Smb(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who signs in to a share that takes no Kerberos ticket. Without this table it is the service account of PRIV, with a ticket."""

    account: str
    #: A file or `credential:NAME` that holds its password.
    password: str


class SourceDomain(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A domain beside PRIV and CORP whose controllers may tell of changed passwords. No principal: the service account of PRIV."""

    domain: str
    controllers: list[str] = []
    principal: str = ""
    keytab: str = ""


class Passwords(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Password synchronization. Without this table there is none."""

    #: Another database, which no backup may hold. Nodes on one database share one vault.
    vault: str = "sqlite:////var/lib/bastide/vault.db"
    #: A file or `credential:NAME` that holds the password of a PostgreSQL URL.
    vault_password: str = ""
    #: Private OpenPGP keys: the one in use, and earlier ones.
    openpgp: list[str]
    #: With a PCNSCLNT/ name of this server in every source domain.
    keytab: str
    address: str = "0.0.0.0"  # noqa: S104  # a service for domain controllers; mutual Kerberos guards it
    port: int = 8446
    event_level: int = 1
    #: A domain controller that is not heard for longer is reported; 0: none is.
    silence_minutes: int = 15
    #: A change that is not told is missed when it is older.
    coverage_minutes: int = 2
    source_domains: list[SourceDomain] = []


class Config(Section, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The whole file."""

    server: Server = Server()
    database: Database = Database()
    keys: Keys
    priv: Priv
    corp: Corp | None = None
    http: Http = Http()
    oidc: Oidc | None = None
    rights: Rights
    policy: Policy = Policy()
    audit: AuditSettings = AuditSettings()
    logs: Logs = Logs()
    metrics: Metrics | None = None
    telemetry: Telemetry | None = None
    smb: Smb | None = None
    passwords: Passwords | None = None
    notifications: Notifications | None = None
    alerts: Alerts | None = None
    intake: Intake | None = None
    help_desk: HelpDesk | None = None
    monitoring: Monitoring | None = None
    reset: Reset | None = None


def load(path: Path) -> Config:
    """Read and check the file. Raises ConfigError."""
    try:
        config = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), Config)
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None
    except RecursionError:
        raise ConfigError(f"{path}: it is nested too deep") from None
    # ValueError: not TOML, or a number so long that Python takes it for an attack.
    except (ValueError, msgspec.ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from None
    if wrong := contradiction(config):
        raise ConfigError(f"{path}: {wrong}")
    return config


def contradiction(config: Config) -> str:
    """What cannot be, of settings whose types are right; empty: nothing."""
    return (
        _wrong_proxy(config.server)
        or _wrong_node(config.server)
        or _wrong_logs(config.logs)
        or ("" if config.telemetry is None else wrong_collector(config.telemetry.endpoint))
        or _wrong_number(config)
        or _wrong_source(config)
        or _wrong_credential(config)
        or _wrong_vault(config)
        or _wrong_channel(config)
        or _wrong_issuer(config)
        or wrong_alerts(config.alerts)
        or wrong_intake(config.intake, config.server.certificate)
        or _wrong_help_desk(config)
        or wrong_monitoring(config.monitoring)
        or _wrong_reset(config)
    )


def source_domains(config: Config) -> dict[str, SourceDomain]:
    """All domains whose controllers may speak, by DNS name in lower case: PRIV, CORP, and those named for it. Each says as whom it is asked."""
    priv, named = config.priv, [] if config.passwords is None else config.passwords.source_domains
    own = [SourceDomain(domain=priv.domain, controllers=priv.controllers)]
    if config.corp is not None:
        own.append(SourceDomain(domain=config.corp.domain, controllers=config.corp.controllers))
    return {
        plain(one.domain): SourceDomain(
            domain=one.domain,
            controllers=one.controllers,
            principal=one.principal or priv.principal,
            keytab=one.keytab or priv.keytab,
        )
        for one in (*own, *named)
    }


def _wrong_proxy(server: Server) -> str:
    """The first trusted proxy that is no address; empty: all are."""
    wrong = next((one for one in server.trusted_proxies if not is_some_network(one)), None)
    if wrong is None:
        return ""
    return f"server.trusted_proxies: {wrong!r} is no address (192.0.2.9) and no network (192.0.2.0/24)"


def _wrong_node(server: Server) -> str:
    """What cannot be said of a node; empty: nothing."""
    if not _PARTITION.fullmatch(server.partition):
        return f"server.partition: {server.partition!r} is no name; it has a to z, 0 to 9 and hyphens, at most 63"
    if len(server.node) > LONGEST_DNS_NAME or not server.node.isprintable():
        return f"server.node is a name of at most {LONGEST_DNS_NAME} characters"
    if (given := server.heartbeat_seconds) not in _BEATS:
        return f"server.heartbeat_seconds is {_BEATS.start} to {_BEATS.stop - 1}, not {given}"
    return ""


def _wrong_logs(logs: Logs) -> str:
    """What cannot be said of log files; empty: nothing."""
    if logs.folder and not logs.folder.startswith("/"):
        return f"logs.folder: {logs.folder!r} depends on the working directory; write a path from / on"
    if (given := logs.megabytes) not in _MEGABYTES:
        return f"logs.megabytes is {_MEGABYTES.start} to {_MEGABYTES.stop - 1}, not {given}"
    return ""


def _wrong_number(config: Config) -> str:
    """What is out of its range in the tables of policy and of passwords; empty: nothing."""
    if (days := config.policy.drill_days) not in _DRILLS:
        return f"policy.drill_days is {_DRILLS.start} to {_DRILLS.stop - 1}, not {days}"
    settings = config.passwords
    if settings is None:
        return ""
    ranges = {"event_level": _LEVELS, "silence_minutes": _SILENCES, "coverage_minutes": _COVERAGES}
    for name, allowed in ranges.items():
        if (given := getattr(settings, name)) not in allowed:
            return f"passwords.{name} is {allowed.start} to {allowed.stop - 1}, not {given}"
    return ""


def _wrong_issuer(config: Config) -> str:
    """What cannot be in the table of the OIDC issuer; empty: nothing."""
    table = config.oidc
    if table is None:
        return ""
    if not re.fullmatch(r"https://[^\s?#@]+", table.issuer):
        return "oidc.issuer is an https:// address without a question mark, as the issuer's tokens say it"
    if not (table.audience and table.claim and table.applications and all(table.applications)):
        return "oidc.audience, oidc.claim and oidc.applications are not empty"
    if table.forest == "corp" and config.corp is None:
        return 'oidc.forest is "priv": there is no other forest'
    if (given := table.keys_minutes) not in _KEPT:
        return f"oidc.keys_minutes is {_KEPT.start} to {_KEPT.stop - 1}, not {given}"
    wrong = next((one for one in table.second_factor if not re.fullmatch(r"[^=\s]+=\S+", one)), "")
    return f"oidc.second_factor: {wrong!r} is not of the form claim=value (amr=mfa)" if wrong else ""


def _wrong_channel(config: Config) -> str:
    """What cannot be in the table of notifications; empty: nothing."""
    table = config.notifications
    if table is None:
        return ""
    if not config.server.url.startswith("https://"):
        return "server.url must be the https:// address that people use: messages say where to look"
    if (given := table.ending_minutes) not in _LEADS:
        return f"notifications.ending_minutes is {_LEADS.start} to {_LEADS.stop - 1}, not {given}"
    return wrong_names("notifications.channels", [one.name for one in table.channels])


def _wrong_reset(config: Config) -> str:
    """What cannot be in the table of self-service reset; empty: nothing."""
    if config.reset is not None and config.passwords is None:
        return "[reset] needs [passwords]: a new password goes to the connected systems"
    channels = [] if config.notifications is None else config.notifications.channels
    return wrong_reset(config.reset, config.server.url, [one.name for one in channels if one.people])


def _wrong_help_desk(config: Config) -> str:
    channels = [] if config.notifications is None else config.notifications.channels
    people = [one.name for one in channels if one.people]
    return wrong_help_desk(config.help_desk, people, passwords=config.passwords is not None)


def _wrong_vault(config: Config) -> str:
    """Whether the vault is the database, however the two are spelled; empty: it is not."""
    if config.passwords is None or not places(config.database.url) & places(config.passwords.vault):
        return ""
    return (
        "passwords.vault and database.url name the same database; the vault must be a database of its own, because no "
        "backup may hold it"
    )


def _wrong_source(config: Config) -> str:
    """What cannot be among the further source domains; empty: nothing."""
    seen = {plain(config.priv.domain), "" if config.corp is None else plain(config.corp.domain)}
    for one in [] if config.passwords is None else config.passwords.source_domains:
        at = "passwords.source_domains"
        if not is_dns_name(one.domain):
            return f"{at}.domain: {one.domain!r} is no DNS name of a domain (sales.example.com)"
        if plain(one.domain) in seen:
            return f"{at}: {one.domain} is named twice; PRIV and CORP need no entry"
        if bool(one.principal) != bool(one.keytab):
            return f"{at}: {one.domain}: principal and keytab go together; leave both out for the service account"
        seen.add(plain(one.domain))
    return ""


def _wrong_credential(config: Config) -> str:
    """The first setting that names a credential which systemd cannot have, or seems to hold a secret itself, which is in no message; empty: none does."""
    for where, text in _texts(config, ""):
        if where in _SECRETS and text and not text.startswith(("/", _CREDENTIAL)):
            return f"{where} is the path of a file, from / on, or credential:NAME; the secret itself stands in that file"
        if text.startswith(_CREDENTIAL) and not is_name(text.removeprefix(_CREDENTIAL)):
            return f"{where}: {text!r}: a systemd credential has a plain name"
    return ""


def _texts(value: object, where: str) -> Iterator[tuple[str, str]]:
    """Every text of the settings, and the path of its setting."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one, where)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _texts(getattr(value, name), f"{where}.{name}" if where else name)


def secret_path(reference: str) -> Path:
    """Where a secret is: a path, or `credential:NAME` as systemd gave it or root finds it in the unit. Raises ConfigError, NoCredential."""
    if not reference.startswith(_CREDENTIAL):
        return Path(reference)
    name = reference.removeprefix(_CREDENTIAL)
    if not is_name(name):
        raise ConfigError(f"{reference}: a systemd credential has a plain name")
    if (file := place(name)) is None:
        raise NoCredential(f"{reference}: this process was given no systemd credentials (LoadCredential=)")
    return file
