"""The files of the PowerShell module: they parse, run on 5.1 as far as a grammar can tell, belong together, and keep secrets out of commands."""

import re
import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from tree_sitter import Node

from tests.support import powershell as ps

#: Commands of Windows PowerShell 5.1 that the module may use, with the parameters that 5.1 has.
BUILT_IN = {
    "Add-Member": {"InputObject", "NotePropertyMembers"},
    "Add-Type": {"AssemblyName"},
    "ConvertFrom-Json": {"InputObject", "ErrorAction"},
    "ConvertTo-Json": {"InputObject", "Depth", "Compress"},
    "ForEach-Object": set(),
    "Get-Command": {"Name"},
    "Join-Path": {"Path", "ChildPath"},
    "New-Object": {"TypeName", "ArgumentList"},
    "Read-Host": {"Prompt", "AsSecureString"},
    "Select-Object": {"First"},
    "Set-StrictMode": {"Off"},
    "Where-Object": set(),
    "Write-Verbose": {"Message"},
    "Write-Warning": {"Message"},
}
#: What only PowerShell 6 and later know. The grammar is that of 5.1, with && and ||.
TOO_NEW = (
    "$a = $b ? 1 : 2",
    "$a = $b ?? 1",
    "$a ??= 1",
    "${a}?.b",
    "${a}?[0]",
    "Get-A && Get-B",
    "Get-A || Get-B",
    "Get-A &",
)
#: What stands for a secret in clear: it may go into a hash literal or a method, and not to a command.
PLAIN = re.compile(r"\.Password$|GetNetworkCredential$|\.token$|^ConvertTo-Json\b|^Get-BastideCode\b")


def too_new(root: Node) -> list[str]:
    """Where a script needs more than 5.1."""
    tails = [ps.text(one) for one in ps.of_type(root, "pipeline_chain_tail")]
    background = [ps.text(one) for one in ps.within(root) if one.type == "&"]
    return [*ps.errors(root), *tails, *background]


@pytest.mark.parametrize("path", ps.scripts(), ids=lambda p: p.relative_to(ps.MODULE).as_posix())
def test_it_parses_as_windows_powershell_reads_it(path: Path) -> None:
    source = path.read_bytes()
    source.decode("ascii")  # without a mark, 5.1 takes anything else for the code page of the machine
    assert b"\r" not in source
    assert not too_new(ps.parse(source))


@pytest.mark.parametrize("script", TOO_NEW)
def test_what_only_later_versions_know_is_found(script: str) -> None:
    assert too_new(ps.parse(script.encode()))


@pytest.mark.parametrize("script", ["function A { ", "if ($a { }", "@{ a = }", "param([string $a)"])
def test_a_mistake_is_found(script: str) -> None:
    assert ps.errors(ps.parse(script.encode()))


def test_no_classes() -> None:
    """A class in a file that is dot-sourced is not known where the parameters of another file are read."""
    for path in ps.scripts():
        assert not ps.of_type(ps.parse(path.read_bytes()), "class_statement", "enum_statement"), path


@pytest.mark.parametrize("path", ps.scripts(), ids=lambda p: p.relative_to(ps.MODULE).as_posix())
def test_every_command_exists_with_its_parameters(path: Path) -> None:
    known = ps.functions()
    for command in ps.commands(ps.parse(path.read_bytes())):
        if not command.name:  # . (Join-Path ...)
            continue
        own = known.get(command.name)
        has = set(own.parameters) if own is not None else BUILT_IN.get(command.name)
        assert has is not None, f"{command.name} is neither ours nor in 5.1"
        assert set(command.arguments) <= has, f"{command.name}: {set(command.arguments) - has}"


def test_every_mandatory_parameter_is_given() -> None:
    for function in ps.functions().values():
        for command in function.commands:
            called = ps.functions().get(command.name)
            if called is not None:
                needed = {p.name for p in called.parameters.values() if p.mandatory}
                assert needed <= set(command.arguments), f"{function.name} calls {command.name}"


def test_every_function_is_used() -> None:
    used = {command.name for one in ps.functions().values() for command in one.commands}
    used |= {command.name for command in ps.commands(ps.parse((ps.MODULE / "Bastide.PAM.psm1").read_bytes()))}
    assert {one.name for one in ps.functions().values() if not one.exported} <= used


def test_every_parameter_is_used() -> None:
    """By its variable; or by name, where a function hands all of them on."""
    helpers = [one for one in ps.functions().values() if not one.exported]
    named = {ps.literal(s) for one in helpers for s in ps.of_type(one.node, "string_literal", "simple_name")}
    for function in ps.functions().values():
        names = [ps.text(one) for one in ps.of_type(function.node, "variable")]
        unused = {one for one in function.parameters if names.count(f"${one}") < 2}
        if "$PSBoundParameters" in names:
            unused -= named
        # Its presence chooses the parameter set; without it Kerberos is used as well.
        assert unused <= {"UseDefaultCredentials"}, function.name


