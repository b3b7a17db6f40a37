"""`bastide break-glass`: on a node. Sealing acts with the ticket of the person who calls; the service account gets no right for it."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bastide.cli import ask, break_glass_open
from bastide.cli import words as cards
from bastide.cli.console import Screen
from bastide.cli.exits import Exit, Stop
from bastide.cli.findings import print_finding
from bastide.cli.group import group as commands
from bastide.cli.hardening import harden
from bastide.cli.remote import local
from bastide.cli.text import when
from bastide.clock import SystemClock
from bastide.config import DEFAULT_PATH, load

if TYPE_CHECKING:
    from bastide.domain.break_glass import Envelope
    from bastide.domain.health import Finding, Report
    from bastide.services.break_glass.accounts import Drilled
    from bastide.services.break_glass.seal import Plan, Prepared, Sealing
    from bastide.wiring import Services

_SEAL = 'bastide break-glass seal breakglass1 --custodians "Ann,Ben,Cy" --threshold 2'
DRILLS = Path("/var/lib/bastide/reports/drills")
app = commands(
    "Emergency accounts: a password that nobody knows, and custodians who together have it. For the day on which Bastide is down.",
    ("sign in: sealing acts as you on the directory", "kinit Administrator@PRIV.EXAMPLE.COM"),
    ("give the account a new password, and each custodian their words", _SEAL),
    ("prove now and then that the words are still there", "bastide break-glass drill breakglass1"),
    ("in an emergency, on any machine", break_glass_open.EXAMPLE),
    ("afterwards: what happened, against the receipts", "bastide break-glass reconcile opened.json"),
)

Account = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="Its name, name@domain, or number of envelope.")
]
Settings = Annotated[Path, typer.Option("--config", metavar="FILE", help="The settings of this node.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@local(app, "seal", example=_SEAL)
def seal(
    screen: Screen,
    as_json: bool,
    account: Annotated[str, typer.Argument(metavar="ACCOUNT", help="The account, made by you before.")],
    custodians: Annotated[
        str, typer.Option(metavar="NAMES", help="Who gets words, with commas between; three or more.")
    ],
    threshold: Annotated[int, typer.Option(metavar="N", help="How many of them open it: 2 of 3, 3 of 5.")],
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is in the way; change nothing.")
    ] = False,
    config: Settings = DEFAULT_PATH,
    domain: Annotated[
        str, typer.Option(metavar="DNS", help="The domain. Default: that of your ticket.")
    ] = "",
    controller: Annotated[
        str, typer.Option(metavar="HOST", help="Work on this domain controller. Default: one from DNS.")
    ] = "",
) -> None:
    """Give an account a password that nobody knows, and show each custodian their words, once. Earlier words are useless then."""
    from bastide.domain.break_glass import parse_custodians  # noqa: PLC0415  # --help is light
    from bastide.wiring.sealing import sealing_tools  # noqa: PLC0415  # needs the extra `ad`

    names = parse_custodians(custodians)
    if not dry_run:
        cards.require_terminal(screen, "words are shown")
    harden()
    with _services(config) as services, sealing_tools(domain, controller) as (directory, proof):
        sealing = services.break_glass.sealing(directory, proof)
        plan = _planned(screen, sealing, account, names, threshold, as_json=as_json)
        if dry_run:
            _report(screen, plan.findings, as_json=as_json)
            return
        if not as_json:
            _print(screen, plan.findings)
        ask.confirm(
            f"Give {plan.found.dn} a new password, and show their words to {', '.join(names)}?", yes=yes
        )
        prepared = sealing.prepare(plan)
        _hand_out(screen, prepared)
        sealing.record(prepared)
    envelope = prepared.envelope
    if as_json:
        screen.json(_dict(envelope))
        return
    _print(screen, prepared.findings)
    screen.line(f"envelope {envelope.number}: {envelope.name} is sealed", "green")
    screen.note(f"Prove it while all are here: `bastide break-glass drill {envelope.name}`")


def _planned(
    screen: Screen, sealing: "Sealing", account: str, names: tuple[str, ...], threshold: int, *, as_json: bool
) -> "Plan":
    """A refusal shows all that was looked at, and then stops."""
    from bastide.services.break_glass.seal import SealRefused  # noqa: PLC0415  # --help is light

    try:
        return sealing.plan(account, names, threshold)
    except SealRefused as refused:
        _report(screen, refused.findings, as_json=as_json)
        raise


def _hand_out(screen: Screen, prepared: "Prepared") -> None:
    """One custodian after the other. Raises Stop if that is broken off: then nothing is recorded."""
    envelope, total = prepared.envelope, len(prepared.words)
    try:
        for place, (custodian, said) in enumerate(zip(envelope.custodians, prepared.words, strict=True), 1):
            cards.forget_typed()
            screen.note(f"Only {custodian} looks at the screen now. Enter shows the words.", "bold")
            input()
            cards.show_words(
                screen,
                f"{envelope.principal}, envelope {envelope.number}: {custodian}, share {place} of {total}; any {envelope.threshold} open it",
                said,
            )
    except (KeyboardInterrupt, EOFError):
        raise Stop(
            f"not every custodian has their words, so no envelope of {envelope.name} is recorded; its password is another one already, and nobody knows it",
            remedy="seal it anew",
        ) from None


@local(app, "list", example="bastide break-glass list")
def list_all(screen: Screen, as_json: bool, config: Settings = DEFAULT_PATH) -> None:
    """The envelopes that count, as the database knows them."""
    with _services(config) as services:
        found = services.break_glass.accounts.all()
    if as_json:
        screen.json([_dict(one) for one in found])
        return
    screen.table(
        [
            ("ACCOUNT", lambda r: r["account"]),
            ("ENVELOPE", lambda r: r["envelope"]),
            ("STATE", lambda r: r["state"]),
            ("OPENS WITH", lambda r: f"{r['threshold']} of {len(r['custodians'])}"),
            ("SEALED", lambda r: when(r["sealed_at"])),
            ("DRILLED", lambda r: when(r["drilled_at"]) if r["drilled_at"] else "never"),
        ],
        [_dict(one) for one in found],
        empty="no emergency account is sealed",
    )


@local(app, "show", example="bastide break-glass show breakglass1")
def show(screen: Screen, as_json: bool, account: Account, config: Settings = DEFAULT_PATH) -> None:
    """One envelope, its account on every controller, and what happened since it was sealed. Exit code 1 on an error."""
    with _services(config) as services:
        envelope = services.break_glass.accounts.find(account)
        found = services.break_glass.accounts.look(envelope)
    if as_json:
        screen.json({**_dict(envelope), "findings": [_finding(one) for one in found]})
    else:
        screen.fields(_dict(envelope).items())
        _print(screen, found)
    _end(found)


@local(app, "drill", example="bastide break-glass drill breakglass1")
def drill(
    screen: Screen,
    as_json: bool,
    account: Account,
    reports: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the report is kept, as JSON and HTML.")
    ] = DRILLS,
    config: Settings = DEFAULT_PATH,
) -> None:
    """Prove that the custodians' words fit. Nothing is shown, and nobody signs in. Exit code 1 if they do not."""
    from bastide.store.shares import WordShares  # noqa: PLC0415  # --help is light

    harden()
    clock, sharing = SystemClock(), WordShares()
    began = clock.now()
    with _services(config) as services:
        accounts = services.break_glass.accounts
        envelope = accounts.find(account)
        given: dict[str, str] = {}
        for custodian in envelope.custodians:
            said = cards.ask(screen, sharing, f"Words of {custodian} (Enter: not here)")
            if said is not None:
                given[custodian] = said[0]
        done = accounts.drill(account, given, cards.who())
    report = _drill_report(done, load(config).server.node or cards.host(), began, clock.now() - began)
    files = _keep(reports, report, f"Do the words open {envelope.principal}?")
    if as_json:
        screen.json({"envelope": envelope.number, "passed": done.passed, "present": list(done.present), "findings": [_finding(one) for one in done.findings], "report": [str(one) for one in files]})  # fmt: skip
    else:
        _print(screen, done.findings)
        screen.line(f"kept {', '.join(map(str, files))}", "dim")
    _end(done.findings)


