"""Security keys: what a browser's authenticator says (W3C Web Authentication Level 3), and whether it counts. Pure.

An answer is refused unless, in order:
  (1) It was made on a page of ours, at the one address that people use, and that page was no part of another site's.
  (2) It is about the challenge that was given.
  (3) Somebody was there, and the authenticator made sure who: by PIN, finger or face.
  (4) The key that is registered made the signature.
  (5) The key's counter is beyond that of its last use: one that goes back is a copy (section 6.1.1). Zero both times: it has none.

The library takes 9 MiB of memory, so that it is loaded where a key is used and not before.
"""

import ipaddress
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from bastide.domain.errors import Conflict, MfaRefused

#: Of a MfaProof.
METHOD = "webauthn"
NAME = "Bastide"
#: What people have to touch, find and type a PIN on.
TIMEOUT_MS = 120_000
#: Of a key's id, in bytes (section 5.8.3 of Level 3).
_LONGEST_ID = 1_023
#: Of a public key, in bytes: it is kept with a vote too. One of ML-DSA-87 has 2,592, one of RSA with 8,192 bits 1,030.
_LONGEST_KEY = 4_096
#: Of what a key signed, in bytes: it is kept with a vote, and honest ones have less than a thousand.
_LONGEST_ASSERTION = 8_192
#: Of what the library says about an answer, in characters.
_WORDS = 160
_AGAIN = "open the page again, and use a security key that is registered for you"


class Purpose(StrEnum):
    """What a challenge is for. An answer to one is no answer to another."""

    REGISTER = "register"
    PROVE = "prove"
    APPROVE = "approve"


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """We, as a browser knows us: `id` is the host of the address that people use, `origin` that address."""

    id: str
    origin: str


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A registered key, as a browser asks for it."""

    id: bytes
    transports: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NewKey:
    """What an authenticator made. `public_key`: a COSE key (RFC 9052)."""

    id: bytes
    public_key: bytes
    sign_count: int
    aaguid: str
    backed_up: bool
    transports: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an authenticator signed: `signature` is over the authenticator's data and the hash of the client's."""

    id: bytes
    authenticator_data: bytes
    client_data: bytes
    signature: bytes


def relying_party(address: str) -> RelyingParty | None:
    """Out of `server.url`; None if a browser would take no security key there: no address, or one without a name."""
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").encode("idna").decode().lower(), parts.port
    except ValueError:
        return None
    if parts.scheme != "https" or not host or _is_number(host):
        return None
    return RelyingParty(host, f"https://{host}" + (f":{port}" if port not in {None, 443} else ""))


def needed(party: RelyingParty | None) -> RelyingParty:
    """Raises Conflict where security keys do not work."""
    if party is None:
        raise Conflict(
            "security keys do not work here: the service does not know the address that people use",
            remedy="set server.url in bastide.toml to https:// and the host name of this server",
        )
    return party


def to_register(
    party: RelyingParty,
    *,
    person: bytes,
    account: str,
    challenge: bytes,
    known: Collection[Descriptor],
    kept: bool = False,
) -> str:
    """Options for `navigator.credentials.create`, as JSON. `person`: up to 64 bytes that stand for the person. `kept`: the key remembers what it is for, and is found
    later without a list of keys.
    """
    import webauthn  # noqa: PLC0415  # 9 MiB
    from webauthn.helpers import structs  # noqa: PLC0415

    options = webauthn.generate_registration_options(
        rp_id=party.id,
        rp_name=NAME,
        user_id=person,
        user_name=account,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        attestation=structs.AttestationConveyancePreference.NONE,
        authenticator_selection=structs.AuthenticatorSelectionCriteria(
            resident_key=structs.ResidentKeyRequirement.REQUIRED
            if kept
            else structs.ResidentKeyRequirement.DISCOURAGED,
            user_verification=structs.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=_descriptors(known),
    )
    return webauthn.options_to_json(options)


def to_use(party: RelyingParty, *, challenge: bytes, known: Collection[Descriptor]) -> str:
    """Options for `navigator.credentials.get`, as JSON. `known` empty: any key that was registered as `kept`."""
    import webauthn  # noqa: PLC0415  # 9 MiB
    from webauthn.helpers import structs  # noqa: PLC0415

    options = webauthn.generate_authentication_options(
        rp_id=party.id,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        allow_credentials=_descriptors(known),
        user_verification=structs.UserVerificationRequirement.REQUIRED,
    )
    return webauthn.options_to_json(options)


def registered(party: RelyingParty, challenge: bytes, answer: Mapping[str, Any]) -> NewKey:
    """The new key in an answer to `to_register`: (1) to (3). Raises MfaRefused."""
    import webauthn  # noqa: PLC0415  # 9 MiB
    from webauthn.helpers import (  # noqa: PLC0415
        decode_credential_public_key,
        decoded_public_key_to_cryptography,
        parse_registration_credential_json,
    )

    try:
        credential = parse_registration_credential_json(dict(answer))
        _not_embedded(credential.response.client_data_json)
        made = webauthn.verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            require_user_verification=True,
        )
        # The library reads the key when it is used first, and that would be too late.
        decoded_public_key_to_cryptography(decode_credential_public_key(made.credential_public_key))
    except Exception as error:  # noqa: BLE001  # anybody's bytes, and the library names only some of its errors
        raise _refused(error) from None
    if len(made.credential_id) > _LONGEST_ID or len(made.credential_public_key) > _LONGEST_KEY:
        raise MfaRefused("the key, or its id, is too long", remedy=_AGAIN)
    return NewKey(
        id=made.credential_id,
        public_key=made.credential_public_key,
        sign_count=made.sign_count,
        aaguid=made.aaguid,
        backed_up=made.credential_backed_up,
        transports=tuple(sorted(one.value for one in credential.response.transports or ())),
    )


