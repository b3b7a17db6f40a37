"""Configuration in AD as the agent reads it: other names, wrong values, and what a change of it means."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from bastide import pcns
from bastide.pcns import Configuration, ServiceSettings
from bastide_agent.configuration import Reader, active, differences, understand
from bastide_agent.failures import Stop
from bastide_agent.settings import Settings, load
from tests.support.agent import ADMINS, BASE, ROOT, MemorySource, target

CONTAINER = f"{pcns.CONTAINER},{BASE}"


def entry(chosen: pcns.Target, **changes: list[bytes] | None) -> pcns.Entry:
    values: dict[str, list[bytes]] = {
        "objectClass": [b"top", pcns.TARGET_CLASS[0].encode()],
        "cn": [chosen.name.encode()],
        **{name: held for name, held in pcns.target_attributes(chosen).items() if held},
    }
    for name, held in changes.items():
        values.pop(f"mS-MIIS-PCNS-{name}", None)
        if held is not None:
            values[f"mS-MIIS-PCNS-{name}"] = held
    return f"CN={chosen.name},{CONTAINER}", values


def service(settings: ServiceSettings) -> pcns.Entry:
    values = {"objectClass": [b"top", pcns.SERVICE_CLASS[0].encode()], **pcns.service_attributes(settings)}
    return f"CN=Service,{CONTAINER}", values


CONTAINER_ENTRY: pcns.Entry = (CONTAINER, {"objectClass": [b"top", b"container"], "cn": [b"x"]})
RULES = ServiceSettings(max_queue_length=5, max_queue_age=60, max_notification_retries=3, retry_interval=20)


def test_it_is_read_as_it_was_written() -> None:
    one, two = target("One", exclusion=ADMINS), target("Two", disabled=True, warning_level=20)
    reading = Reader(MemorySource([CONTAINER_ENTRY, entry(two), entry(one), service(RULES)]), ROOT).read()
    assert reading is not None
    assert reading.configuration == Configuration(RULES, (one, two))
    assert reading.problems == ()
    assert active(reading.configuration) == (one,)


def test_no_container_is_not_an_empty_one() -> None:
    assert Reader(MemorySource(None), ROOT).read() is None
    reading = Reader(MemorySource([CONTAINER_ENTRY]), ROOT).read()
    assert reading is not None
    assert reading.configuration == Configuration(ServiceSettings(), ())


def test_other_names_are_found_by_their_oids() -> None:
    one = target("One")
    dn, values = entry(one)
    renamed = {name.replace("mS-MIIS-PCNS-", "acmePwd"): held for name, held in values.items()}
    renamed["objectClass"] = [b"top", b"acmePwdTarget"]
    schema: list[pcns.Entry] = [
        (
            f"CN={name}",
            {
                "attributeID": [oid.encode()],
                "lDAPDisplayName": [name.replace("mS-MIIS-PCNS-", "acmePwd").encode()],
            },
        )
        for name, oid in pcns.ATTRIBUTES.items()
    ]
    schema.append(
        ("CN=c", {"governsID": [pcns.TARGET_CLASS[1].encode()], "lDAPDisplayName": [b"acmePwdTarget"]})
    )
    reading = Reader(MemorySource([(dn, renamed)], schema), ROOT).read()
    assert reading is not None
    assert reading.configuration.targets == (one,)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("TargetKeepAliveInterval", b"often"),
        ("TargetQueueWarningLevel", b"\xff"),
        ("TargetAuthenticationService", b"1.5"),
    ],
)
def test_a_wrong_value_is_left_out_and_said(attribute: str, value: bytes) -> None:
    one, two = target("One"), target("Two")
    reading = understand([entry(one, **{attribute: [value]}), entry(two)])
    assert reading.configuration.targets == (one, two)
    assert len(reading.problems) == 1
    assert attribute in reading.problems[0]
    assert "default" in reading.problems[0]


def test_several_wrong_values_are_each_said() -> None:
    one = target("One")
    wrong = entry(one, TargetKeepAliveInterval=[b"x"], TargetQueueWarningInterval=[b"y"])
    reading = understand([wrong])
    assert reading.configuration.targets == (one,)
    assert len(reading.problems) == 2


@pytest.mark.parametrize("attribute", ["TargetExclusionSID", "TargetInclusionSID", "TargetGUID"])
def test_a_target_is_left_out_where_guessing_could_tell_too_many(attribute: str) -> None:
    reading = understand(
        [entry(target("One"), **{attribute: [b"\x01\x02\x03"]}), entry(two := target("Two"))]
    )
    assert reading.configuration.targets == (two,)
    assert "not used" in reading.problems[0]


def test_a_target_without_inclusion_covers_nobody() -> None:
    reading = understand([entry(target("One"), TargetInclusionSID=None)])
    assert not reading.configuration.targets[0].covers({ADMINS, ""} - {""})


# ----------------------------------------------------------------------------------------------------------- differences


def numbers(old: Configuration, new: Configuration) -> list[int]:
    return [number for number, _ in differences(old, new)]


def test_differences() -> None:
    one, two = target("one"), target("two")
    base = Configuration(ServiceSettings(), (one, two))
    assert numbers(base, base) == []
    assert numbers(base, replace(base, service=RULES)) == [2106]
    assert numbers(base, replace(base, targets=(one,))) == [2103]
    assert numbers(base, replace(base, targets=(one, two, target("three")))) == [2102]
    assert numbers(base, replace(base, targets=(one, replace(two, disabled=True)))) == [2101]
    assert numbers(replace(base, targets=(one, replace(two, disabled=True))), base) == [2102]
    assert numbers(base, replace(base, targets=(one, replace(two, server="other")))) == [2107]
    assert numbers(base, replace(base, targets=(one, replace(two, warning_level=9)))) == []
    assert numbers(base, replace(base, targets=())) == [2103, 2103, 4002]


def test_what_changed_is_said() -> None:
    one = target("one", guid=UUID(int=1))
    old, new = (
        Configuration(ServiceSettings(), (one,)),
        Configuration(RULES, (replace(one, spn="PCNSCLNT/new"),)),
    )
    said = dict(differences(old, new))
    assert said[2106] == {
        "maximum_queue_length": 5,
        "maximum_queue_age": 60,
        "maximum_notification_retries": 3,
        "retry_interval": 20,
    }
    assert said[2107]["service_principal_name"] == "PCNSCLNT/new"


# ------------------------------------------------------------------------------------------------------------- settings


def test_settings(tmp_path: Path) -> None:
    path = tmp_path / "bastide-agent.toml"
    path.write_text('log_level = 3\n[samba]\nprivate = "/x"\n')
    assert load(path) == Settings(log_level=3, samba=Settings().samba.__class__(private="/x"))
    for text, number in (
        ("log_level = 4", 6007),
        ("unknown = 1", 6007),
        ("[", 6007),
        ("key_check_interval = 1", 6007),
    ):
        path.write_text(text)
        with pytest.raises(Stop) as stop:
            load(path)
        assert stop.value.number == number
    path.unlink()
    with pytest.raises(Stop) as stop:
        load(path)
    assert stop.value.number == 6006
