"""What is decided of self-service reset without input or output."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from bastide.domain.errors import Conflict, InvalidInput
from bastide.domain.ids import Sid
from bastide.domain.reset import exclusion, flow, lockout, password_rules, questions
from bastide.domain.reset.flow import Choice, Reset, Stage
from bastide.domain.reset.gates import Gate, Rule, rule_for, rule_of_nobody
from bastide.domain.reset.lockout import Count, Kind, Limit
from bastide.domain.reset.password_rules import Lockout, Policy, Whose

NOW = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
GATES = (Gate.MAIL, Gate.TOTP)
POLICY = Policy("DC=x", 8, complex=True, history=3, least_age=timedelta(0))
STRUCTURE = ("First pet?", "First school?", "Elm Street number?")


def reset(**said: object) -> Reset:
    made = Reset(
        id="r",
        token_hash="t",
        key="k",
        person="S-1-5-21-1-2-3-1104",
        account="nina",
        gates=GATES,
        started_at=NOW,
        expires_at=NOW + flow.LIFE,
    )
    return replace(made, **said)  # type: ignore[arg-type]


def test_gates_are_passed_in_their_order_and_in_no_other() -> None:
    first = flow.passed(reset(), Gate.MAIL, NOW)
    assert first.gate is Gate.TOTP
    assert flow.passed(first, Gate.TOTP, NOW).stage is Stage.CHOOSE
    for state, gate in product((reset(), first, flow.passed(first, Gate.TOTP, NOW)), Gate):
        if gate is not state.gate:
            with pytest.raises(Conflict):
                flow.passed(state, gate, NOW)


@pytest.mark.parametrize("stage", list(Stage))
def test_only_the_choice_leads_to_the_end(stage: Stage) -> None:
    state = reset(stage=stage, passed=2 if stage is not Stage.GATES else 1)
    if stage is Stage.CHOOSE:
        assert flow.chosen(state, Choice.SET, "op", NOW).stage is Stage.USED
    else:
        with pytest.raises(Conflict):
            flow.chosen(state, Choice.SET, "op", NOW)


def test_everything_is_over_after_its_time() -> None:
    late = NOW + flow.LIFE
    with pytest.raises(Conflict):
        flow.require_gate(reset(), Gate.MAIL, late)
    with pytest.raises(Conflict):
        flow.chosen(reset(stage=Stage.CHOOSE), Choice.UNLOCK, "", late)


def test_nobody_passes_no_gate() -> None:
    with pytest.raises(Conflict):
        flow.passed(reset(person=""), Gate.MAIL, NOW)


def test_cooling_off() -> None:
    state = flow.passed(reset(gates=(Gate.MAIL,), cooling=timedelta(hours=4)), Gate.MAIL, NOW)
    assert state.stage is Stage.COOLING
    early, ready = NOW + timedelta(hours=3, minutes=59), NOW + timedelta(hours=4)
    with pytest.raises(Conflict):
        flow.chosen(state, Choice.SET, "", early)
    with pytest.raises(Conflict):
        flow.chosen(state, Choice.SET, "", ready)
    told = NOW + timedelta(hours=3)
    state = flow.warned(flow.warned(state, told), told + timedelta(hours=1))
    with pytest.raises(Conflict):
        flow.chosen(state, Choice.SET, "", ready)
    assert flow.chosen(state, Choice.SET, "", told + timedelta(hours=4)).stage is Stage.USED
    with pytest.raises(Conflict):
        flow.chosen(flow.stopped(state), Choice.SET, "", ready)


def test_dead_if_the_password_was_changed_after_it_began() -> None:
    flow.require_current(reset(), None)
    flow.require_current(reset(), NOW)
    with pytest.raises(Conflict):
        flow.require_current(reset(), NOW + timedelta(seconds=1))


def test_the_first_rule_that_fits_counts_and_silence_is_no() -> None:
    staff, everybody = Sid("S-1-5-21-1-2-3-2000"), Rule((Gate.MAIL,))
    rules = (Rule((Gate.TOTP,), frozenset({staff})), everybody)
    assert rule_for(rules, {staff}) is rules[0]
    assert rule_for(rules, set()) is everybody
    assert rule_for(rules[:1], set()) is None
    assert {rule_of_nobody(rules, chance) for chance in range(10)} == set(rules)


# ------------------------------------------------------------------------------------------------------------- lockout


def count(**said: object) -> Count:
    return replace(Count(kind=Kind.PAIR, key="k", began=NOW), **said)  # type: ignore[arg-type]


def test_locks_grow_up_to_a_day() -> None:
    one, spans = count(), []
    now = NOW
    for _ in range(10):
        for _ in range(3):
            one = lockout.counted(one, lockout.PAIR, now)
        assert one.until is not None
        spans.append(one.until - now)
        now = one.until
    assert spans[:3] == [timedelta(minutes=m) for m in (15, 30, 60)]
    assert max(spans) == timedelta(hours=24)


def test_attempts_that_are_far_apart_do_not_add_up() -> None:
    one = count()
    for number in range(20):
        one = lockout.counted(one, lockout.PAIR, NOW + timedelta(minutes=16) * number)
    assert one.until is None


def test_what_was_right_is_taken_back_and_what_others_did_stays() -> None:
    before = count(number=2)
    after = lockout.counted(before, lockout.PAIR, NOW)
    assert after.locked_at(NOW)
    assert lockout.undone(before, after, after) == before
    assert lockout.undone(before, after, replace(after, number=2)).number == 1


def test_a_fifth_is_kept_for_known_addresses() -> None:
    limit = Limit(10, timedelta(hours=1), timedelta(0))
    assert lockout.spent(count(number=8), limit, NOW, known=False) is None
    more = lockout.spent(count(number=8), limit, NOW, known=True)
    assert more is not None
    assert more.number == 9
    assert lockout.spent(count(number=10), limit, NOW, known=True) is None


@pytest.mark.parametrize("name", ["NINA", "nina", "Ｎina", "ni\u200bna", "nína", " nina "])
def test_spellings_of_a_name_count_together(name: str) -> None:
    assert lockout.folded(name) == "nina"


# ----------------------------------------------------------------------------------------------------------- questions


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ({0: "rex"}, "2 questions"),
        ({0: "1", 1: "Elm Grove"}, "letters or digits"),
        ({0: "aaaa", 1: "Elm Grove"}, "try first"),
        ({0: "12345", 1: "Elm Grove"}, "try first"),
        ({0: "Nothing", 1: "Elm Grove"}, "try first"),
        ({0: "Elm Grove", 1: "elm-grove"}, "same"),
        ({0: "Struppi", 1: "School"}, "in the question"),
        ({0: "Struppi", 1: "Nina"}, "your name"),
        ({0: "Struppi", 9: "Elm Grove"}, "no such question"),
    ],
)
def test_answers_that_are_refused(answers: dict[int, str], why: str) -> None:
    with pytest.raises(InvalidInput, match=why):
        questions.check_answers(STRUCTURE, answers, wanted=2, pattern="", name="nina")


def test_the_administrators_pattern_fits_the_whole_answer() -> None:
    given = {0: "Struppi", 1: "Elm Grove"}
    assert questions.check_answers(STRUCTURE, given, wanted=2, pattern=".{5,}", name="x") == {
        0: "struppi",
        1: "elmgrove",
    }
    with pytest.raises(InvalidInput, match="form"):
        questions.check_answers(STRUCTURE, given, wanted=2, pattern="[a-z]+", name="x")


@pytest.mark.parametrize("typed", ["Élm Grove!", "elm grove", " ELM  GROVE ", "elm-grove"])
def test_answers_compare_as_people_write_them(typed: str) -> None:
    assert questions.normal(typed) == "elmgrove"


# ------------------------------------------------------------------------------------------------------------ excluded


@pytest.mark.parametrize("rid", [512, 518, 519, 520, 521, 526, 527])
def test_privileged_groups_exclude(rid: int) -> None:
    account = Sid("S-1-5-21-1-2-3-1104")
    assert exclusion.why_excluded(account, {Sid(f"S-1-5-21-1-2-3-{rid}")}, protected=False, excluded=())
    assert exclusion.why_excluded(account, {Sid("S-1-5-32-544")}, protected=False, excluded=())
    assert exclusion.why_excluded(account, (), protected=True, excluded=())
    assert exclusion.why_excluded(Sid("S-1-5-21-1-2-3-500"), (), protected=False, excluded=())
    team = Sid("S-1-5-21-1-2-3-2000")
    assert exclusion.why_excluded(account, {team}, protected=False, excluded={team})
    assert not exclusion.why_excluded(account, {team, Sid("S-1-5-32-545")}, protected=False, excluded=())


# ------------------------------------------------------------------------------------------------------------ passwords


BANNED = ("password", "sommer", "welcome", "billing")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("", "empty"), ("Ab1!", "shorter than 8"), ("abcdefgh", "three kinds"), ("Nina.Ex7", "account's name"), ("xExample7!", "account's name"),
        ("P4ssw0rd!x", "banned"), ("Sommer-2026", "banned"), ("We1come-2026!", "banned"), ("We|c0m3-2026", "banned"), ("We!come-2026", "banned"),
        ("B1l!ing-2026", "banned"), ("8i|1ing-2026", "banned"), ("Abc1\n5678", "control"), ("A1b" * 100, "256"),
    ],
)  # fmt: skip
def test_passwords_that_are_refused(password: str, why: str) -> None:
    with pytest.raises(InvalidInput, match=why) as caught:
        password_rules.check(password, POLICY, Whose("nina", "Nina Example"), BANNED)
    assert not password or password not in str(caught.value)


@pytest.mark.parametrize(
    "password", ["Correct-Horse-7", "grün-Wald-9", "пароль-Д9x", "Wei-come-2026", "Bliling-2026"]
)
def test_passwords_that_are_taken(password: str) -> None:
    """An i that is typed as such is no l."""
    password_rules.check(password, POLICY, Whose("nina", "Nina Example"), BANNED)


def test_the_rules_in_words() -> None:
    words = password_rules.in_words(POLICY, banned=True, breached=True)
    assert len(words) == 5
    assert "cannot be read" in password_rules.in_words(None, banned=False, breached=False)[0]


@pytest.mark.parametrize(
    ("lasts", "end"), [(None, "until somebody unlocks it."), (timedelta(minutes=90), "for 90 minutes.")]
)
def test_what_the_domain_asks_later_in_words(lasts: timedelta | None, end: str) -> None:
    policy = replace(
        POLICY,
        least_age=timedelta(days=1),
        longest_age=timedelta(days=42),
        lockout=Lockout(5, timedelta(hours=2), lasts),
    )
    assert password_rules.in_words(policy, banned=False, breached=False)[2:] == (
        "Not one that you had: when you change it yourself, the domain refuses your last 3.",
        "You can change it yourself again after 1 day.",
        "It has to be changed after 42 days.",
        f"5 wrong sign-ins within 2 hours lock the account {end}",
    )
