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
from playwright.sync_api import Playwright, expect, sync_playwright

from bastide.domain.requests import State
from bastide_lab import plan
from tests.support.browser import CHROMIUM
from tests.support.failover_node import FailoverNode
from tests.support.failover_world import Caller, FailoverWorld
from tests.support.inside import inside
from tests.support.patience import PATIENCE
from tests.support.person import Person

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures", "tests.support.failover_fixtures"]
pytestmark = pytest.mark.lab

ROLE = "Files by the portal"
CANDIDATE, APPROVER = r"corp\alice", r"priv\apr.grace"


@pytest.fixture
def playwright(cluster: FailoverWorld) -> Iterator[Playwright]:
    """Its browsers are on the client's host; this thread stays where it is."""
    assert CHROMIUM.exists(), "as root: python3 tools/install.py --lab"
    with inside(cluster.lab.namespace("client")):
        started = sync_playwright().start()
    expect.set_options(timeout=PATIENCE * 1000)
    yield started
    expect.set_options(timeout=None)
    started.stop()


@contextmanager
def person_at(playwright: Playwright, node: FailoverNode, forest: str, profile: Path) -> Iterator[Person]:
    """At that node by its name in the forest: PRIV trusts nobody, so a ticket of CORP is for a name in CORP. With a profile of its own: in a private window
    a browser shows no ticket by itself. The lab's own authority is no browser's.
    """
    names = dict(zip(("priv", "corp"), plan.server_names(plan.host(node.host)), strict=True))
    context = playwright.chromium.launch_persistent_context(
        profile,
        executable_path=str(CHROMIUM),
        args=["--auth-server-allowlist=*.bastide.test"],
        chromium_sandbox=False,
        env={**os.environ, "KRB5CCNAME": f"FILE:{profile}.ccache"},
        ignore_https_errors=True,
    )
    try:
        person = Person(context, f"https://{names[forest]}:{urlsplit(node.url).port}")
        person.page.set_default_timeout(PATIENCE * 1000)
        yield person
    finally:
        context.close()


def approve(playwright: Playwright, cluster: FailoverWorld, grace: Caller, profile: Path) -> None:
    """Grace, who has no ticket, at the second node."""
    with person_at(playwright, cluster.nodes[1], "priv", profile) as person:
        person.open("/signin")
        person.type("Account", "PRIV\\apr.grace")
        person.type("Password", cluster.lab.password(APPROVER))
        person.type("Code from your authenticator", grace.code())
        person.press("Sign in")
        person.press("Approvals")
        person.sees("by the portal")
        person.press("Approve")
        person.sees("You approved the request.")
        assert [fault for fault in person.faults if "401" not in fault] == []


def test_a_ticket_signs_in_another_node_approves_and_the_page_follows(
    cluster: FailoverWorld, playwright: Playwright, tmp_path: Path
) -> None:
    user = cluster.prepare("alice")
    cluster.prepare_role(ROLE, "FileAdmins", ("alice",), approvers=(r"PRIV\apr.grace",))
    alices, graces = cluster.caller(CANDIDATE), cluster.caller(APPROVER)
    profile = tmp_path / "alice"
    cluster.lab.kinit("client", CANDIDATE, ccache=Path(f"{profile}.ccache")).check_returncode()
    with person_at(playwright, cluster.nodes[0], "corp", profile) as alice:
        alice.open("/")
        # The first time that a profile meets Negotiate, chromium for Linux only remembers that it needs the library for it.
        alice.press("go on without a password")
        alice.sees(ROLE)
        alice.press(f"Ask for {ROLE}")
        alice.type("What are you going to do?", "by the portal")
        if alice.page.get_by_label("Code from your authenticator").count():
            alice.type("Code from your authenticator", alices.code())
        alice.press("Ask")
        alice.sees("Waits for approval")
        (request,) = cluster.requests_of(user)
        approve(playwright, cluster, graces, tmp_path / "grace")
        alice.sees(re.compile(r"^Active$"))
        assert cluster.request(request).directory_end is not None, "it was read back"
        alice.press("End now")
        alice.sees("Ended early")
        cluster.patiently(lambda: cluster.request(request).state, lambda state: state is State.CLOSED)
        assert [one.kind for one in cluster.records(request)].count("request.active") == 1
        assert [fault for fault in alice.faults if "401" not in fault] == []
