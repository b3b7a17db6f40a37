"""Files as connected systems: what each format shows, what it refuses, and what it says about it."""

import base64
import codecs
from pathlib import Path
from typing import Any

import pytest

from bastide.domain.errors import (
    BadSource,
    CapabilityMissing,
    InvalidInput,
    NotConfigured,
    TargetUnavailable,
)
from bastide.services.passwords.ports import Imported
from tests.support.target_files import Kinds, agent, registry

#: security-tests.md, row 23.
HOSTILE_NAMES = [
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    "\u202eevil\u0085\u2028\x0b",
    'quote" comma, semicolon; back\\slash',
    "&amp;&lt;]]>",
    "-- '; DROP TABLE x",
    "x: y::z:<w",
]


def read(kind: str, content: bytes | str, folder: Path, **settings: Any) -> list[Imported]:
    path = folder / "people"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    given = {"path": str(path), "anchor": "id", **settings}
    return [one for page in registry().connector(agent(kind, given), "").read(b"") for one in page.objects]


def refused(kind: str, content: bytes | str, folder: Path, **settings: Any) -> str:
    with pytest.raises(BadSource) as caught:
        read(kind, content, folder, **settings)
    return caught.value.message


# ------------------------------------------------------------------------------------------------------ all of them alike


@pytest.mark.parametrize("kind", Kinds)
def test_hostile_names_pass_unharmed(kind: Kinds, tmp_path: Path) -> None:
    # XML has no character that goes up and down; the others have all of them.
    wanted = [name for name in HOSTILE_NAMES if kind is not Kinds.DSML or "\x0b" not in name]
    people = [{"id": str(number), "name": name} for number, name in enumerate(wanted)]
    found = read(kind.kind, kind.text(people), tmp_path, **kind.settings)
    assert [one.attributes["name"] for one in found] == [(name,) for name in wanted]


@pytest.mark.parametrize("kind", Kinds)
def test_passwords_are_never_imported(kind: Kinds, tmp_path: Path) -> None:
    text = kind.text(
        [{"id": "1", "userPassword": "{SSHA}x", "export_password": "$6$x", "pin": "4711", "name": "A"}]
    )
    (one,) = read(kind.kind, text, tmp_path, secret=["PIN"], **kind.settings)
    assert set(one.attributes) == {"id", "name"}
    for name in ("pin", "userPassword"):
        with pytest.raises(InvalidInput, match="never imported"):
            read(kind.kind, text, tmp_path, secret=["PIN"], **kind.settings, attributes=[name])


@pytest.mark.parametrize("kind", Kinds)
def test_only_the_attributes_that_are_named(kind: Kinds, tmp_path: Path) -> None:
    text = kind.text([{"id": "1", "name": "A", "mail": "a@x"}])
    (one,) = read(kind.kind, text, tmp_path, attributes=["mail"], **kind.settings)
    assert one.attributes == {"mail": ("a@x",)}


@pytest.mark.parametrize("kind", Kinds)
def test_too_many_records(kind: Kinds, tmp_path: Path) -> None:
    text = kind.text([{"id": str(number)} for number in range(3)])
    assert len(read(kind.kind, text, tmp_path, row_limit=3, **kind.settings)) == 3
    said = refused(kind.kind, text, tmp_path, row_limit=2, **kind.settings)
    assert "more than 2 records" in said
    assert said.startswith("line ")


@pytest.mark.parametrize("kind", Kinds)
def test_a_record_that_is_too_long(kind: Kinds, tmp_path: Path) -> None:
    text = kind.text([{"id": "1"}, {"id": "2", "name": "secret" * 30}])
    said = refused(kind.kind, text, tmp_path, size_limit=150, **kind.settings)
    assert "a record has more than 150" in said
    assert "secret" not in said


