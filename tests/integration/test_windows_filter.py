"""The password filter for Windows, built with mingw and run under wine, with a program that plays LSA (windows/tests/lsa.c) and one that plays the agent (windows/tests/agent.c).

What this does not show is written in docs/how-to/windows-agent.md: wine has no LSA, no process of the system, and no event log.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from bastide.pcns import sid_bytes
from bastide_agent.windows.frames import HEAD, Frame, parse, size_of

SOURCE = Path(__file__).parents[2] / "windows"
COMPILER = "x86_64-w64-mingw32-gcc"
OBJDUMP = "x86_64-w64-mingw32-objdump"
WINE_HOME = Path("/usr/lib/wine")
BUILTIN = Path("/usr/lib/x86_64-linux-gnu/wine/x86_64-windows")
#: As whom everything under wine runs, and whom the DLL for the tests takes for the system.
USER = "S-1-5-21-0-0-0-1000"
OWNED_BY_USER = f"O:{USER}G:SYD:P(A;;GA;;;WD)"
OWNED_BY_SYSTEM = "O:SYG:SYD:P(A;;GA;;;WD)"
#: Milliseconds that the DLL for the tests keeps a change for an agent that is away, and waits between two tries.
KEEP, RETRY = 1000, 200
#: By then it has given up.
OVER = KEEP + 1000
#: Microseconds. What the agent may take, and LSA must never.
BOUND = 250_000


def _program(*names: str) -> str:
    return next((str(WINE_HOME / name) for name in names if (WINE_HOME / name).exists()), "")


WINE = _program("wine64", "wine")
WINESERVER = _program("wineserver64", "wineserver")
MISSING = [
    package
    for package, there in {
        "gcc-mingw-w64-x86-64-win32": bool(shutil.which(COMPILER)),
        "wine64": bool(WINE and WINESERVER) and BUILTIN.is_dir(),
    }.items()
    if not there
]
pytestmark = pytest.mark.skipif(
    bool(MISSING),
    reason=f"the Windows filter was neither built nor run: {', '.join(MISSING)} missing; `make windows` installs them (1 GB) and runs this",
)


class Room:
    """A wine of our own, and the programs in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        prefix = path / "wine"
        windows = prefix / "drive_c" / "windows"
        windows.mkdir(parents=True)
        # A prefix as wine makes it takes 20 s and 700 MB. Without the update, with wine's own libraries in place, it is there at once.
        (prefix / ".update-timestamp").write_text("disable\n")
        (windows / "system32").symlink_to(BUILTIN)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(path),
            "WINEPREFIX": str(prefix),
            "WINEDEBUG": "-all,err+eventlog",
            "WINEDLLOVERRIDES": "mscoree,mshtml=",
        }
        self.released, self.dll = path / "released", path / "for-tests"
        numbers = ",".join(str(byte) for byte in sid_bytes(USER))
        self._build(self.released)
        self._build(
            self.dll, f"-DBASTIDE_SERVER_SID={numbers}", f"-DBASTIDE_KEEP={KEEP}", f"-DBASTIDE_RETRY={RETRY}"
        )
        for name, more in {"lsa": (), "agent": (), "hostile": ("queue.c", "frame.c")}.items():
            self._compile(name, more)

    def _build(self, to: Path, *options: str) -> None:
        to.mkdir()
        subprocess.run([SOURCE / "build.sh", to, *options], check=True, env={"PATH": os.environ["PATH"]})

    def _compile(self, name: str, more: Sequence[str]) -> None:
        strict = ["-std=c11", "-O1", "-Wall", "-Wextra", "-Werror", "-Wconversion", "-D_WIN32_WINNT=0x0602"]
        sources = [SOURCE / "tests" / f"{name}.c", *(SOURCE / one for one in more)]
        subprocess.run(
            [COMPILER, *strict, "-o", self.path / f"{name}.exe", *sources, "-ladvapi32"], check=True
        )

    def wine(self, name: str, *arguments: object) -> list[str]:
        return [WINE, str(self.path / f"{name}.exe"), *map(str, arguments)]

    def lsa(
        self, scenario: str, *arguments: int, dll: Path | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        """What it printed, and the texts of the events that the filter wrote."""
        library = (dll or self.dll) / "bastide-filter.dll"
        done = subprocess.run(
            self.wine("lsa", library, scenario, *arguments),
            env=self.environment,
            cwd=self.path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found, re.findall(r'ReportEventW L"(.*)"', done.stderr)

    @contextmanager
    def agent(self, mode: str, *arguments: int, security: str = OWNED_BY_USER) -> Iterator[Path]:
        """The file into which it writes what it is told."""
        told = self.path / "told"
        command = self.wine("agent", told, security, mode, *arguments)
        with subprocess.Popen(
            command, env=self.environment, cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline().strip() == b"ready"
                yield told
            finally:
                process.kill()
        told.unlink()

    def close(self) -> None:
        """Everything in this wine, and nothing else."""
        subprocess.run([WINESERVER, "-k"], env=self.environment, check=False)
        subprocess.run([WINESERVER, "-w"], env=self.environment, check=False, timeout=30)


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    made = Room(tmp_path_factory.mktemp("windows"))
    try:
        yield made
    finally:
        made.close()


def frames(path: Path) -> list[Frame]:
    """All of a file, one behind the other."""
    raw, found = path.read_bytes(), []
    while raw:
        size = size_of(raw[:HEAD])
        found.append(parse(raw[:size]))
        raw = raw[size:]
    return found


def letters(first: str, count: int) -> bytes:
    """What lsa.c fills its texts with."""
    return "".join(chr(ord(first) + i % 7) for i in range(count)).encode("utf-16-le")


# ------------------------------------------------------------------------------------------------------------------ the DLL


def test_the_dll_is_small_and_needs_little(room: Room) -> None:
    dll = room.released / "bastide-filter.dll"
    listed = subprocess.run([OBJDUMP, "-p", dll], check=True, capture_output=True, text=True).stdout
    names = listed.partition("[Ordinal/Name Pointer] Table")[2].partition("\n\n")[0]
    exported = {line.split()[-1] for line in names.splitlines() if line.startswith("\t[")}
    assert exported == {"InitializeChangeNotify", "PasswordFilter", "PasswordChangeNotify"}
    assert set(re.findall(r"DLL Name: (\S+)", listed)) == {"KERNEL32.dll", "ADVAPI32.dll"}
    for protection in ("DYNAMIC_BASE", "NX_COMPAT", "HIGH_ENTROPY_VA"):
        assert protection in listed
    assert "The Function Table (interpreted .pdata section contents)" in listed
    assert dll.stat().st_size < 32 * 1024


def test_the_same_sources_make_the_same_dll(room: Room) -> None:
    again = room.path / "again"
    room._build(again)
    built = [(place / "bastide-filter.dll").read_bytes() for place in (room.released, again)]
    assert built[0] == built[1]


def test_frames_are_the_same_bytes_as_on_linux(room: Room) -> None:
    native = room.path / "hostile"
    sources = [SOURCE / "tests" / "hostile.c", SOURCE / "queue.c", SOURCE / "frame.c"]
    subprocess.run(["gcc", "-std=c11", "-o", native, *sources], check=True)
    here = subprocess.run([native], check=True, capture_output=True).stdout
    there = subprocess.run(room.wine("hostile"), check=True, capture_output=True, env=room.environment).stdout
    assert len(here) > 1_000_000
    assert sha256(there).digest() == sha256(here).digest()


# ------------------------------------------------------------------------------------------------------------- what arrives


def test_what_lsa_says_arrives_and_nonsense_does_not(room: Room) -> None:
    """Texts end where no memory is any more: no byte too many is read. 0xFFFE bytes, odd and boasting lengths, no buffer, no password, no NUL."""
    before = datetime.now(UTC)
    with room.agent("take") as told:
        found, events = room.lsa("hostile", 0, 0, 1500)
        arrived = frames(told)
    assert found["calls"] == 17
    good = letters("A", 8)
    assert [(one.rid, one.name, one.password) for one in arrived] == [
        *((200 + i, "", good) for i in range(4)),
        (204, "", good),
        (300, "", good),
        (301, "", b""),
        (302, letters("a", 5).decode("utf-16-le"), letters("E", 256)),
        (303, letters("E", 256).decode("utf-16-le"), b"\x00\xd8\x00\x00\x0d\x00\x27\x00"),
        (0xFFFFFFFF, letters("a", 5).decode("utf-16-le"), good),
    ]
    assert [one.number for one in arrived] == list(range(1, 11))
    assert len({one.marker for one in arrived}) == 1
    assert arrived[-1].lost == 5
    assert events[0] == "too many at once, or what came was no password"
    times = [one.changed_at for one in arrived]
    assert all(later >= earlier + 10 for earlier, later in pairwise(times))
    first = datetime(1601, 1, 1, tzinfo=UTC) + timedelta(microseconds=times[0] // 10)
    assert before - timedelta(seconds=1) <= first <= datetime.now(UTC)


def test_each_start_has_its_own_marker(room: Room) -> None:
    with room.agent("take") as told:
        for _ in range(2):
            room.lsa("longest", 1, 0, 500)
        assert len({one.marker for one in frames(told)}) == 2


def test_a_filter_that_was_not_started_does_nothing(room: Room) -> None:
    found, events = room.lsa("unstarted")
    assert (found["calls"], events) == (17, [])


def test_many_at_once_arrive_once_each(room: Room) -> None:
    with room.agent("take") as told:
        room.lsa("many", 8, 8, 8000)
        arrived = frames(told)
    assert sorted(one.rid for one in arrived) == [
        thread << 16 | i for thread in range(1, 9) for i in range(8)
    ]
    assert [one.number for one in arrived] == list(range(1, 65))


def test_too_many_are_counted_and_said(room: Room) -> None:
    with room.agent("take") as told:
        found, events = room.lsa("many", 8, 200, 1500)
        arrived = frames(told)
    assert found["calls"] == 1600
    assert [one.number for one in arrived] == list(range(1, len(arrived) + 1))
    assert 64 <= len(arrived) < 1600
    assert arrived[-1].lost <= 1600 - len(arrived)
    assert events[:2] == [
        "too many at once, or what came was no password",
        "changes not handed to the agent since the start:",
    ]
    assert 0 < int(events[2]) <= 1600


# -------------------------------------------------------------------------------------------------------- LSA never waits


@pytest.mark.parametrize("mode", ["take", "silent", "hang", "later", "other", ""])
def test_lsa_never_waits(room: Room, mode: str) -> None:
    """Whatever the agent does, or without one."""
    if mode:
        with room.agent(mode, 1000):
            found, _ = room.lsa("longest", 40, 25)
    else:
        found, _ = room.lsa("longest", 40, 25)
    assert found["calls"] == 40
    assert found["longest_us"] < BOUND


# -------------------------------------------------------------------------------------------------- the password in memory


@pytest.mark.parametrize("mode", ["take", "discard"])
def test_a_password_that_was_taken_is_nowhere_in_memory(room: Room, mode: str) -> None:
    with room.agent(mode) as told:
        found, events = room.lsa("secret", 1000)
        assert len(frames(told)) == 1
    assert (found["found_later"], events) == (0, [])


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("silent", "the agent does not answer"),
        ("hang", "the agent does not answer"),
        ("later", "the agent cannot take changes now"),
        ("", "the agent does not run"),
    ],
)
def test_a_password_that_nobody_takes_is_kept_wiped_and_said(room: Room, mode: str, said: str) -> None:
    """The scan sees it while it is kept: it would see it later, too."""
    if mode:
        with room.agent(mode, 1000):
            found, events = room.lsa("secret", OVER)
    else:
        found, events = room.lsa("secret", OVER)
    assert found["found_at_once"] >= 1
    assert found["found_later"] == 0
    assert events == [said, "changes not handed to the agent since the start:", "1"]


def test_an_agent_that_says_later_is_told_again(room: Room) -> None:
    with room.agent("later", 1) as told:
        found, events = room.lsa("secret", 800)
        arrived = frames(told)
    assert len(arrived) == 2
    assert arrived[0] == arrived[1]
    assert (found["found_later"], events) == (0, [])


def test_an_answer_for_another_change_counts_for_nothing(room: Room) -> None:
    with room.agent("other") as told:
        found, events = room.lsa("secret", OVER)
        assert len(frames(told)) >= 2
    assert found["found_later"] == 0
    assert events[0] == "the agent cannot take changes now"


# --------------------------------------------------------------------------------------------------- who is told, and who not


@pytest.mark.parametrize(
    ("released", "security"),
    [
        pytest.param(True, OWNED_BY_USER, id="neither pipe nor process are the system's"),
        pytest.param(True, OWNED_BY_SYSTEM, id="the process is not the system's"),
        pytest.param(False, OWNED_BY_SYSTEM, id="the pipe is not"),
    ],
)
def test_who_is_not_the_system_is_told_nothing(room: Room, released: bool, security: str) -> None:
    with room.agent("take", security=security) as told:
        _, events = room.lsa("longest", 3, 20, 1500, dll=room.released if released else room.dll)
        assert told.read_bytes() == b""
    assert events[0].endswith("is served by somebody who is not the system: nothing was told to it")