@local(app, "reconcile", example="bastide break-glass reconcile opened.json")
def reconcile(
    screen: Screen,
    as_json: bool,
    receipts: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="RECEIPT", help="Files that `open` wrote. None: only compare with the directory."
        ),
    ] = None,
    config: Settings = DEFAULT_PATH,
) -> None:
    """Put receipts into the audit, and say what the directory shows of each account. Exit code 1 if a use has no receipt."""
    from bastide.services.break_glass.receipts import LARGEST, from_text  # noqa: PLC0415  # --help is light

    read = []
    for file in receipts or []:
        try:
            with file.open("rb") as source:
                read.append(from_text(source.read(LARGEST)))
        except OSError as error:
            said = (error.strerror or "").lower()
            raise Stop(f"{file} cannot be read: {said}", status=Exit.USAGE) from None
    with _services(config) as services:
        found = services.break_glass.accounts.reconcile(read, cards.who())
    _report(screen, found, as_json=as_json)
    if not found and not as_json:
        screen.note("no emergency account is sealed")
    _end(found)


@local(app, "remove", example="bastide break-glass remove breakglass1")
def remove(
    screen: Screen, as_json: bool, account: Account, yes: Yes = False, config: Settings = DEFAULT_PATH
) -> None:
    """Forget an envelope. Nobody watches the account then, and its words still open it, until its password is another one."""
    ask.confirm(f"Forget the envelope of {account}? Its words still open it.", yes=yes)
    with _services(config) as services:
        envelope = services.break_glass.accounts.remove(account, cards.who())
    if as_json:
        screen.json({"envelope": envelope.number, "account": envelope.name})
        return
    screen.line(f"envelope {envelope.number} of {envelope.name} is forgotten", "green")
    screen.note("Give the account another password, or disable it: the words still open it.", "yellow")


