"""Who runs which test, and what is left when the workers of a run are gone."""

from collections.abc import Sequence

import pytest
from xdist.remote import Producer

# Before any of them is imported: which test module imports a fixture first is chance.
pytest.register_assert_rewrite("tests.support")

from tests.support.commands import share_tree  # noqa: E402
from tests.support.lanes import LANES, Lanes, lane_of, take_down_orphans  # noqa: E402

share_tree()


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Outside of the lanes each worker that meets a lab test would bring up a lab for it."""
    for item in items:
        if item.get_closest_marker("lab") and not lane_of(item.nodeid):
            raise pytest.UsageError(
                f"{item.nodeid} needs the lab: name it in a lane of tests/support/lanes.py ({', '.join(LANES)})"
            )


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Lanes | None:
    """In the place of xdist's scheduler of that name."""
    return Lanes(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """xdist kills a worker that has not ended ten seconds after Ctrl-C; its lab would stay until the next run."""
    if session.config.pluginmanager.has_plugin("dsession"):
        take_down_orphans()
