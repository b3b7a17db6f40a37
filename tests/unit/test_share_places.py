"""Where backups may lie, as a person names it, who signs in there, and what a level means."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from bastide.backup.folder import Folder
from bastide.backup.probe import LEVELS, Offers
from bastide.backup.share import Share
from bastide.backup.smb import SmbFolder, address
from bastide.backup.smb_login import ByPassword, ByTicket, Login
from bastide.config import ConfigError, Smb
from bastide.directory.kerberos import Identity
from bastide.domain.errors import InvalidInput, StoreUnavailable
from bastide.wiring import storage
from tests.support.health import MINIMAL

URL = "smb://files.priv.example.com/backups/bastide"


@pytest.mark.parametrize(
    ("text", "server", "share", "folder"),
    [
        (URL, "files.priv.example.com", "backups", "bastide"),
        ("SMB://Files/backups/", "files", "backups", ""),
        ("smb://192.0.2.7/b%20c/d/e%C3%A4", "192.0.2.7", "b c", "d\\eä"),
    ],
)
def test_an_address(text: str, server: str, share: str, folder: str) -> None:
    found = address(text)
    assert (found.server, found.share, found.folder) == (server, share, folder)


def test_an_address_is_shown_as_it_is_given() -> None:
    assert str(address(URL)) == URL
    assert str(address("smb://files/backups")) == "smb://files/backups"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("smb://files", "names no share"),
        ("smb:///backups", "nothing more"),
        ("smb://files:1445/backups", "nothing more"),
        ("smb://files/backups?x=1", "nothing more"),
        ("smb://files/backups/..", "no name of a share or folder"),
        ("smb://files/backups/a%5C..%5Cb", "no name of a share or folder"),
        ("smb://files/backups/a%00b", "no name of a share or folder"),
        ("smb://files/backups/a:b", "no name of a share or folder"),
        ("smb://[files/backups", "cannot be read"),
        ("file:///backups", "nothing more"),
    ],
)
def test_what_is_no_address(text: str, reason: str) -> None:
    with pytest.raises(InvalidInput, match=reason) as refused:
        address(text)
    assert refused.value.remedy


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(InvalidInput, match="names a user") as refused:
        address("smb://writer:Much-Too-Secret-1@files/backups")
    assert "Secret" not in f"{refused.value} {refused.value.remedy}"


def nobody() -> Login:
    raise AssertionError("a folder needs nobody to sign in")


def test_a_path_is_a_folder_and_an_address_a_share(tmp_path: Path) -> None:
    assert isinstance(storage.place(str(tmp_path), nobody), Folder)
    assert storage.backup(str(tmp_path / "one"), nobody) == tmp_path / "one"
    ticket = ByTicket(Identity("svc@PRIV", tmp_path))
    assert isinstance(storage.place(URL, lambda: ticket), Share)
    one = storage.backup(f"{URL}/one.bastide.age", lambda: ticket)
    assert (one.name, str(one)) == ("one.bastide.age", f"{URL}/one.bastide.age")


def test_the_service_signs_in_with_its_ticket_or_with_the_account_of_the_settings(tmp_path: Path) -> None:
    ticket = storage.by_settings(MINIMAL)
    assert isinstance(ticket, ByTicket)
    assert isinstance(ticket.tickets, Identity)
    assert ticket.tickets.principal == MINIMAL.priv.principal
    secret = tmp_path / "password"
    table = Smb(account="NAS\\writer", password=str(secret))
    login = storage.by_settings(msgspec.structs.replace(MINIMAL, smb=table))
    assert login == ByPassword("NAS\\writer", secret)
    lost = msgspec.structs.replace(MINIMAL, smb=Smb(account="w", password="credential:../x"))
    with pytest.raises(ConfigError, match="plain name"):
        storage.by_settings(lost)


def test_without_a_connection_nothing_is_asked_and_close_is_quiet(tmp_path: Path) -> None:
    folder = SmbFolder(address(URL), ByPassword("writer", tmp_path))
    with pytest.raises(StoreUnavailable, match="is not connected"):
        folder.names()
    folder.close()


OFFERS = Offers(
    dialect="3.1.1", cipher="AES-128-GCM", signing="AES-GMAC", durable=120, resumed=True, persistent=False,
    clustered=True, witness=True, watched_by="node-2", unwatched="", interfaces=(), snapshots=-1, writes=1, reads=1,
)  # fmt: skip


def test_levels() -> None:
    """What was not tried, or only promised, counts for nothing."""
    assert OFFERS.level == len(LEVELS) - 1
    assert replace(OFFERS, watched_by="", unwatched="nobody answers").level == 2
    assert replace(OFFERS, clustered=False).level == 1
    assert replace(OFFERS, resumed=False).level == 0
    assert replace(OFFERS, resumed=False, persistent=True, witness=True).level == 0
    assert replace(OFFERS, clustered=False, persistent=True, witness=True).level == 1


def test_a_folder_needs_no_library_for_shares() -> None:
    """It is an extra."""
    code = (
        "import sys; sys.modules['smbprotocol'] = None; sys.modules['spnego'] = None\n"
        "import bastide.backup.backups, bastide.health.checks.recovery\n"
        "from bastide.wiring import storage\n"
        "storage.place('/tmp', None)\n"
        "from bastide.extras import missing_extra\n"
        "try: storage.place('smb://a/b', lambda: storage.by_own_ticket())\n"
        "except ImportError as error: print(missing_extra(error))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "smb"
