"""Install what is missing, quickly, and say so. Needs nothing but Debian's python3.

usage: install.py [--lab] [--windows] [--python-only]

  (nothing)       what building and checking need: headers, and the project with everything in .venv
  --lab           also what the lab and the tests on it need: Samba 4.22, Kerberos tools, OpenLDAP, 389 Directory Server, PostgreSQL, Patroni, etcd, MariaDB,
                  chromium
  --windows       also a compiler for Windows and wine, for the password filter (157 MB to fetch, 1.1 GB on the disk)
  --python-only   no Debian packages: .venv with the base dependencies, for the embedded demo without root

A second run finds that nothing is missing in well under a second. Packages come from the mirror that the machine's own
apt sources name, Python packages from wherever its pip looks; no host is named here. The log is .build/install.log.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "bastide-install.stamp"
LOCK = ROOT / "requirements.lock"
LOG = ROOT / ".build" / "install.log"

BUILD_PACKAGES = (
    "python3-venv",
    "python3-dev",
    "build-essential",
    "libldap-dev",
    "libsasl2-dev",
    "libkrb5-dev",
)
LAB_PACKAGES = (
    *("krb5-user", "ldap-utils", "libsasl2-modules-gssapi-mit", "iproute2", "openssl", "postgresql"),
    "libfaketime",  # a process with a wrong clock
    *("slapd", "389-ds-base", "libnss3-tools", "mariadb-server"),  # connected systems
    *(
        "patroni",
        "etcd-server",
        "etcd-client",
        "python3-idna",
    ),  # PostgreSQL on three hosts; Patroni with TLS loads idna
    "chromium",  # the portal's tests
    "python3-gpg",  # `samba-tool user syncpasswords --decrypt-samba-gpg`, beside which `make bench` measures
)
SAMBA_PACKAGES = (
    *("samba", "samba-ad-dc", "samba-ad-provision", "samba-dsdb-modules", "samba-vfs-modules"),
    *("python3-samba", "winbind", "smbclient", "ldb-tools"),
    "ctdb",  # two file servers that are one
)
#: Not part of the lab: 1.1 GB that a demo does without. `make test` and `make windows` have them.
WINDOWS_PACKAGES = ("gcc-mingw-w64-x86-64-win32", "wine64")
SAMBA_LEAST = (4, 22)
#: What would run at the next boot, by the package that brings it.
SERVICES = {
    "samba": ("samba-ad-dc", "smbd", "nmbd", "winbind"),
    "ctdb": ("ctdb",),
    "slapd": ("slapd",),
    "postgresql": ("postgresql",),
    "patroni": ("patroni",),
    "etcd-server": ("etcd",),
    "mariadb-server": ("mariadb",),
}

APT = Path("/etc/apt")
BACKPORTS_FILE = "bastide-backports.sources"
#: How apt spells "no": StringToBool in apt-pkg.
NO = {"no", "false", "without", "off", "disable", "0"}
# Debian's hook for "do not start services now": exit code 101 says no. See invoke-rc.d(8).
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# bastide: tools/install.py is installing; services stay off\nexit 101\n"


class InstallError(Exception):
    """Something a person has to decide or do."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--lab", action="store_true", help="also Samba, Kerberos tools and the connected systems"
    )
    parser.add_argument("--windows", action="store_true", help="also a compiler for Windows, and wine")
    parser.add_argument(
        "--python-only", action="store_true", help="only .venv with the base dependencies; no root"
    )
    options = parser.parse_args()
    LOG.parent.mkdir(exist_ok=True)
    try:
        if not options.python_only:
            install_packages(lab=options.lab, windows=options.windows)
        install_python(base_only=options.python_only)
    except InstallError as error:
        print(f"install: {error}", file=sys.stderr)
        return 1
    return 0


def run(command: Sequence[str | Path], **environment: str) -> None:
    """Run a program with its output in the log; InstallError with the log's end if it fails."""
    arguments = [str(part) for part in command]
    with LOG.open("a") as log:
        log.write(f"\n$ {' '.join(arguments)}\n")
        log.flush()
        started = log.tell()
        done = subprocess.run(
            arguments, stdout=log, stderr=log, cwd=ROOT, env={**os.environ, **environment}, check=False
        )
    if done.returncode:
        with LOG.open(errors="replace") as log:
            log.seek(started)
            end = "".join(log.readlines()[-8:])
        raise InstallError(
            f"{' '.join(arguments[:6])} ... failed; the end of {LOG.relative_to(ROOT)}:\n{end}"
        )


def say(what: str) -> None:
    print(f"installing: {what}", flush=True)


# --- Debian packages ----------------------------------------------------------------------------------------------------