@pytest.mark.parametrize("kind", Kinds)
def test_an_anchor_is_there_once(kind: Kinds, tmp_path: Path) -> None:
    said = refused(kind.kind, kind.text([{"id": "geheim"}, {"id": "geheim"}]), tmp_path, **kind.settings)
    assert "an earlier record" in said
    said = refused(kind.kind, kind.text([{"id": "1"}, {"name": "geheim"}]), tmp_path, **kind.settings)
    assert "not exactly one id" in said
    assert "geheim" not in said


@pytest.mark.parametrize("kind", [kind for kind in Kinds if kind is not Kinds.LDIF])
def test_no_delta(kind: Kinds, tmp_path: Path) -> None:
    connector = registry().connector(agent(kind.kind, {"path": "/x", "anchor": "id", **kind.settings}), "")
    with pytest.raises(CapabilityMissing):
        list(connector.read(b"x"))


@pytest.mark.parametrize("kind", Kinds)
def test_many_come_in_pages(kind: Kinds, tmp_path: Path) -> None:
    path = tmp_path / "people"
    path.write_bytes(kind.text([{"id": str(number)} for number in range(1001)]))
    connector = registry().connector(
        agent(kind.kind, {"path": str(path), "anchor": "id", **kind.settings}), ""
    )
    assert [len(page.objects) for page in connector.read(b"")] == [500, 500, 1]


@pytest.mark.parametrize("kind", Kinds)
def test_what_is_no_file(kind: Kinds, tmp_path: Path) -> None:
    for path, error in (
        (tmp_path / "none", TargetUnavailable),
        (tmp_path, BadSource),
        (Path("/dev/null"), BadSource),
    ):
        given = {"path": str(path), "anchor": "id", **kind.settings}
        connector = registry().connector(agent(kind.kind, given), "")
        with pytest.raises(error):
            list(connector.read(b""))


@pytest.mark.parametrize("kind", [Kinds.AVP, Kinds.DELIMITED])
@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8", codecs.BOM_UTF8),
        ("utf-16-le", codecs.BOM_UTF16_LE),
        ("utf-16-be", codecs.BOM_UTF16_BE),
        ("utf-32-le", codecs.BOM_UTF32_LE),
    ],
)
def test_a_byte_order_mark_is_believed(kind: Kinds, encoding: str, mark: bytes, tmp_path: Path) -> None:
    text = kind.text([{"id": "1", "name": "Zoë"}]).decode()
    setting = "utf-8" if not mark else "cp1252"
    (one,) = read(kind.kind, mark + text.encode(encoding), tmp_path, encoding=setting, **kind.settings)
    assert one.attributes["name"] == ("Zoë",)


@pytest.mark.parametrize("kind", [Kinds.AVP, Kinds.DELIMITED, Kinds.FIXED_WIDTH])
def test_another_encoding(kind: Kinds, tmp_path: Path) -> None:
    text = kind.text([{"id": "1", "name": "Zoe"}]).replace(b"Zoe", b"Zo\xeb")
    (one,) = read(kind.kind, text, tmp_path, encoding="iso-8859-1", **kind.settings)
    assert one.attributes["name"] == ("Zoë",)
    assert "line " in refused(kind.kind, text, tmp_path, **kind.settings)
    for wrong in ("zip", "no-such"):
        with pytest.raises(InvalidInput, match="no encoding"):
            read(kind.kind, text, tmp_path, encoding=wrong, **kind.settings)


@pytest.mark.parametrize("kind", Kinds)
def test_without_an_export_there_are_no_passwords(kind: Kinds) -> None:
    with pytest.raises(NotConfigured, match="no way to set passwords"):
        registry().target(agent(kind.kind, {"path": "/x", "anchor": "id", **kind.settings}), "")


# ------------------------------------------------------------------------------------------------------- one by one


def test_pairs(tmp_path: Path) -> None:
    text = "\nid: 1\r\nmail: a@x\r\nmail:b@x\r\n\r\n\n\nid : 2\nname:\n"
    first, second = read("attribute-value-pairs", text, tmp_path)
    assert first == Imported("1", "1", "user", {"id": ("1",), "mail": ("a@x", "b@x")})
    assert second.attributes == {"id": ("2",)}
    (one,) = read("attribute-value-pairs", "id=1\nurl=http://x", tmp_path, delimiter="=", dn="url")
    assert one.dn == "http://x"
    assert refused("attribute-value-pairs", "id: 1\nnothing", tmp_path) == "line 2: has no name and delimiter"


