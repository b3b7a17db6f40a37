"""`bastide cluster`: one name for all nodes. With the ticket of the person who calls: the service account gets no right for it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bastide.cli import ask
from bastide.cli.console import Screen
from bastide.cli.exits import Exit, Stop
from bastide.cli.findings import print_finding
from bastide.cli.group import group as commands
from bastide.cli.remote import local
from bastide.cli.text import seconds
from bastide.config import DEFAULT_PATH, Config, ConfigError, load

if TYPE_CHECKING:
    from bastide.domain.cluster import Alias
    from bastide.domain.health import Finding
    from bastide.services.cluster.account import Done
    from bastide.services.ports import Store
    from bastide.wiring.cluster import AliasTools

_CREATE = "bastide cluster create bastide --ou OU=Servers,DC=priv,DC=example,DC=com --keytab /etc/bastide/alias.keytab"
_JOIN = "bastide cluster join bastide --from /etc/bastide/alias.keytab"
app = commands(
    "One name for all nodes: its account in Active Directory, and the key that all nodes share.",
    ("sign in: these commands act as you on the directory", "kinit Administrator@PRIV.EXAMPLE.COM"),
    ("see what is in the way, and change nothing", f"{_CREATE} --dry-run"),
    ("make the account and the key file, once", _CREATE),
    ("on every node, with a copy of the key file", _JOIN),
    ("look at it", "bastide cluster status bastide"),
    ("the logs of all nodes", "bastide cluster log --since -1h"),
)

Name = Annotated[
    str, typer.Argument(metavar="ALIAS", help="The alias: bastide, or bastide.priv.example.com.")
]
Domain = Annotated[str, typer.Option(metavar="DNS", help="The domain. Default: that of your ticket.")]
Controller = Annotated[
    str, typer.Option(metavar="HOST", help="Work on this domain controller. Default: one from DNS.")
]
Settings = Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings of this node.")]
Offline = Annotated[bool, typer.Option("--offline", help="Do it without a record in the audit of this node.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what is in the way and what would be done.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Keys = Annotated[
    Path,
    typer.Option(metavar="FILE", help="The key file of the alias, or the keytab of a node that joined."),
]
Prune = Annotated[
    bool,
    typer.Option(
        "--prune", help="No new key: remove the older ones from the file, when no ticket can need them."
    ),
]
Life = Annotated[
    str,
    typer.Option(
        metavar="TIME", help="The longest life of a ticket in this domain, for --prune; 0 after a theft."
    ),
]
Own = Annotated[
    Path | None,
    typer.Option(
        "--keytab", metavar="FILE", help="The keytab of this node. Default: http.keytab of the settings."
    ),
]
Certificate = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="The certificate of this node. Default: server.certificate of the settings."
    ),
]


@local(app, "create", example=_CREATE)
def create(
    screen: Screen,
    as_json: bool,
    alias: Name,
    ou: Annotated[str, typer.Option(metavar="DN", help="The organizational unit for the account.")],
    keytab: Annotated[Path, typer.Option(metavar="FILE", help="The key file to write, mode 0600.")],
    certificate: Certificate = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    offline: Offline = False,
    config: Settings = DEFAULT_PATH,
    domain: Domain = "",
    controller: Controller = "",
) -> None:
    """Make the alias' account, or take over one that was pre-staged and disabled, and write its key file. Everything is looked at first."""
    with _opened(domain, controller) as tools, _database(config, offline=offline or dry_run) as store:
        wanted, account = tools.alias(alias), tools.account(keytab, store)
        ahead = tools.ahead(wanted, certificate or _shown_or_none(config))
        with _told(screen, as_json=as_json, ahead=ahead):
            plan = account.plan(wanted, ou)
        plan = replace(plan, findings=(*plan.findings, *ahead))
        what = f"{'take over' if plan.taken_over else 'make'} {plan.dn} with {' and '.join(wanted.spns)}, and write its AES keys to {keytab}"
        if dry_run:
            _report(screen, plan, f"would {what}", wanted, as_json=as_json)
            return
        _print(screen, plan.findings, as_json=as_json)
        ask.confirm(f"{what[0].upper()}{what[1:]}?", yes=yes)
        with _told(screen, as_json=as_json):
            done = account.create(wanted, ou)
    _report(
        screen,
        done,
        f"{wanted.fqdn}: the account serves, and {keytab} has its key (version {done.version})",
        wanted,
        as_json=as_json,
        seen=True,
    )
    _warn(screen, store, offline=offline, as_json=as_json)
    if not as_json:
        screen.note(
            f"Give each node a copy of {keytab} by a safe way (scp), and there: `bastide cluster join {wanted.name} --from {keytab}`"
        )


