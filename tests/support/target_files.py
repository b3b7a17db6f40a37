"""Files of every format, for tests: how a list of people looks in it, and the agent that reads it."""

import base64
import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any
from xml.sax.saxutils import escape

from bastide.domain.management_agents import MaId, ManagementAgent
from bastide.targets.registry import Registry

People = Sequence[Mapping[str, str]]
_COLUMNS = ("id", "name", "mail", "userPassword", "export_password", "pin")
_WIDTH = 60


def _avp(people: People) -> str:
    return "\n".join("".join(f"{name}: {value}\n" for name, value in one.items()) for one in people)


def _delimited(people: People) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(name for one in people for name in one)))
    writer.writeheader()
    writer.writerows(people)
    return text.getvalue()


def _fixed_width(people: People) -> str:
    return "".join("".join(one.get(name, "").ljust(_WIDTH) for name in _COLUMNS) + "\n" for one in people)


def _ldif(people: People) -> str:
    from bastide.targets.files.ldif_records import written
    from bastide.targets.files.records import Record

    records = (
        Record(0, {name: (value,) for name, value in one.items()}, f"uid={n}") for n, one in enumerate(people)
    )
    return b"".join(written(records)).decode()


def _dsml(people: People) -> str:
    entries = "\n".join(
        f'<addRequest dn="uid={number}">'
        + "".join(f'<attr name="{name}"><value>{_xml(value)}</value></attr>' for name, value in one.items())
        + "</addRequest>"
        for number, one in enumerate(people)
    )
    return f'<batchRequest xmlns="urn:oasis:names:tc:DSML:2:0:core">{entries}</batchRequest>'


def _xml(value: str) -> str:
    return escape(value)


class Kinds(Enum):
    """The formats, by what the registry calls them."""

    AVP = ("attribute-value-pairs", _avp)
    DELIMITED = ("delimited", _delimited)
    FIXED_WIDTH = ("fixed-width", _fixed_width)
    LDIF = ("ldif", _ldif)
    DSML = ("dsml", _dsml)

    @property
    def kind(self) -> str:
        return self.value[0]

    @property
    def settings(self) -> dict[str, Any]:
        """What the format needs beside path and anchor."""
        if self is not Kinds.FIXED_WIDTH:
            return {}
        return {"columns": [{"name": name, "width": _WIDTH} for name in _COLUMNS], "unit": "characters"}

    @property
    def export(self) -> dict[str, Any]:
        """What an export needs beside its path."""
        if self is not Kinds.FIXED_WIDTH:
            return {}
        return {
            "columns": [
                {"name": "id", "width": 60},
                {"name": "name", "width": 60},
                {"name": "export_password", "width": 160},
            ]
        }

    def text(self, people: People) -> bytes:
        """A file of this format."""
        return self.value[1](people).encode()


def registry() -> Registry:
    return Registry(now=lambda: datetime(2026, 1, 1, tzinfo=UTC), monotonic=lambda: 0.0)


def agent(kind: str, settings: Mapping[str, Any]) -> ManagementAgent:
    return ManagementAgent(id=MaId("ma"), name="file", connector=kind, settings=dict(settings))


def ssha512_fits(stored: str, password: str) -> bool:
    """Whether a password is the one of an {SSHA512} hash."""
    raw = base64.b64decode(stored.removeprefix("{SSHA512}"))
    return raw[:64] == hashlib.sha512(password.encode() + raw[64:]).digest()