def test_delimited(tmp_path: Path) -> None:
    text = 'id,name,mail\r\n1,"Do\r\nrn, ""D""",a@x|b@x\r\n\r\n2,,\r\n'
    first, second = read("delimited", text, tmp_path, multi_valued=["mail"], separator="|")
    assert first.attributes == {"id": ("1",), "name": ('Do\r\nrn, "D"',), "mail": ("a@x", "b@x")}
    assert second.attributes == {"id": ("2",)}
    (one,) = read(
        "delimited", "1;'a;b'\n", tmp_path, header=False, columns=["id", "n"], delimiter=";", quote="'"
    )
    assert one.attributes["n"] == ("a;b",)
    (one,) = read("delimited", 'id\tn\n1\t"x\n', tmp_path, delimiter="\t", quote="")
    assert one.attributes["n"] == ('"x',)


def test_delimited_says_what_is_wrong_and_where(tmp_path: Path) -> None:
    assert refused("delimited", "id,n\n1,geheim,x\n", tmp_path) == "line 2: has 3 fields and should have 2"
    assert refused("delimited", 'id,n\n1,"a\nb"\n2\n', tmp_path) == "line 4: has 1 fields and should have 2"
    assert "line 2: " in refused("delimited", 'id,n\n1,"geheim"x\n', tmp_path)
    assert "unexpected end" in refused("delimited", 'id,n\n1,"open\n', tmp_path)
    assert "one twice" in refused("delimited", "id,ID\n", tmp_path)
    assert "not the one" in refused("delimited", "id,x\n1,2\n", tmp_path, columns=["id", "n"])
    assert "empty" in refused("delimited", "", tmp_path)
    with pytest.raises(InvalidInput, match="no header"):
        read("delimited", "", tmp_path, header=False)
    with pytest.raises(InvalidInput):
        read("delimited", "", tmp_path, delimiter="||")


def test_fixed_width_counts_bytes(tmp_path: Path) -> None:
    columns = [{"name": "id", "width": 2}, {"name": "", "width": 1}, {"name": "name", "width": 5}]
    assert [
        one.attributes for one in read("fixed-width", "01 Zoë \n02 X\n\n", tmp_path, columns=columns)
    ] == [
        {"id": ("01",), "name": ("Zoë",)},  # five bytes with the blank
        {"id": ("02",), "name": ("X",)},
    ]
    (one,) = read("fixed-width", "01 Zoë  \n", tmp_path, columns=columns, unit="characters")
    assert one.attributes["name"] == ("Zoë",)
    cut = [{"name": "id", "width": 2}, {"name": "name", "width": 3}, {"name": "rest", "width": 3}]
    assert refused("fixed-width", "01Zoë  ", tmp_path, columns=cut).startswith(
        "line 1: a column ends within a letter"
    )
    assert "longer than its columns" in refused("fixed-width", "01 Zoë  geheim", tmp_path, columns=columns)
    shift_jis = "01 日本x".encode("shift_jis")
    (one,) = read("fixed-width", shift_jis, tmp_path, columns=columns, encoding="shift_jis")
    assert one.attributes["name"] == ("日本x",)
    wide = codecs.BOM_UTF16_LE + "01 Zoë  \n02 X\n".encode("utf-16-le")
    assert "count characters" in refused("fixed-width", wide, tmp_path, columns=columns)
    assert len(read("fixed-width", wide, tmp_path, columns=columns, unit="characters")) == 2
    marked = codecs.BOM_UTF8 + b"id name\n01 Zoe\n"
    assert [one.anchor for one in read("fixed-width", marked, tmp_path, columns=columns, skip=1)] == ["01"]


