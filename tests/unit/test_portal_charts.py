"""Charts as shapes: lengths are in proportion, nothing leaves the drawing, and each can be read as a table."""

import re

from hypothesis import given
from hypothesis import strategies as st

from bastide.portal import charts, pages
from tests.support.admin import HOSTILE

_COUNTS = st.dictionaries(st.text(min_size=1, max_size=40), st.integers(0, 10**6), max_size=30)


@given(_COUNTS)
def test_rows(counts: dict[str, int]) -> None:
    chart = charts.rows("x", "T", "things", "Name", counts)
    assert chart.total == sum(counts.values())
    assert sum(bar.count for bar in chart.bars) == chart.total, "what has no bar of its own is in the last"
    assert len(chart.bars) == min(len(counts), charts.MOST_BARS)
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= charts.WIDTH
        assert 0 <= bar.y <= bar.y + bar.height <= chart.height
        assert len(bar.label) <= 40
        assert 0 < bar.label_y < bar.y < bar.count_y <= chart.height
    if chart.total and len(counts) <= charts.MOST_BARS:
        longest = max(bar.width for bar in chart.bars)
        most = max(counts.values())
        assert all(abs(bar.width - longest * bar.count / most) < 0.2 for bar in chart.bars)
        assert [bar.count for bar in chart.bars] == sorted(counts.values(), reverse=True)


@given(st.lists(st.integers(0, 10**6), max_size=24), st.integers(1, 4))
def test_columns(counts: list[int], every: int) -> None:
    chart = charts.columns(
        "x", "T", "things", "Hour", [(f"{n}", f"{n}", c) for n, c in enumerate(counts)], every
    )
    assert [bar.count for bar in chart.bars] == counts, "in the order given"
    for bar in chart.bars:
        assert 0 <= bar.x <= bar.x + bar.width <= charts.WIDTH
        assert 0 <= bar.count_y <= bar.y <= bar.y + bar.height <= chart.height
    assert [bar.labelled for bar in chart.bars] == [n % every == 0 for n in range(len(counts))]
    if counts:
        assert any(bar.counted for bar in chart.bars)


def test_what_is_to_be_seen_is_said_in_words() -> None:
    assert (
        charts.rows("x", "T", "failures", "Role", {"a": 1, "b": 3}).about
        == "4 failures in all; most for b: 3."
    )
    assert charts.rows("x", "T", "failures", "Role", {}).about == "There are no failures."


def test_counts_of_one_name_are_put_together() -> None:
    assert charts.summed([("a", 1), ("b", 2), ("a", 3)]) == {"a": 4, "b": 2}


def _drawn(chart: charts.Chart) -> str:
    template = pages._environment.get_template("admin_parts.html")
    return str(template.module.chart(chart))  # type: ignore[attr-defined]  # a macro


def test_a_drawing_has_a_title_a_description_and_a_table() -> None:
    drawn = _drawn(charts.rows("roles", "Activations", "activations", "Role", {HOSTILE: 2, "b": 1}))
    assert 'role="img" aria-labelledby="roles-title roles-about"' in drawn
    assert '<title id="roles-title">Activations</title>' in drawn
    assert '<desc id="roles-about">3 activations in all' in drawn
    assert len(re.findall("<rect ", drawn)) == 2
    assert "<script>alert" not in drawn
    assert re.search(
        r'<th scope="row" data-label="Role">&lt;script&gt;alert\(1\)&lt;/script&gt;.*</th><td', drawn
    )
    assert "style=" not in drawn


def test_nothing_to_draw_is_said() -> None:
    drawn = _drawn(charts.columns("hours", "By hour", "activations", "Hour", [("0:00", "00", 0)]))
    assert "There are no activations." in drawn
    assert "<svg" not in drawn