def install_packages(*, lab: bool, windows: bool = False) -> None:
    """Whatever of the packages is missing; without root, only look."""
    of_lab = (*LAB_PACKAGES, *SAMBA_PACKAGES) if lab else ()
    wanted = (*BUILD_PACKAGES, *of_lab, *(WINDOWS_PACKAGES if windows else ()))
    present = installed(wanted)
    missing = [name for name in wanted if name not in present]
    old = lab and "samba" in present and version(present["samba"]) < SAMBA_LEAST
    if not missing and not old:
        return
    if os.geteuid() != 0:
        advice = "Run this as root, or with --python-only for the embedded demo"
        raise InstallError(f"missing Debian packages: {' '.join(missing or SAMBA_PACKAGES)}. {advice}")
    if shutil.which("apt-get") is None:
        raise InstallError("this is not a Debian machine: only --python-only works here")
    samba = list(SAMBA_PACKAGES) if old else [name for name in missing if name in SAMBA_PACKAGES]
    others = [name for name in missing if name not in SAMBA_PACKAGES]
    suite = backports_suite()
    if samba and suite:
        add_backports(suite)
    say("package lists")
    run(["apt-get", "update", "--quiet"])
    with services_off():
        if others:
            apt_install(others)
        if samba:
            apt_install(samba, suite=suite)
    disable_services(missing)


def installed(names: Sequence[str]) -> dict[str, str]:
    """Version by name of those packages that are installed."""
    query = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Abbrev} ${Version}\\n", *names]
    try:
        listed = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return {}
    rows = (line.split() for line in listed.splitlines())
    return {row[0]: row[2] for row in rows if len(row) == 3 and row[1] == "ii"}  # noqa: PLR2004 - the format's three


def version(text: str) -> tuple[int, int]:
    """Epoch, upstream version and revision of a Debian version, down to major and minor: "2:4.22.6+dfsg-1" is (4, 22)."""
    found = re.match(r"(?:\d+:)?(\d+)\.(\d+)", text)
    if not found:
        raise InstallError(f"the version {text} cannot be read")
    return int(found[1]), int(found[2])


def apt_install(names: Sequence[str], suite: str | None = None) -> None:
    say(" ".join(names))
    release = ["--target-release", suite] if suite else []
    command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *release, *names]
    run(command, DEBIAN_FRONTEND="noninteractive")


@contextmanager
def services_off() -> Iterator[None]:
    """Packages must not start their daemons: the lab runs its own, and ports of the machine are not ours."""
    if POLICY.exists():  # a container's image has it; whatever it says, it is not ours to change
        yield
        return
    POLICY.write_text(POLICY_TEXT)
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def disable_services(packages: Sequence[str]) -> None:
    """With systemd they would start at the next boot. What somebody else has installed stays as it is."""
    if Path("/run/systemd/system").exists():
        for name in (service for package in packages for service in SERVICES.get(package, ())):
            run(["sh", "-c", f"systemctl disable --now {name}.service || true"])


# --- backports ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """One binary source of apt, whichever way it is written: sources.list(5)."""

    uri: str
    suites: tuple[str, ...]
    components: tuple[str, ...]
    signed_by: str = ""
    trusted: str = ""


def backports_suite() -> str | None:
    """Where Samba 4.22 comes from: Debian 12 has it in backports, Debian 13 in main."""
    release = Path("/etc/os-release").read_text()
    fields = dict(line.split("=", 1) for line in release.splitlines() if "=" in line)
    codename = fields.get("VERSION_CODENAME", "").strip('"')
    return "bookworm-backports" if codename == "bookworm" else None


def add_backports(suite: str, apt: Path = APT) -> None:
    """Name the backports suite to apt, on the mirror the machine already uses; nothing if it is known."""
    known = list(sources(apt))
    if any(suite in source.suites for source in known):
        return
    source = mirror(known, suite.removesuffix("-backports"))
    if source is None:
        raise InstallError(
            f"no apt source names the suite {suite.removesuffix('-backports')} of Debian; "
            f"add {suite} to {apt}/sources.list.d yourself"
        )
    lines = ["Types: deb", f"URIs: {source.uri}", f"Suites: {suite}", "Components: main"]
    if source.signed_by:
        lines.append(f"Signed-By: {source.signed_by}")
    if source.trusted:
        lines.append(f"Trusted: {source.trusted}")
    say(f"apt source {suite}")
    (apt / "sources.list.d" / BACKPORTS_FILE).write_text("\n".join(lines) + "\n")


