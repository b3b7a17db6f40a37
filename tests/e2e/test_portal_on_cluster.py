"""The portal in chromium on a machine of the domain, in front of real nodes and forests: a ticket signs in without a prompt, one node asks, another one approves,
and the page follows by itself until access is there and over.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from bastide.domain.requests import State
from bastide_lab import plan
from tests.support.browser import CHROMIUM
from tests.support.failover_node import FailoverNode
from tests.support.failover_world import FailoverWorld
from tests.support.inside import inside
from tests.support.patience import PATIENCE
from tests.support.person import Person

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures", "tests.support.failover_fixtures"]
pytestmark = pytest.mark.lab

ROLE = "Files by the portal"
CANDIDATE, APPROVER = r"corp\alice", r"priv\apr.grace"


@contextmanager
def chromium_of(cluster: FailoverWorld, account: str, cache: Path) -> Iterator[Browser]:
    """On the client's host, by somebody who signed in to the machine: that is all Kerberos needs."""
    assert CHROMIUM.exists(), "as root: python3 tools/install.py --lab"
    cluster.lab.kinit("client", account, ccache=cache).check_returncode()
    with inside(cluster.lab.namespace("client")), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM),
            args=["--auth-server-allowlist=*.bastide.test", "--no-sandbox"],
            env={**os.environ, "KRB5CCNAME": f"FILE:{cache}"},
        )
        try:
            yield browser
        finally:
            browser.close()


def at(browser: Browser, node: FailoverNode, forest: str) -> Person:
    """A page of that node, by its name in the forest: PRIV trusts nobody, so a ticket of CORP is for a name in CORP. The lab's own authority is no browser's."""
    names = dict(zip(("priv", "corp"), plan.server_names(plan.host(node.host)), strict=True))
    person = Person(
        browser.new_context(ignore_https_errors=True), f"https://{names[forest]}:{urlsplit(node.url).port}"
    )
    person.page.set_default_timeout(PATIENCE * 1000)
    return person


def test_a_ticket_signs_in_another_node_approves_and_the_page_follows(
    cluster: FailoverWorld, tmp_path: Path
) -> None:
    expect.set_options(timeout=PATIENCE * 1000)
    user = cluster.prepare("alice")
    cluster.prepare_role(ROLE, "FileAdmins", ("alice",), approvers=(r"PRIV\apr.grace",))
    alice_codes, grace_codes = cluster.caller(CANDIDATE), cluster.caller(APPROVER)
    one, two, _ = cluster.nodes
    with chromium_of(cluster, CANDIDATE, tmp_path / "alice") as browser:
        alice = at(browser, one, "corp")
        alice.open("/")
        alice.sees(ROLE)
        alice.press(f"Ask for {ROLE}")
        alice.type("What are you going to do?", "by the portal")
        if alice.page.get_by_label("Code from your authenticator").count():
            alice.type("Code from your authenticator", alice_codes.code())
        alice.press("Ask")
        alice.sees("Waits for approval")
        (request,) = cluster.requests_of(user)

        grace = at(browser, two, "priv")
        grace.open("/signin")
        grace.type("Account", "PRIV\\apr.grace")
        grace.type("Password", cluster.lab.password(APPROVER))
        grace.type("Code from your authenticator", grace_codes.code())
        grace.press("Sign in")
        grace.press("Approvals")
        grace.sees("by the portal")
        grace.press("Approve")
        grace.sees("You approved the request.")

        alice.sees(re.compile(r"^Active$"))
        assert cluster.request(request).directory_end is not None, "it was read back"
        alice.press("End now")
        alice.sees("Ended early")
        cluster.patiently(lambda: cluster.request(request).state, lambda state: state is State.CLOSED)
        assert [one.kind for one in cluster.records(request)].count("request.active") == 1
        assert [fault for fault in (*alice.faults, *grace.faults) if "401" not in fault] == []