def test_every_variable_has_a_value() -> None:
    """A mistyped name would read as nothing."""
    automatic = {
        "$_",
        "$true",
        "$false",
        "$null",
        "$PSCmdlet",
        "$PSBoundParameters",
        "$PSVersionTable",
        "$MyInvocation",
        "$Matches",
    }
    shared = {
        "$script:Categories",
        "$script:Clause",
        "$script:CodeHeader",
        "$script:Connections",
        "$script:Current",
        "$script:ShownOnly",
    }
    for function in ps.functions().values():
        given = {f"${one}".lower() for one in function.parameters}
        for one in ps.of_type(function.node, "assignment_expression", "foreach_statement", "for_initializer"):
            target = one.children[0] if one.type == "assignment_expression" else one
            given |= {
                ps.text(v).lower() for v in ps.of_type(target, "variable")[: None if target is not one else 1]
            }
        used = {ps.text(one) for one in ps.of_type(function.node, "variable")} - automatic - shared
        assert {one for one in used if one.lower() not in given} <= {"@options"}, function.name


def test_a_method_in_an_argument_stands_in_parentheses() -> None:
    """The grammar does not see it otherwise, and people neither."""
    for path in ps.scripts():
        for elements in ps.of_type(ps.parse(path.read_bytes()), "command_elements"):
            assert not [one for one in elements.children if one.type == "argument_list"], ps.text(elements)


# ------------------------------------------------------------------------------------------------------------ belonging together


def _manifest() -> dict[str, list[str]]:
    """The entries of the manifest with the texts in them."""
    root = ps.parse((ps.MODULE / "Bastide.PAM.psd1").read_bytes())
    outer = ps.of_type(root, "hash_literal_expression")[0]
    entries = [one for body in outer.children for one in body.children if one.type == "hash_entry"]
    return {
        ps.text(ps.of_type(entry, "key_expression")[0]): [
            ps.literal(one) for one in ps.of_type(entry, "string_literal")
        ]
        for entry in entries
    }


def test_the_manifest_names_what_is_there() -> None:
    manifest = _manifest()
    assert manifest["FunctionsToExport"] == sorted(one.name for one in ps.cmdlets())
    assert manifest["RootModule"] == ["Bastide.PAM.psm1"]
    assert manifest["TypesToProcess"] == ["Bastide.PAM.types.ps1xml"]
    assert manifest["PowerShellVersion"] == ["5.1"]
    assert manifest["CompatiblePSEditions"] == ["Desktop", "Core"]
    for empty in ("CmdletsToExport", "VariablesToExport", "AliasesToExport"):
        assert manifest[empty] == []
    project = tomllib.loads((ps.ROOT / "pyproject.toml").read_text())["project"]
    assert manifest["ModuleVersion"] == [project["version"]]
    assert (ps.MODULE / manifest["RootModule"][0]).is_file()


def test_cmdlets_are_named_as_cmdlets_and_helpers_are_not() -> None:
    for function in ps.functions().values():
        noun = function.name.partition("-")[2]
        assert noun.startswith("PAM") or not function.exported, function.name
        assert function.exported or not function.name.startswith(("Get-PAM", "Set-PAM", "New-PAM")), (
            function.name
        )


def test_the_loader_names_every_file() -> None:
    root = ps.parse((ps.MODULE / "Bastide.PAM.psm1").read_bytes())
    named = {ps.literal(one) for one in ps.of_type(root, "string_literal")}
    there = {p.relative_to(ps.MODULE).with_suffix("").as_posix() for p in ps.MODULE.glob("*/*.ps1")}
    assert {one for one in named if one.startswith(("Private/", "Public/"))} == there


def test_types_speak_of_properties_that_objects_have() -> None:
    shown = {name: set(keys) for name, keys in _objects().items()}
    root = ET.fromstring((ps.MODULE / "Bastide.PAM.types.ps1xml").read_text())
    types = {one.findtext("Name", ""): one for one in root.findall("Type")}
    assert set(types) == set(shown)
    for name, one in types.items():
        aliases = {a.findtext("ReferencedMemberName", "") for a in one.iter("AliasProperty")}
        displayed = {n.text or "" for n in one.findall(".//ReferencedProperties/Name")}
        assert displayed
        assert aliases | displayed <= shown[name], name
        assert not {a.findtext("Name", "") for a in one.iter("AliasProperty")} & shown[name]


def _objects() -> dict[str, set[str]]:
    """Type names that the module gives to objects, with their properties."""
    found: dict[str, set[str]] = {}
    for function in ps.functions().values():
        for node in ps.of_type(function.node, "hash_literal_expression"):
            for entry in ps.of_type(node, "hash_entry"):
                if ps.text(ps.of_type(entry, "key_expression")[0]).strip() == "PSTypeName":
                    name = ps.literal(ps.of_type(entry, "string_literal")[0])
                    found.setdefault(name, set()).update(ps.hash_keys(node) - {"PSTypeName"})
    return found


def test_every_type_that_is_asked_for_is_given() -> None:
    given = set(_objects())
    for function in ps.functions().values():
        for parameter in function.parameters.values():
            assert set(parameter.attributes.get("PSTypeName", {}).values()) <= given
        outputs = {ps.literal(one) for one in ps.of_type(function.node, "string_literal")}
        assert {one for one in outputs if one.startswith("Bastide.PAM.")} <= given


