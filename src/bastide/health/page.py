"""Pages that ask nobody for anything: one file with its style in it, no script, and a policy that lets nothing in."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

_HERE = Path(__file__).parent / "templates"


@cache
def template(folder: Path, name: str) -> Template:
    """One of that folder, which extends page.html of this one. What it shows is escaped."""
    environment = Environment(
        loader=FileSystemLoader([folder, _HERE]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)
