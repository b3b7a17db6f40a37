"""Looks for a password, in every form that a program is likely to leave behind, in files, arguments and environments."""

import base64
import mmap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bastide.store.md4 import Md4NtHasher


def shapes(password: str) -> dict[str, bytes]:
    """What it looks like in clear, in UTF-16, in base64 (at each of three offsets), in hex, and as the NT hash of Windows."""
    forms = {
        "clear": password.encode(),
        "UTF-16": password.encode("utf-16-le"),
        "NT hash": Md4NtHasher().nt_hash(password),
    }
    found = dict(forms)
    for name, value in forms.items():
        found[f"{name}, hex"] = value.hex().encode()
        found[f"{name}, HEX"] = value.hex().upper().encode()
        for offset in range(3):
            found[f"{name}, base64 at {offset}"] = _base64_inside(value, offset)
    return found


def _base64_inside(value: bytes, offset: int) -> bytes:
    """The characters that stand there whatever comes before and after: a group that shares bits with a neighbour is left out."""
    encoded = base64.b64encode(bytes(offset) + value)
    first = 4 if offset else 0
    last = len(encoded) - (4 if (offset + len(value)) % 3 else 0)
    return encoded[first:last]


@dataclass(slots=True)
class Searched:
    """What was looked at. `hits`: where and in which form; never what."""

    files: int = 0
    processes: int = 0
    size: int = 0
    hits: tuple[str, ...] = ()

    @property
    def megabytes(self) -> int:
        return round(self.size / 1e6)


def search(folder: Path, processes: Iterable[int], wanted: dict[str, bytes]) -> Searched:
    """All files below the folder, and how these processes were started."""
    searched = Searched()
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            _look(searched, str(path.relative_to(folder)), _content(path), wanted)
            searched.files += 1
    for pid in processes:
        for name in ("cmdline", "environ"):
            try:
                content = Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:  # it has just ended
                continue
            _look(searched, f"/proc/{pid}/{name}", [content], wanted)
        searched.processes += 1
    return searched


def _content(path: Path) -> Sequence[bytes | mmap.mmap]:
    """Mapped and not read: databases are large, and have holes. Empty files cannot be mapped."""
    try:
        with path.open("rb") as file:
            return [mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)] if path.stat().st_size else []
    except FileNotFoundError:  # a file of a moment
        return []


def _look(
    searched: Searched, where: str, contents: Iterable[bytes | mmap.mmap], wanted: dict[str, bytes]
) -> None:
    for content in contents:
        searched.size += len(content)
        searched.hits += tuple(_hits(where, content, wanted))


def _hits(where: str, content: bytes | mmap.mmap, wanted: dict[str, bytes]) -> Iterator[str]:
    for form, value in wanted.items():
        if content.find(value) >= 0:
            yield f"{where} ({form})"
