"""bastide.toml written out: every setting of config.py with a comment above it. A test loads what this writes and compares all fields."""

import difflib
import json
import re
from collections.abc import Iterator
from types import MappingProxyType

import msgspec

from bastide.config import (
    Account,
    Config,
    Corp,
    Metrics,
    Oidc,
    Passwords,
    Smb,
    SourceDomain,
    Telemetry,
)
from bastide.sections import (
    AlertDestination,
    AlertRule,
    Alerts,
    EventSource,
    HelpDesk,
    Intake,
    Monitoring,
    MonitoringRule,
    NotificationChannel,
    Notifications,
    Reset,
    ResetRule,
)

_HEAD = """\
# Settings of Bastide. Made by `bastide init`; read once when the service starts.
# Secrets are never written here: a setting that needs one names a file of mode 0600, or `credential:NAME` of a
# systemd unit (LoadCredential=NAME:...). A name that Bastide does not know is an error.
# `bastide config check` opens everything that is named here and says what is wrong.
"""

#: A table or setting, and what it is for. Every field of config.py is here, and nothing else; a test compares.
COMMENTS = MappingProxyType({
    "server": "How this node is reached.",
    "server.url": "The address people and programs use, as in https://bastide.priv.example.com:8443.",
    "server.address": "Where it listens. 127.0.0.1 if something in front of it speaks TLS.",
    "server.port": "The port it listens on.",
    "server.certificate": "PEM file with the certificate and its chain. Without one only a loopback address is accepted.",
    "server.key": "Its private key: a PEM file, or credential:NAME.",
    "server.node": "The name of this node in leases and logs. Empty: the host's name.",
    "server.partition": "Nodes of one partition finish each other's work, and no other's.",
    "server.heartbeat_seconds": "How often the node says that it is alive.",
    "server.threads": "Calls worked on at the same time.",
    "server.trusted_proxies": "Addresses or networks of reverse proxies whose X-Forwarded-For is believed. Empty: none.",
    "database": "Where the state lives.",
    "database.url": "sqlite:////path/to/file (one node), or postgresql://user@host1,host2/bastide (several).",
    "database.password": "A file, or credential:NAME, with the password of a PostgreSQL URL. Empty: none is needed.",
    "database.mark": "A file in no backup: the newest audit record this node saw, so that an older database is noticed. Empty: beside a SQLite file; else memory.",
    "keys": "Key files, made by `bastide keys generate`. Keep a copy where the database's backup is not.",
    "keys.master": "Seals what is secret in the database: a file, or credential:NAME.",
    "keys.signing": "Signs the checkpoints of the audit: a file, or credential:NAME.",
    "keys.trusted": "Public keys of earlier signing keys, so that old checkpoints still verify.",
    "keys.lost": "Ids of earlier master keys that are lost for ever: what they sealed is given up. See docs/operations/keys.md.",
    "priv": "The bastion forest.",
    "priv.domain": "Its DNS name.",
    "priv.principal": "The service account: writes members of PAM groups and accountExpires of PAM users, nothing else.",
    "priv.keytab": "Its keytab: a file, or credential:NAME.",
    "priv.controllers": "Full names of the domain controllers. Empty: DNS says.",
    "priv.users_container": "Where PAM users are made.",
    "priv.groups_container": "Where PAM groups are made.",
    "priv.user_prefix": "Put before the CORP name to make the PRIV name.",
    "priv.group_prefix": "The same for groups.",
    "priv.preparer": "An account of its own that makes users and groups. Without it existing ones can only be adopted.",
    "priv.preparer.principal": "The preparer's account.",
    "priv.preparer.keytab": "Its keytab: a file, or credential:NAME.",
    "corp": "The existing forest, which trusts PRIV. Leave the table out where both are one forest.",
    "corp.domain": "Its DNS name.",
    "corp.controllers": "Full names of the domain controllers. Empty: DNS says.",
    "http": "Signing in to the API.",
    "http.keytab": "Keytab with an HTTP/ name of this server in each forest. Empty: no tickets, passwords only.",
    "http.priv_host": "Host name of the HTTP/ service in PRIV, as in the keytab.",
    "http.corp_host": "Host name of the HTTP/ service in CORP, as in the keytab.",
    "http.session_minutes": "How long a session lives.",
    "http.origins": "Exact origins of browsers that may call. The command line needs none.",
    "oidc": "An issuer of tokens that people may sign in with. Without this table there is none.",
    "oidc.issuer": "Its https:// address, to the letter as its tokens have it in iss.",
    "oidc.audience": "What a token for Bastide says in aud.",
    "oidc.applications": "Ids of the applications that may act for people: azp, client_id or appid of a token.",
    "oidc.claim": "The claim of a token that names the account.",
    "oidc.account": "What that claim holds: sid, upn or name.",
    "oidc.forest": "Whose accounts the issuer speaks for: corp or priv.",
    "oidc.ca_file": "PEM file of the authorities that its certificate is believed by. Empty: the system's.",
    "oidc.keys_minutes": "How long its keys count after they were fetched: 1 to 1440.",
    "oidc.second_factor": "claim=value of which one says that a second factor was shown, as in amr=mfa. Empty: it is not believed about that.",
    "rights": "Groups that give a right. Members of administrators and auditors count only when signed in from PRIV.",
    "rights.administrators": "PRIV groups: prepare users and groups, make roles, kill.",
    "rights.auditors": "PRIV groups: read everything, change nothing.",
    "rights.approvers": "Groups whose members may approve where a role names them: CORP\\name or PRIV\\name.",
    "policy": "Rules for all roles.",
    "policy.ticket_cap_seconds": "Longest life of a PAM user's ticket: access truly ends that much after a grant. At least 125.",
    "policy.ticket_policy": "Name of the authentication policy in PRIV that says so.",
    "policy.four_eyes": "Each change of a role waits for a second administrator.",
    "policy.drill_days": "Days for which a drill proves that the words of emergency accounts are still there.",
    "audit": "Where audit records go besides the database.",
    "audit.file": "A file, one JSON object a line. Empty: none.",
    "audit.syslog": "udp://host:514, tcp://host:601, tls://host:6514 or unix:/dev/log. Empty: none.",
    "audit.syslog_ca": "The authority that signed the certificate of a tls:// receiver.",
    "audit.checkpoint_minutes": "How often the end of the chain is signed.",
    "logs": "Log records in files of this node, beside standard error; `bastide cluster log` reads them.",
    "logs.folder": "Where. Made if its parent is there. Empty: no files.",
    "logs.megabytes": "Of all files of a process together: 1 to 1024. The oldest records go.",
    "smb": "Who signs in to a share that takes no Kerberos ticket, for backups. Without this table it is the service account, with a ticket.",
    "smb.account": "The account on that file server: name, or DOMAIN\\name.",
    "smb.password": "A file, or credential:NAME, with its password on the first line.",
    "passwords": "Password synchronization from domain controllers to other systems. Without this table there is none.",
    "passwords.vault": "Keys of passwords on their way: another database, shared by all nodes, in no backup.",
    "passwords.vault_password": "A file, or credential:NAME, with the password of a PostgreSQL URL. Empty: none is needed.",
    "passwords.openpgp": "Private OpenPGP keys that domain controllers encrypt to: files, or credential:NAME. Earlier ones after the one in use.",
    "passwords.keytab": "Keytab with a PCNSCLNT/ name of this server in every source domain: a file, or credential:NAME.",
    "passwords.address": "Where it listens for domain controllers.",
    "passwords.port": "The port it listens on.",
    "passwords.event_level": "Which numbered events are logged: 0 (least) to 3.",
    "passwords.silence_minutes": "A controller that was heard before and is silent for longer is reported (6929). 0: none is.",
    "passwords.coverage_minutes": "A change nobody told of is missed when it is older: the longest that one takes to replicate to a controller with an agent.",
    "passwords.source_domains": "Domains beside PRIV and CORP whose controllers may tell of changed passwords: a table for each.",
    "passwords.source_domains.domain": "Its DNS name.",
    "passwords.source_domains.controllers": "Full names of the domain controllers. Empty: DNS says.",
    "passwords.source_domains.principal": "The account that asks it who its controllers are. Empty: the service account.",
    "passwords.source_domains.keytab": "Its keytab: a file, or credential:NAME. Empty: the service account's.",
    "notifications": "Messages to people: asked, approved, about to end, ended, failed. Without this table there are none.",
    "notifications.language": "Of the messages: en or de.",
    "notifications.ending_minutes": "How long before the end of access the person is told: 1 to 1440.",
    "notifications.ca": "PEM file of the authorities that mail servers and services are believed by. Empty: the system's.",
    "notifications.channels": "A way out for messages: a table for each. `bastide notify test NAME` tries one.",
    "notifications.channels.name": "What it is called: a to z, 0 to 9 and hyphens.",
    "notifications.channels.url": "A file, or credential:NAME, with an address as apprise takes it. It holds a password or a token.",
    "notifications.channels.people": "Of a mail server: each person's own address takes the place of the recipients.",
    "notifications.channels.events": "asked, approved, rejected, unanswered, ending, ended, failed, cancelled, kill-switch, break-glass, recovery, review. Empty: all.",
    "notifications.channels.roles": "Names of roles; of these only. Empty: all.",
    "alerts": "Alerts to people and programs: drift, emergency accounts, failing sign-ins and more. Without this table there are none.",
    "alerts.quiet_from": "HH:MM, UTC: from then on messages to people of low and medium severity wait. Empty: none do.",
    "alerts.quiet_until": "HH:MM, UTC: until then.",
    "alerts.learn_days": "What people did in so many days is usual: 1 to 365.",
    "alerts.ca": "PEM file of the authorities that mail servers and services are believed by. Empty: the system's.",
    "alerts.destinations": "Who is told: a table for each, with url (people) or syslog (a program). `bastide alert test NAME` tries one.",
    "alerts.destinations.name": "What it is called: a to z, 0 to 9 and hyphens.",
    "alerts.destinations.url": "A file, or credential:NAME, with an address as apprise takes it. It holds a password or a token.",
    "alerts.destinations.syslog": "tls://host:6514, or unix:/dev/log.",
    "alerts.destinations.syslog_ca": "The authority that signed the certificate of a tls:// receiver.",
    "alerts.destinations.format": "Of a program: cef or ocsf.",
    "alerts.rules": "Rules beside those of `bastide alert rules`, or in the place of one that has the same name: a table for each.",
    "alerts.rules.name": "What it is called: a to z, 0 to 9 and hyphens.",
    "alerts.rules.signal": "What it watches. Empty: as the catalogue's rule of that name; so are the others that are empty or 0.",
    "alerts.rules.severity": "low, medium, high or critical.",
    "alerts.rules.enabled": "false: it says nothing.",
    "alerts.rules.to": "Names of destinations. Empty: all.",
    "alerts.rules.per": "What is counted together: person, role or all.",
    "alerts.rules.threshold": "From how many on it is an alert; per cent of coverage; or how much must be known of a person.",
    "alerts.rules.window_minutes": "Within which it counts, and for which one alert stands.",
    "alerts.rules.escalate_minutes": "Not acknowledged for so long: escalate_to is told. 0: never.",
    "alerts.rules.escalate_to": "Names of destinations.",
    "monitoring": "What happens in the directories behind Bastide's back: followed, found, put right. Without this table nothing is.",
    "monitoring.interval_seconds": "Between two questions to a domain in which nothing happens: 1 to 60.",
    "monitoring.owner": "Whose a drift is, if its rule does not say.",
    "monitoring.rules": "What is done about a kind of drift, and whose it is: a table for each. docs/how-to/monitoring.md lists them.",
    "monitoring.rules.rule": "The kind of drift.",
    "monitoring.rules.action": "report, repair, or repair and alert. Empty: as the rule has it.",
    "monitoring.rules.owner": "Whose it is. Empty: monitoring.owner.",
    "help_desk": "Operators who help people with their passwords. Needs [passwords]. Without this table there are none.",
    "help_desk.browse": "Groups whose members may find a person's accounts (MIM: FIMSyncBrowse). CORP\\name, PRIV\\name; no prefix: PRIV.",
    "help_desk.set": "Groups whose members may also set, change and unlock them (MIM: FIMSyncPasswordSet).",
    "help_desk.protected": "Groups whose members are out of the help desk's reach, beside privileged ones, PAM users and operators.",
    "help_desk.unverified": "A password may be set for a caller who was not verified, with a reason that the audit keeps.",
    "help_desk.code_channels": "Channels of [notifications] with people = true that may carry a caller's code, in order. Empty: none is sent, and people are told what was done by any of them.",
    "intake": "Events of domain controllers, to be matched with grants. Without this table none is taken in.",
    "intake.address": "Where it listens for forwarders of events.",
    "intake.port": "The port it listens on.",
    "intake.ca": "PEM file of the authority that signed the certificates of the forwarders.",
    "intake.late_minutes": "How long what explains a change may come after it: 1 to 1440.",
    "intake.sources": "Who tells of events: a table for each.",
    "intake.sources.name": "What it is called: a to z, 0 to 9 and hyphens.",
    "intake.sources.format": "samba (JSON audit of one controller) or windows (NXLog or Winlogbeat, JSON).",
    "intake.sources.subject": "The DNS name in its certificate.",
    "intake.sources.computers": "Of windows: the computers whose events it may bring. Empty: any.",
    "intake.sources.complete": "Of windows: it brings every record of the Security log, so that a missing number is a gap.",
    "intake.sources.silence_minutes": "Silent for longer is a gap. 0: it may be silent.",
    "metrics": "Figures for Prometheus at /api/v1/metrics. Without this table there are none.",
    "metrics.token": "A file, or credential:NAME, with the token that monitoring shows: 32 characters or more.",
    "telemetry": "Spans for a collector of OpenTelemetry (OTLP over HTTP; extra otel). Without this table none is made.",
    "telemetry.endpoint": "Its address, as in https://otel.priv.example.com:4318/v1/traces; http:// on this host only.",
    "telemetry.token": "A file, or credential:NAME, with a bearer token for it. Empty: none.",
    "telemetry.ca": "PEM file of who vouches for its certificate.",
    "reset": "Self-service reset of forgotten passwords. Without this table nobody resets one by himself.",
    "reset.mail": "A channel of [notifications] with people = true: codes and notices leave by it.",
    "reset.text_program": "A program that sends short messages: a line of JSON on its standard input. Empty: none are sent.",
    "reset.excluded": "Groups of the domain whose members never reset a password here, beside the privileged ones.",
    "reset.questions": "Questions that people may answer. Empty: none; they are weaker than any other gate.",
    "reset.questions_registered": "How many a person answers at the registration.",
    "reset.questions_asked": "How many of them are asked at a reset.",
    "reset.answer_pattern": "A regular expression that each answer fits as a whole. Empty: any.",
    "reset.permanent_after": "After so many lockouts only an administrator unlocks. 0: never; otherwise outsiders can lock people out.",
    "reset.mails_per_day": "Codes by mail to all people together.",
    "reset.texts_per_day": "Codes by short message to all people together.",
    "reset.banned_words": "A file with a word in each line that no new password holds. Empty: none.",
    "reset.breached": "A folder with range files of lost passwords, or one sorted file. Empty: none.",
    "reset.rules": "Who goes through what; the first rule that fits counts.",
    "reset.rules.gates": "In this order: questions, mail, sms, totp, key.",
    "reset.rules.groups": "Groups of the domain, nested members too. Empty: everybody.",
    "reset.rules.cooling_hours": "So long after the gates a password can be set; meanwhile the person can stop it.",
})  # fmt: skip

