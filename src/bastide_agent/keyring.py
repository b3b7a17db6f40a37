"""Watches the public key that Samba encrypts new passwords to. While it is missing or expired, Samba refuses **every** change of a password, and says so nowhere people look.

What Samba uses is asked of Samba's own `testparm`; what the key ring holds, of GnuPG, on a copy: the ring belongs to root, and only root's opener can read it.
"""

import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bastide_agent.privileges import NotOpened

PARAMETER = "password hash gpg key ids"
SCRIPT = "check password script"
_PATIENCE = 20.0
_SOON = timedelta(days=14)
#: Records of `gpg --with-colons` (GnuPG's doc/DETAILS) and their fields.
_KEYS = ("pub", "sub")
_VALIDITY, _EXPIRES, _CAPABILITIES = 1, 6, 11
_BAD = frozenset("idrne")


class CannotTell(Exception):  # it is no error of the key
    """What Samba uses could not be found out."""


@dataclass(frozen=True, slots=True)
class KeyState:
    """`fatal`: every change of a password fails, or none is captured. `warnings`: it will come to that."""

    ids: tuple[str, ...]
    fatal: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def ids_in(printed: str) -> tuple[str, ...]:
    """The list as smb.conf(5) has it: by spaces or commas."""
    return tuple(printed.replace(",", " ").split())


def judge(ids: Sequence[str], listing: Callable[[str], str], now: datetime) -> KeyState:
    """Pure but for `listing`, which gives `gpg --with-colons --list-keys ID`; empty: there is no such key."""
    fatal: list[str] = []
    warnings: list[str] = []
    if not ids:
        fatal.append(f"smb.conf has no `{PARAMETER}`: nothing is encrypted, so nothing can be captured")
    for name in ids:
        usable = list(_encryption_keys(listing(name)))
        alive = [until for until, good in usable if good and (until is None or until > now)]
        if not usable:
            fatal.append(f"the key {name} is not in the key ring: every change of a password fails")
        elif not alive:
            fatal.append(
                f"the key {name} is expired, revoked or cannot encrypt: every change of a password fails"
            )
        elif None not in alive and (last := max(until for until in alive if until)) < now + _SOON:
            warnings.append(
                f"the key {name} expires at {last.isoformat()}; then every change of a password fails"
            )
    return KeyState(tuple(ids), tuple(fatal), tuple(warnings))


def _encryption_keys(listed: str) -> Iterator[tuple[datetime | None, bool]]:
    """Expiry (None: never) of each key, and whether it is good to encrypt to. Raises CannotTell."""
    for line in listed.splitlines():
        fields = line.split(":")
        if fields[0] in _KEYS and len(fields) > _CAPABILITIES:
            until = _moment(fields[_EXPIRES]) if fields[_EXPIRES] else None
            good = "e" in fields[_CAPABILITIES] and not _BAD & set(fields[_VALIDITY])
            yield until, good


def _moment(expires: str) -> datetime:
    try:
        return datetime.fromtimestamp(int(expires), UTC)
    except (ValueError, OverflowError, OSError):
        raise CannotTell("gpg says when a key expires in a way that is not understood") from None


class KeyRing:
    """The real thing."""

    def __init__(self, opened: Callable[[], int], configuration: Path, copy: Path) -> None:
        """`opened` gives a descriptor of the ring (NotOpened), `copy` is a directory of our own for it."""
        self._opened = opened
        self._configuration = configuration
        self._copy = copy

    def look(self, now: datetime) -> KeyState:
        """Raises CannotTell."""
        ids = ids_in(self._parameter(PARAMETER))
        self._take_copy()
        return judge(ids, self._listing, now)

    def script(self) -> str:
        """What Samba asks before it takes a new password; empty: nobody. Raises CannotTell."""
        return self._parameter(SCRIPT).strip()

    def _parameter(self, name: str) -> str:
        return self._run(["testparm", "-s", f"--parameter-name={name}", str(self._configuration)])

    def _take_copy(self) -> None:
        copy = self._copy / "pubring.kbx"
        try:
            self._copy.mkdir(mode=0o700, exist_ok=True)
            try:
                with open(self._opened(), "rb") as ring:  # noqa: PTH123  # a descriptor has no path
                    copy.write_bytes(ring.read())
            except NotOpened:
                copy.unlink(missing_ok=True)
        except OSError as error:
            raise CannotTell(f"the key ring cannot be copied: {error.strerror}") from None

    def _listing(self, name: str) -> str:
        command = ["gpg", "--homedir", str(self._copy), "--batch", "--no-tty", "--no-autostart", "--quiet"]
        try:
            return self._run([*command, "--with-colons", "--list-keys", "--", name])
        except CannotTell:
            return ""

    def _run(self, command: Sequence[str]) -> str:
        try:
            done = subprocess.run(  # noqa: S603  # fixed programs; ids come from smb.conf, after `--`
                command,
                capture_output=True,
                encoding="utf-8",
                errors="replace",  # a user ID may be in any encoding; nothing here depends on it
                timeout=_PATIENCE,
                check=True,
                stdin=subprocess.DEVNULL,
                env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C"},
            )
        except FileNotFoundError:
            raise CannotTell(f"{command[0]} is not installed") from None
        except (subprocess.SubprocessError, OSError) as error:
            raise CannotTell(f"{command[0]} failed: {type(error).__name__}") from None
        return done.stdout
