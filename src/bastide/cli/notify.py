"""`bastide notify`: the channels that messages leave by."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bastide.cli.console import Column
from bastide.cli.group import group as commands
from bastide.cli.remote import Call, remote
from bastide.cli.text import when

app = commands(
    "Messages to people: asked, approved, about to end, ended, failed, kill switch.",
    ("name the channels in bastide.toml, and see whether they can work", "bastide config check"),
    ("send one message", "bastide notify test mail --to alice@corp.example.com"),
    ("see how they do", "bastide notify list"),
)
_CHANNELS: list[Column] = [
    ("CHANNEL", lambda c: c.get("name")),
    ("TO", lambda c: "each person" if c.get("people") else "its own recipients"),
    ("EVENTS", lambda c: ", ".join(c.get("events") or [])),
    ("ROLES", lambda c: ", ".join(c.get("roles") or []) or "all"),
    ("WAITING", lambda c: c.get("waiting")),
    ("LAST SENT", lambda c: when(c.get("sent_at"))),
    ("FAILING SINCE", lambda c: when(c.get("failing_since"))),
    ("PROBLEM", lambda c: c.get("problem")),
]


@remote(app, "list", example="bastide notify list")
def list_channels(call: Call) -> None:
    """The channels, what waits for them, and what went wrong. Their addresses hold secrets and are not shown."""
    call.table(call.client.get("/notification-channels"), _CHANNELS, empty="there is no channel")


@remote(app, "test", example="bastide notify test mail --to alice@corp.example.com")
def run_test(
    call: Call,
    channel: Annotated[str, typer.Argument(help="The channel's name.")],
    to: Annotated[str, typer.Option(metavar="ADDRESS", help="For a channel to people: to whom.")] = "",
) -> None:
    """Send one message and say what came back. Exit code 1 or 3 if it was not taken."""
    call.client.wait_long()
    answer = call.client.post(f"/notification-channels/{quote(channel, safe='')}/tests", {"to": to})

    def render(done: Mapping[str, Any]) -> None:
        call.screen.line(f"{done.get('name')} took the message", "green")

    call.show(answer, render)
