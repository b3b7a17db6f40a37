"""What `bastide ma enable` and `disable` say happens from now on: true in every state, and as commands that a shell takes."""

import shlex
from typing import Any

import pytest

from bastide.cli import ma_document, ma_ready

ON, OFF = {"enabled": True}, {"enabled": False}
CORP_GOES = "a password that is changed in corp.test goes to hr from now on"


def source(name: str, *targets: str, enabled: bool = True, imported: bool = True) -> dict[str, Any]:
    return {
        "name": name,
        "source": {"enabled": enabled, "domain": f"{name}.test", "targets": list(targets)},
        "imported_at": "2026-03-01T22:00:00Z" if imported else None,
    }


def target(name: str, *, enabled: bool = True, imported: bool = True, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "passwords": {"enabled": enabled, "operation": "set", **more},
        "imported_at": "2026-03-01T22:00:00Z" if imported else None,
    }


def of_source(*agents: dict[str, Any], status: dict[str, Any] | None = ON) -> tuple[list[str], list[str]]:
    """Of the first, as a source: what is missing, and what happens now."""
    left = ma_ready.missing(agents[0], agents, status, target=False, source=True)
    return [what for what, _ in left], ma_ready.now(agents[0], agents, status, target=False, source=True)


def of_target(*agents: dict[str, Any]) -> tuple[list[str], list[str]]:
    left = ma_ready.missing(agents[0], agents, ON, target=True, source=False)
    return [what for what, _ in left], ma_ready.now(agents[0], agents, ON, target=True, source=False)


def test_nothing_is_missing() -> None:
    assert of_source(source("corp", "hr"), target("hr")) == ([], [CORP_GOES])
    assert of_target(target("hr"), source("corp", "hr")) == ([], [CORP_GOES])


@pytest.mark.parametrize(
    ("hr", "said"),
    [
        (target("hr", enabled=False), "the target hr is disabled"),
        (target("hr", imported=False), "nothing was imported from hr yet: nobody is known there"),
        (target("hr", shadow=True), "the target hr is in shadow mode: everything is done but the write"),
        (target("hr", operation="change"), "the target hr may change passwords, not set them"),
    ],
)
def test_what_is_wrong_with_a_target_is_said_from_both_sides(hr: dict[str, Any], said: str) -> None:
    corp = source("corp", "hr")
    assert of_source(corp, hr) == ([said], [])
    assert of_target(hr, corp) == ([said], [])


@pytest.mark.parametrize(
    ("corp", "said"),
    [
        (source("corp", "hr", enabled=False), "the source corp is disabled"),
        (source("corp", "hr", imported=False), "nothing was imported from corp yet: nobody is known there"),
    ],
)
def test_what_is_wrong_with_a_source_is_said_at_its_target(corp: dict[str, Any], said: str) -> None:
    assert of_target(target("hr"), corp) == ([said], [])


def test_a_way_that_is_open_is_said_beside_one_that_is_not() -> None:
    corp, sales = source("corp", "hr", "crm"), source("sales", "hr", enabled=False)
    assert of_target(target("hr"), corp, sales) == (["the source sales is disabled"], [CORP_GOES])
    assert of_source(corp, target("hr"), target("crm", enabled=False)) == (
        ["the target crm is disabled"],
        [CORP_GOES],
    )


def test_nothing_goes_while_synchronization_is_off_or_there_is_none() -> None:
    found, now = of_source(source("corp", "hr"), target("hr"), status=OFF)
    assert (found, now) == (
        ["synchronization is off as a whole: nothing is taken in and nothing delivered"],
        [],
    )
    assert of_source(source("corp", "hr"), target("hr"), status=None) == ([], [])


def test_an_agent_that_is_its_own_source_needs_another() -> None:
    both = {**target("hr"), **source("hr", "crm")}
    assert of_target(both) == (["there is no source: no other agent has a [source]"], [])


def test_what_is_disabled_while_all_is_off_waits_on_its_controllers() -> None:
    """Agents keep what the server does not take in: nothing is lost yet."""
    corp = source("corp", "hr")
    assert ma_ready.stopped(corp, ON, target=False, source=True) == [
        "a password that is changed in corp.test now goes nowhere, and is not kept for later"
    ]
    assert ma_ready.stopped(corp, OFF, target=False, source=True) == [
        "synchronization is off as a whole: changes wait on their controllers until it is on",
        "a password that is changed in corp.test then goes nowhere, and is not kept for later",
    ]
    assert "no password is set in hr now" in ma_ready.stopped(target("hr"), ON, target=True, source=False)[0]


@pytest.mark.parametrize("name", ["two words", "it's ldap", 'a "b"', "$(id)", "back\\slash", "Jörg"])
def test_commands_are_what_a_shell_takes(name: str) -> None:
    hr = target(name, enabled=False, imported=False, shadow=True, operation="change")
    corp = source(name, enabled=False, imported=False)
    found = ma_ready.missing(hr, [hr, {**corp, "name": f"{name} 2"}], OFF, target=True, source=False)
    found += ma_ready.missing(hr, [hr, source("corp", name)], ON, target=True, source=False)
    found += ma_ready.missing(source("corp", name), [hr], ON, target=False, source=True)
    words = [shlex.split(command) for _, command in found]
    assert all(line[0] == "bastide" for line in words)
    assert ["bastide", "ma", "import", name] in words
    assert ["bastide", "ma", "enable", name, "--target"] in words
    assert ["bastide", "ma", "edit", name, "--set", "passwords.shadow=false"] in words
    edit = next(line for line in words if line[:4] == ["bastide", "ma", "edit", f"{name} 2"])
    assert ma_document.from_settings(edit[5:]) == {"source": {"targets": [name]}}