def mirror(known: Sequence[Source], suite: str) -> Source | None:
    """The machine's source of Debian itself. Other archives may call their suites and components like Debian's; a CD has no backports."""
    updated = {source.uri for source in known if f"{suite}-updates" in source.suites}
    fitting = [
        source
        for source in known
        if suite in source.suites and "main" in source.components and not source.uri.startswith("cdrom:")
    ]
    return max(
        fitting,
        key=lambda s: (s.uri in updated, "debian-archive" in s.signed_by, "debian" in s.uri),
        default=None,
    )


def sources(apt: Path) -> Iterator[Source]:
    """What apt would read, whatever is not a binary source left out."""
    directory = apt / "sources.list.d"
    for path in (apt / "sources.list", *sorted(directory.glob("*.list"))):
        if path.exists():
            yield from one_line_sources(path.read_text())
    for path in sorted(directory.glob("*.sources")):
        yield from deb822_sources(path.read_text())


#: deb [name=value name=value] URI SUITE COMPONENT... - and the URI of a CD has a name with spaces in brackets.
ONE_LINE = re.compile(
    r"deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<uri>cdrom:\[[^]]*\]\S*|[^\s[]+)\s+(?P<rest>\S.*)"
)


def one_line_sources(text: str) -> Iterator[Source]:
    """A source per line; a comment from # to the end. What apt could not read either is passed over: apt will say so."""
    for line in text.splitlines():
        found = ONE_LINE.fullmatch(line.partition("#")[0].strip())
        if not found:
            continue
        suite, *components = found["rest"].split()
        settings = dict(option.partition("=")[::2] for option in (found["options"] or "").split())
        yield Source(
            found["uri"],
            (suite,),
            tuple(components),
            settings.get("signed-by", "").replace(",", " "),
            settings.get("trusted", ""),
        )


def deb822_sources(text: str) -> Iterator[Source]:
    """Stanzas of "Field: value", whose value goes on in indented lines (a key may stand in Signed-By itself)."""
    lines = [line.rstrip() for line in text.splitlines() if not line.startswith("#")]
    for stanza in "\n".join(lines).split("\n\n"):
        fields: dict[str, str] = {}
        last = ""
        for line in filter(None, stanza.splitlines()):
            if line[0].isspace():
                fields[last] = f"{fields.get(last, '')}\n{line}"
            else:
                name, _, value = line.partition(":")
                last = name.strip().lower()
                fields[last] = value.strip()
        if "deb" not in fields.get("types", "").split() or fields.get("enabled", "yes").lower() in NO:
            continue
        for uri in deb822_uris(fields.get("uris", "")):
            suites, components = fields.get("suites", "").split(), fields.get("components", "").split()
            signed_by, trusted = fields.get("signed-by", ""), fields.get("trusted", "")
            yield Source(uri, tuple(suites), tuple(components), signed_by, trusted)


def deb822_uris(value: str) -> list[str]:
    return re.findall(r"cdrom:\[[^]]*\]\S*|\S+", value)


# --- Python -------------------------------------------------------------------------------------------------------------


def install_python(*, base_only: bool) -> None:
    """The virtual environment. A full one also serves --python-only."""
    full, base = stamp("full"), stamp("base")
    enough = {full, base} if base_only else {full}
    if STAMP.exists() and STAMP.read_text() in enough and PYTHON.exists():
        return
    STAMP.unlink(missing_ok=True)
    make_venv()
    uv: list[str | Path] = [PYTHON, "-m", "uv", "pip", "install", "--quiet", "--python", PYTHON]
    if base_only:
        say("Python packages (base)")
        run([*uv, "--constraint", LOCK, "--editable", ROOT])
    else:
        say("Python packages")
        run([*uv, "--require-hashes", "--requirement", LOCK])
        run([*uv, "--no-deps", "--editable", ROOT])
    STAMP.write_text(base if base_only else full)


def stamp(what: str) -> str:
    """What an environment depends on. It is where it was built, too: scripts in it hold its path."""
    digest = hashlib.sha256(f"{what} {VENV} {sys.version}".encode())
    for path in (ROOT / "pyproject.toml", LOCK):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def make_venv() -> None:
    if VENV.is_symlink():
        raise InstallError(
            f"{VENV} is a link to {VENV.resolve()}: what is installed here would take the place of that one's; remove the link"
        )
    if not PYTHON.exists():
        say(".venv")
        try:
            run([sys.executable, "-m", "venv", VENV])
        except InstallError as error:
            shutil.rmtree(VENV, ignore_errors=True)
            raise InstallError(
                f"this Python cannot make a virtual environment: install python3-venv\n{error}"
            ) from error
    if not (VENV / "bin" / "uv").exists():
        say("uv")
        run([PYTHON, "-m", "pip", "install", "--quiet", "uv"])


if __name__ == "__main__":
    raise SystemExit(main())
