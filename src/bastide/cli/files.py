"""Files that people name: what is in them, or one sentence that says what is wrong."""

import json
import tomllib
from pathlib import Path
from typing import Any

from bastide.cli.exits import Exit, Stop


def text_of(path: Path, *, remedy: str) -> str:
    """Raises Stop; `remedy`: what to do where there is no such file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Stop(f"there is no file {path}", remedy=remedy, status=Exit.USAGE) from None
    except UnicodeDecodeError:
        raise Stop(
            f"{path} is no text in UTF-8", remedy="save it as UTF-8, or name another file", status=Exit.USAGE
        ) from None
    except OSError as error:
        said = (error.strerror or type(error).__name__).lower()
        raise Stop(
            f"{path} cannot be read: {said}",
            remedy="name a file that you may read",
            status=Exit.USAGE,
        ) from None


def document_of(path: Path, *, remedy: str) -> dict[str, Any]:
    """The table in a TOML file, or the object in a `.json` file. Raises Stop, as `text_of`."""
    text = text_of(path, remedy=remedy)
    is_json = path.suffix.lower() == ".json"
    try:
        found = json.loads(text) if is_json else tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        said = "nested too deep" if isinstance(error, RecursionError) else error
        other = "a file in TOML has another ending" if is_json else "a file in JSON ends in .json"
        raise Stop(
            f"{path} is not {'JSON' if is_json else 'TOML'}: {said}",
            remedy=f"mend it there; {other}",
            status=Exit.USAGE,
        ) from None
    if not isinstance(found, dict):
        raise Stop(f"{path} holds no table of settings", remedy="write { ... }", status=Exit.USAGE)
    return found
