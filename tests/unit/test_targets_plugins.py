"""Connected systems by others: how they are found, what they may do wrong, and the conformance command."""

import io
import json
import re
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from bastide.domain.errors import InvalidInput, NotConfigured, TargetDenied, TargetUnavailable
from bastide.domain.management_agents import CsObject, MaId, ManagementAgent
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import NewPassword, Security
from bastide.targets import conformance, registry
from bastide.targets.ad_connection import ActiveDirectorySettings
from bastide.targets.conformance import CHECKS, HOSTILE, Subject, Violation
from bastide.targets.ldap import LdapSettings
from bastide.targets.plugins import GROUP, Plugin, PluginTarget, Refusal
from bastide.targets.process import ProcessSettings
from bastide.targets.registry import BUILT_IN, Registry, kind, kinds
from bastide.targets.spelling import THEIRS
from bastide.targets.sql import NOT_RUN
from tests.support.sample_plugin import SECRET, SamplePlugin, signs_in
from tests.support.target_systems import cs_object, now, opening

GOOD = "Correct-Horse-Battery-1"
SAMPLE = "tests.support.sample_plugin:SamplePlugin"


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """As after `pip install` of distributions with these entry points."""
    points = (
        EntryPoint("sample", SAMPLE, GROUP),
        EntryPoint("ldap", SAMPLE, GROUP),
        EntryPoint("broken", "tests.support.no_such_module:X", GROUP),
        EntryPoint("alien", "pathlib:Path", GROUP),
        EntryPoint("old", "tests.unit.test_targets_plugins:OldPlugin", GROUP),
    )
    monkeypatch.setattr(registry, "_plugged_in", lambda: points)
    kind.cache_clear()
    yield Registry(now, lambda: 0.0)
    kind.cache_clear()


class OldPlugin(SamplePlugin):
    interface = 0


def agent(connector: str, **settings: object) -> ManagementAgent:
    return ManagementAgent(id=MaId("ma"), name="agent", connector=connector, settings=settings)


# --------------------------------------------------------------------------------------------------------------- registry


def test_an_entry_point_is_a_kind(installed: Registry) -> None:
    assert set(kinds()) == {*BUILT_IN, "sample", "broken", "alien", "old"}
    installed.check("sample", {"refuse": "x"})
    (page,) = installed.connector(agent("sample"), SECRET).read(b"")
    assert [one.anchor for one in page.objects] == ["sample"]
    with installed.target(agent("sample", refuse="tabu"), SECRET) as target:
        assert target.security() is Security.SECURE
        assert target.set([NewPassword(cs_object("sample"), GOOD)])[0].code is Code.SUCCESS
    assert signs_in("sample", GOOD)


def test_an_entry_point_takes_the_place_of_no_built_in_kind(installed: Registry) -> None:
    assert kind("ldap").settings.__name__ == "LdapSettings"


@pytest.mark.parametrize("name", ["broken", "alien", "old", "unknown"])
def test_what_is_no_plug_in_is_refused(installed: Registry, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        installed.check(name, {})
    assert refused.value.field == "connector"


def test_a_plug_in_judges_its_settings(installed: Registry) -> None:
    with pytest.raises(InvalidInput, match=r"settings\.other"):
        installed.check("sample", {"other": 1})
    with pytest.raises(InvalidInput, match=r"settings\.other"):
        installed.target(agent("sample", other=1), SECRET)


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_every_built_in_kind_names_the_wrong_setting(name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        Registry(now, lambda: 0.0).check(name, {"no-such-setting": True})
    assert refused.value.field.startswith("settings")


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("postgresql", ""),
        ("mssql", NOT_RUN),
        ("sample", ""),
        ("unknown", "there is no kind of system 'unknown'"),
    ],
)
def test_what_to_know_of_a_kind(installed: Registry, name: str, note: str) -> None:
    """Also of one that is not there any more: its agent must be shown all the same."""
    said = installed.note(name)
    assert (note in said) if note else said == ""


def test_a_kind_whose_library_is_missing_says_so(
    installed: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_: str) -> None:
        raise ImportError("no", name="oracledb")

    monkeypatch.setattr(registry, "import_module", missing)
    assert "a library that is not installed: oracledb" in installed.note("oracle")