@local(app, "join", example=_JOIN)
def join(
    screen: Screen,
    as_json: bool,
    alias: Name,
    from_: Annotated[Path, typer.Option("--from", metavar="FILE", help="The key file of the alias.")],
    keytab: Own = None,
    certificate: Certificate = None,
    dry_run: DryRun = False,
    offline: Offline = False,
    config: Settings = DEFAULT_PATH,
    domain: Domain = "",
    controller: Controller = "",
) -> None:
    """Let this node answer under the alias: it proves the key, the names and the certificate, and then takes the key into its own keytab."""
    settings = _settings(config)
    own = keytab or _own(settings)
    with _opened(domain, controller) as tools, _database(config, offline=offline or dry_run) as store:
        wanted = tools.alias(alias)
        node = tools.node(own, certificate or _shown(settings), store)
        with _told(screen, as_json=as_json):
            done = node.join(wanted, tools.file(from_), dry=dry_run)
    said = "could join" if dry_run else "answers under the alias from the next ticket on"
    _report(
        screen, done, f"{wanted.fqdn}: this node {said} (key version {done.version})", wanted, as_json=as_json
    )
    if not dry_run:
        _warn(screen, store, offline=offline, as_json=as_json)


@local(app, "leave", example="bastide cluster leave bastide")
def leave(
    screen: Screen,
    as_json: bool,
    alias: Name,
    keytab: Own = None,
    yes: Yes = False,
    offline: Offline = False,
    config: Settings = DEFAULT_PATH,
    domain: Domain = "",
    controller: Controller = "",
) -> None:
    """Let this node forget the alias' keys. Take it out of DNS or the load balancer first; the account stays."""
    own = keytab or _own(_settings(config))
    ask.confirm(
        f"Remove the keys of {alias} from {own}? Who comes here under the alias is then refused.", yes=yes
    )
    with _opened(domain, controller) as tools, _database(config, offline=offline) as store:
        wanted = tools.alias(alias)
        done = tools.node(own, None, store).leave(wanted)
    _report(screen, done, f"{own} has no key of {wanted.fqdn} any more", wanted, as_json=as_json)
    _warn(screen, store, offline=offline, as_json=as_json)


@local(app, "status", example="bastide cluster status bastide --keytab /etc/bastide/http.keytab")
def status(
    screen: Screen,
    as_json: bool,
    alias: Name,
    keytab: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="A keytab to compare. May be repeated. Default: http.keytab of the settings."
        ),
    ] = None,
    certificate: Certificate = None,
    config: Settings = DEFAULT_PATH,
    domain: Domain = "",
    controller: Controller = "",
) -> None:
    """The account, its key on every controller and in each keytab, its age, its names in the forest, DNS and certificate. Exit code 1 on an error."""
    settings = _settings(config)
    files = keytab or [_own(settings)]
    with _opened(domain, controller) as tools:
        wanted = tools.alias(alias)
        node = tools.node(files[0], certificate or _shown(settings), None)
        found = node.status(wanted, [tools.file(path) for path in files])
    if as_json:
        screen.json([_dict(one) for one in found])
    _print(screen, found, as_json=as_json)
    if any(one.severity.is_error for one in found):
        raise typer.Exit(int(Exit.REFUSED))


@local(app, "rotate", example="bastide cluster rotate bastide --keytab /etc/bastide/alias.keytab")
def rotate(
    screen: Screen,
    as_json: bool,
    alias: Name,
    keytab: Keys,
    prune: Prune = False,
    ticket_life: Life = "10h",
    dry_run: DryRun = False,
    yes: Yes = False,
    offline: Offline = False,
    config: Settings = DEFAULT_PATH,
    domain: Domain = "",
    controller: Controller = "",
) -> None:
    """Give the alias a new key, added to the key file; the old one stays for tickets that are open. All nodes need the file at once."""
    life = timedelta(seconds=seconds(ticket_life))
    if prune and dry_run:
        raise Stop("--prune has no dry run", remedy="it says when it may not", status=Exit.USAGE)
    with _opened(domain, controller) as tools, _database(config, offline=offline or dry_run) as store:
        wanted, account = tools.alias(alias), tools.account(keytab, store)
        if prune:
            with _told(screen, as_json=as_json):
                done = account.prune(wanted, life)
            _report(screen, done, _pruned(keytab, done), wanted, as_json=as_json)
            if done.pruned:
                _warn(screen, store, offline=offline, as_json=as_json)
            return
        with _told(screen, as_json=as_json):
            plan = account.plan_rotation(wanted)
        if dry_run:
            _report(
                screen,
                plan,
                f"would give {plan.dn} a new key (version {plan.version}), and add it to {keytab}",
                wanted,
                as_json=as_json,
            )
            return
        _print(screen, plan.findings, as_json=as_json)
        ask.confirm(f"Give {wanted.fqdn} a new key? {_AFTER_ROTATION}", yes=yes)
        with _told(screen, as_json=as_json):
            done = account.rotate(wanted)
    _report(
        screen,
        done,
        f"{wanted.fqdn} has a new key (version {done.version}), and {keytab} has it too",
        wanted,
        as_json=as_json,
        seen=True,
    )
    _warn(screen, store, offline=offline, as_json=as_json)
    if not as_json:
        screen.note(_AFTER_ROTATION, "yellow")


