"""`bastide helpdesk`: find a person's accounts; verify who calls; set, change and unlock. A password is typed, or made and shown once; never an argument."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli import ask
from bastide.cli.console import Column
from bastide.cli.exits import Exit, Stop
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.text import when

if TYPE_CHECKING:
    from bastide.cli.client import Answer

app = commands(
    "Help people with their passwords, in all their accounts at once.",
    ("who is it, and which accounts are there", "bastide helpdesk find alice"),
    ("is it really her: a code that only she can read out", "bastide helpdesk verify alice --send"),
    (
        "set it everywhere; she chooses her own at the next sign-in",
        "bastide helpdesk set alice --verified ID --generate",
    ),
    ("she only locked herself out", "bastide helpdesk unlock alice"),
)
_DIFFERS = "the directory has another address now than the one that is known of this person: ask who calls"
#: How often the server is asked what became of a set, in seconds, and how many times.
_PAUSE, _LOOKS = 1.0, 30

Person = Annotated[str, typer.Argument(metavar="PERSON", help="Id, or what finds one person alone.")]
Agents = Annotated[
    list[str] | None,
    typer.Option("--in", metavar="AGENT", help="Only in this system. May be repeated. Default: in all."),
]
Reason = Annotated[str, typer.Option(help="Why, for the audit.")]

_FOUND: list[Column] = [
    ("ID", lambda p: p.get("id")),
    ("NAME", lambda p: p.get("name")),
    ("ACCOUNTS", lambda p: "; ".join(p.get("accounts") or [])),
]
_SEATS: list[Column] = [
    ("AGENT", lambda s: s.get("agent")),
    ("ACCOUNT", lambda s: s.get("dn")),
    ("JOIN", lambda s: s.get("link")),
    ("LOCKED", lambda s: _known(s.get("locked"))),
    ("DISABLED", lambda s: _known(s.get("disabled"))),
    ("MUST CHANGE", lambda s: _known(s.get("must_change"))),
    ("SET", lambda s: when(s.get("set_at"))),
    ("CANNOT BE SET", lambda s: s.get("hindrance")),
]
_OUTCOMES: list[Column] = [
    ("AGENT", lambda o: o.get("agent")),
    ("STATE", lambda o: o.get("state")),
    ("RETURN CODE", lambda o: o.get("return_code")),
    ("WHAT HAPPENED", lambda o: o.get("words")),
]
_ANSWERS: list[Column] = [
    ("AGENT", lambda a: a.get("agent")),
    ("ACCOUNT", lambda a: a.get("dn")),
    ("RETURN CODE", lambda a: a.get("return_code")),
    ("DETAIL", lambda a: a.get("detail")),
]
_HISTORY: list[Column] = [
    ("TIME", lambda h: when(h.get("time"))),
    ("TYPE", lambda h: h.get("change_type")),
    ("BY", lambda h: h.get("performed_by")),
    (
        "OUTCOMES",
        lambda h: ", ".join(f"{o['agent']}: {o['return_code'] or o['state']}" for o in h["outcomes"]),
    ),
    ("REASON", lambda h: h.get("reason")),
]


@remote(app, "find", example="bastide helpdesk find alice")
def find(
    call: Call,
    text: Annotated[
        str, typer.Argument(metavar="TEXT", help="A part of a name, an account or another value.")
    ],
) -> None:
    """Find a person."""
    answer = call.client.get("/help-desk/people", text=text)
    call.table(answer, _FOUND, empty="nobody")


@remote(app, "show", example="bastide helpdesk show alice")
def show(call: Call, person: Person) -> None:
    """A person's accounts, and how each system shows them now."""
    answer = call.client.get(_person(call, person))

    def render(found: Mapping[str, Any]) -> None:
        call.screen.fields(
            (
                ("Person", found.get("name")),
                ("Id", found.get("id")),
                ("Can be verified by", ", ".join(found.get("methods") or []) or "nothing"),
                ("Out of reach", found.get("out_of_reach")),
            )
        )
        call.screen.table(_SEATS, found["accounts"], empty="no account")

    call.show(answer, render)


@remote(app, "verify", example="bastide helpdesk verify alice --send")
def verify(
    call: Call,
    person: Person,
    send: Annotated[
        bool,
        typer.Option(
            "--send", help="Send a code to what the person registered, else to the address in the directory."
        ),
    ] = False,
) -> None:
    """Verify who calls, by a code that the caller reads out: from the authenticator, or from a message. Prints the id that `set` takes."""
    method = "sent" if send else "totp"
    begun = call.client.post(f"{_person(call, person)}/verifications", {"method": method})
    if begun.fields.get("differs"):
        call.screen.note(_DIFFERS, "yellow")
    code = call.world.ask(f"The code that {begun.fields.get('name')} reads out")
    answer = call.client.post(
        f"/help-desk/verifications/{quote(str(begun.fields['id']), safe='')}", {"code": code}
    )

    def render(made: Mapping[str, Any]) -> None:
        call.screen.line("verified", "green")
        call.screen.fields((("Id", made.get("id")), ("Good until", when(made.get("until")))))

    call.show(answer, render)