def test_ldif(tmp_path: Path) -> None:
    text = (
        "version: 1\n# a comment\n that goes on\n\ndn: uid=a,dc=x\nobjectClass: top\nid: 1\n"
        f"cn:: {base64.b64encode('Zoë'.encode()).decode()}\ndescription: lo\n ng\ncn;lang-en: Zoe\n"
        "jpegPhoto:: /9j/\nuserPassword;x: geheim\nempty:\n\n\ndn:: dWlkPWIsZGM9eA==\nid:2"
    )
    first, second = read("ldif", text, tmp_path, dn="dn")
    assert first == Imported(
        "1",
        "uid=a,dc=x",
        "user",
        {"objectClass": ("top",), "id": ("1",), "cn": ("Zoë",), "description": ("long",), "cn;lang-en": ("Zoe",),
         "jpegPhoto": ("ffd8ff",)},
    )  # fmt: skip
    assert (second.anchor, second.dn) == ("2", "uid=b,dc=x")
    assert [one.anchor for one in read("ldif", text, tmp_path, anchor="dn")] == ["uid=a,dc=x", "uid=b,dc=x"]


def test_ldif_reads_no_url(tmp_path: Path) -> None:
    """security-tests.md, row 26."""
    canary = tmp_path / "secret"
    canary.write_text("geheim")
    for line in (
        f"description:< file://{canary}",
        f"description:<file://{canary}",
        "jpegPhoto:< http://127.0.0.1:1/x",
    ):
        said = refused("ldif", f"dn: uid=a\nid: 1\n{line}\n", tmp_path)
        assert said == "line 3: has a value that is named by a URL, which is refused"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id: 1\n", "line 1: begins a record without a dn"),
        ("dn: x\ngeheim\n", "line 2: has no name and value"),
        ("dn: x\nid:: ge heim!\n", "line 2: has a value that is no base64"),
        ("version: 2\n\ndn: x\n", "line 1: is of a version of LDIF that is not known"),
        ("dn: x\nchangetype: delete\n", "line 2: tells a change in a file of objects"),
        (" geheim\ndn: x\n", "line 1: has no name and value"),
    ],
)
def test_ldif_says_what_is_wrong_and_where(text: str, said: str, tmp_path: Path) -> None:
    assert refused("ldif", text, tmp_path).startswith(said)


DSML = '<batchRequest xmlns="urn:oasis:names:tc:DSML:2:0:core">{}</batchRequest>'
ADD = '<addRequest dn="uid=a"><attr name="id"><value>1</value></attr>{}</addRequest>'


def test_dsml(tmp_path: Path) -> None:
    text = """<?xml version="1.0" encoding="UTF-8"?>
<d:batchResponse xmlns:d="urn:oasis:names:tc:DSML:2:0:core" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
    xmlns:xsd="http://www.w3.org/2001/XMLSchema">
 <d:searchResponse><!-- a comment -->
  <d:searchResultEntry dn="uid=a,dc=x">
   <d:attr name="id"><d:value>1</d:value></d:attr>
   <d:attr name="mail"><d:value>a@x</d:value><d:value>b&amp;c</d:value></d:attr>
   <d:attr name="cn"><d:value xsi:type="xsd:base64Binary">Wm/D
     qw==</d:value></d:attr>
   <d:attr name="photo"><d:value xsi:type="xsd:base64Binary">/9j/</d:value></d:attr>
  </d:searchResultEntry>
  <d:searchResultDone><d:resultCode code="0"/></d:searchResultDone>
 </d:searchResponse>
</d:batchResponse>"""
    (one,) = read("dsml", text, tmp_path, dn="dn")
    assert one == Imported(
        "1", "uid=a,dc=x", "user",
        {"id": ("1",), "mail": ("a@x", "b&c"), "cn": ("Zoë",), "photo": ("ffd8ff",)},
    )  # fmt: skip
    latin = '<?xml version="1.0" encoding="iso-8859-1"?>' + DSML.format(
        ADD.format('<attr name="n"><value>ë</value></attr>')
    )
    (one,) = read("dsml", latin.encode("iso-8859-1"), tmp_path)
    assert one.attributes["n"] == ("ë",)


