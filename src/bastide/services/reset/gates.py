"""Whether what was typed passes a gate. For somebody who does not exist the same is done, and it never fits."""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bastide.domain import totp, webauthn
from bastide.domain.reset import questions
from bastide.domain.reset.flow import Reset
from bastide.domain.reset.gates import Gate
from bastide.domain.webauthn import RelyingParty
from bastide.services.ports import CodeHasher, Sealer
from bastide.services.reset import keys
from bastide.services.reset.contents import as_typed, code_context, unseal
from bastide.services.reset.keys import Used
from bastide.services.reset.ports import Registration, Settings


@dataclass(frozen=True, slots=True)
class Verdict:
    """`step`: the TOTP step that the code was of. `key`: the security key that answered."""

    fits: bool
    step: int = 0
    key: Used | None = None


_NO = Verdict(fits=False)


class Gates:
    """The proofs. A code is compared in constant time; Argon2 takes its time, for somebody who does not exist as well."""

    def __init__(
        self, *, sealer: Sealer, hasher: CodeHasher, settings: Settings, party: RelyingParty | None
    ) -> None:
        self._sealer = sealer
        self._party = party
        self._hasher = hasher
        self._settings = settings
        self._nobodys = hasher.hash("nobody's answer")

    def questions(self, reset: Reset, registration: Registration | None) -> tuple[str, ...]:
        """What is asked: always the same of one name."""
        wanted = self._settings.questions
        order = sorted(wanted, key=lambda text: self._chance(reset.key, text))
        known = wanted if registration is None else [one.question for one in registration.answers]
        return questions.asked(known, self._settings.asked, order)

    def question(self, reset: Reset) -> str:
        """What a security key is asked, as JSON for the browser. Raises Conflict where keys do not work, StoreError."""
        return keys.question(webauthn.needed(self._party), self._challenge(reset))

    def chance(self, key: str) -> int:
        """A number that is made of a name, and that nobody outside can make."""
        return int.from_bytes(self._chance(key, "rule")[:8])

    def judge(
        self,
        gate: Gate,
        reset: Reset,
        registration: Registration | None,
        said: Mapping[str, Any],
        now: datetime,
    ) -> Verdict:
        """`said`: `code`, `answer1` and so on, or `credential` as the browser gave it. Raises StoreError, Conflict where security keys do not work."""
        if gate is Gate.QUESTIONS:
            return self._answers(reset, registration, said)
        if gate is Gate.TOTP:
            return self._totp(registration, said.get("code", ""), now)
        if gate is Gate.KEY:
            return self._key(reset, registration, said.get("credential", {}))
        return self._code(reset, gate, said.get("code", ""))

    def _key(self, reset: Reset, registration: Registration | None, answer: Mapping[str, Any]) -> Verdict:
        """(3), (4) of keys.py. `reset`: as it was before the attempt was counted."""
        held = (
            ()
            if registration is None
            else unseal(self._sealer, registration.person, registration.sealed).keys
        )
        shown = keys.used(webauthn.needed(self._party), held, self._challenge(reset), answer)
        return Verdict(fits=shown is not None and bool(reset.person), key=shown)

    def _challenge(self, reset: Reset) -> bytes:
        """(1) of keys.py."""
        return self._sealer.open(
            reset.sealed_code, code_context(reset.id, reset.person, Gate.KEY, reset.passed)
        )

    def _answers(self, reset: Reset, registration: Registration | None, said: Mapping[str, Any]) -> Verdict:
        """All of them are compared, also after a wrong one."""
        held = {} if registration is None else {one.question: one.hashed for one in registration.answers}
        asked: Sequence[str] = self.questions(reset, registration)
        fits = [
            self._hasher.matches(
                held.get(question, self._nobodys), questions.normal(said.get(f"answer{number}", ""))
            )
            for number, question in enumerate(asked, 1)
        ]
        whole = bool(held) and len(asked) == self._settings.asked and all(one in held for one in asked)
        return Verdict(fits=whole and all(fits))

    def _totp(self, registration: Registration | None, code: str, now: datetime) -> Verdict:
        secret = (
            ""
            if registration is None
            else unseal(self._sealer, registration.person, registration.sealed).totp
        )
        step = totp.matching_step(
            bytes.fromhex(secret or "00" * totp.SECRET_BYTES), code.replace(" ", ""), now
        )
        if not secret or step is None or registration is None or step <= registration.last_step:
            return _NO
        return Verdict(fits=True, step=step)

    def _code(self, reset: Reset, gate: Gate, typed: str) -> Verdict:
        context = code_context(reset.id, reset.person, gate, reset.passed)
        kept = self._sealer.open(reset.sealed_code, context) if reset.sealed_code else b""
        same = hmac.compare_digest(kept, as_typed(typed).encode())
        return Verdict(fits=bool(kept) and same and bool(reset.person))

    def _chance(self, key: str, what: str) -> bytes:
        return hmac.digest(self._settings.secret, f"{key}\0{what}".encode(), "sha256")
