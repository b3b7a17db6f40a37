"""One chromium for a module, and a world behind a server for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.api import ApiWorld
from tests.support.browser import chromium, online


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


@pytest.fixture
def api() -> Iterator[ApiWorld]:
    world = ApiWorld()
    world.serve()
    yield world
    world.close()


@pytest.fixture
def origin(api: ApiWorld, tmp_path: Path) -> Iterator[str]:
    with online(api, tmp_path) as address:
        yield address
