"""`bastide ma`: management agents, their rules, secrets and imports."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli import ask, ma_document, ma_ready
from bastide.cli.console import Column
from bastide.cli.exits import Exit, Stop
from bastide.cli.files import text_of
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.text import span, when

app = commands(
    "Management agents: connected systems, what is read from them, where passwords go.",
    (
        "make one from a file, targets before the source that names them",
        "bastide ma add ldap.toml --secret-file ldap.secret",
    ),
    ("look at what an import would do, then import", "bastide ma import ldap --dry-run"),
    ("look at who was not joined", "bastide cs search --agent ldap --link none"),
    ("let passwords go there", "bastide ma enable ldap --target"),
    ("let passwords come from the source", "bastide ma enable corp --source"),
)
_ROOT = "/management-agents"

Name = Annotated[str, typer.Argument(metavar="AGENT", help="Its name or id.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and show, change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
SecretFile = Annotated[
    Path | None,
    typer.Option("--secret-file", metavar="FILE", help="Its secret is the first line of this file."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="As passwords.verify=true. May be repeated."),
]
Target = Annotated[bool, typer.Option("--target", help="As a target: passwords go there.")]
Source = Annotated[bool, typer.Option("--source", help="As a source: passwords come from there.")]
_EDIT = "bastide ma edit ldap --set imports.every=1h --set passwords.verify=true"


@remote(app, "add", example="bastide ma add corp.toml --secret-file /root/corp.secret")
def add(
    call: Call,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="TOML, or JSON in a .json file.")],
    settings: Set = None,
    secret_file: SecretFile = None,
    dry_run: DryRun = False,
) -> None:
    """Make a management agent from a file."""
    document = _overlaid(ma_document.from_file(file), settings)
    secret = None if secret_file is None else _secret_of(secret_file)
    answer = call.client.post(_ROOT, document, dry_run=dry_run)
    if secret is not None and not dry_run:
        answer = call.client.put(f"{_path(answer.fields)}/secret", {"secret": secret})
    call.show(answer, lambda agent: _print(call, agent))
    if not call.as_json:
        name = shlex.quote(str(answer.fields.get("name")))
        next_step = f"the agent is there; next: bastide ma import {name} --dry-run"
        call.screen.note("dry run: nothing was changed" if dry_run else next_step)


@remote(app, "edit", example=_EDIT)
def edit(
    call: Call,
    name: Name,
    file: Annotated[
        Path | None, typer.Option("--from-file", metavar="FILE", help="TOML, or JSON in a .json file.")
    ] = None,
    settings: Set = None,
    no_source: Annotated[bool, typer.Option("--no-source", help="It is a source no more.")] = False,
    secret_file: SecretFile = None,
    dry_run: DryRun = False,
    yes: Yes = False,
) -> None:
    """Change an agent: what is said changes, the rest stays. Settings in a file replace all settings. Other settings: the secret is forgotten, and a target
    is disabled until its new system has said what it is.
    """
    change = ma_document.from_file(file) if file else {}
    said = ma_document.from_settings(settings or [])
    secret = None if secret_file is None else _secret_of(secret_file)
    before = ma_document.as_draft(call.client.get(_path(name)).fields)
    after = ma_document.overlay(before, change)
    after = ma_document.overlay(after, said, whole_settings=False)
    if no_source:
        after["source"] = None
    changed = ma_document.difference(before, after)
    if not changed:
        raise Stop("nothing would change", remedy="say what is to change", status=Exit.USAGE)
    for rule, old, new in changed:
        call.screen.note(rule, "bold")
        call.screen.note(f"  - {_plain(old)}", "red")
        call.screen.note(f"  + {_plain(new)}", "green")
    if not dry_run:
        ask.confirm("Change the agent?", yes=yes)
    answer = call.client.put(_path(name), after, dry_run=dry_run)
    forgotten = bool(answer.fields.get("secret_forgotten"))
    if secret is not None and not dry_run:
        call.client.put(f"{_path(answer.fields)}/secret", {"secret": secret})
    call.done(answer, "dry run: nothing was changed" if dry_run else f"{after.get('name')} is changed")
    if forgotten and secret is None:
        call.screen.note(
            "its settings changed, so its secret is forgotten: `bastide ma secret` sets it again"
        )
    if answer.fields.get("target_disabled"):
        call.screen.note(
            "its settings lead to a system that has not said yet what it is, so it is disabled as a target: "
            f"`bastide ma enable {shlex.quote(str(after.get('name')))} --target` asks it, and lets passwords go there"
        )


@remote(app, "list", example="bastide ma list")
def listing(call: Call) -> None:
    """All management agents."""
    columns: list[Column] = [
        ("NAME", lambda a: a.get("name")),
        ("KIND", lambda a: a.get("connector")),
        ("OBJECTS", lambda a: sum((a.get("objects") or {}).values())),
        ("CONFLICTS", lambda a: (a.get("objects") or {}).get("conflict", 0)),
        ("TARGET", lambda a: bool((a.get("passwords") or {}).get("enabled"))),
        ("SOURCE FOR", _source),
        ("IMPORTED", lambda a: when(a.get("imported_at"))),
    ]
    call.table(call.client.get(_ROOT), columns, empty="no management agents yet: bastide ma add")


@remote(app, "show", example="bastide ma show corp")
def show(call: Call, name: Name) -> None:
    """One management agent with all its rules."""
    call.show(call.client.get(_path(name)), lambda agent: _print(call, agent))


@remote(app, "remove", example="bastide ma remove ldap")
def remove(call: Call, name: Name, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Remove an agent with its objects, and people who have no other connector."""
    ask.confirm(f"Remove {name} and all its objects?", yes=yes or dry_run)
    call.client.wait_long()
    answer = call.client.delete(_path(name), dry_run=dry_run)
    number = sum((answer.fields.get("objects") or {}).values())
    sentence = f"{name} is removed, with {number} objects"
    call.done(answer, f"dry run: {name} could be removed, with {number} objects" if dry_run else sentence)


