"""File servers as a fixture. A test module says `pytest_plugins = ["tests.support.lab", "tests.support.share_fixtures"]`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bastide.backup.smb import SmbFolder, address
from bastide.backup.smb_login import ByTicket
from bastide.directory.kerberos import Identity
from bastide_lab import plan
from bastide_lab.lab import Lab
from bastide_lab.shares import BACKUPS, WRITER
from tests.support.inside import inside

URL = f"smb://{plan.SHARE.fqdn}/{BACKUPS}"


@pytest.fixture(scope="session")
def share_lab(lab: Lab) -> Lab:
    """The lab, with two file servers. Before anybody is inside of a host: see `plan.ON_DEMAND`."""
    lab.add_shares()
    return lab


@pytest.fixture(scope="session")
def writer(share_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Identity:
    """The account that backups are written as."""
    keytab = tmp_path_factory.mktemp("share") / "writer.keytab"
    share_lab.keytab("priv", [WRITER], keytab)
    return Identity(share_lab.principal(rf"priv\{WRITER}"), keytab)


@pytest.fixture
def share_folder(share_lab: Lab, writer: Identity) -> Iterator[Path]:
    """What the share shows, empty. The test is inside the server's namespace, and both file servers live."""
    share_lab.shares.start()
    with inside(share_lab.namespace("bastide")):
        yield share_lab.shares.folder
    for left in share_lab.shares.folder.iterdir():
        left.unlink()


@pytest.fixture
def smb(share_folder: Path, writer: Identity) -> Iterator[SmbFolder]:
    """A connection that is not made yet."""
    folder = SmbFolder(address(URL), ByTicket(writer))
    yield folder
    folder.close()
