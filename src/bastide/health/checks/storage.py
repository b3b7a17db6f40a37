"""Disks: room, who may write and read, and what the database lies on."""

import os
import shlex
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bastide.config import Config
from bastide.domain.health import Category, Finding, Severity
from bastide.health.check import Check
from bastide.health.look import bad, good, refusal
from bastide.health.world import World
from bastide.store.engine import MEMORY, is_sqlite, sqlite_path

_MIB = 1024 * 1024
_LEAST, _LITTLE = 100 * _MIB, 1024 * _MIB
_LITTLE_SHARE = 0.05
_MOUNTS = Path("/proc/self/mountinfo")
#: SQLite's locks do not hold there, or not for sure (sqlite.org/faq.html, 5).
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "fuse.sshfs", "afs"})
_VANISHING = frozenset({"tmpfs", "ramfs"})


class Mount(NamedTuple):
    """A line of /proc/self/mountinfo (proc(5)): where, what kind, with which options."""

    place: str
    kind: str
    options: frozenset[str]


def space(world: World) -> Iterator[Finding]:
    """Where Bastide writes: database, vault, audit file."""
    for folder in dict.fromkeys(file.parent for file in _files(world.config)):
        try:
            found = os.statvfs(folder)
        except OSError as error:
            yield refusal(str(folder), error, f"install -d -m 0700 {shlex.quote(str(folder))}")
        else:
            yield judge_space(str(folder), found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def judge_space(folder: str, free: int, total: int) -> Finding:
    """In bytes."""
    text = f"{folder} has {free // _MIB} MiB left of {total // _MIB}"
    remedy = f"make room: `du -xh --max-depth=1 {shlex.quote(folder)}` shows what takes it"
    if free < _LEAST:
        return bad(folder, text, remedy)
    if free < _LITTLE and free < total * _LITTLE_SHARE:
        return bad(folder, text, remedy, severity=Severity.WARNING)
    return good(folder, text)


def modes(world: World) -> Iterator[Finding]:
    """The settings must not be written by others, and what the database has not be read."""
    yield look_at(world.file, stat.S_IWGRP | stat.S_IWOTH, "write")
    for file in _files(world.config):
        if file.exists():
            yield look_at(file, stat.S_IRWXO | stat.S_IWGRP, "read or write")


def look_at(file: Path, forbidden: int, doing: str) -> Finding:
    """Whether others may do that to the file. Raises OSError."""
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & forbidden:
        return bad(
            str(file),
            f"others may {doing} {file} (mode {mode:04o})",
            f"chmod {mode & ~forbidden:04o} {shlex.quote(str(file))}",
        )
    return good(str(file), f"mode {mode:04o}")


def mounts(world: World) -> Iterator[Finding]:
    """What the databases lie on."""
    known = read_mounts(_MOUNTS.read_text(encoding="utf-8"))
    for file in _databases(world.config):
        if file.parent.is_dir():
            yield judge_mount(str(file), mount_of(file, known))


def read_mounts(text: str) -> tuple[Mount, ...]:
    """Of /proc/self/mountinfo."""
    found = []
    for line in text.splitlines():
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        options = frozenset(fields[5].split(",")) | frozenset(rest[2].split(",")[:1])
        found.append(Mount(fields[4].replace("\\040", " "), rest[0], options))
    return tuple(found)


def mount_of(file: Path, known: Sequence[Mount]) -> Mount:
    """The one that it lies on: of those above it the deepest, and of equal ones the last."""
    above = {str(one) for one in file.resolve().parents}
    return max(
        enumerate(one for one in known if one.place in above), key=lambda pair: (len(pair[1].place), pair[0])
    )[1]


def judge_mount(file: str, mount: Mount) -> Finding:
    """Of a SQLite database."""
    evidence = f"{mount.place} is {mount.kind} ({', '.join(sorted(mount.options))})"
    if "ro" in mount.options:
        return bad(file, f"{file} lies on a file system that is mounted read-only", f"mount -o remount,rw {mount.place}", evidence)  # fmt: skip
    if mount.kind in _NETWORK:
        return bad(
            file, f"{file} lies on a network file system ({mount.kind}), where SQLite's locks do not hold",
            "move it to a local disk, or use PostgreSQL", evidence,
        )  # fmt: skip
    if mount.kind in _VANISHING:
        return bad(
            file, f"{file} lies in memory ({mount.kind}): it is gone with the next start of the machine",
            "move it to a disk", evidence, severity=Severity.WARNING,
        )  # fmt: skip
    return good(file, f"{file} lies on {mount.kind}", evidence)


def _databases(config: Config) -> Iterator[Path]:
    urls = [config.database.url, *([] if config.passwords is None else [config.passwords.vault])]
    for url in urls:
        if is_sqlite(url) and (path := sqlite_path(url)) != MEMORY:
            yield Path(path)


def _files(config: Config) -> Iterator[Path]:
    """All that Bastide writes."""
    yield from _databases(config)
    if config.audit.file:
        yield Path(config.audit.file)


CHECKS = (
    Check(
        id="storage.space",
        category=Category.STORAGE,
        subject="room on the disks",
        why="With a full disk nothing can be granted, because nothing can be put on record.",
        run=space,
    ),
    Check(
        id="storage.modes",
        category=Category.STORAGE,
        subject="who may read and write the files",
        why="Who can write the settings can name another database; who can read the database knows who has which rights when.",
        run=modes,
    ),
    Check(
        id="storage.mounts",
        category=Category.STORAGE,
        subject="what the databases lie on",
        why="On a network file system SQLite's locks do not hold, and the file is damaged one day.",
        run=mounts,
    ),
)
