"""Reports: what is worst, what counts, and what became of it since the one before."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastide.domain.health import Category, Move, Report, Result, Severity, compare, together

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
_SEVERITIES = list(Severity)


def result(severity: Severity, *, check: str = "dns.names", subject: str = "dc1") -> Result:
    return Result(check=check, category=Category.DNS, subject=subject, severity=severity, text=severity.value)


def report(*results: Result) -> Report:
    return Report(node="n", version="1", began=NOW, took=timedelta(seconds=1), results=results)


def test_the_worst_is_the_heaviest() -> None:
    assert report().worst is Severity.OK
    assert report(*map(result, (Severity.OK, Severity.SKIPPED))).worst is Severity.SKIPPED
    assert report(*map(result, Severity)).worst is Severity.CRITICAL


@pytest.mark.parametrize(
    ("severity", "failed"),
    [
        (Severity.OK, False),
        (Severity.SKIPPED, False),
        (Severity.WARNING, False),
        (Severity.ERROR, True),
        (Severity.CRITICAL, True),
    ],
)
def test_errors_alone_fail_a_report(severity: Severity, failed: bool) -> None:
    assert report(result(Severity.OK), result(severity)).failed is failed


def test_problems_come_worst_first_and_in_order() -> None:
    found = report(
        result(Severity.WARNING, subject="a"),
        result(Severity.CRITICAL, subject="b"),
        result(Severity.OK, subject="c"),
        result(Severity.WARNING, subject="d"),
        result(Severity.SKIPPED, subject="e"),
    )
    assert [one.subject for one in found.problems] == ["b", "a", "d"]


def down(name: str, why: str = "timed out", **more: Any) -> Result:
    one = result(Severity.ERROR, check="ports.controllers", subject=name)
    said = {"text": f"{name} cannot be reached", "evidence": f"88 {why}", "remedy": "open them", **more}
    return replace(one, **said)


def test_what_is_wrong_with_several_in_the_same_way_is_said_once() -> None:
    fine = replace(result(Severity.OK, check="ports.controllers", subject="dc0"), text="dc0 answers")
    other = down("dc4", remedy="open dc4")
    found = together([fine, down("dc1"), down("dc2"), other, down("dc3"), down("dc1", text="dc1 is slow")])
    assert [one.subject for one in found] == ["dc0", "dc1, dc2 and dc3", "dc4", "dc1"]
    assert found[1].text == "dc1, dc2 and dc3 cannot be reached"
    assert (found[1].evidence, found[1].remedy) == ("88 timed out", "open them")


def test_what_was_seen_is_said_of_each_where_it_differs() -> None:
    (one,) = together([down("dc1"), down("dc2", "refused"), down("dc3", evidence="")])
    assert one.evidence == "dc1: 88 timed out; dc2: 88 refused"
    assert together([down("dc1"), down("dc1", "refused")])[0].subject == "dc1", "twice the same is one name"


def test_what_is_well_is_said_of_each_and_its_evidence_stays() -> None:
    fine = [result(Severity.OK, subject=name) for name in ("a", "b")]
    assert together(fine) == tuple(fine)


def test_counts_name_every_severity() -> None:
    found = report(result(Severity.OK), replace(result(Severity.ERROR), category=Category.TIME))
    assert found.counts() == {**dict.fromkeys(Severity, 0), Severity.OK: 1, Severity.ERROR: 1}
    assert found.counts(Category.TIME)[Severity.OK] == 0
    assert found.counts(Category.TIME)[Severity.ERROR] == 1


@pytest.mark.parametrize(
    ("before", "after", "move"),
    [
        (Severity.OK, Severity.ERROR, Move.WORSE),
        (Severity.WARNING, Severity.CRITICAL, Move.WORSE),
        (Severity.ERROR, Severity.WARNING, Move.BETTER),
        (Severity.ERROR, Severity.OK, Move.BETTER),
        (Severity.ERROR, Severity.SKIPPED, Move.UNKNOWN),
        (Severity.OK, Severity.SKIPPED, Move.UNKNOWN),
        (Severity.SKIPPED, Severity.ERROR, Move.NEW),
        (None, Severity.WARNING, Move.NEW),
        (Severity.WARNING, None, Move.GONE),
        (Severity.OK, None, Move.GONE),
    ],
)
def test_what_became_of_it(before: Severity | None, after: Severity | None, move: Move) -> None:
    also = result(Severity.OK, subject="another")  # the check was run
    old = [] if before is None else [result(before)]
    new = [] if after is None else [result(after)]
    (change,) = compare(report(*old), report(*new, also))
    assert change.move is move
    assert change.shown.subject == "dc1"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Severity.ERROR, Severity.ERROR),
        (None, Severity.OK),
        (None, Severity.SKIPPED),
        (Severity.SKIPPED, Severity.OK),
        (Severity.SKIPPED, None),
    ],
)
def test_what_is_no_change(before: Severity | None, after: Severity | None) -> None:
    old = [] if before is None else [result(before)]
    new = [] if after is None else [result(after)]
    assert compare(report(*old), report(*new)) == ()


def test_an_unlooked_at_problem_is_never_called_better() -> None:
    moves = {
        compare(report(result(severity)), report(result(Severity.SKIPPED)))[0].move
        for severity in Severity
        if severity is not Severity.SKIPPED
    }
    assert moves == {Move.UNKNOWN}


def test_of_two_about_one_thing_the_worse_counts() -> None:
    after = report(result(Severity.OK), result(Severity.ERROR), result(Severity.OK))
    (change,) = compare(report(result(Severity.OK)), after)
    assert change.move is Move.WORSE


def test_the_same_subject_of_another_check_is_another_thing() -> None:
    before = report(result(Severity.ERROR, check="ports.controllers"))
    after = report(result(Severity.OK, check="ports.controllers", subject="dc2"), result(Severity.ERROR))
    assert [(one.move, one.shown.check) for one in compare(before, after)] == [
        (Move.NEW, "dns.names"),
        (Move.GONE, "ports.controllers"),
    ]


def test_what_was_not_asked_for_is_no_change() -> None:
    other = replace(result(Severity.ERROR, check="ports.controllers"), category=Category.PORTS)
    before, after = report(other), report(result(Severity.OK))
    assert compare(before, replace(after, only=(Category.DNS,))) == ()
    (change,) = compare(before, after)
    assert (change.move, change.shown) == (Move.GONE, other), "all was asked for, and it was not there"


@pytest.mark.parametrize("severity", [Severity.SKIPPED, Severity.ERROR])
def test_a_check_that_did_not_come_to_it_does_not_say_that_it_is_gone(severity: Severity) -> None:
    """Skipped as a whole, or ended by its time-out: then the result is about the check itself."""
    before = report(result(Severity.ERROR, subject="dc2"))
    (*_, change) = compare(before, report(result(severity, subject="names of hosts")))
    assert (change.move, change.shown.subject) == (Move.UNKNOWN, "dc2")


_REPORTS = st.lists(
    st.builds(result, st.sampled_from(_SEVERITIES), subject=st.sampled_from(["a", "b", "c"])), max_size=6
).map(lambda results: report(*results))


@given(_REPORTS)
def test_nothing_changes_between_a_report_and_itself(one: Report) -> None:
    assert compare(one, one) == ()


@given(_REPORTS, _REPORTS)
def test_a_problem_of_now_is_in_the_changes_or_was_there_alike(before: Report, after: Report) -> None:
    """No problem slips through a comparison."""
    told = {change.shown.identity for change in compare(before, after)}
    old: dict[tuple[str, str], Severity] = {}
    for one in before.results:
        old[one.identity] = max(old.get(one.identity, Severity.OK), one.severity, key=lambda s: s.weight)
    for one in after.problems:
        worst = max(
            (other.severity for other in after.results if other.identity == one.identity),
            key=lambda severity: severity.weight,
        )
        assert one.identity in told or old.get(one.identity) is worst
