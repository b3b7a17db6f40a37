"""Second factors, by somebody who has a person's ticket for a while, or sends what no browser sends."""

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cbor2
import pyotp
import pytest
from webauthn.helpers import bytes_to_base64url

from bastide.domain.errors import MfaRefused
from bastide.domain.people import MfaProof
from bastide.services.factors import Enrolment
from bastide.services.security_keys import Answer
from tests.support.authenticator import ATTESTED, Authenticator
from tests.support.world import World

SESSION = "session"


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def code_of(world: World, enrolment: Enrolment) -> str:
    authenticator = pyotp.parse_uri(enrolment.uri)
    assert isinstance(authenticator, pyotp.TOTP)
    return authenticator.at(world.clock.now())


def test_an_authenticator_that_was_made_in_secret_is_not_confirmed_beside_a_key(world: World) -> None:
    """Somebody with a stolen ticket makes one and waits until the person has a key. admission.py (1)"""
    grace, use = world.sign_in("grace"), world.services
    planted = use.factors.enrol(grace)
    keys = use.security_keys
    own = keys.register(
        grace, SESSION, "blue key", Authenticator().make(keys.ask_to_register(grace, SESSION))
    )
    for stolen in (grace, replace(grace, mfa=MfaProof("oidc", "x", world.clock.now()))):
        with pytest.raises(MfaRefused, match="added and taken away with one of them"):
            use.factors.confirm(stolen, code_of(world, planted))
    with pytest.raises(MfaRefused, match="no second factor is set up"):
        use.factors.prove(grace, code_of(world, planted))
    herself = grace.proved(MfaProof("webauthn", own.id, world.clock.now()))
    assert use.factors.confirm(herself, code_of(world, planted)).factor == planted.factor


def test_one_that_was_not_confirmed_gives_way_to_the_next(world: World) -> None:
    grace, factors = world.sign_in("grace"), world.services.factors
    planted = factors.enrol(grace)
    own = factors.enrol(grace)
    with pytest.raises(MfaRefused):
        factors.confirm(grace, code_of(world, planted))
    assert factors.confirm(grace, code_of(world, own)).factor == own.factor


def cose(**changed: Any) -> bytes:
    return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: b"\x01" * 32, -3: b"\x02" * 32} | changed.get("to", {}))


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (cose(), "ValueError"),  # on no curve
        (cose(to={3: -257}), "not accepted"),  # a curve's key that says it is RSA's
        (cose(to={3: 0}), "alg"),
        (cose(to={3: -65535}), "alg"),  # SHA-1
        (cbor2.dumps({1: 4, 3: 5, -1: b"k" * 32}), "not accepted"),  # a secret key: who knows it signs
        (cbor2.dumps({1: 3, 3: -257, -1: b"\xff" * 8_191, -2: b"\x01\x00\x01"}), "too long"),
        (b"", "not accepted"),
    ],
    ids=["off-curve", "other-alg", "no-alg", "sha-1", "symmetric", "huge", "none"],
)
def test_what_is_no_key_that_could_be_used_is_not_registered(world: World, key: bytes, said: str) -> None:
    """It counts at once, and would be the person's only one."""
    keys, grace, device = world.services.security_keys, world.sign_in("grace"), Authenticator()
    asked = keys.ask_to_register(grace, SESSION)
    attested = bytes(16) + len(device.id).to_bytes(2, "big") + device.id + key
    answer = made(asked.id, device, device.data({}, ATTESTED) + attested, asked.options)
    with pytest.raises(MfaRefused, match=said):
        keys.register(grace, SESSION, "key", answer)
    assert keys.mine(grace) == ()


@pytest.mark.parametrize(
    "statement",
    [
        b"\x81" * 30_000 + b"\x00",
        b"\x9b\x00\x00\x00\xff\xff\xff\xff\xff",
        b"\xc5\x82\x1b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\xd8\x1c\x81\xd8\x1d\x00",
        cbor2.dumps(cbor2.CBORTag(35, "(a+)+$")),
        os.urandom(64),
    ],
    ids=["deep", "long", "large-number", "in-itself", "pattern", "noise"],
)
def test_a_statement_that_costs_is_refused_like_any(world: World, statement: bytes) -> None:
    keys, grace, device = world.services.security_keys, world.sign_in("grace"), Authenticator()
    asked = keys.ask_to_register(grace, SESSION)
    answer = made(asked.id, device, b"", asked.options, statement)
    with pytest.raises(MfaRefused, match="not accepted"):
        keys.register(grace, SESSION, "key", answer)


def made(id_: str, device: Authenticator, data: bytes, options: str, statement: bytes = b"") -> Answer:
    client = device.client("webauthn.create", json.loads(options)["challenge"], {})
    statement = statement or cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
    said = {
        "clientDataJSON": bytes_to_base64url(client),
        "attestationObject": bytes_to_base64url(statement),
        "transports": ["usb"],
    }
    name = bytes_to_base64url(device.id)
    return Answer(id_, {"id": name, "rawId": name, "type": "public-key", "response": said})
