"""The passwords of notifications: opened, looked at, compared with our own, wiped. Step (7) of accept.py."""

import hmac
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TypeVar

from bastide.domain.errors import StoreError
from bastide.domain.passwords import LONGEST, Delivery, Receipt, context_of
from bastide.services.passwords.batch import Batch
from bastide.services.passwords.judging import SOON, may_be_staged
from bastide.services.passwords.ports import Envelope, NtHasher, Opener, Vault
from bastide.services.passwords.told import Case
from bastide.wire import Notification, check_of

T = TypeVar("T")


@dataclass(slots=True, repr=False)
class Secret:
    """A password in UTF-8, or why there is none; neither, if it was not opened."""

    password: bytearray | None = None
    problem: Receipt | None = None

    def wipe(self) -> None:
        """As far as Python lets."""
        if self.password is not None:
            self.password[:] = bytes(len(self.password))


class Opening:
    """Opens them."""

    def __init__(self, *, opener: Opener, hasher: NtHasher) -> None:
        self._opener = opener
        self._hasher = hasher

    def secrets(self, cases: Sequence[Case]) -> tuple[Secret, ...]:
        """One for each; opened if it may be staged. The copies that Python and libraries make on the way cannot be wiped; ours are, by who gets them.
        Raises StoreUnavailable.
        """
        secrets = tuple(Secret() for _ in cases)
        chosen = [
            (case.told, secret)
            for case, secret, may in zip(cases, secrets, may_be_staged(cases), strict=True)
            if may
        ]
        try:
            with closing(self._opener.open([told.secret for told, _ in chosen])) as answers:
                for (told, secret), answer in zip(chosen, answers, strict=True):
                    self._fill(secret, told, answer)
        except BaseException:
            wipe(secrets)
            raise
        return secrets

    def _fill(self, secret: Secret, told: Notification, answer: bytes | StoreError) -> None:
        try:
            text = None if isinstance(answer, StoreError) else answer.decode("utf-16-le")
        except UnicodeDecodeError:
            text = None
        if text is None:
            secret.problem = Receipt.UNREADABLE
        elif not 0 < len(text.encode("utf-16-le")) <= 2 * LONGEST:
            secret.problem = Receipt.UNFIT
        elif told.check and not self._fits(told, text):
            secret.problem = Receipt.STALE_SECRET
        else:
            secret.password = bytearray(text.encode())

    def _fits(self, told: Notification, text: str) -> bool:
        return hmac.compare_digest(check_of(told.reference, self._hasher.nt_hash(text)), told.check)


def wipe(secrets: Sequence[Secret]) -> None:
    """All of them."""
    for one in secrets:
        one.wipe()


def settled(case: Case, secret: Secret) -> Case:
    """What is staged needs a password; one that was not opened belongs to a source that was changed meanwhile."""
    if case.receipt is not Receipt.STAGED or secret.password is not None:
        return case
    if secret.problem is not None:
        return replace(case, receipt=secret.problem)
    return replace(case, receipt=None, later="its agent is being changed", delay=SOON)


class Ours:
    """The passwords that we wrote ourselves, as far as a delivery of the same change is sealed and its key is there. Keys are asked for once, for all that
    the batch may compare with.
    """

    def __init__(self, vault: Vault, envelope: Envelope, batch: Batch) -> None:
        self._vault = vault
        self._envelope = envelope
        self._batch = batch
        self._keys: Mapping[str, bytes] | None = None

    def equal(self, writes: Sequence[Delivery], secret: Secret) -> tuple[Delivery, ...]:
        """Those of these writes that wrote the password that was opened. Raises StoreError."""
        if secret.password is None:
            return ()
        if self._keys is None:
            near = self._batch.near()
            self._batch.load(near)
            self._keys = self._vault.get(near)
        keys, password = self._keys, bytes(secret.password)
        return tuple(one for one in writes if self._wrote(one, keys.get(one.reference), password))

    def _wrote(self, write: Delivery, key: bytes | None, password: bytes) -> bool:
        if key is None:
            return False
        for one in self._batch.of_change(write.reference):
            if one.sealed:
                try:
                    plain = self._envelope.open(key, one.sealed, context_of(one))
                except StoreError:
                    continue
                return hmac.compare_digest(plain, password)
        return False


def nothing_opened(_: Sequence[Delivery]) -> tuple[Delivery, ...]:
    """Equal to no password: none is known yet."""
    return ()
