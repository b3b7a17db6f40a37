"""A security key in software: attestation "none", ES256 assertions, as a browser passes them on. Every part of an answer can be made wrong."""

import hashlib
import json
import secrets
from collections.abc import Mapping
from typing import Any

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url

from bastide.services.security_keys import Answer, Asked
from tests.support.world import ADDRESS

HOST = "bastide.priv.bastide.test"
PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


class Authenticator:
    """One key. `count` is what its counter shows next."""

    def __init__(self, *, origin: str = ADDRESS, host: str = HOST) -> None:
        self.id = secrets.token_bytes(32)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.count = 1
        self.origin, self.host = origin, host

    def make(self, asked: Asked, **wrong: Any) -> Answer:
        """What `navigator.credentials.create` gives for these options."""
        options = json.loads(asked.options)
        client = self.client("webauthn.create", options["challenge"], wrong)
        attested = bytes(16) + len(self.id).to_bytes(2, "big") + self.id + self._cose()
        data = self.data(wrong, ATTESTED) + attested
        statement = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        said = {
            "clientDataJSON": bytes_to_base64url(client),
            "attestationObject": bytes_to_base64url(statement),
            "transports": ["usb"],
        }
        return Answer(asked.id, self._credential(said))

    def use(self, asked: Asked, **wrong: Any) -> Answer:
        """What `navigator.credentials.get` gives for these options."""
        options = json.loads(asked.options)
        client = self.client("webauthn.get", options["challenge"], wrong)
        data = self.data(wrong)
        signed = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        said = {
            "clientDataJSON": bytes_to_base64url(client),
            "authenticatorData": bytes_to_base64url(data),
            "signature": bytes_to_base64url(wrong.get("signature", signed)),
        }
        return Answer(asked.id, self._credential(said))

    def client(self, kind: str, challenge: str, wrong: Mapping[str, Any]) -> bytes:
        said = {
            "type": wrong.get("type", kind),
            "challenge": wrong.get("challenge", challenge),
            "origin": wrong.get("origin", self.origin),
            "crossOrigin": wrong.get("embedded", False),
        }
        return json.dumps(said).encode()

    def data(self, wrong: Mapping[str, Any], more: int = 0) -> bytes:
        flags = wrong.get("flags", PRESENT | VERIFIED) | more
        count = wrong.get("count", self.count)
        self.count += 1
        host = hashlib.sha256(wrong.get("host", self.host).encode()).digest()
        return bytes(host + bytes([flags]) + count.to_bytes(4, "big"))

    def _credential(self, response: Mapping[str, Any]) -> dict[str, Any]:
        name = bytes_to_base64url(self.id)
        return {"id": name, "rawId": name, "type": "public-key", "response": dict(response)}

    def _cose(self) -> bytes:
        numbers = self.key.public_key().public_numbers()
        return cbor2.dumps(
            {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        )


def challenge_of(asked: Asked) -> bytes:
    """What the options ask to be signed."""
    return base64url_to_bytes(json.loads(asked.options)["challenge"])
