"""The cluster as a fixture. A test module says `pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures", "tests.support.failover_fixtures"]`."""

from collections.abc import Iterator

import pytest

from bastide_lab.lab import Lab
from tests.support.directory_lab import DirectoryLab
from tests.support.failover_world import FailoverWorld


@pytest.fixture(scope="module")
def cluster_lab(lab: Lab) -> Lab:
    """The lab, with databases and further servers. Before anybody is inside of a host: see `plan.ON_DEMAND`."""
    lab.add_cluster()
    return lab


@pytest.fixture(scope="module")
def cluster(
    cluster_lab: Lab, directory_lab: DirectoryLab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FailoverWorld]:
    """Three nodes that run."""
    assert cluster_lab is directory_lab.lab
    made = FailoverWorld(directory_lab, tmp_path_factory.mktemp("cluster"))
    try:
        made.start()
        yield made
    finally:
        made.close()
