"""Whatever a format agrees to hold comes back as it went in."""

import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastide.targets.files.avp import AttributeValuePairs, AvpSettings
from bastide.targets.files.delimited import Delimited, DelimitedSettings
from bastide.targets.files.dsml import Dsml, DsmlSettings
from bastide.targets.files.fixed_width import Field, FixedWidth, FixedWidthSettings
from bastide.targets.files.ldif import Ldif, LdifSettings
from bastide.targets.files.records import Format, Record, Unwritable

_COLUMNS = (Field(name="id", width=40), Field(name="name", width=40))
_PLACE: dict[str, Any] = {"path": "/in", "anchor": "id"}
FORMATS: dict[str, Format] = {
    "pairs": AttributeValuePairs(AvpSettings(**_PLACE)),
    "delimited": Delimited(DelimitedSettings(**_PLACE), ("id", "name")),
    "tabs, unquoted": Delimited(DelimitedSettings(**_PLACE, delimiter="\t", quote=""), ("id", "name")),
    "no header": Delimited(DelimitedSettings(**_PLACE, header=False, columns=("id", "name")), ("id", "name")),
    "bytes": FixedWidth(FixedWidthSettings(**_PLACE, columns=_COLUMNS), _COLUMNS, 0),
    "characters": FixedWidth(FixedWidthSettings(**_PLACE, columns=_COLUMNS, unit="characters"), _COLUMNS, 0),
    "ldif": Ldif(LdifSettings(**_PLACE)),
    "dsml": Dsml(DsmlSettings(**_PLACE)),
}
_VALUE = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
_PEOPLE = st.lists(st.tuples(_VALUE, _VALUE), min_size=1, max_size=5)


@pytest.mark.parametrize("name", FORMATS)
@given(people=_PEOPLE)
def test_what_is_written_is_read(name: str, people: list[tuple[str, str]]) -> None:
    form = FORMATS[name]
    held: list[Record] = []
    for anchor, text in people:
        record = Record(0, {"id": (anchor,), "name": (text,)}, f"uid={len(held)}")
        try:
            form.check(record)
        except Unwritable:
            continue
        held.append(record)
    raw = b"".join(form.write(held))
    found = list(form.read(io.BytesIO(raw)))
    assert [(tuple(one.values["id"]), tuple(one.values["name"])) for one in found] == [
        (one.values["id"], one.values["name"]) for one in held
    ]
