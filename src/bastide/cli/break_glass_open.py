"""`bastide break-glass open`: on any machine with this program, with no settings, database, service, network or second factor. In order:

(1) The place of the receipt is there and free, and the password has a terminal to be shown on, or goes into a ticket.
(2) As many custodians as the words themselves say type them, each a share of their own, of one envelope.
(3) The receipt is written and synced to its disk, and the system's log and the terminal say it loudly. Without that nothing is shown.
(4) The password is shown once, or a ticket is bought with it and it is not shown at all.
"""

import os
import syslog
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bastide import durable
from bastide.cli import words as cards
from bastide.cli.console import Screen
from bastide.cli.exits import Exit, Stop
from bastide.cli.hardening import harden
from bastide.cli.remote import local
from bastide.clock import SystemClock
from bastide.domain.ids import parse_name, parse_text

if TYPE_CHECKING:
    from bastide.domain.break_glass import Receipt
    from bastide.services.break_glass.ports import Part, Sharing

EXAMPLE = 'bastide break-glass open breakglass1@PRIV.EXAMPLE.COM --receipt /root/opened.json --reason "PRIV is down"'


def add_to(app: typer.Typer) -> None:
    """Put it beside the others."""
    local(app, "open", example=EXAMPLE)(open_envelope)


def open_envelope(
    screen: Screen,
    as_json: bool,
    account: Annotated[
        str, typer.Argument(metavar="ACCOUNT", help="The account, as it stands on the cards.")
    ],
    receipt: Annotated[
        Path, typer.Option(metavar="FILE", help="A new file for the receipt. Any disk that keeps it will do.")
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why it is opened.")],
    ticket: Annotated[
        str,
        typer.Option(
            metavar="CACHE", help="Buy a ticket into this cache, as in FILE:/root/tgt, and show no password."
        ),
    ] = "",
) -> None:
    """Put the words of the custodians together, and show the account's password once. Works with everything else down."""
    from bastide.domain.break_glass import REASON_LIMIT, password_of  # noqa: PLC0415  # --help is light
    from bastide.store.shares import WordShares  # noqa: PLC0415

    name, why = parse_name("account", account), parse_text("reason", reason, REASON_LIMIT)
    _check(screen, name, why, receipt, ticket)  # (1)
    harden()
    sharing = WordShares()
    number, places, secret = _gather(screen, sharing)  # (2)
    told = _receipt(name, why, number, places, "ticket" if ticket else "shown")
    _write(receipt, told)  # (3)
    _shout(screen, told, receipt)
    password = password_of(secret)
    if ticket:
        from bastide.directory.kerberos import sign_in  # noqa: PLC0415  # needs the extra `ad`

        sign_in(name, password, ticket)  # (4)
    else:
        cards.show_password(screen, f"{name}, envelope {number}", password)
    if as_json:
        screen.json({"envelope": number, "account": name, "receipt": str(receipt), "ticket": ticket})
        return
    if ticket:
        screen.line(f"the ticket of {name} is in {ticket}: `export KRB5CCNAME={ticket}`", "green")
    screen.note(
        "When Bastide is back: `bastide break-glass reconcile` with the receipt, then seal the account anew."
    )


def _check(screen: Screen, account: str, reason: str, receipt: Path, ticket: str) -> None:
    if not reason:
        raise Stop("a reason is needed", remedy="say why it is opened, with --reason", status=Exit.USAGE)
    if ticket and "@" not in account:
        raise Stop(
            "a ticket needs the account with its realm",
            remedy="as in breakglass1@PRIV.EXAMPLE.COM",
            status=Exit.USAGE,
        )
    if not ticket:
        cards.require_terminal(screen, "the password is shown")
    if os.path.lexists(receipt) or not os.access(receipt.parent, os.W_OK):
        raise Stop(
            f"the receipt cannot be written to {receipt}: it is there already, or its folder takes no file",
            remedy="name a new file; a stick or /dev/shm will do where no disk does",
            status=Exit.USAGE,
        )


def _gather(screen: Screen, sharing: "Sharing") -> tuple[int, tuple[int, ...], bytes]:
    """The number of the envelope, the places of the shares, and the secret. Raises InvalidInput, Stop."""
    said, first = _ask(screen, sharing, "Words of the first custodian")
    screen.note(f"Envelope {first.number}: the words of {first.threshold} custodians open it.")
    parts = {first.index: said}
    while len(parts) < first.threshold:
        said, part = _ask(screen, sharing, f"Words of custodian {len(parts) + 1} of {first.threshold}")
        if part.number != first.number:
            raise Stop(
                f"these words are of envelope {part.number}, not of {first.number}", remedy="begin again"
            )
        if part.index in parts:
            raise Stop("these words were typed already", remedy="begin again, with another custodian's")
        parts[part.index] = said
    return first.number, tuple(parts), sharing.combine(list(parts.values()))


def _ask(screen: Screen, sharing: "Sharing", whose: str) -> "tuple[str, Part]":
    given = cards.ask(screen, sharing, whose)
    if given is None:
        raise Stop("there are too few words: nothing was opened", remedy="come again with enough custodians")
    return given


def _receipt(account: str, reason: str, number: int, places: tuple[int, ...], how: str) -> "Receipt":
    from bastide.domain.break_glass import Receipt  # noqa: PLC0415  # --help is light

    return Receipt(
        id=str(uuid.uuid4()),
        number=number,
        account=account,
        opened_at=SystemClock().now(),
        by=cards.who(),
        host=cards.host(),
        reason=reason,
        shares=places,
        how=how,
    )


def _write(file: Path, receipt: "Receipt") -> None:
    from bastide.services.break_glass.receipts import to_text  # noqa: PLC0415  # --help is light

    try:
        durable.create(file, [to_text(receipt).encode()])
        _sync(file)
    except OSError as error:
        raise Stop(
            f"the receipt cannot be written: {(error.strerror or '').lower()}; nothing was shown",
            remedy="name another place; a stick or /dev/shm will do where no disk does",
        ) from None


def _sync(file: Path) -> None:
    """Its name as well: (3). A receipt of what was not opened does not stay. Raises OSError."""
    try:
        durable.sync(file.parent)
    except OSError:
        file.unlink(missing_ok=True)
        raise


def _shout(screen: Screen, receipt: "Receipt", file: Path) -> None:
    """A machine without a system log still has the terminal and the receipt."""
    text = f"break-glass: envelope {receipt.number} of {receipt.account} was opened by {receipt.by} on {receipt.host}: {' '.join(receipt.reason.split())}"
    syslog.openlog("bastide", syslog.LOG_PID, syslog.LOG_AUTH)
    syslog.syslog(syslog.LOG_CRIT, f"{text}; receipt {receipt.id}")
    screen.note(f"{text}. The receipt is {file}; keep it.", "bold red")