break_glass_open.add_to(app)

# -------------------------------------------------------------------------------------------------------------- shared


@contextmanager
def _services(config: Path) -> Iterator["Services"]:
    from bastide.cli.server import open_services  # noqa: PLC0415  # loads the whole service

    with open_services(config) as services:
        yield services


def _drill_report(done: "Drilled", node: str, began: Any, took: timedelta) -> "Report":
    from bastide.domain.health import Category, Report, Result  # noqa: PLC0415  # --help is light

    results = [
        Result(
            check=one.key,
            category=Category.RECOVERY,
            subject=f"{done.envelope.principal} {place}",
            severity=one.severity,
            text=one.text,
            evidence=one.evidence,
            remedy=one.remedy,
            why="Words that are lost or wrong are noticed here, and not in an emergency.",
        )
        for place, one in enumerate(done.findings, 1)
    ]
    return Report(
        node=node,
        version=version("bastide"),
        began=began,
        took=took,
        results=tuple(results),
        only=(Category.RECOVERY,),
    )


def _keep(folder: Path, report: "Report", heading: str) -> tuple[Path, Path]:
    from bastide.health import report as kept  # noqa: PLC0415  # jinja takes its time

    try:
        return kept.keep(folder, report, kept.to_html(report, heading=heading))
    except OSError as error:
        said = (error.strerror or type(error).__name__).lower()
        raise Stop(
            f"the drill is in the audit, and its report cannot be written: {error.filename or folder}: {said}",
            remedy="run as root or as the service's user, or name a folder of your own with --reports",
        ) from None


def _dict(one: "Envelope") -> Mapping[str, Any]:
    """Without the verifier, which is nobody's business."""
    return {
        "account": one.principal,
        "envelope": one.number,
        "state": one.state.value,
        "why": one.why,
        "threshold": one.threshold,
        "custodians": list(one.custodians),
        "sealed_at": one.sealed_at.isoformat(),
        "sealed_by": one.sealer,
        "ended_at": one.ended_at.isoformat() if one.ended_at else "",
        "drilled_at": one.drilled_at.isoformat() if one.drilled_at else "",
        "looked_at": one.looked_at.isoformat() if one.looked_at else "",
        "receipts": [receipt.id for receipt in one.receipts],
    }


def _finding(one: "Finding") -> Mapping[str, Any]:
    return {**dataclasses.asdict(one), "severity": one.severity.value}


def _report(screen: Screen, found: "Sequence[Finding]", *, as_json: bool) -> None:
    if as_json:
        screen.json([_finding(one) for one in found])
    else:
        _print(screen, found)


def _print(screen: Screen, found: "Sequence[Finding]") -> None:
    for one in found:
        print_finding(screen, _finding(one))


def _end(found: "Sequence[Finding]") -> None:
    if any(one.severity.is_error for one in found):
        raise typer.Exit(int(Exit.REFUSED))