@remote(app, "enable", example="bastide ma enable ldap --target")
def enable(call: Call, name: Name, target: Target = False, source: Source = False) -> None:
    """Let passwords go to an agent, or come from it."""
    _switch(call, name, target=target, source=source, on=True)


@remote(app, "disable", example="bastide ma disable ldap --target")
def disable(call: Call, name: Name, target: Target = False, source: Source = False) -> None:
    """Let no passwords go to an agent, or come from it."""
    _switch(call, name, target=target, source=source, on=False)


@remote(app, "secret", example="bastide ma secret ldap")
def secret(
    call: Call,
    name: Name,
    file: SecretFile = None,
    remove_it: Annotated[bool, typer.Option("--remove", help="It has none any more.")] = False,
) -> None:
    """Set what an agent signs in with. It is asked for, or read from a file, and never shown."""
    if remove_it and file is not None:
        raise Stop(
            "--remove and --secret-file exclude each other", remedy="say one of them", status=Exit.USAGE
        )
    text = "" if file is None else _secret_of(file)
    if file is None and not remove_it:
        call.client.sign_in()
        text = call.world.ask(f"Secret of {name}")
    answer = call.client.put(f"{_path(name)}/secret", {"secret": text})
    call.done(answer, f"{name} has no secret any more" if remove_it else f"the secret of {name} is set")


