"""Reports as files: JSON that is read back, and a page that loads nothing and escapes everything."""

import os
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from bastide.domain.errors import Conflict, InvalidInput, NotFound
from bastide.domain.health import Category, Report, Result, Severity, compare
from bastide.health import report as kept

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>\"'><img src=//evil.test/x>"


def result(severity: Severity, subject: str = "dc1", **more: Any) -> Result:
    return Result(
        check="dns.names", category=Category.DNS, subject=subject, severity=severity, text="what was found", **more
    )  # fmt: skip


ONE = Report(
    node="bastide-1",
    version="0.1.0",
    began=NOW,
    took=timedelta(seconds=2.5),
    results=(
        result(Severity.OK),
        result(Severity.ERROR, HOSTILE, evidence=HOSTILE, remedy=HOSTILE, why=HOSTILE),
    ),
)


class Page(HTMLParser):
    """Tags, and attributes that could load something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        loading = {"src", "href", "action", "data", "srcset", "background"}
        self.addresses += [value or "" for name, value in attrs if name in loading or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_several_things_that_are_wrong_alike_are_one_row_of_the_page() -> None:
    down = tuple(result(Severity.ERROR, name, remedy="open the ports") for name in ("dc1", "dc2", "dc3"))
    text = Page(kept.to_html(replace(ONE, results=(result(Severity.OK, "dc0"), *down)))).text
    assert text.count("dc1, dc2 and dc3") == 2, "what to do, and the category"
    assert text.count("open the ports") == 2
    kept_ = kept.from_json(kept.to_json(replace(ONE, results=down)))
    assert [one.subject for one in kept_.results] == ["dc1", "dc2", "dc3"], "a program gets each"


def test_a_report_is_read_back_whole() -> None:
    assert kept.from_json(kept.to_json(ONE)) == ONE


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', "\xff", "[" * 100_000])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="report"):
        kept.from_json(text.encode("latin-1"))


def test_another_format_is_refused() -> None:
    with pytest.raises(InvalidInput, match="format 2"):
        kept.from_json(kept.to_json(ONE).replace('"format": 1', '"format": 2'))


def test_the_page_has_no_script_and_asks_nobody() -> None:
    text = kept.to_html(ONE, replace(ONE, results=()), compare(replace(ONE, results=()), ONE))
    page = Page(text)
    assert not {"script", "img", "link", "iframe", "object", "form", "base"} & set(page.tags)
    assert all(address.startswith("#") for address in page.addresses)
    assert "default-src 'none'" in text
    assert not re.search(r"url\(|@import|https?://", text)


def test_what_others_chose_is_text() -> None:
    assert HOSTILE in Page(kept.to_html(ONE)).text


def test_the_summary_comes_first() -> None:
    said = Page(kept.to_html(ONE)).text
    assert "Is bastide-1 as Bastide needs it?" in said
    assert "No: 1 ok, 0 skipped, 0 warning, 1 error, 0 critical." in " ".join(said.split())
    assert said.index("Summary") < said.index("What to do") < said.rindex("DNS")
    fine = replace(ONE, results=ONE.results[:1])
    assert "What to do" not in Page(kept.to_html(fine)).text
    assert "Yes:" in Page(kept.to_html(fine)).text


def test_changes_are_told_beside_what_was() -> None:
    before = replace(ONE, results=(result(Severity.CRITICAL), result(Severity.OK, HOSTILE)))
    said = Page(kept.to_html(ONE, before, compare(before, ONE))).text
    assert "Since 2026-01-05 12:00:00 UTC" in said
    assert "became worse" in said
    assert "became better" in said
    assert "Nothing changed." in Page(kept.to_html(ONE, ONE)).text


def test_files_are_their_owner_s_alone_whatever_the_umask(tmp_path: Path) -> None:
    import os

    before = os.umask(0)
    try:
        files = kept.keep(tmp_path / "a" / "reports", ONE, "page")
    finally:
        os.umask(before)
    assert [file.name for file in files] == [
        "20260105T120000Z-bastide-1.json",
        "20260105T120000Z-bastide-1.html",
    ]
    assert (tmp_path / "a" / "reports").stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert kept.read(files[0]) == ONE
    assert kept.latest(tmp_path / "a" / "reports", ONE.node) == ONE
    assert len(list((tmp_path / "a" / "reports").iterdir())) == 2


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with pytest.raises(Conflict) as refused:
        kept.keep(tmp_path, ONE, "page")
    assert "chmod 700" in refused.value.remedy
    assert not list(tmp_path.iterdir())


def test_a_node_s_name_is_no_path(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    for name in ("../../etc/x", "/", ""):
        file, _ = kept.keep(folder, replace(ONE, node=name), "page")
        assert file.parent == folder
        assert file.is_file()


def test_the_newest_of_the_same_node_and_selection_counts_and_none_is_said_to_be_none(tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    with pytest.raises(NotFound, match="no report of node"):
        kept.latest(folder, ONE.node)
    day = timedelta(days=1)
    for one in (
        replace(ONE, began=NOW + day),
        ONE,
        replace(ONE, began=NOW + 2 * day, only=(Category.DNS,)),
        replace(ONE, began=NOW + 3 * day, node="another"),
    ):
        kept.keep(folder, one, "")
    (folder / "20990101T000000Z-x.json").write_text("{}")
    assert kept.latest(folder, ONE.node).began == NOW + day
    assert kept.latest(folder, ONE.node, [Category.DNS]).began == NOW + 2 * day
    with pytest.raises(NotFound, match="of dns, ports is kept"):
        kept.latest(folder, ONE.node, [Category.PORTS, Category.DNS])
    with pytest.raises(NotFound):
        kept.read(folder / "nothing.json")


@pytest.mark.parametrize("kind", ["link", "fifo"])
def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path, kind: str) -> None:
    """As /dev/stdout and /dev/null, which root could replace."""
    place = tmp_path / kind
    if kind == "link":
        place.symlink_to("/dev/null")
    else:
        os.mkfifo(place)
    before = place.lstat()
    with pytest.raises(Conflict, match="is no regular file"):
        kept.write_private(place, "text")
    assert place.lstat() == before
    assert list(tmp_path.iterdir()) == [place]