def test_a_kind_without_passwords_is_not_configured(
    installed: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kind("sample")
    read_only = type(found)(settings=found.settings, connector=found.connector, target=None)
    monkeypatch.setattr(registry, "kind", lambda _: read_only)
    with pytest.raises(NotConfigured):
        installed.target(agent("sample"), SECRET)


# ------------------------------------------------------------------------------------------------ what it may do wrong


class Misfit(SamplePlugin):
    """Does in `set` and in `open` what the test says."""

    deed: Any = None
    at_open: Any = None
    closed = 0

    def open(self, settings: Any, secret: str) -> None:
        if self.at_open is not None:
            raise self.at_open
        super().open(settings, secret)

    def close(self) -> None:
        type(self).closed += 1
        raise RuntimeError("cannot even hang up")

    def set(self, account: CsObject, password: str, *, must_change: bool, unlock: bool) -> None:  # noqa: ARG002
        raise self.deed


def misfit(deed: Any = None, at_open: Any = None) -> PluginTarget:
    made = type("Made", (Misfit,), {"deed": deed, "at_open": at_open})
    return PluginTarget(made, {}, opening(SECRET))


@pytest.mark.parametrize(
    ("deed", "code"),
    [
        (Refusal(Code.POLICY, f"{GOOD} is too weak"), Code.POLICY),
        (Refusal(Code.SUCCESS, "refused with success"), Code.FAILED),
        (Refusal(Code.NOT_ENABLED, "not its to say"), Code.FAILED),
        (NotImplementedError(GOOD), Code.SET_UNSUPPORTED),
        (ValueError(f"cannot encode {GOOD}"), Code.FAILED),
        (KeyError(GOOD), Code.FAILED),
    ],
)
def test_an_error_of_one_account_is_a_result_without_the_password(deed: Exception, code: Code) -> None:
    with misfit(deed) as target:
        results = target.set([NewPassword(cs_object("sample"), GOOD)] * 2)
    assert [one.code for one in results] == [code, code]
    assert GOOD not in repr(results)
    assert "too weak" not in repr(results), "it may spell the password in a way that nobody looks for"


@pytest.mark.parametrize(
    ("deed", "raised"),
    [
        (TargetUnavailable(f"lost while setting {GOOD}"), TargetUnavailable),
        (TargetDenied(f"denied with {SECRET}"), TargetDenied),
        (ConnectionResetError(GOOD), TargetUnavailable),
        (TimeoutError(GOOD), TargetUnavailable),
    ],
)
def test_an_error_of_the_connection_is_raised_without_secrets(
    deed: Exception, raised: type[Exception]
) -> None:
    with misfit(deed) as target, pytest.raises(raised) as caught:
        target.set([NewPassword(cs_object("sample"), GOOD)])
    assert GOOD not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"
    assert not {"lost", "denied"} & set(str(caught.value).split())


@pytest.mark.parametrize("at_open", [RuntimeError(SECRET), TargetUnavailable(SECRET), OSError(SECRET)])
def test_a_plug_in_that_does_not_open_is_closed_again(at_open: Exception) -> None:
    target = misfit(at_open=at_open)
    before = Misfit.closed
    with pytest.raises(TargetUnavailable) as caught, target:
        pytest.fail("it was opened")
    assert SECRET not in str(caught.value)
    assert target._make.closed > before  # type: ignore[attr-defined]


def test_a_plug_in_that_says_nothing_of_its_security_is_unknown() -> None:
    class Silent(SamplePlugin):
        security = Plugin.security
        verify = Plugin.verify

    class Liar(SamplePlugin):
        def security(self) -> Any:
            return "very secure"

    for made in (Silent, Liar):
        with PluginTarget(made, {}, opening(SECRET)) as target:
            assert target.security() is Security.UNKNOWN
            assert target.verify(cs_object("sample"), "wrong") in {Proof.NOT_TRIED, Proof.NOT_PROVED}


# ------------------------------------------------------------------------------------- the conformance test can say no


class Cutting(SamplePlugin):
    """Stops at the first NUL or newline, as C strings and line protocols do."""

    def set(self, account: CsObject, password: str, *, must_change: bool, unlock: bool) -> None:
        cut = password.split("\x00", maxsplit=1)[0].split("\r", maxsplit=1)[0].split("\n", maxsplit=1)[0]
        super().set(account, cut, must_change=must_change, unlock=unlock)


class Talking(SamplePlugin):
    def set(self, account: CsObject, password: str, *, must_change: bool, unlock: bool) -> None:
        print(f"setting {password}")
        super().set(account, password, must_change=must_change, unlock=unlock)


class Accepting(SamplePlugin):
    """Says yes to everything and does nothing."""

    def set(self, account: CsObject, password: str, *, must_change: bool, unlock: bool) -> None:
        """Nothing."""

    def change(self, account: CsObject, old: str, new: str) -> None:
        """Nothing."""

    def verify(self, account: CsObject, password: str) -> Proof:  # noqa: ARG002
        return Proof.PROVED


class Leaking(SamplePlugin):
    def open(self, settings: Any, secret: str) -> None:
        super().open(settings, secret)
        self.files = [Path("/dev/null").open() for _ in range(3)]  # noqa: SIM115
        LEAKED.extend(self.files)


LEAKED: list[Any] = []


@pytest.mark.parametrize(
    ("plugin", "check"),
    [
        (Cutting, "hostile-passwords-arrive-whole-or-are-refused"),
        (Talking, "nothing-is-said"),
        (Accepting, "it-sets-a-password"),
        (Accepting, "results-come-in-order"),
        (Accepting, "change-needs-the-old-one"),
        (Accepting, "proofs-are-honest"),
        (Leaking, "nothing-is-left-open"),
    ],
)
def test_a_plug_in_that_does_it_wrong_is_found_out(plugin: type[SamplePlugin], check: str) -> None:
    subject = Subject(
        make=lambda: PluginTarget(plugin, {}, opening(SECRET)),
        account=cs_object("sample"),
        absent=cs_object("nobody"),
        signs_in=lambda password: signs_in("sample", password),
    )
    with pytest.raises(Violation) as found:
        CHECKS[check](subject)
    for file in LEAKED:
        file.close()
    LEAKED.clear()
    assert not [secret for secret in (GOOD, *HOSTILE.values()) if secret in str(found.value)]


def test_hostile_passwords_are_what_they_are_called() -> None:
    assert len(HOSTILE["256 characters"]) == 256
    assert "\x00" in HOSTILE["NUL"]
    assert HOSTILE["leading dash"].startswith("-")
    assert "\r\n" in HOSTILE["carriage return and newline"]
    assert not HOSTILE["emoji"].isascii()


def test_the_pages_name_every_check_setting_and_code() -> None:
    docs = Path(__file__).parents[2] / "docs"
    interface = (docs / "reference" / "target-interface.md").read_text()
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", interface, re.MULTILINE))
    assert set(CHECKS) <= rows
    assert not [code for code in THEIRS - {Code.SUCCESS} if f"`{code.value}`" not in interface]
    how_to = (docs / "how-to" / "password-targets.md").read_text()
    for settings in (LdapSettings, ActiveDirectorySettings, ProcessSettings):
        missing = [name for name in settings.__struct_fields__ if not re.search(rf"\b{name}\b", how_to)]
        assert missing == [], settings.__name__


def test_the_command_runs_all_checks(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.json"
    settings.write_text(json.dumps({"refuse": "tabu"}))
    monkeypatch.setattr(sys, "stdin", io.StringIO(SECRET + "\n"))
    code = conformance.main([SAMPLE, "--account", "sample", "--settings", str(settings)])
    said = capsys.readouterr().out
    assert (code, said.count("ok ")) == (0, len(CHECKS)), said
    monkeypatch.setattr(sys, "stdin", io.StringIO("wrong\n"))
    assert conformance.main([SAMPLE, "--account", "sample"]) == 1
    assert conformance.main(["no.such.module:X", "--account", "x", "--no-secret"]) == 2
    assert conformance.main(["no-such-kind", "--account", "x", "--no-secret"]) == 2
