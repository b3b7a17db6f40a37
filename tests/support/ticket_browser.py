"""Chromium on a machine of the domain, in front of nodes that run: whoever signed in to the machine has a ticket, and that is all Kerberos needs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Playwright, expect, sync_playwright

from bastide_lab import plan
from tests.support.browser import CHROMIUM
from tests.support.failover_node import FailoverNode
from tests.support.failover_world import FailoverWorld
from tests.support.inside import inside
from tests.support.patience import PATIENCE
from tests.support.person import Person


@dataclass(frozen=True, slots=True)
class Look:
    """How a person looks at the portal. `scripts`: whether the browser runs any."""

    scripts: bool
    width: int
    height: int
    scheme: Literal["light", "dark"]


DESK = Look(True, 1280, 800, "light")
PHONE = Look(False, 360, 740, "dark")


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
def person_at(
    playwright: Playwright, node: FailoverNode, forest: str, profile: Path, look: Look = DESK
) -> Iterator[Person]:
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
        java_script_enabled=look.scripts,
        viewport={"width": look.width, "height": look.height},
        color_scheme=look.scheme,
    )
    try:
        person = Person(context, f"https://{names[forest]}:{urlsplit(node.url).port}")
        person.page.set_default_timeout(PATIENCE * 1000)
        yield person
    finally:
        context.close()