def assertion_of(answer: Mapping[str, Any]) -> Assertion:
    """An answer to `to_use`, taken apart and not checked. Raises MfaRefused."""
    from webauthn.helpers import parse_authentication_credential_json  # noqa: PLC0415  # 9 MiB

    try:
        credential = parse_authentication_credential_json(dict(answer))
    except Exception as error:  # noqa: BLE001  # as above
        raise _refused(error) from None
    said = credential.response
    parts = (credential.raw_id, said.authenticator_data, said.client_data_json, said.signature)
    if sum(map(len, parts)) > _LONGEST_ASSERTION:
        raise MfaRefused("the security key's answer is too long", remedy=_AGAIN)
    return Assertion(*parts)


def check(party: RelyingParty, assertion: Assertion, challenge: bytes, public_key: bytes) -> int:
    """The key's counter, after (1) to (4). Raises MfaRefused."""
    import webauthn  # noqa: PLC0415  # 9 MiB
    from webauthn.helpers import bytes_to_base64url, structs  # noqa: PLC0415

    try:
        _not_embedded(assertion.client_data)
        verified = webauthn.verify_authentication_response(
            credential=structs.AuthenticationCredential(
                id=bytes_to_base64url(assertion.id),
                raw_id=assertion.id,
                response=structs.AuthenticatorAssertionResponse(
                    client_data_json=assertion.client_data,
                    authenticator_data=assertion.authenticator_data,
                    signature=assertion.signature,
                ),
            ),
            expected_challenge=challenge,
            expected_rp_id=party.id,
            expected_origin=party.origin,
            credential_public_key=public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except Exception as error:  # noqa: BLE001  # as above
        raise _refused(error) from None
    return verified.new_sign_count


def went_back(last: int, shown: int) -> bool:
    """Whether the counter says that there are two of this key: (5)."""
    return (last > 0 or shown > 0) and shown <= last


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _not_embedded(client_data: bytes) -> None:
    """(1): the library reads `crossOrigin` and does not ask what it says."""
    if json.loads(client_data).get("crossOrigin"):
        raise MfaRefused("the page was a part of another site's", remedy=_AGAIN)


def _descriptors(known: Collection[Descriptor]) -> list[Any]:
    from webauthn.helpers import structs  # noqa: PLC0415  # 9 MiB

    usual = {one.value for one in structs.AuthenticatorTransport}
    return [
        structs.PublicKeyCredentialDescriptor(
            id=one.id,
            transports=[structs.AuthenticatorTransport(how) for how in one.transports if how in usual]
            or None,
        )
        for one in known
    ]


def _refused(error: Exception) -> MfaRefused:
    """In the library's words where it has some: they quote an origin and never a key."""
    if isinstance(error, MfaRefused):
        return error
    known = type(error).__module__.startswith("webauthn.")
    cause = "".join(c for c in str(error) if c.isprintable())[:_WORDS] if known else type(error).__name__
    return MfaRefused(f"the security key's answer was not accepted: {cause}", remedy=_AGAIN)
