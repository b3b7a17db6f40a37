"""Tokens of an issuer, read as a resource server reads them (RFC 7519, RFC 8725, RFC 9068). What a token says is who somebody is; what they
may do is said by their groups in the directory (authn.py). Step by step:

(1) It has three parts and at most 16 KiB.
(2) Its header names one of the algorithms below, all of them with a public key: neither `none` nor HS*. Its type is that of a token for
    access, or not said. It asks for nothing that must be understood (`crit`).
(3) The key is the issuer's own (keys.py), by its name. What a header brings along or points to (jwk, jku, x5c, x5u) is not looked at.
(4) The signature holds, with the key of the algorithm's kind.
(5) It is the issuer's, to the letter, and for us.
(6) It says until when it is good and when it was made. Now is neither after its end nor before its beginning; clocks may differ by 60 seconds.
(7) The application that got it may act for people: every claim that names one is on the list, and there is one at least.
(8) The claim of the settings names the account: one text, in the form that the settings say.
(9) A second factor counts if a claim says so that the settings name, and from `auth_time` on: when the token was made says nothing about it.

No message holds anything out of a token.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import ClaimError, JoseError

from bastide.domain.errors import NotAuthenticated
from bastide.domain.people import Forest
from bastide.oidc.keys import IssuerKeys
from bastide.services.signin import Identified, Naming

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519")
#: Seconds.
SKEW = 60
_LONGEST = 16 * 1024
_LONGEST_NAME = 256
_PARTS = 3
_TYPES = frozenset({"jwt", "at+jwt", "application/jwt", "application/at+jwt"})
#: OpenID Connect, RFC 9068, and Microsoft's first version.
_APPLICATIONS = ("azp", "client_id", "appid")


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a token must say. `second_factor`: claim and value of which one is enough."""

    issuer: str
    audience: str
    applications: frozenset[str]
    claim: str
    naming: Naming
    second_factor: tuple[tuple[str, str], ...] = ()


class _Registry(jws.JWSRegistry):
    """Some issuers send the whole chain of a certificate along, and names of their own: neither is looked at."""

    max_header_length = _LONGEST


class IssuedTokens:
    """Reads the tokens of one issuer, which speaks for the accounts of one forest."""

    def __init__(
        self, expected: Expected, keys: IssuerKeys, *, forest: Forest, now: Callable[[], datetime]
    ) -> None:
        self.forest = forest
        self._expected = expected
        self._keys = keys
        self._now = now

    def read(self, token: str) -> Identified:
        """Whom it names. Raises NotAuthenticated with the cause, IssuerUnavailable."""
        claims = self._verified(token)
        self._check(claims)
        self._check_application(claims)
        return Identified(self._account(claims), self._expected.naming, *self._second_factor(claims))

    def _verified(self, token: str) -> Mapping[str, Any]:
        raw = token.encode("ascii", "replace")
        if len(raw) > _LONGEST or raw.count(b".") != _PARTS - 1:  # (1)
            raise NotAuthenticated("the token is none, or too long")
        registry = _Registry(algorithms=ALGORITHMS, strict_check_header=False)
        try:
            header = jws.extract_compact(raw, registry=registry).headers()
        except (JoseError, ValueError, TypeError, RecursionError):
            raise NotAuthenticated("the token cannot be read") from None
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in ALGORITHMS or str(header.get("typ", "JWT")).lower() not in _TYPES:  # (2)
            raise NotAuthenticated("the token's algorithm or type is not taken")
        if not isinstance(kid, str) or "crit" in header:
            raise NotAuthenticated("the token names no key, or asks for what is not known")
        key = self._keys.get(kid)  # (3)
        if key is None:
            raise NotAuthenticated("the token's key is not the issuer's")
        try:
            return jwt.decode(raw, key, registry=registry).claims  # (4)
        except (JoseError, ValueError, TypeError, RecursionError):
            raise NotAuthenticated("the token's signature does not hold") from None

    def _check(self, claims: Mapping[str, Any]) -> None:
        registry = jwt.JWTClaimsRegistry(
            now=int(self._now().timestamp()),
            leeway=SKEW,
            iss={"essential": True, "value": self._expected.issuer},  # (5)
            aud={"essential": True, "value": self._expected.audience},
            exp={"essential": True},  # (6)
            iat={"essential": True},
        )
        try:
            registry.validate(dict(claims))
        except ClaimError as error:
            raise NotAuthenticated(f"the token's {error.claim} does not fit") from None

    def _check_application(self, claims: Mapping[str, Any]) -> None:
        """(7)."""
        said = [claims[name] for name in _APPLICATIONS if name in claims]
        if not said or any(one not in self._expected.applications for one in map(_text, said)):
            raise NotAuthenticated("the token was given to an application that may not act for people")

    def _account(self, claims: Mapping[str, Any]) -> str:
        """(8)."""
        name = _text(claims.get(self._expected.claim))
        if not _has_form(name, self._expected.naming):
            raise NotAuthenticated(f"the token's claim {self._expected.claim!r} names no account")
        return name

    def _second_factor(self, claims: Mapping[str, Any]) -> tuple[str, datetime | None]:
        """(9)."""
        at = claims.get("auth_time")
        if type(at) is not int or not 0 <= at <= self._now().timestamp() + SKEW:
            return "", None
        for name, value in self._expected.second_factor:
            if value in _texts(claims.get(name)):
                return f"{name}={value}", min(datetime.fromtimestamp(at, UTC), self._now())
        return "", None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: object) -> Collection[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else [_text(value)]


def _has_form(name: str, naming: Naming) -> bool:
    if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable():
        return False
    match naming:
        case Naming.SID:
            return name.startswith("S-1-")
        case Naming.UPN:
            return "@" in name and "\\" not in name
        case Naming.NAME:
            return not set(name) & set("@\\/") and not name.startswith("S-1-")