#: What a table that is left out looks like, as comments.
_LEFT_OUT: MappingProxyType[str, msgspec.Struct] = MappingProxyType(
    {
        "priv.preparer": Account(
            principal="svc-bastide-prepare@PRIV.EXAMPLE.COM", keytab="/etc/bastide/preparer.keytab"
        ),
        "corp": Corp(domain="corp.example.com"),
        "oidc": Oidc(
            issuer="https://sso.corp.example.com/realms/staff",
            audience="api://bastide",
            applications=["pim-scripts"],
            claim="onprem_sid",
            account="sid",
        ),
        "passwords.source_domains": SourceDomain(domain="sales.example.com"),
        "passwords": Passwords(
            openpgp=["/etc/bastide/keys/openpgp.key"], keytab="/etc/bastide/pcnsclnt.keytab"
        ),
        "notifications.channels": NotificationChannel(
            name="mail", url="/etc/bastide/notify/mail", people=True
        ),
        "notifications": Notifications(channels=[]),
        "reset.rules": ResetRule(gates=["mail", "totp"]),
        "reset": Reset(mail="mail", rules=[]),
        "alerts.destinations": AlertDestination(name="siem", syslog="tls://siem.corp.example.com:6514"),
        "alerts.rules": AlertRule(name="unusual-hour", enabled=False),
        "alerts": Alerts(destinations=[]),
        "monitoring.rules": MonitoringRule(rule="other-member", owner="Team Directory"),
        "monitoring": Monitoring(),
        "help_desk": HelpDesk(set=["CORP\\Helpdesk"]),
        "intake.sources": EventSource(name="corpdc1", format="samba", subject="corpdc1.corp.example.com"),
        "intake": Intake(ca="/etc/bastide/forwarders-ca.pem", sources=[]),
        "metrics": Metrics(token="/etc/bastide/metrics.token"),  # noqa: S106  # a path
        "telemetry": Telemetry(endpoint="https://otel.priv.example.com:4318/v1/traces"),
        "smb": Smb(account="backup-writer", password="/etc/bastide/smb.password"),  # noqa: S106  # a path
    }
)