# ----------------------------------------------------------------------------------------------------------------------- secrets


def _escapes(node: Node) -> bool:
    """Whether what stands here becomes an argument of a command: that is what Windows may write into its log."""
    for one in ps.above(node):
        if one.type in {"hash_entry", "argument_list"}:
            return False
        if one.type in {"command", "expandable_string_literal"}:
            return True
    return False


def _plain(root: Node) -> list[Node]:
    kinds = ("member_access", "command")
    return [one for one in ps.of_type(root, *kinds) if PLAIN.search(ps.text(one).partition("\n")[0])]


def test_no_secret_is_an_argument_of_a_command() -> None:
    seen = 0
    for function in ps.functions().values():
        for node in _plain(function.node):
            seen += 1
            assert not _escapes(node), f"{function.name}: {ps.text(node)[:60]}"
    assert seen >= 7


@pytest.mark.parametrize(
    "script",
    [
        "Send-It -Text (ConvertTo-Json -InputObject $x)",
        "Write-Verbose -Message $c.GetNetworkCredential().Password",
        'Send-It -Text "x $($made.token)"',
        "Send-It (Get-BastideCode -Code $c)",
    ],
)
def test_a_secret_in_a_command_is_found(script: str) -> None:
    assert any(_escapes(node) for node in _plain(ps.parse(script.encode())))


def test_a_code_in_clear_has_one_place() -> None:
    """The variable that holds it is compared and given back, and is in no command and no message."""
    function = ps.functions()["Get-BastideCode"]
    uses = [one for one in ps.of_type(function.node, "variable") if ps.text(one) == "$text"]
    assert len(uses) == 3
    assert not any(above.type == "command" for use in uses for above in ps.above(use))


@pytest.mark.parametrize("name", ["Credential", "Credentials", "Code", "PrivPassword"])
def test_secrets_come_in_as_secrets(name: str) -> None:
    found = [
        f.parameters[name].type
        for f in ps.functions().values()
        if name in f.parameters and f.name != "New-BastideProblem"
    ]
    assert found
    assert set(found) <= {"System.Security.SecureString", "PSCredential"}


def test_nothing_switches_the_check_of_certificates_off() -> None:
    everything = "\n".join(path.read_text() for path in ps.scripts())
    for word in (
        "ServerCertificateCustomValidationCallback",
        "DangerousAccept",
        "SkipCertificateCheck",
        "CheckCertificateRevocationList",
    ):
        assert word not in everything
    for path in ps.scripts():
        for one in ps.of_type(ps.parse(path.read_bytes()), "assignment_expression"):
            target = ps.text(one).partition("=")[0]
            if "ServicePointManager" in target:
                assert target.strip() == "[Net.ServicePointManager]::SecurityProtocol"
                assert "-bor" in ps.text(one)


def test_only_https_is_spoken() -> None:
    assert "-eq 'https'" in ps.text(ps.functions()["Get-BastideAddress"].node)
    assert "http://" not in "\n".join(path.read_text() for path in ps.scripts())


def test_the_token_of_a_session_stays_in_the_client() -> None:
    """(2) of Connection.ps1: what is handed out has no member that holds client, token or password."""
    function = ps.functions()["New-BastideConnection"]
    handed = next(
        n for n in ps.of_type(function.node, "hash_literal_expression") if "PSTypeName" in ps.hash_keys(n)
    )
    assert ps.hash_keys(handed) == {"PSTypeName", "Id", "Server", "Account", "Rights", "PAMUser"}
    tokens = [n for n in ps.of_type(function.node, "member_access") if ps.text(n).endswith(".token")]
    assert [ps.text(n) for n in tokens] == ["$made.token"]
    assert any("AuthenticationHeaderValue]::new('Bearer'" in ps.text(one) for one in ps.above(tokens[0]))


def test_a_code_is_asked_for_once_and_without_echo() -> None:
    """(3) of Connection.ps1: after one refusal, if somebody is there, and nowhere else."""
    asking = [(f.name, c) for f in ps.functions().values() for c in f.commands if c.name == "Read-Host"]
    assert [name for name, _ in asking] == ["Invoke-BastideApi"]
    assert "AsSecureString" in asking[0][1].arguments
    node = ps.functions()["Invoke-BastideApi"].node
    sends = [c for c in ps.commands(node) if c.name == "Send-BastideRequest"]
    assert len(sends) == 2
    assert not ps.of_type(node, "while_statement", "do_statement", "for_statement", "foreach_statement")
    (guard,) = [n for n in ps.of_type(node, "if_statement") if "Read-Host" in ps.text(n)]
    assert ps.text(guard).startswith("if ($wanted -and (Test-BastideAsking))")
    assert "-eq 'mfa-refused' -and $null -eq $Code -and -not $NoCode" in ps.text(node)


def test_text_is_never_run() -> None:
    """No expression of a filter, and nothing else, becomes code."""
    for path in ps.scripts():
        source = path.read_text()
        for word in ("Invoke-Expression", "iex ", "ScriptBlock]::Create", "InvokeScript", "ExpandString"):
            assert word not in source, path
