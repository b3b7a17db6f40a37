"""The public keys of an issuer (OpenID Connect Discovery 1.0, RFC 7517), fetched and kept:

(1) Over TLS 1.2 or newer, by the name in the certificate, from the authorities in the settings' file, or the system's. No redirect is
    followed, no proxy of the environment is asked.
(2) The issuer's document names the issuer itself, to the letter, and an https address for its keys.
(3) An answer has at most 256 KiB and takes at most ten seconds.
(4) What was fetched counts for as long as the settings say, and no longer: a key that the issuer took away stops to count. An issuer that is
    away in the end signs nobody in.
(5) A key that is not known is asked for, but not more often than once a minute, whether there was an answer or not: who makes tokens up must
    not make Bastide ask. One call asks, and the others go on with what is there.
(6) Only keys for signatures: RSA of 2048 bits at least, the elliptic curves of NIST, Ed25519. A secret is none.
"""

import base64
import json
import logging
import math
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from bastide.domain.errors import IssuerUnavailable

Key = RSAKey | ECKey | OKPKey
_log = logging.getLogger(__name__)
_DOCUMENT = "/.well-known/openid-configuration"
_TIMEOUT = httpx.Timeout(5.0)
_SLOWEST = 10.0
_LARGEST = 256 * 1024
#: Between two fetches for keys that are not known.
PAUSE = timedelta(minutes=1)
#: Of their life: they are fetched anew while they still count, so that nobody waits for it.
_EARLY = 0.75
_RSA_BITS = 2048
_KINDS: Mapping[str, type[Key]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_CURVES = frozenset({"P-256", "P-384", "P-521", "Ed25519"})


class Unusable(Exception):
    """What the issuer answered cannot be used."""


@dataclass(slots=True)
class _Kept:
    keys: Mapping[str, Key] = field(default_factory=dict)
    #: Seconds of the clock that only grows; None: never.
    fetched: float | None = None
    asked: float | None = None


_FAILURES = (httpx.HTTPError, httpx.InvalidURL, Unusable)


class IssuerKeys:
    """One issuer's. Threads may share it. `monotonic`: seconds that only grow."""

    def __init__(
        self, issuer: str, trust: ssl.SSLContext, *, life: timedelta, monotonic: Callable[[], float]
    ) -> None:
        self._issuer = issuer
        self._trust = trust
        self._life = life.total_seconds()
        self._monotonic = monotonic
        self._kept = _Kept()
        self._asking = threading.Lock()

    def get(self, kid: str) -> Key | None:
        """The key of that name; None: the issuer has none. Raises IssuerUnavailable."""
        kept = self._fresh()
        if kept is None or kid not in kept.keys or self._age(kept) >= self._life * _EARLY:
            self._fetch()
            kept = self._fresh()
        if kept is None:
            raise IssuerUnavailable(
                f"the keys of {self._issuer} cannot be had at the moment",
                remedy="sign in with a Kerberos ticket; the log of the server has the reason",
            )
        return kept.keys.get(kid)

    def look(self) -> int:
        """How many keys the issuer has for us, asked now and not kept. Raises IssuerUnavailable with the reason."""
        try:
            return len(self._ask())
        except _FAILURES as error:
            raise IssuerUnavailable(f"the keys of {self._issuer} cannot be had: {_reason(error)}") from None

    def _fresh(self) -> _Kept | None:
        """(4)."""
        kept = self._kept
        return kept if self._age(kept) < self._life else None

    def _age(self, kept: _Kept) -> float:
        return math.inf if kept.fetched is None else self._monotonic() - kept.fetched

    def _may_ask(self) -> bool:
        """(5)."""
        asked = self._kept.asked
        return asked is None or self._monotonic() - asked >= PAUSE.total_seconds()

    def _fetch(self) -> None:
        if not self._asking.acquire(blocking=False):
            return
        try:
            if not self._may_ask():  # (5)
                return
            asked = self._monotonic()
            self._kept = _Kept(self._kept.keys, self._kept.fetched, asked)
            self._kept = _Kept(self._ask(), self._monotonic(), asked)
        except _FAILURES as error:
            _log.warning("the keys of %s cannot be had: %s", self._issuer, _reason(error))
        finally:
            self._asking.release()

    def _ask(self) -> dict[str, Key]:
        """(1). Raises Unusable, httpx's errors."""
        with httpx.Client(
            verify=self._trust, timeout=_TIMEOUT, follow_redirects=False, trust_env=False
        ) as client:
            document = self._get(client, self._issuer.rstrip("/") + _DOCUMENT)
            address = document.get("jwks_uri")
            if document.get("issuer") != self._issuer or not isinstance(address, str):  # (2)
                raise Unusable("its document names another issuer, or no keys")
            if not address.startswith("https://"):
                raise Unusable("its keys are not at an https address")
            return _keys(self._get(client, address))

    def _get(self, client: httpx.Client, address: str) -> dict[str, Any]:
        """(3)."""
        began, read = self._monotonic(), bytearray()
        with client.stream("GET", address, headers={"Accept": "application/json"}) as answer:
            if answer.status_code != httpx.codes.OK:
                raise Unusable(f"it answered {answer.status_code}")
            for part in answer.iter_bytes():
                read += part
                if len(read) > _LARGEST or self._monotonic() - began > _SLOWEST:
                    raise Unusable("its answer is too long, or takes too long")
        try:
            value = json.loads(read)
        except (ValueError, RecursionError):
            raise Unusable("its answer is not JSON") from None
        if not isinstance(value, dict):
            raise Unusable("its answer is not JSON of that kind")
        return value


def _reason(error: Exception) -> str:
    """Some of httpx's errors have no words."""
    return str(error) or type(error).__name__


def _keys(document: Mapping[str, Any]) -> dict[str, Key]:
    """By their names. One that cannot be used is left out: issuers have keys for other purposes too."""
    listed = document.get("keys")
    if not isinstance(listed, list):
        raise Unusable("its list of keys is none")
    found = {}
    for one in listed:
        key = _key(one) if isinstance(one, dict) else None
        if key is not None:
            found[str(one["kid"])] = key
    return found


def _key(said: dict[str, Any]) -> Key | None:
    """(6)."""
    kind = _KINDS.get(str(said.get("kty")))
    operations = said.get("key_ops", ["verify"])
    for_signatures = (
        said.get("use", "sig") == "sig" and isinstance(operations, list) and "verify" in operations
    )
    if kind is None or not for_signatures or not isinstance(said.get("kid"), str) or "d" in said:
        return None
    try:
        fits = _bits(said["n"]) >= _RSA_BITS if kind is RSAKey else said["crv"] in _CURVES
        return kind.import_key(said) if fits else None
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _bits(number: str) -> int:
    """Of a number in Base64url (RFC 7518, 2)."""
    return int.from_bytes(base64.urlsafe_b64decode(f"{number}==")).bit_length()
