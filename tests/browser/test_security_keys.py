"""Security keys in chromium, with an authenticator of its own making (Chrome DevTools Protocol, domain WebAuthn): register, sign in, activate,
sign an approval. WebAuthn wants a host name and a certificate without faults, so that chromium is told the server's key.
"""

import base64
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from playwright.sync_api import BrowserContext, CDPSession, Page, expect, sync_playwright

from bastide.domain.people import Demand, Forest
from bastide.domain.requests import State
from tests.support.api import APPROVAL, ApiWorld
from tests.support.browser import CHROMIUM, free_port, serving
from tests.support.certificates import issue

HOST = "localhost"


@dataclass
class Portal:
    api: ApiWorld
    origin: str
    context: BrowserContext


@pytest.fixture
def portal(tmp_path: Path) -> Iterator[Portal]:
    pair, port = issue(tmp_path, "portal", HOST), free_port()
    origin = f"https://{HOST}:{port}"
    api = ApiWorld(address=origin)
    api.serve()
    try:
        with serving(api, pair, port), sync_playwright() as playwright:
            context = playwright.chromium.launch_persistent_context(
                str(tmp_path / "profile"),
                executable_path=str(CHROMIUM),
                args=[f"--ignore-certificate-errors-spki-list={pin(pair.certificate)}"],
            )
            yield Portal(api, origin, context)
            context.close()
    finally:
        api.close()


def pin(certificate: Path) -> str:
    """SHA-256 of the public key, as chromium wants it."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    encoded = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(encoded).digest()).decode()


class Person:
    """Somebody at a keyboard, with a security key in the machine."""

    def __init__(self, portal: Portal, *, verifies: bool = True) -> None:
        self.page: Page = portal.context.new_page()
        self.faults: list[str] = []
        self.page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        self._origin = portal.origin
        self.chrome: CDPSession = portal.context.new_cdp_session(self.page)
        self.chrome.send("WebAuthn.enable")
        made = self.chrome.send(
            "WebAuthn.addVirtualAuthenticator",
            {
                "options": {
                    "protocol": "ctap2",
                    "transport": "usb",
                    "hasUserVerification": True,
                    "isUserVerified": verifies,
                    "automaticPresenceSimulation": True,
                }
            },
        )
        self.device = made["authenticatorId"]

    def open(self, path: str) -> None:
        self.page.goto(self._origin + path)

    def sign_in(self, account: str, password: str, button: str = "Sign in") -> None:
        self.open("/signin")
        self.page.get_by_label("Account").fill(account)
        self.page.get_by_label("Password").fill(password)
        self.press(button)

    def press(self, name: str) -> None:
        self.page.get_by_role("button", name=name, exact=True).focus()
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")

    def sees(self, text: str | re.Pattern[str]) -> None:
        expect(self.page.get_by_text(text).first).to_be_visible()

    def register(self, name: str, invitation: str = "") -> None:
        self.open("/factors/new")
        self.page.get_by_label("Name of the key").fill(name)
        if invitation:
            self.page.get_by_label("Invitation").fill(invitation)
        self.press("Register")
        self.sees("The security key is registered.")


def test_register_sign_in_activate_and_remove(portal: Portal) -> None:
    api = portal.api
    api.add_role("By key", candidates=("CORP\\alice",), factor=Demand.WEBAUTHN)
    alice = Person(portal)
    alice.sign_in("CORP\\alice", "alice-corp-pw")
    alice.register("blue key", api.services.factors.invite(api.dave, "priv.alice"))
    alice.sees("blue key")
    (key,) = api.services.security_keys.mine(api.sign_in("alice", Forest.CORP))
    assert key.transports == ("usb",)

    alice.press("Sign out")
    alice.sign_in("CORP\\alice", "alice-corp-pw", "Sign in, then use a security key")
    alice.press("Use the key")
    alice.sees("My access")
    (key,) = api.services.security_keys.mine(api.sign_in("alice", Forest.CORP))
    assert key.last_used_at == api.clock.now()

    api.clock.move(minutes=6)
    alice.page.get_by_role("link", name="Ask for By key").click()
    alice.page.get_by_label("What are you going to do?").fill("restore the figures")
    alice.press("Ask")
    alice.sees("a code is not enough")
    alice.press("Use the key")
    alice.sees("Is being opened")
    api.work()
    (request,) = api.open()
    assert request.state is State.ACTIVE
    assert request.proof is not None
    assert request.proof.method == "webauthn"

    alice.open("/factors/new")
    alice.page.get_by_label("Name of the key").fill("the same")
    alice.page.get_by_role("button", name="Register").click()
    alice.sees("This security key is registered already.")
    alice.open("/factors")
    alice.press("Remove blue key")
    alice.sees("this is your last second factor")
    refused = [fault for fault in alice.faults if "401" not in fault and "409" not in fault]
    assert refused == [], "the browser refused or missed nothing"


def test_an_approval_is_signed(portal: Portal) -> None:
    api = portal.api
    api.add_role("Signed", candidates=("CORP\\alice",), stages=APPROVAL, approval_factor=Demand.WEBAUTHN)
    grace = Person(portal)
    code = api.services.factors.invite(api.dave, "PRIV\\grace")
    grace.sign_in("PRIV\\grace", "grace-priv-pw")
    grace.register("key", code)
    request = api.ask("Signed", justification="restore the figures")

    grace.open("/approvals")
    grace.page.get_by_role("link", name="Use a security key instead").click()
    grace.press("Use the key")
    grace.sees("restore the figures")
    grace.page.get_by_label("Your reason").fill("agreed")
    grace.press("Approve with your security key")
    grace.sees("exactly what stands here")
    grace.press("Sign and approve")
    grace.sees("You approved the request.")
    api.work()
    active = api.get(request)
    assert active.state is State.ACTIVE
    assert active.votes[0].signature is not None


def test_a_key_that_verifies_nobody_is_told_and_sends_nothing(portal: Portal) -> None:
    grace = Person(portal, verifies=False)
    code = portal.api.services.factors.invite(portal.api.dave, "PRIV\\grace")
    grace.sign_in("PRIV\\grace", "grace-priv-pw")
    grace.open("/factors/new")
    grace.page.get_by_label("Name of the key").fill("key")
    grace.page.get_by_label("Invitation").fill(code)
    grace.page.get_by_role("button", name="Register").click()
    grace.sees("The security key was not used.")
    assert portal.api.services.security_keys.mine(portal.api.sign_in("grace")) == ()
