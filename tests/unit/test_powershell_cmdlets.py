"""The cmdlets of the PowerShell module beside those of MIM (tests/data/mim-pam-cmdlets.csv), and beside what docs/reference/powershell.md says of each."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import pytest

from tests.support import powershell as ps

PAGE = (ps.ROOT / "docs/reference/powershell.md").read_text()
#: `New-PAMUser` or `New-PAMUser -Container`, state, note.
LINE = re.compile(
    r"^\| `([A-Z][\w-]+?)(?: -(\w+))?` \| (works|differs|not there) \| (.*?) ?\|$", re.MULTILINE
)
OURS = {"Connect-PAMServer", "Disconnect-PAMServer", "Confirm-PAMRequest"}
#: Beside those of MIM. What is not in MIM, and would change what a script for MIM says, is not among them.
MORE = {
    "New-PAMSession": {"Server", "Code"},
    "New-PAMUser": {"Adopt"},
    "New-PAMGroup": {"Carrier"},
    "New-PAMRole": {"AvailabilityTimeZone"},
    "Set-PAMRole": {"AvailabilityTimeZone"},
    "New-PAMRequest": {"Ticket", "Code"},
    "Set-PAMRequestToApprove": {"Reason", "Code"},
    "Close-PAMRequestForControl": {"Reason"},
}
TYPES = {
    "String": {"string"},
    "SwitchParameter": {"switch"},
    "Boolean": {"bool"},
    "TimeSpan": {"TimeSpan"},
    "DateTime": {"DateTime"},
    "SecureString": {"System.Security.SecureString"},
    "PSCredential": {"PSCredential"},
    "": {"DateTime"},  # CreatedFrom: MIM documents its name only
}
#: Given by SupportsShouldProcess.
COMMON = {"WhatIf", "Confirm"}
#: They sign in and out, or test without changing anything; -WhatIf after them needs them done.
WITHOUT_ASKING = {
    "Connect-PAMServer",
    "Disconnect-PAMServer",
    "New-PAMSession",
    "Test-PAMTrust",
    "Test-PAMDomainConfiguration",
}


@dataclass(frozen=True, slots=True)
class Documented:
    """A cmdlet of MIM, or one of its parameters, as Microsoft documents it."""

    cmdlet: str
    parameter: str
    type: str
    mandatory: str
    position: str
    pipeline: str
    set: str


def mim() -> list[Documented]:
    with (ps.ROOT / "tests/data/mim-pam-cmdlets.csv").open(newline="") as file:
        return [Documented(**row) for row in csv.DictReader(file)]


def _key(one: Documented) -> tuple[str, str]:
    return one.cmdlet, one.parameter


SAID = {(match[1], match[2] or ""): (match[3], match[4]) for match in LINE.finditer(PAGE)}
CMDLETS = {one.name: one for one in ps.cmdlets()}


def test_the_page_has_one_line_for_each_of_mims_cmdlets_and_parameters() -> None:
    lines = Counter((match[1], match[2] or "") for match in LINE.finditer(PAGE))
    assert set(lines.values()) == {1}
    assert list(lines) == [_key(one) for one in mim()]


@pytest.mark.parametrize("one", mim(), ids=lambda one: f"{one.cmdlet}-{one.parameter}".rstrip("-"))
def test_what_the_page_says_is_so(one: Documented) -> None:
    state, note = SAID[_key(one)]
    there = CMDLETS.get(one.cmdlet)
    if there is None or not one.parameter:
        assert (there is None) == (state == "not there")
        assert note or state == "works" or (there is None and one.parameter)
        return
    if one.parameter in COMMON:
        assert there.binding["SupportsShouldProcess"] == "$true"
        return
    parameter = there.parameters.get(one.parameter)
    assert (parameter is None) == (state == "not there")
    assert note or state == "works"
    if parameter is not None:
        differs = list(_differences(one, parameter))
        assert not differs or state == "differs", differs


def _differences(one: Documented, parameter: ps.Parameter) -> Iterator[str]:
    """What a script for MIM could stumble over. A type or a place may never differ."""
    if one.type.startswith("PAM"):
        wanted = {f"Bastide.PAM.{one.type.removesuffix('[]')}"}
        assert set(parameter.attributes.get("PSTypeName", {}).values()) <= wanted
        assert parameter.type in ({"PSObject[]"} if one.type.endswith("[]") else {"PSObject", "PSObject[]"})
    else:
        assert parameter.type in TYPES[one.type]
    assert parameter.said("Position") == one.position
    assert parameter.said("ParameterSetName") == one.set
    if parameter.mandatory != (one.mandatory == "yes"):
        yield "mandatory"
    if parameter.pipeline != (one.pipeline == "yes"):
        yield "pipeline"
    if "ValidateSet" in parameter.attributes:
        yield "values"


def test_there_is_nothing_else() -> None:
    documented = {one.cmdlet for one in mim()}
    assert set(CMDLETS) - documented == OURS
    for name in set(CMDLETS) & documented:
        known = {one.parameter for one in mim() if one.cmdlet == name}
        assert set(CMDLETS[name].parameters) - known == MORE.get(name, set()), name


def test_what_is_ours_is_named_on_the_page() -> None:
    for name in OURS | {f"-{one}" for more in MORE.values() for one in more}:
        assert f"`{name}" in PAGE or f" {name}" in PAGE, name


def test_default_sets_are_mims() -> None:
    defaults = {
        "Get-PAMRequest": "Basic",
        "Get-PAMRoleForRequest": "FilterSet",
        "New-PAMRequest": "Role as PAMRole",
        "Close-PAMRequest": "Role as PAMRole",
    }
    for name, wanted in defaults.items():
        assert CMDLETS[name].binding["DefaultParameterSetName"] == wanted


def test_people_can_come_from_a_table() -> None:
    """Import-Csv | New-PAMUser: input by property name."""
    for name, columns in (
        ("New-PAMUser", {"SourceDomain", "SourceAccountName", "PrivAccountName"}),
        ("New-PAMGroup", {"SourceGroupName", "SourceDomain"}),
        ("New-PAMRole", {"DisplayName", "Description"}),
        ("New-PAMRequest", {"RoleDisplayName"}),
    ):
        given = CMDLETS[name].parameters.values()
        assert {p.name for p in given if p.said("ValueFromPipelineByPropertyName") == "$true"} == columns


# -------------------------------------------------------------------------------------------------------------------------- help


@pytest.mark.parametrize("one", ps.cmdlets(), ids=lambda one: one.name)
def test_help_is_whole(one: ps.Function) -> None:
    assert len(one.help["SYNOPSIS"]) == 1
    assert one.help["EXAMPLE"]
    assert list(one.help.get("PARAMETER", ())) == list(one.parameters)
    assert one.binding is not None
    assert ps.of_type(one.node, "param_block")


def _examples() -> list[tuple[str, str]]:
    return [(one.name, said.split("\n\n")[0]) for one in ps.cmdlets() for said in one.help["EXAMPLE"]]


#: Of PowerShell itself, in examples.
SHELL = {
    "Get-Credential",
    "Read-Host",
    "Where-Object",
    "Select-Object",
    "Format-Table",
    "Import-Csv",
    "Get-Date",
}


def _unknown(script: str) -> set[str]:
    """Cmdlets and parameters of a script that the module does not have."""
    found = set()
    for command in ps.commands(ps.parse(script.encode())):
        known = CMDLETS.get(command.name)
        if known is None:
            found |= {command.name} - SHELL
        else:
            has = {*known.parameters, *COMMON, *_aliases(known)}
            found |= {f"{command.name} -{one}" for one in command.arguments if one not in has}
    return found


def _aliases(one: ps.Function) -> set[str]:
    return {name for p in one.parameters.values() for name in p.attributes.get("Alias", {}).values()}


@pytest.mark.parametrize(("cmdlet", "script"), _examples())
def test_examples_parse_and_use_what_there_is(cmdlet: str, script: str) -> None:
    assert not ps.errors(ps.parse(script.encode()))
    assert cmdlet in {command.name for command in ps.commands(ps.parse(script.encode()))}
    assert not _unknown(script)


@pytest.mark.parametrize("script", re.findall(r"```powershell\n(.*?)```", PAGE, re.DOTALL))
def test_scripts_of_the_page_parse_and_use_what_there_is(script: str) -> None:
    assert not ps.errors(ps.parse(script.encode()))
    assert _unknown(script) <= {"Copy-Item", "Import-Module"}


#: Scripts that are typical of MIM, with what of them is not there. Each of these is "not there" on the page.
SCRIPTS = {
    "$sj = New-PAMUser -SourceDomain CONTOSO.local -SourceAccountName Jen": set(),
    "$pg = New-PAMGroup -SourceGroupName CorpAdmins -SourceDomain CONTOSO.local -SourceDC CORPDC.contoso.local -Credentials $ca": {
        "New-PAMGroup -SourceDC",
        "New-PAMGroup -Credentials",
    },
    "New-PAMRole -DisplayName CorpAdmins -Privileges $pg -Candidates $sj": set(),
    '$pr = New-PAMRole -DisplayName "CorpAdmins" -TTL 600 -Privileges $pg -Candidates $sj': set(),
    '$r = Get-PAMRoleForRequest | Where-Object {$_.DisplayName -eq "CorpAdmins"} ; New-PAMRequest -Role $r': set(),
    "(Get-PAMConfiguration).ForestFunctionality": {"Get-PAMConfiguration"},
    "Set-PAMRole (Get-PAMRole -DisplayName R) -MFAEnabled 1": set(),
    '$nc = $r.Candidates + (Get-PAMUser -PrivDisplayName "contoso.jen") ; $r = Set-PAMRole -Role $r -Candidates $nc': set(),
    "foreach ($q in Get-PAMRequestToApprove) {Set-PAMRequestToApprove -Request $q -Approve}": set(),
    "Get-PAMRequest -All -User (Get-PAMUser)": set(),
    "Close-PAMRequestForControl -User (Get-PAMUser -PrivDisplayName contoso.PattiFul)": set(),
    "Test-PAMTrust -SourceForest contoso.local -CorpCredentials $c": {"Test-PAMTrust -CorpCredentials"},
    'New-PAMRequest -Role $pamRole -Justification "hotfix" -TTL 04:00:00': set(),
    "Get-PAMRequest -Filter \"RequestorAccountName -eq 'BASTION'\"": set(),
    "Set-PAMUser (Get-PAMUser -SourceDisplayName Jen) -SourcePhoneNumber 12135551212": {"Set-PAMUser"},
}


@pytest.mark.parametrize("script", SCRIPTS)
def test_typical_scripts_of_mim_find_their_cmdlets(script: str) -> None:
    missing = _unknown(script)
    assert missing == SCRIPTS[script]
    for one in missing:
        cmdlet, _, parameter = one.partition(" -")
        assert SAID[cmdlet, parameter][0] == "not there"


# ------------------------------------------------------------------------------------------------------------------------ asking


def _changing(function: ps.Function) -> list[int]:
    """Where in a function something is changed at the server, by a call or by a helper that calls."""
    own = [call.node.start_byte for call in ps.calls() if call.function == function and call.changes]
    helpers = {one.name for one in ps.functions().values() if not one.exported and _changing_helper(one)}
    return own + [command.node.start_byte for command in function.commands if command.name in helpers]


@cache
def _changing_helper(function: ps.Function) -> bool:
    return any(call.changes for call in ps.calls() if call.function == function)


@pytest.mark.parametrize("one", ps.cmdlets(), ids=lambda one: one.name)
def test_what_changes_something_asks_before(one: ps.Function) -> None:
    changes = _changing(one)
    asks = [
        n for n in ps.of_type(one.node, "invokation_expression") if "$PSCmdlet.ShouldProcess(" in ps.text(n)
    ]
    if not changes or one.name in WITHOUT_ASKING:
        assert not asks
        assert "SupportsShouldProcess" not in one.binding
        return
    assert one.binding["SupportsShouldProcess"] == "$true"
    assert len(asks) == 1
    assert all(asks[0].start_byte < place for place in changes)
    for place in changes:
        assert _guarded(one, asks[0].start_byte, place)


def _guarded(function: ps.Function, ask: int, place: int) -> bool:
    """The call stands in the body of the `if` that asks, or after one that leaves when the answer is no."""
    for one in ps.of_type(function.node, "if_statement"):
        condition, body = one.children[2], next(c for c in one.children if c.type == "statement_block")
        if not condition.start_byte <= ask < condition.end_byte:
            continue
        if ps.text(condition).startswith("-not"):
            return ps.text(body).strip("{} \n") == "return"
        return body.start_byte < place < body.end_byte
    return False


@pytest.mark.parametrize(
    "name", ["Remove-PAMUser", "Remove-PAMGroup", "Remove-PAMRole", "Close-PAMRequestForControl"]
)
def test_what_cannot_be_taken_back_asks_unless_forced(name: str) -> None:
    one = CMDLETS[name]
    assert one.binding["ConfirmImpact"] == "High"
    # -Force -WhatIf still changes nothing: -Force answers the question, it does not skip it.
    forced = [
        ps.text(n) for n in ps.of_type(one.node, "if_statement") if ps.text(n).startswith("if ($Force ")
    ]
    assert len(forced) == 1
    assert "$ConfirmPreference = 'None'" in forced[0]


@pytest.mark.parametrize("one", ps.cmdlets(), ids=lambda one: one.name)
def test_every_problem_leaves_by_one_way(one: ps.Function) -> None:
    """All that a cmdlet does stands in one try, whose catch hands the problem on."""
    blocks = ps.of_type(one.node, "named_block")
    assert [ps.text(n).partition(" ")[0] for n in blocks] == ["process"]
    statements = [n for n in ps.of_type(blocks[0], "statement_list")[0].children if n.is_named]
    assert [n.type for n in statements] == ["try_statement"]
    catch = ps.of_type(statements[0], "catch_clause")[-1]
    assert [c.name for c in ps.commands(catch)] == ["Stop-BastideCall"]


def test_numbers_are_seconds() -> None:
    """Every TimeSpan parameter is read by the one function that takes a bare number for seconds."""
    for function in ps.cmdlets():
        for name in (p.name for p in function.parameters.values() if p.type == "TimeSpan"):
            readers = {
                c.name
                for c in function.commands
                for a in c.arguments.values()
                if a is not None and ps.text(a).strip() == f"${name}"
            }
            handed = any(
                ps.text(a).strip() == "$said"
                for c in function.commands
                for a in c.arguments.values()
                if a is not None
            )
            assert readers <= {"ConvertTo-BastideSeconds", "Set-BastideTtl"}
            assert readers or handed, f"{function.name} -{name}"
    assert "ConvertTo-BastideSeconds" in {c.name for c in ps.functions()["Set-BastideTtl"].commands}
