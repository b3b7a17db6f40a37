"""`bastide join`: why an object is joined or not, and joins by hand."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from bastide.cli.cs import Agent, Object, print_object
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote

_SET = "bastide join set uid=alice,ou=people,dc=example 6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11 --agent ldap"
app = commands(
    "Joins: which objects belong to one person, and why.",
    ("find what the rules did not join", "bastide cs search --agent ldap --link none"),
    ("ask each rule why", "bastide join explain uid=alice,ou=people,dc=example --agent ldap"),
    ("find the person", "bastide mv search alice"),
    ("join by hand, where no rule can", _SET),
)


@remote(app, "explain", example="bastide join explain uid=alice,ou=people,dc=example --agent ldap")
def explain(call: Call, name: Object, agent: Agent = "") -> None:
    """Each join rule: what it looks for, what it finds, why that is a match or none."""
    answer = call.client.get("/joins", name=name, agent=agent)
    call.show(answer, lambda said: _print(call, said))


@remote(
    app,
    "set",
    example=_SET,
)
def set_join(
    call: Call,
    name: Object,
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Id of the MV object.")],
    agent: Agent = "",
) -> None:
    """Join by hand. Rules do not undo it."""
    answer = call.client.put("/joins", {"object": name, "agent": agent, "person": person})
    call.done(answer, f"{answer.fields.get('dn')} is joined with {person}")


@remote(app, "remove", example="bastide join remove uid=alice,ou=people,dc=example --agent ldap --keep-apart")
def remove(
    call: Call,
    name: Object,
    agent: Agent = "",
    apart: Annotated[
        bool, typer.Option("--keep-apart", help="No rule joins it again, until this is run without it.")
    ] = False,
) -> None:
    """Take a join away. Without --keep-apart the rules may join the object again with the next full import."""
    answer = call.client.delete("/joins", name=name, agent=agent, apart=apart)
    kept = ", and is kept apart" if apart else ""
    call.done(answer, f"{answer.fields.get('dn')} is joined no more{kept}")


def _print(call: Call, said: Mapping[str, Any]) -> None:
    print_object(call, said.get("object") or {})
    if said.get("filter"):
        call.screen.line(f"filter {said['filter']} keeps it out", "red")
    for rule in said.get("rules") or []:
        pairs = " and ".join(f"{pair['cs']} = {pair['mv']}" for pair in rule.get("pairs") or [])
        call.screen.line(f"join rule {rule.get('number')}: {pairs}", "bold")
        for one in rule.get("looked_for") or []:
            call.screen.line(f"  looks for {one['attribute']} = {' or '.join(one['values'])}")
        if rule.get("found"):
            call.screen.line(f"  finds {', '.join(rule['found'][:10])}")
        call.screen.line(f"  {rule.get('outcome')}{': this one decides' if rule.get('decides') else ''}")
    if not said.get("rules"):
        call.screen.line("its agent has no join rules")
    call.screen.line(
        f"by the rules alone it would be: {said.get('verdict')} ({said.get('because')})", "green"
    )
