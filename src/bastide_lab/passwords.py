"""Random passwords, one file of mode 0600. They are made when the forests are, and live in the snapshot with them."""

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from bastide_lab.errors import LabError

# 24 random characters; the rest meets the complexity rule whatever the characters are.
RANDOM_BYTES = 18
COMPLEXITY = "-aA7"


def generate(names: Iterable[str]) -> dict[str, str]:
    return {name.lower(): secrets.token_urlsafe(RANDOM_BYTES) + COMPLEXITY for name in names}


def save(path: Path, passwords: dict[str, str]) -> None:
    """Write the file so that nobody but the owner can read it at any moment."""
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(passwords, file, indent=1)


def load(path: Path) -> dict[str, str]:
    r"""The passwords by account ("corp\alice"); LabError if the lab is not up."""
    try:
        loaded: dict[str, str] = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise LabError(f"{path} is missing: the lab is not up. Run: bastide-lab up") from error
    return loaded