def render(config: Config) -> str:
    """The whole file."""
    return _HEAD + "".join(_table(name, getattr(config, name)) for name in config.__struct_fields__)


def _table(path: str, table: msgspec.Struct | None, heading: str = "[{}]", *, real: bool = True) -> str:
    """One table: its own settings first, then the tables inside it, as TOML wants it. Inside of one that is not `real` all are comments."""
    real = real and table is not None
    shown = table if table is not None else _LEFT_OUT[path]
    lines = [heading.format(path)]
    inner = []
    for name in shown.__struct_fields__:
        value = getattr(shown, name)
        where = f"{path}.{name}"
        if isinstance(value, list) and where in _LEFT_OUT:
            inner += [_table(where, one, "[[{}]]", real=real) for one in value or [None]]
        elif where in _LEFT_OUT:
            inner.append(_table(where, value, real=real))
        else:
            lines += [f"# {COMMENTS[where]}", f"{name} = {_toml(value)}"]
    if not real:
        lines = [line if line.startswith("#") else f"# {line}" for line in lines]
    return "\n".join(["", f"# {COMMENTS[path]}", *lines, ""]) + "".join(inner)


def _toml(value: object) -> str:
    """A value. JSON's strings, numbers and lists of strings are TOML as well, once nothing is written as a surrogate pair."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


_UNKNOWN = re.compile(r"unknown field `(?P<name>\w+)`(?: - at `\$\.?(?P<path>[^`]*)`)?")
_MISSING = re.compile(r"missing required field `(?P<name>\w+)`(?: - at `\$\.?(?P<path>[^`]*)`)?")
_AT = re.compile(r" - at `\$\.(?P<path>[^`]*)`")
_LOOK = "then `bastide config check` looks again"
#: What `bastide init` fills in: where one is missing, the file may be answers.
_FILLED = frozenset({"keys", "rights", "priv.principal", "priv.keytab", "priv.users_container", "priv.groups_container", "rights.administrators", "rights.auditors", "rights.approvers"})  # fmt: skip
_ANSWERS = "are these answers? `bastide init --answers FILE` makes the settings of them. Else "


def remedy_for(message: str) -> str:
    """What to do about settings that cannot be used, as a ConfigError says it."""
    if "does not exist" in message:
        return "`bastide init` makes it; --config names another"
    if found := _UNKNOWN.search(message):
        known = [path.rpartition(".") for path in settings()]
        names = [name for table, _, name in known if table == _plain(found["path"])]
        close = difflib.get_close_matches(found["name"], names, 1)
        said = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}."
        return f"{said} Mend it, {_LOOK}"
    path = ""
    if found := _MISSING.search(message):
        path = ".".join(filter(None, (_plain(found["path"]), found["name"])))
        return (_ANSWERS if path in _FILLED else "") + _set(path)
    if found := _AT.search(message):
        path = _plain(found["path"])
    else:
        named = [one for one in COMMENTS if "." in one and one in message]
        path = max(named, key=len, default="")
    return _set(path)


def _set(path: str) -> str:
    if path in COMMENTS:
        return f"set {path}. {COMMENTS[path]} Mend it, {_LOOK}"
    return f"mend it, {_LOOK}"


def _plain(path: str | None) -> str:
    """Without places in lists."""
    return re.sub(r"\[[^]]*\]", "", path or "")


def settings(kind: type[msgspec.Struct] = Config, prefix: str = "") -> Iterator[str]:
    """The path of every table and setting there is."""
    for field in msgspec.structs.fields(kind):
        path = f"{prefix}{field.name}"
        yield path
        inner = next((k for k in (field.type, *getattr(field.type, "__args__", ())) if _is_struct(k)), None)
        if inner is not None:
            yield from settings(inner, f"{path}.")


def _is_struct(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)
