"""`bastide demo`: both jobs in a few seconds, without root, network or Active Directory."""

import typer

from bastide.cli.console import Screen
from bastide.cli.remote import local


def add_to(app: typer.Typer) -> None:
    """Put `demo` on the root."""
    local(app, "demo", example="bastide demo")(demo)


def demo(screen: Screen, as_json: bool) -> None:
    """Play both jobs in memory: access that ends, and one password for every system. Leaves nothing behind."""
    from bastide.cli.demo_embedded import play  # noqa: PLC0415  # loads the whole service

    timeline = play(screen if not as_json else None)
    if as_json:
        screen.json(timeline)
