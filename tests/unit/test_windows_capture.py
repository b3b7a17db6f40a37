"""Capture on Windows: what becomes of a change that the filter tells of."""

import ast
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from pysequoia import Cert, CipherSuite, Profile, Tsk, decrypt

from bastide import wire
from bastide.pcns import Configuration, ServiceSettings, Target, sid_bytes
from bastide_agent.failures import DirectoryGone, NoAccount, SpoolFull, Unusable
from bastide_agent.spool import Change, Spool
from bastide_agent.windows.capture import WindowsCapture
from bastide_agent.windows.frames import FrameError, Reply, answer
from bastide_agent.windows.seal import seal
from tests.support.agent import ADMINS, BASE, DOMAIN_SID, USERS, MemoryLog, target
from tests.unit.test_windows_frames import MARKER, RECORDED

SOURCE = Path(__file__).parents[2] / "src"
INVOCATION = str(uuid4())
ANN = uuid4()
RID = 1234
PASSWORD = "Pä".encode("utf-16-le")
KEYS = [
    Tsk.generate(user_id="server", profile=Profile.RFC4880, cipher_suite=CipherSuite.Cv25519)
    for _ in range(2)
]
CERTIFICATES = [bytes(key.extract_certificate()) for key in KEYS]


class Accounts:
    """A directory with one person."""

    def __init__(self) -> None:
        self.usn = 5
        self.gone = False
        self.found: dict[str, Sequence[bytes]] = {
            "objectGUID": [ANN.bytes_le],
            "objectSid": [sid_bytes(f"{DOMAIN_SID}-{RID}")],
            "sAMAccountName": [b"ann"],
            "primaryGroupID": [b"513"],
            "tokenGroups": [],
            "userAccountControl": [b"512"],
        }

    def highest_usn(self) -> int:
        if self.gone:
            raise DirectoryGone("away")
        return self.usn

    def by_rid(self, rid: int, names: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        if self.gone:
            raise DirectoryGone("away")
        if rid != RID:
            raise NoAccount("it is not there")
        return {name: self.found[name] for name in names if name in self.found}


class World:
    """A capture, its queue on the disk, and a directory."""

    def __init__(self, path: Path, *targets: Target) -> None:
        self.log = MemoryLog()
        self.accounts = Accounts()
        self.targets = targets or (target(certificate=CERTIFICATES[0]),)
        self.spool = Spool(path, self.log, limit=1 << 22, aside=lambda: "now")
        self.capture = WindowsCapture(self.accounts, self.spool, seal, self.log)
        self.capture.begin(BASE, INVOCATION)
        self.round()

    def round(self) -> int:
        return self.capture.round(Configuration(ServiceSettings(), self.targets))

    def take(
        self,
        *,
        rid: int = RID,
        number: int = 7,
        lost: int = 0,
        marker: UUID = MARKER,
        password: bytes = PASSWORD,
    ) -> Reply:
        size = 56 + 6 + len(password)
        raw = bytearray(RECORDED[:62])
        raw[6:8] = size.to_bytes(2, "little")
        raw[8:16] = rid.to_bytes(4, "little") + lost.to_bytes(4, "little")
        raw[16:32] = marker.bytes_le
        raw[32:40] = number.to_bytes(8, "little")
        raw[50:52] = len(password).to_bytes(2, "little")
        said = self.capture.take(bytes(raw) + password)
        return next(reply for reply in Reply if answer(number, reply) == said)

    def change(self) -> Change:
        item = self.spool.next_for(str(self.targets[0].guid))
        assert item is not None
        return item.change


def opened(key: Tsk, message: bytes) -> bytes | None:
    return decrypt(message, decryptor=key.decryptor()).bytes


def test_a_change_is_in_the_queue_before_the_filter_may_forget_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.take() is Reply.TAKEN
    change = world.change()
    assert change == Change(
        reference=wire.reference_of(str(ANN), str(MARKER), 7),
        user_guid=str(ANN),
        user_sid=f"{DOMAIN_SID}-{RID}",
        account="ann",
        changed_at=0x01DC83B1B85F8000,
        revision=0,
        origin=INVOCATION,
        secret=change.secret,
        check=b"",
    )
    assert opened(KEYS[0], change.secret) == PASSWORD
    assert world.log.of(2201)[0]["targets"] == ["one"]
    assert (world.round(), world.round()) == (1, 0)


def test_no_file_and_no_event_holds_the_password(tmp_path: Path) -> None:
    world = World(tmp_path)
    canary = "Kanarienvogel-4711".encode("utf-16-le")
    assert world.take(password=canary) is Reply.TAKEN
    for path in tmp_path.iterdir():
        assert canary not in path.read_bytes()
        assert b"Kanarienvogel" not in path.read_bytes()
    assert "Kanarienvogel" not in str(world.log.lines)


def test_told_twice_it_counts_once(tmp_path: Path) -> None:
    """The answer was lost on the way: the filter tells again."""
    world = World(tmp_path)
    assert [world.take(), world.take()] == [Reply.TAKEN, Reply.TAKEN]
    assert world.spool.waiting() == 1
    assert world.round() == 1


def test_two_changes_and_two_starts_are_different_changes(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.take(number=1)
    world.take(number=2)
    world.take(number=1, marker=uuid4())
    assert world.spool.waiting() == 3


def test_before_the_configuration_is_known_the_filter_keeps_it(tmp_path: Path) -> None:
    log = MemoryLog()
    spool = Spool(tmp_path, log, limit=1 << 22, aside=lambda: "now")
    capture = WindowsCapture(Accounts(), spool, seal, log)
    assert capture.take(RECORDED) == answer(7, Reply.LATER)
    assert capture.seen_usn == -1
    capture.come_back(BASE, INVOCATION)
    assert capture.take(RECORDED) == answer(7, Reply.LATER)
    capture.round(Configuration(ServiceSettings(), (target(certificate=CERTIFICATES[0]),)))
    assert capture.take(RECORDED) == answer(7, Reply.TAKEN)
    assert capture.seen_usn == 5


def test_while_the_directory_is_away_the_filter_keeps_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.accounts.gone = True
    assert world.take() is Reply.LATER
    with pytest.raises(DirectoryGone):
        world.round()
    world.accounts.gone = False
    assert world.take() is Reply.TAKEN


def test_while_the_queue_cannot_be_written_the_filter_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)

    def full(*_: object) -> list[Change]:
        raise SpoolFull("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(world.spool, "add", full)
        assert world.take() is Reply.LATER
    assert world.log.numbers() == [6018]
    assert world.take() is Reply.TAKEN


def test_an_account_that_is_gone(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.take(rid=99) is Reply.DISCARD
    assert world.log.of(4101) == [{"detail": "ann (RID 99)"}]


@pytest.mark.parametrize("control", [b"4096", b"532480", b"2080"])
def test_machines_are_nobody(tmp_path: Path, control: bytes) -> None:
    world = World(tmp_path)
    world.accounts.found["userAccountControl"] = [control]
    assert world.take() is Reply.DISCARD
    assert world.log.lines == []


def test_the_account_of_a_read_only_kdc_is_nobody(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.accounts.found["msDS-SecondaryKrbTgtNumber"] = [b"7"]
    assert world.take() is Reply.DISCARD


@pytest.mark.parametrize(
    ("name", "value", "number"),
    [
        ("objectSid", b"\1", 6010),
        ("objectGUID", b"", 6010),
        ("userAccountControl", b"x", 6010),
        ("sAMAccountName", b"", 6004),
    ],
)
def test_an_object_that_makes_no_sense_is_said(tmp_path: Path, name: str, value: bytes, number: int) -> None:
    world = World(tmp_path)
    world.accounts.found[name] = [value]
    assert world.take() is Reply.DISCARD
    assert world.log.numbers() == [number]


def test_no_password_at_all_is_said(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.take(password=b"") is Reply.DISCARD
    assert world.log.numbers() == [6005]


def test_a_lone_surrogate_goes_through_as_it_is(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert world.take(password=b"\x00\xd8\x00\x00") is Reply.TAKEN
    assert opened(KEYS[0], world.change().secret) == b"\x00\xd8\x00\x00"


# ------------------------------------------------------------------------------------------------------------ who is told


def test_nested_and_primary_groups_decide(tmp_path: Path) -> None:
    admins = target("admins", inclusion=ADMINS, certificate=CERTIFICATES[1])
    world = World(tmp_path, target("users", inclusion=USERS, certificate=CERTIFICATES[0]), admins)
    world.take(number=1)
    assert [one["target"] for one in world.log.of(2303)] == ["admins"]
    assert opened(KEYS[0], world.change().secret) == PASSWORD
    with pytest.raises(RuntimeError):
        opened(KEYS[1], world.change().secret)
    world.accounts.found["tokenGroups"] = [sid_bytes(ADMINS)]
    world.take(number=2)
    both = world.spool.next_for(str(admins.guid))
    assert both is not None
    assert [opened(key, both.change.secret) for key in KEYS] == [PASSWORD, PASSWORD]


def test_nobody_to_tell(tmp_path: Path) -> None:
    world = World(tmp_path, target(disabled=True, certificate=CERTIFICATES[0]))
    assert world.take() is Reply.DISCARD
    assert world.log.numbers() == [4201]
    excluded = World(tmp_path, target(exclusion=USERS, certificate=CERTIFICATES[0]))
    assert excluded.take() is Reply.DISCARD
    assert excluded.log.numbers() == [2303]


@pytest.mark.parametrize(
    ("certificate", "why"),
    [
        (b"", "has no OpenPGP certificate"),
        (b"nonsense", "is no OpenPGP certificate"),
        (bytes(KEYS[0]), "holds a private key"),
    ],
)
def test_one_bad_certificate_does_not_silence_the_others(
    tmp_path: Path, certificate: bytes, why: str
) -> None:
    bad = target("bad", certificate=certificate)
    world = World(tmp_path, target("good", certificate=CERTIFICATES[0]), bad)
    assert world.take() is Reply.TAKEN
    assert world.log.of(6022)[0]["target"] == "bad"
    assert why in str(world.log.of(6022)[0]["detail"])
    assert world.spool.next_for(str(bad.guid)) is None
    alone = World(tmp_path, bad)
    assert alone.take(number=8) is Reply.DISCARD


def test_a_certificate_that_only_signs_is_said() -> None:
    """An encrypted message needs a key that encrypts."""
    signing_only = Cert.from_bytes(CERTIFICATES[0])
    packets = bytes(signing_only)
    # The first subkey packet (tag 14, new or old format) begins where the encryption key does: without it, only signing is left.
    at = next(i for i in range(40, len(packets)) if packets[i] in {0xCE, 0xB8} and packets[i + 2] == 4)
    with pytest.raises(Unusable, match="cannot encrypt"):
        seal(b"", [packets[:at]])


# ------------------------------------------------------------------------------------------------------------- the filter


def test_what_the_filter_lost_is_said_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.take(number=1)
    world.take(number=2, lost=3)
    world.take(number=3, lost=3)
    world.take(number=4, lost=4)
    assert [one["count"] for one in world.log.of(6002)] == [3, 1]
    world.take(number=1, lost=2, marker=uuid4())
    assert [one["count"] for one in world.log.of(6002)] == [3, 1, 2]


def test_noise_gets_no_answer(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(FrameError):
        world.capture.take(b"noise")
    assert world.spool.waiting() == 0


# --------------------------------------------------------------------------------------------------------- what Windows has


def test_it_is_imported_without_what_windows_lacks() -> None:
    """python-ldap, GSSAPI and fcntl are not there; pywin32 is not here."""
    blocked = ["ldap", "gssapi", "fcntl", "pwd", "grp", "syslog"]
    code = f"import sys; sys.modules.update(dict.fromkeys({blocked})); import bastide_agent.windows.capture, bastide_agent.windows.seal"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_the_thin_file_needs_windows_and_says_that_we_never_ran_it() -> None:
    places = {}
    for path in (SOURCE / "bastide_agent" / "windows").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.startswith(("win32", "pywintypes", "pythoncom", "winerror")) for name in names):
                places[path.name] = path
    assert set(places) == {"host.py"}
    text = places["host.py"].read_text()
    assert "Never run by us." in text
    assert len(text.splitlines()) < 150