@pytest.mark.parametrize(
    "head",
    [
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE x [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x"> %p;]>',
        "<!DOCTYPE batchRequest>",
    ],
)
def test_dsml_takes_no_document_type(head: str, tmp_path: Path) -> None:
    """security-tests.md, row 26: XXE, entity bombs."""
    said = refused("dsml", head + DSML.format(ADD.format("")), tmp_path)
    assert said == "line 1: has a document type (DTD), which is refused"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<batchRequest/>", "line 1: has an element that has no place there"),
        (DSML.format('\n<modifyRequest dn="x"/>'), "line 2: has an element that has no place there"),
        (DSML.format("<addRequest dn='x'><value>geheim</value></addRequest>"), "line 1: has an element"),
        (DSML.format("<searchResponse>" * 20), "line 1: has an element"),
        (DSML.format(ADD.format("<attr name='n'><value>&geheim;</value></attr>")), "line 1: is no well-formed XML: undef"),
        (DSML.format("\n<addRequest"), "line 2: is no well-formed XML"),
        (
            DSML.format(ADD.format(
                '<attr name="n"><value xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="xsd:anyURI">'
                "file:///etc/passwd</value></attr>")),
            "line 1: has a value that is named by a URL, which is refused",
        ),
        (
            DSML.format(ADD.format(
                '<attr name="n"><value xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:type="xsd:base64Binary">'
                "ge!heim</value></attr>")),
            "line 1: has a value that is no base64",
        ),
        ('<?xml version="1.0" encoding="x-none"?><a/>', "line "),
        (DSML.format("<!--" + "x" * 800_000), "line 1: has a tag or comment that is too long"),
    ],
)  # fmt: skip
def test_dsml_says_what_is_wrong_and_where(text: str, said: str, tmp_path: Path) -> None:
    message = refused("dsml", text, tmp_path)
    assert message.startswith(said)
    assert "geheim" not in message or "undef" in said


# ------------------------------------------------------------------------------------------------------------ LDIF changes

BASE = "dn: uid=a,dc=x\nid: 1\ncn: A\n\ndn: uid=b,dc=x\nid: 2\ncn: B\nmail: b@x\n\ndn: uid=c,dc=x\nid: 3\ncn: C\n"
CHANGES = (
    "dn: UID=b, dc=x\nchangetype: modify\nreplace: cn\ncn: B2\n-\nadd: mail\nmail: b@x\nmail: b2@x\n-\ndelete: none\n-\n\n"
    "dn: uid=c,dc=x\nchangetype: delete\n\n"
    "dn: uid=d,dc=x\nchangetype: add\nid: 4\ncn: D\n\n"
)


class Changelog:
    """Two files and an agent that reads them."""

    def __init__(self, folder: Path) -> None:
        self.base, self.log = folder / "base.ldif", folder / "changes.ldif"
        self.base.write_text(BASE)
        self.log.write_text("")
        self.cookie = b""
        given = {"path": str(self.base), "changes": str(self.log), "anchor": "id", "dn": "dn"}
        self._connector = registry().connector(agent("ldif", given), "")

    def read(self, *, full: bool = False) -> dict[str, Imported]:
        pages = list(self._connector.read(b"" if full else self.cookie))
        self.cookie = pages[-1].cookie
        return {one.anchor: one for page in pages for one in page.objects}

    def append(self, text: str) -> None:
        with self.log.open("a") as log:
            log.write(text)