@remote(
    app,
    "set",
    example="bastide helpdesk set alice --verified 4f1d6a0b-9c2e-47d3-8a51-b6e0c7f29d84 --generate",
)
def set_password(
    call: Call,
    person: Person,
    agents: Agents = None,
    generate: Annotated[bool, typer.Option("--generate", help="Make a password, and show it once.")] = False,
    must_change: Annotated[
        bool,
        typer.Option(
            "--must-change/--no-must-change", help="The person chooses another one at the next sign-in."
        ),
    ] = True,
    unlock: Annotated[bool, typer.Option("--unlock/--no-unlock", help="Take locks away, too.")] = True,
    verified: Annotated[str, typer.Option(metavar="ID", help="What `verify` printed.")] = "",
    reason: Reason = "",
) -> None:
    """Set the password of a person's accounts, and show what becomes of it in each system."""
    address = _person(call, person)
    body = {
        "accounts": _accounts(call, address, agents, "hindrance"),
        "password": "" if generate else ask.new_secret("New password"),
        "must_change": must_change,
        "unlock": unlock,
        "verification": verified,
        "reason": reason,
    }
    given = call.client.post(f"{address}/passwords", body)
    if not call.as_json and generate:
        call.screen.fields((("Password, shown this once", given.fields.get("password")),))
    operation = f"/help-desk/operations/{quote(str(given.fields['operation']), safe='')}"
    if call.as_json:
        call.screen.raw_json(given.text)
        return
    answer = call.client.get(operation)
    for _ in range(_LOOKS):
        if answer.fields.get("over"):
            break
        call.world.sleep(_PAUSE)
        answer = call.client.get(operation)
    _outcomes(call, answer)


@remote(app, "change", example="bastide helpdesk change alice --in ldap")
def change(call: Call, person: Person, agents: Agents = None, reason: Reason = "") -> None:
    """Change the password of a person who is there and types the old one: history and least age count."""
    address = _person(call, person)
    accounts = _accounts(call, address, agents, "change_hindrance")
    old, new = ask.secret("Old password"), ask.new_secret("New password")
    answer = call.client.post(
        f"{address}/changes", {"accounts": accounts, "old": old, "new": new, "reason": reason}
    )
    if call.as_json:
        call.screen.raw_json(answer.text)
        return
    _outcomes(call, answer)


@remote(app, "unlock", example="bastide helpdesk unlock alice")
def unlock_accounts(call: Call, person: Person, agents: Agents = None, reason: Reason = "") -> None:
    """Take locks away, and leave the passwords alone."""
    address = _person(call, person)
    accounts = _accounts(call, address, agents, "unlock_hindrance")
    answer = call.client.post(f"{address}/unlocks", {"accounts": accounts, "reason": reason})
    call.table(answer, _ANSWERS, empty="no account")
    _all_well(answer.items)


@remote(app, "history", example="bastide helpdesk history alice")
def history(
    call: Call,
    person: Person,
    limit: Annotated[int, typer.Option(min=1, max=100, help="At most so many.")] = 20,
) -> None:
    """What was set and changed for a person here, newest first."""
    answer = call.client.get(f"{_person(call, person)}/history", limit=limit)
    call.table(answer, _HISTORY, empty="nothing was set or changed here")


def _person(call: Call, person: str) -> str:
    """The address of one person. Raises Stop if several are found, or nobody."""
    if len(person) == 36 and person.count("-") == 4:  # noqa: PLR2004  # as ids are written
        return f"/help-desk/people/{quote(person, safe='')}"
    found = call.client.get("/help-desk/people", text=person, limit=10).items
    if len(found) != 1:
        names = "; ".join(f"{one['name']} {one['id']}" for one in found) or "nobody"
        raise Stop(
            f"{person} finds {names}",
            remedy="give the id: `bastide helpdesk find` shows it",
            status=Exit.USAGE,
        )
    return f"/help-desk/people/{quote(str(found[0]['id']), safe='')}"


def _accounts(call: Call, address: str, agents: list[str] | None, hindrance: str) -> list[str]:
    """Ids of the accounts in these systems; without a choice of all that can be. Raises Stop."""
    found = call.client.get(address).fields["accounts"]
    if agents:
        wanted = {name.casefold() for name in agents}
        chosen = [one for one in found if one["agent"].casefold() in wanted]
        missing = wanted - {one["agent"].casefold() for one in chosen}
        if missing:
            known = ", ".join(one["agent"] for one in found) or "none"
            raise Stop(
                f"there is no account in {min(missing)}",
                remedy=f"the accounts are in {known}",
                status=Exit.USAGE,
            )
    else:
        chosen = [one for one in found if not one[hindrance]]
    if not chosen:
        raise Stop("no account of this person can be reached", remedy="`bastide helpdesk show` says why")
    return [str(one["id"]) for one in chosen]


def _outcomes(call: Call, answer: "Answer") -> None:
    outcomes = answer.fields["outcomes"]
    call.screen.table(_OUTCOMES, outcomes, empty="no account")
    _all_well(outcomes)


def _all_well(outcomes: Sequence[Mapping[str, Any]]) -> None:
    """Raises Stop unless every system took it."""
    if any(one["return_code"] != "success" for one in outcomes):
        raise Stop(
            "not every account has it", remedy="`bastide helpdesk history` shows what becomes of the rest"
        )


def _known(value: bool | None) -> str:
    return "?" if value is None else "yes" if value else "no"
