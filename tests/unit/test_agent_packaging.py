"""The agent's own distribution holds what it needs, and nothing that drags in the server."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from bastide_agent.settings import Settings

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src"
PACKAGING = tomllib.loads((ROOT / "agent" / "pyproject.toml").read_text())
#: What is imported, by the distribution that brings it.
BROUGHT_BY = {"cryptography": "cryptography", "gssapi": "gssapi", "ldap": "python-ldap", "msgspec": "msgspec"}


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "bastide":
            found |= {f"bastide.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def packaged() -> dict[str, str]:
    included: dict[str, str] = PACKAGING["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    return included


def test_every_import_is_in_the_distribution() -> None:
    shared = {
        name.removesuffix(".py").replace("/", ".") for name in packaged().values() if name.endswith(".py")
    }
    files = [
        *(SOURCE / "bastide_agent").glob("*.py"),
        *(SOURCE / f"{name.replace('.', '/')}.py" for name in shared),
    ]
    used = {name for path in files for name in imports(path)}
    ours = {name for name in used if name.split(".")[0] == "bastide"}
    assert ours <= shared
    others = {name.split(".")[0] for name in used} - {"bastide", "bastide_agent"} - sys.stdlib_module_names
    assert others == set(BROUGHT_BY)
    assert {one.split(">=")[0] for one in PACKAGING["project"]["dependencies"]} == set(BROUGHT_BY.values())


def test_included_files_exist() -> None:
    assert all((ROOT / "agent" / source).exists() for source in packaged())


def test_the_console_script_and_the_quick_way() -> None:
    """Samba waits for the filter: it must not import what the agent needs."""
    assert PACKAGING["project"]["scripts"] == {"bastide-agent": "bastide_agent.main:main"}
    for name in ("main", "filter", "complexity", "__init__"):
        top = {
            node
            for node in ast.parse((SOURCE / "bastide_agent" / f"{name}.py").read_text()).body
            if isinstance(node, ast.Import | ast.ImportFrom)
        }
        names = {getattr(node, "module", None) or node.names[0].name for node in top}
        assert {one.split(".")[0] for one in names} - sys.stdlib_module_names <= {"bastide_agent"}, name


# ----------------------------------------------------------------------------------------------------------------- unit

UNIT = ROOT / "deploy" / "systemd" / "bastide-agent.service"


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_gives_root_no_more_than_it_needs_to_become_nobody() -> None:
    found = unit()
    assert found["CapabilityBoundingSet"] == ["CAP_SETUID CAP_SETGID CAP_CHOWN"]
    assert "User" not in found
    assert found["ExecStart"] == ["/usr/bin/bastide-agent run --config /etc/bastide-agent.toml"]
    assert found["ReadWritePaths"] == [Settings().state]
    assert f"/run/{found['RuntimeDirectory'][0]}" == Settings().runtime
    # `@privileged` holds setuid and chown, `@resources` holds setrlimit: the agent needs both.
    assert not {"@privileged", "@resources"} & set(found["SystemCallFilter"][1].split())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("NoNewPrivileges", "yes"),
        ("AmbientCapabilities", ""),
        ("ProtectSystem", "strict"),
        ("ProtectHome", "read-only"),
        ("PrivateTmp", "yes"),
        ("PrivateDevices", "yes"),
        ("ProtectKernelTunables", "yes"),
        ("ProtectProc", "invisible"),
        ("MemoryDenyWriteExecute", "yes"),
        ("RestrictNamespaces", "yes"),
        ("RestrictSUIDSGID", "yes"),
        ("RestrictAddressFamilies", "AF_INET AF_INET6 AF_UNIX"),
        ("LimitCORE", "0"),
        ("MemorySwapMax", "0"),
        ("UMask", "0077"),
        ("RuntimeDirectoryMode", "0700"),
        ("Restart", "always"),
    ],
)
def test_the_unit_is_hardened(key: str, value: str) -> None:
    assert unit()[key] == [value]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_reads_the_unit_without_a_complaint(tmp_path: Path) -> None:
    """Parsed, not started."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/bastide-agent", shutil.which("true") or "/bin/true"))
    command = ["systemd-analyze", "verify", "--recursive-errors=no", "--man=no", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# ------------------------------------------------------------------------------------------------------------- the page

PAGE = ROOT / "docs" / "how-to" / "install-the-agent.md"


def settings(kind: type[msgspec.Struct] = Settings, prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for field in msgspec.structs.fields(kind):
        name = f"{prefix}{field.name}"
        if isinstance(field.default, msgspec.Struct):
            found |= settings(type(field.default), f"{name}.")
        else:
            found[name] = (
                f'"{field.default}"' if isinstance(field.default, str) else str(field.default).lower()
            )
    return found


def test_settings_of_the_agent_are_described() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]*)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == settings()
