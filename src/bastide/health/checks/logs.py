"""The log files of this node: there, the service's alone, with room to grow, and no more of them than the settings allow."""

import os
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bastide.config import Logs
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import Check
from bastide.health.checks.storage import look_at
from bastide.health.look import bad, good, refusal, unasked
from bastide.health.world import World
from bastide.journal.files import stock

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MIB = 1024 * 1024
#: Names that are told of many.
_TOLD = 5
#: A file is full with the record that goes past its size.
_SLACK = _MIB


def files(world: World) -> Iterator[Finding]:
    """Folder, files, size, room. Raises OSError."""
    settings = world.config.logs
    if not settings.folder:
        yield unasked("log files", "this node keeps none (logs.folder is empty)")
        return
    folder = Path(settings.folder)
    try:
        status = folder.stat()
    except FileNotFoundError:
        yield _not_there(folder)
        return
    if not stat.S_ISDIR(status.st_mode):
        text = f"{folder} is no folder: log records go to standard error alone"
        yield bad(str(folder), text, "move it away, and start the service again", severity=Severity.WARNING)
        return
    yield look_at(folder, _OTHERS, "enter, read or write")
    found = stock(folder)
    every = {one: one.lstat() for process in found.values() for one in process}
    yield whose(folder, status, every)
    yield readable(folder, every)
    taken = {name: sum(every[one].st_size for one in process) for name, process in found.items()}
    yield from allowed(folder, taken, settings)
    yield room(folder, taken, settings)


def _not_there(folder: Path) -> Finding:
    if folder.parent.is_dir():
        return unasked(str(folder), f"there is no folder {folder} yet: the service makes it when it starts")
    return bad(
        str(folder),
        f"there is no folder {folder.parent}, so log records go to standard error alone, and `bastide cluster log` has nothing of this node",
        f"`install -d -m 0700 -o USER {shlex.quote(str(folder))}` with the user of the service, and start it again",
        severity=Severity.WARNING,
    )


def whose(folder: Path, status: os.stat_result, every: Mapping[Path, os.stat_result]) -> Finding:
    """Whether whoever owns the folder can go on in each file: one that root made once by hand stays root's."""
    key = f"owner of {folder}"
    foreign = [
        one.name for one, its in every.items() if its.st_uid != status.st_uid or not stat.S_ISREG(its.st_mode)
    ]
    if foreign:
        return bad(
            key,
            f"{len(foreign)} of the log files are not the regular files of the folder's owner: the service cannot write there, and says all to standard error alone",
            f"`chown --no-dereference --reference={shlex.quote(str(folder))} {shlex.quote(str(folder))}/*`, delete what is no file, and start the service again",
            _told(foreign),
        )
    if os.geteuid() not in {0, status.st_uid}:
        return bad(
            key,
            f"{folder} belongs to another user than the one who asks",
            "ask as the service's user or as root; if the service runs as you do, `chown` the folder",
            severity=Severity.WARNING,
        )
    return good(key, "folder and files belong to one user", f"user {status.st_uid}, {len(every)} files")


def readable(folder: Path, every: Mapping[Path, os.stat_result]) -> Finding:
    """Whether others can read what was logged."""
    key = f"files in {folder}"
    open_ = [one.name for one, its in every.items() if stat.S_ISREG(its.st_mode) and its.st_mode & _OTHERS]
    if open_:
        text = f"others may read or write {len(open_)} of {len(every)} log files"
        return bad(key, text, f"chmod go= {shlex.quote(str(folder))}/*", _told(open_))
    return good(key, f"{len(every)} log files, for their owner alone")


def allowed(folder: Path, taken: Mapping[str, int], settings: Logs) -> Iterator[Finding]:
    """Whether the oldest files of each process go, as they should. `taken`: bytes."""
    for name, size in taken.items():
        text = f"{name} and the full files before it hold {size // _MIB} MiB of {settings.megabytes}"
        if size > settings.megabytes * _MIB + _SLACK:
            remedy = f"look who else writes there, and delete the oldest ({shlex.quote(f'{folder}/{name}')}.7 first); or raise logs.megabytes"
            yield bad(name, f"{text}: the oldest do not go", remedy, severity=Severity.WARNING)
        else:
            yield good(name, text)


def room(folder: Path, taken: Mapping[str, int], settings: Logs) -> Finding:
    """Whether the file system has what they may still grow by. Raises OSError."""
    try:
        found = os.statvfs(folder)
    except OSError as error:
        return refusal(f"room in {folder}", error)
    limit = settings.megabytes * _MIB
    return judge_room(
        folder, found.f_bavail * found.f_frsize, sum(max(0, limit - size) for size in taken.values()) or limit
    )


def judge_room(folder: Path, free: int, growth: int) -> Finding:
    """In bytes."""
    key, text = (
        f"room in {folder}",
        f"{folder} has {free // _MIB} MiB left; log files may grow by {growth // _MIB}",
    )
    if free < growth:
        remedy = f"make room: `du -xh --max-depth=1 {shlex.quote(str(folder.parent))}` shows what takes it; or lower logs.megabytes"
        return bad(key, text, remedy, severity=Severity.WARNING)
    return good(key, text)


def _told(names: Sequence[str]) -> str:
    more = len(names) - _TOLD
    return ", ".join(names[:_TOLD]) + (f" and {more} more" if more > 0 else "")


CHECKS = (
    Check(
        id="storage.logs",
        category=Category.STORAGE,
        subject="log files of this node",
        why="They say what happened in an outage; who reads them knows who asked for what, and who writes them can make it up.",
        run=files,
    ),
)
