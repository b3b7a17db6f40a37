"""A plug-in as a third party would write one: accounts in memory, of which only salted hashes are kept."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from typing import ClassVar

from bastide.domain.errors import BadSource
from bastide.targets.plugins import (
    Code,
    CsObject,
    Imported,
    InvalidInput,
    Page,
    Plugin,
    Proof,
    Refusal,
    Security,
    TargetDenied,
    TargetUnavailable,
)

SECRET = "the-secret-of-the-sample"


class SamplePlugin(Plugin):
    """Settings: `refuse`, a word in passwords that its policy does not take."""

    accounts: ClassVar[dict[str, bytes]] = {"sample": b""}

    def __init__(self) -> None:
        self._open = False
        self._refuse = ""

    @classmethod
    def check(cls, settings: Mapping[str, object]) -> None:
        if unknown := set(settings) - {"refuse"}:
            raise InvalidInput(f"settings.{min(unknown)}", "is no setting of this plug-in")

    def open(self, settings: Mapping[str, object], secret: str) -> None:
        if secret != SECRET:
            raise TargetDenied("the sample does not know this secret")
        self._refuse = str(settings.get("refuse", ""))
        self._open = True

    def close(self) -> None:
        self._open = False

    def security(self) -> Security:
        return Security.SECURE

    def set(self, account: CsObject, password: str, *, must_change: bool, unlock: bool) -> None:  # noqa: ARG002  # the names of the interface
        if not self._open:
            raise TargetUnavailable("the sample is closed")
        if account.anchor not in self.accounts:
            raise Refusal(Code.OBJECT_MISSING, "the sample has no such account")
        if self._refuse and self._refuse in password:
            raise Refusal(Code.POLICY, f"the sample does not take {password}")
        salt = os.urandom(16)
        self.accounts[account.anchor] = salt + _hash(salt, password)

    def change(self, account: CsObject, old: str, new: str) -> None:
        if not signs_in(account.anchor, old):
            raise Refusal(Code.DENIED, "the old password is wrong")
        self.set(account, new, must_change=False, unlock=False)

    def verify(self, account: CsObject, password: str) -> Proof:
        return Proof.PROVED if signs_in(account.anchor, password) else Proof.NOT_PROVED

    def read(self, cookie: bytes) -> Iterator[Page]:
        if cookie:
            raise BadSource("the sample knows no marks")
        yield Page(tuple(Imported(name, name, "user", {}) for name in self.accounts), b"")


def signs_in(name: str, password: str) -> bool:
    stored = SamplePlugin.accounts.get(name, b"")
    return bool(stored) and stored[16:] == _hash(stored[:16], password)


def _hash(salt: bytes, password: str) -> bytes:
    return hashlib.sha256(salt + password.encode()).digest()