def test_a_delta_is_what_the_changes_made_of_the_objects(tmp_path: Path) -> None:
    files = Changelog(tmp_path)
    assert set(files.read()) == {"1", "2", "3"}
    files.append(CHANGES)
    found = files.read()
    assert found["2"] == Imported(
        "2", "uid=b,dc=x", "user", {"id": ("2",), "cn": ("B2",), "mail": ("b@x", "b2@x")}
    )
    assert found["3"] == Imported("3", "uid=c,dc=x", "user", {}, deleted=True)
    assert found["4"].attributes == {"id": ("4",), "cn": ("D",)}
    assert set(found) == {"2", "3", "4"}
    assert files.read() == {}
    assert set(files.read(full=True)) == {"1", "2", "4"}


def test_an_object_that_is_renamed_keeps_its_anchor(tmp_path: Path) -> None:
    files = Changelog(tmp_path)
    files.read()
    files.append(
        "dn: uid=a,dc=x\nchangetype: modrdn\nnewrdn: uid=z\ndeleteoldrdn: 1\nnewsuperior: ou=p,dc=x\n\n"
        "dn: uid=z,ou=p,dc=x\nchangetype: modify\ndelete: cn\ncn: A\n-\n\n"
    )
    assert files.read() == {"1": Imported("1", "uid=z,ou=p,dc=x", "user", {"id": ("1",), "uid": ("z",)})}
    files.append("dn: uid=z,ou=p,dc=x\nchangetype: delete\n\n")
    assert files.read()["1"].deleted


def test_a_change_that_is_half_written_waits(tmp_path: Path) -> None:
    files = Changelog(tmp_path)
    files.read()
    files.append("dn: uid=b,dc=x\nchangetype: modify\nreplace: cn\ncn: B")
    assert files.read() == {}
    files.append("2\n-\n")
    assert files.read() == {}
    files.append("\n")
    assert files.read()["2"].attributes["cn"] == ("B2",)


def test_other_files_than_last_time_want_a_full_import(tmp_path: Path) -> None:
    files = Changelog(tmp_path)
    files.append(CHANGES)
    files.read()
    files.log.write_text(CHANGES.replace("B2", "B3"))
    with pytest.raises(BadSource, match="not those of the last import"):
        files.read()
    files.log.write_text("")
    with pytest.raises(BadSource, match="not those of the last import"):
        files.read()
    files.read(full=True)
    files.base.write_text(BASE + "\ndn: uid=e,dc=x\nid: 5\n")
    with pytest.raises(BadSource, match="not those of the last import"):
        files.read()
    files.cookie = b"x"
    with pytest.raises(BadSource, match="not ours"):
        files.read()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("dn: uid=q,dc=x\nchangetype: delete\n\n", "line 1: changes an object that is not there"),
        ("dn: uid=a,dc=x\nchangetype: add\nid: 1\n\n", "line 1: adds an object that is there already"),
        ("dn: uid=a,dc=x\ncn: A\n\n", "line 1: begins a record that tells no change"),
        ("dn: uid=a,dc=x\nchangetype: increment\n\n", "line 1: begins a record that tells no change"),
        ("dn: uid=a,dc=x\ncontrol: 1.2.3 true\nchangetype: delete\n\n", "line 2: has a control"),
        ("dn: uid=a,dc=x\nchangetype: modify\nincrement: n\nn: 1\n-\n\n", "line 3: is no add, delete or replace"),
        ("dn: uid=a,dc=x\nchangetype: modify\nreplace: cn\nsn: 1\n-\n\n", "line 3: begins a part of a change that names two"),
        ("dn: uid=a,dc=x\nchangetype: modrdn\n\n", "line 1: renames an object without a newrdn"),
        ("dn: geheim\nchangetype: delete\n\n", "line 1: has a DN that is none"),
        ("dn: uid=a,dc=x\nchangetype: modify\nreplace: jpeg\njpeg:< file:///etc/passwd\n-\n\n", "line 4: has a value that is named"),
    ],
)  # fmt: skip
def test_changes_that_make_no_sense_are_refused(change: str, said: str, tmp_path: Path) -> None:
    files = Changelog(tmp_path)
    files.read()
    files.append(change)
    for full in (False, True):
        with pytest.raises(BadSource) as caught:
            files.read(full=full)
        assert caught.value.message.startswith(said)