@remote(app, "import", example="bastide ma import corp --full --dry-run")
def import_(
    call: Call,
    name: Name,
    full: Annotated[bool, typer.Option("--full", help="Read everything.")] = False,
    delta: Annotated[bool, typer.Option("--delta", help="Read what changed, or nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Past the fuse.")] = False,
    background: Annotated[
        bool, typer.Option("--background", help="Let a worker do it; do not wait.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Read a connected system: what changed if it can tell, else everything. A dry run shows what would be added, changed, joined and deleted."""
    if full and delta:
        raise Stop("--full and --delta exclude each other", remedy="say one of them", status=Exit.USAGE)
    mode = "full" if full else "delta" if delta else "auto"
    call.client.wait_long()
    body: dict[str, object] = {"mode": mode, "force": force, "background": background}
    answer = call.client.post(f"{_path(name)}/imports", body, dry_run=dry_run)
    call.show(answer, lambda done: _print_import(call, done))


def _switch(call: Call, name: str, *, target: bool, source: bool, on: bool) -> None:
    if not target and not source:
        raise Stop("what of it?", remedy="say --target, --source, or both", status=Exit.USAGE)
    body: dict[str, object] = {n: on for n, said in (("target", target), ("source", source)) if said}
    answer = call.client.put(f"{_path(name)}/passwords", body)
    what = " and ".join(n for n, said in (("target", target), ("source", source)) if said)
    call.done(answer, f"{answer.fields.get('name')} is {'enabled' if on else 'disabled'} as {what}")
    if call.as_json:
        return
    _standing(call, answer.fields, target=target, source=source, on=on)


def _standing(call: Call, agent: Mapping[str, Any], *, target: bool, source: bool, on: bool) -> None:
    """What happens now, and what is still missing: an agent alone moves no password."""
    status, refused = _status(call)
    if not on:
        for said in ma_ready.stopped(agent, status, target=target, source=source):
            call.screen.line(said)
        return
    agents = call.client.get(_ROOT).items
    for what, remedy in [
        *ma_ready.missing(agent, agents, status, target=target, source=source),
        *refused,
    ]:
        call.screen.line(f"not yet: {what}", "yellow")
        call.screen.line(f"  -> {remedy}")
    for said in ma_ready.now(agent, agents, status, target=target, source=source):
        call.screen.line(said)


def _status(call: Call) -> tuple[Mapping[str, Any] | None, list[ma_ready.Missing]]:
    """Of all synchronization; None where the server does not say, and why."""
    try:
        return call.client.get("/passwords").fields, []
    except Stop as error:  # a server without [passwords] in its settings says so
        return None, [(error.message, error.remedy)]


def _path(agent: str | Mapping[str, Any]) -> str:
    name = agent if isinstance(agent, str) else str(agent.get("id", ""))
    return f"{_ROOT}/{quote(name, safe='')}"


def _overlaid(document: ma_document.Document, settings: list[str] | None) -> ma_document.Document:
    return ma_document.overlay(document, ma_document.from_settings(settings or []), whole_settings=False)


def _secret_of(path: Path) -> str:
    text = text_of(path, remedy="leave --secret-file out, and `bastide ma secret` asks for it")
    text = text.partition("\n")[0].rstrip("\r")
    if not text:
        raise Stop(f"the first line of {path} is empty", remedy="write the secret into it", status=Exit.USAGE)
    return text


def _plain(value: object) -> str:
    return "(none)" if value in (None, "", [], {}) else json.dumps(value, ensure_ascii=False)


def _source(agent: Mapping[str, Any]) -> str:
    source = agent.get("source") or {}
    if not source:
        return ""
    return f"{source.get('domain')}{'' if source.get('enabled') else ' (disabled)'}"


def _print_import(call: Call, done: Mapping[str, Any]) -> None:
    if done.get("asked"):
        call.screen.line(f"a worker imports {done.get('agent')}", "green")
        return
    steps: list[Column] = [
        ("WHAT", lambda s: s.get("what")),
        ("AGENT", lambda s: s.get("agent")),
        ("DN", lambda s: s.get("dn")),
        ("BECAUSE", lambda s: s.get("because")),
    ]
    if done.get("steps"):
        call.screen.table(steps, done["steps"], empty="")
    numbers = {name: number for name, number in (done.get("statistics") or {}).items() if number}
    shown = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in numbers.items())
    call.screen.line(f"{done.get('mode')} import of {done.get('agent')}: {shown or 'nothing new'}", "green")
    if done.get("fuse"):
        call.screen.line(f"the fuse would stop it: {done['fuse']}", "red")
    if done.get("dry_run"):
        call.screen.note("dry run: nothing was changed")


def _print(call: Call, agent: Mapping[str, Any]) -> None:
    passwords, imports = agent.get("passwords") or {}, agent.get("imports") or {}
    source = agent.get("source") or {}
    call.screen.fields(
        (
            ("Agent", agent.get("name")),
            ("Kind", agent.get("connector")),
            ("Note", agent.get("note")),
            ("Settings", [f"{name} = {value}" for name, value in (agent.get("settings") or {}).items()]),
            ("System", agent.get("system") or []),
            ("Secret", "set" if agent.get("secret") else "none"),
            ("Filters", [_conditions(one) for one in agent.get("filters") or []]),
            ("Join rules", [_pairs(one) for one in agent.get("joins") or []]),
            ("Projects", agent.get("project") or "never"),
            ("Flows", [f"{f['source']} -> {f['target']} {f['rank']}" for f in agent.get("flows") or []]),
            ("Objects", [f"{number} {link}" for link, number in (agent.get("objects") or {}).items()]),
            ("Imported", when(agent.get("imported_at")) or "never"),
            ("Imports", f"every {span(imports['every'])}" if imports.get("every") else "when asked for"),
            ("Fuse", f"{imports.get('fuse')} %"),
            ("As a target", _target(passwords)),
            ("As a source", _source(agent)),
            ("Its passwords go to", source.get("targets") or []),
            ("Changes in a day", source.get("daily_limit")),
            ("Ignored accounts", source.get("own_accounts") or []),
            ("Id", agent.get("id")),
        )
    )


def _target(passwords: Mapping[str, Any]) -> str:
    if not passwords.get("enabled"):
        return "disabled"
    flags = ("must_change", "unlock", "verify", "shadow")
    secure = "" if passwords.get("require_secure") else ", INSECURE CONNECTIONS ALLOWED"
    more = "".join(f", {name.replace('_', ' ')}" for name in flags if passwords.get(name))
    tries = f"{passwords.get('retry_limit')} retries, one each {span(passwords.get('retry_interval'))}"
    return f"{passwords.get('operation')}, {tries}{more}{secure}"


def _conditions(one: Mapping[str, Any]) -> str:
    return " and ".join(
        f"{c['attribute']} {c['test']} {c['value']}".strip() for c in one.get("conditions") or []
    )


def _pairs(one: Mapping[str, Any]) -> str:
    return " and ".join(f"{pair['cs']} = {pair['mv']}" for pair in one.get("pairs") or [])