def _pruned(keytab: Path, done: "Done") -> str:
    gone = ", ".join(map(str, done.pruned))
    return f"{keytab}: removed version {gone}" if gone else f"{keytab} has no older key"


_AFTER_ROTATION = (
    "A node without the new key goes on to accept tickets that were bought before, and refuses those bought from now on: "
    "give all nodes the file at once, and `bastide cluster join` there."
)


# -------------------------------------------------------------------------------------------------------------- shared


@contextmanager
def _opened(domain: str, controller: str) -> Iterator["AliasTools"]:
    """The domain of the alias. python-ldap and Kerberos are loaded here only."""
    from bastide.wiring.cluster import alias_tools  # noqa: PLC0415

    with alias_tools(domain, controller) as tools:
        yield tools


@contextmanager
def _database(config: Path, *, offline: bool) -> Iterator["Store | None"]:
    """The audit of this node; None without settings, or where it is not wanted. Raises ConfigError, StoreError: then nothing was changed yet."""
    if offline or not config.exists():
        yield None
        return
    from bastide.cli.server import open_services  # noqa: PLC0415  # loads the whole service

    with open_services(config) as services:
        yield services.store


def _warn(screen: Screen, store: "Store | None", *, offline: bool, as_json: bool) -> None:
    """A change that is in no audit must not look like one that is."""
    if store is None and not as_json:
        why = "--offline was said" if offline else "this machine has no settings of a node"
        screen.note(f"Not recorded in an audit of Bastide: {why}. The directory's own log has it.", "yellow")


def _settings(config: Path) -> Config | None:
    return load(config) if config.exists() else None


def _own(settings: Config | None) -> Path:
    if settings is None or not settings.http.keytab:
        raise Stop("no keytab of this node is known", remedy="name it with --keytab", status=Exit.USAGE)
    if settings.http.keytab.startswith("credential:"):
        raise Stop(
            "http.keytab is a systemd credential, a copy that is made when the service starts",
            remedy="name the file that LoadCredential= reads with --keytab, and restart the service afterwards",
            status=Exit.USAGE,
        )
    return Path(settings.http.keytab)


def _shown(settings: Config | None) -> Path | None:
    return Path(settings.server.certificate) if settings and settings.server.certificate else None


def _shown_or_none(config: Path) -> Path | None:
    """The account can be made where there are no settings, or none that this person may read."""
    try:
        return _shown(_settings(config))
    except (ConfigError, OSError):
        return None


@contextmanager
def _told(screen: Screen, *, as_json: bool, ahead: "Sequence[Finding]" = ()) -> Iterator[None]:
    """A refusal shows all that was looked at, and then stops: a person has read the errors by then, and a program gets the first of them."""
    from bastide.services.cluster.looks import AliasRefused  # noqa: PLC0415

    try:
        yield
    except AliasRefused as refused:
        seen = (*refused.findings, *ahead)
        if as_json:
            screen.json([_dict(one) for one in seen])
            raise
        _print(screen, seen, as_json=as_json)
        wrong = sum(one.severity.is_error for one in seen)
        said = f"refused: {wrong} of what was looked at {'is an error' if wrong == 1 else 'are errors'}, see above"
        raise Stop(said, code=refused.code) from None


def _print(screen: Screen, findings: "Iterable[Finding]", *, as_json: bool) -> None:
    if not as_json:
        for one in findings:
            print_finding(screen, _dict(one))


def _dict(one: "Finding") -> Mapping[str, Any]:
    return {
        "key": one.key,
        "severity": one.severity.value,
        "text": one.text,
        "evidence": one.evidence,
        "remedy": one.remedy,
    }


def _report(
    screen: Screen, done: "Done", sentence: str, alias: "Alias", *, as_json: bool, seen: bool = False
) -> None:
    """`seen`: the findings were shown before."""
    if as_json:
        screen.json(
            {
                "alias": alias.fqdn,
                "dn": done.dn,
                "version": done.version,
                "taken_over": done.taken_over,
                "recorded": done.recorded,
                "pruned": list(done.pruned),
                "findings": [_dict(one) for one in done.findings],
            }
        )
        return
    _print(screen, [] if seen else done.findings, as_json=as_json)
    screen.line(sentence, "green")
