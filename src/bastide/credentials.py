"""Where the systemd credentials of the service are. The service is told by systemd; root, who looks by hand, reads in the unit where systemd takes them from."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

#: Later ones count more, as in systemd.unit(5).
UNIT_FOLDERS = tuple(map(Path, ("/usr/lib/systemd/system", "/run/systemd/system", "/etc/systemd/system")))
#: A node has one of them, or the second beside the first.
_UNITS = ("bastide-worker.service", "bastide.service")
_LOAD = "LoadCredential"
#: Of a credential's name, in bytes.
_LONGEST_NAME = 255


def is_name(name: str) -> bool:
    """As systemd has it: a plain file name in printable ASCII, without a colon."""
    if not 0 < len(name) <= _LONGEST_NAME or name in {".", ".."}:
        return False
    return name.isascii() and name.isprintable() and not set("/:") & set(name)


def place(name: str) -> Path | None:
    """The file of the credential; None: this process was given none, and may not look or finds none in the units."""
    if directory := os.environ.get("CREDENTIALS_DIRECTORY"):
        return Path(directory) / name
    return in_units(UNIT_FOLDERS).get(name) if os.geteuid() == 0 else None


def in_units(folders: Sequence[Path]) -> dict[str, Path]:
    """Name to the file that LoadCredential= names. What is encrypted is not among them: systemd alone opens it. A unit that cannot be read has none."""
    found: dict[str, Path] = {}
    for unit in _UNITS:
        found |= _of_unit(folders, unit)
    return found


def _of_unit(folders: Sequence[Path], unit: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in _files(folders, unit):
        for line in _text(file).replace("\\\n", " ").splitlines():
            key, assigned, value = line.partition("=")
            if not assigned or key.strip() != _LOAD:
                continue
            name, _, source = value.strip().partition(":")
            if not name:  # an empty assignment forgets those before it
                found.clear()
            elif source.startswith("/") and "%" not in source:
                found[name] = Path(source)
            else:
                found.pop(name, None)
    return found


def _files(folders: Sequence[Path], unit: str) -> Iterator[Path]:
    """The unit itself, then its drop-ins in the order of their names; of the same name the last folder's counts."""
    own = [folder / unit for folder in folders if (folder / unit).is_file()]
    yield from own[-1:]
    parts = {file.name: file for folder in folders for file in (folder / f"{unit}.d").glob("*.conf")}
    for name in sorted(parts):
        yield parts[name]


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return ""
