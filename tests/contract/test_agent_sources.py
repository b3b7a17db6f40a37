"""What every source of changed passwords does: Samba's, which reads the directory, and Windows', which is told by the filter over its pipe (here a Unix socket)."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol
from uuid import UUID, uuid4

import pytest
from pysequoia import CipherSuite, Profile, Tsk, decrypt

from bastide.pcns import Configuration, ServiceSettings, Target
from bastide_agent.capture import Capture
from bastide_agent.failures import DirectoryGone, NoAccount, SpoolFull
from bastide_agent.ldapi import Changed
from bastide_agent.source import ChangeSource
from bastide_agent.spool import KEY, Spool, Waiting
from bastide_agent.spool_file import load_key
from bastide_agent.state import PlaceFile
from bastide_agent.windows.capture import WindowsCapture
from bastide_agent.windows.frames import Reply
from bastide_agent.windows.seal import seal
from bastide_agent.windows.source import FilterSource
from tests.support.agent import ADMINS, BASE, ManualClock, MemoryDirectory, MemoryLog, Person, target
from tests.support.filter_pipe import SocketPipe, frame_of, tell

SERVER = Tsk.generate(user_id="server", profile=Profile.RFC4880, cipher_suite=CipherSuite.Cv25519)
CERTIFICATE = bytes(SERVER.extract_certificate())
#: What a new account has: Samba tells of it, the filter here does not.
FIRST = seal("first".encode("utf-16-le"), [CERTIFICATE])
CANARY = "Kanarienvogel-4711"


class Database(MemoryDirectory):
    """A controller's, asked in either way; `gone`: it does not answer."""

    gone = False

    def add(self, name: str, **changes: object) -> Person:
        person = super().add(name, **changes)
        person.secret = FIRST
        return person

    def highest_usn(self) -> int:
        self._here()
        return super().highest_usn()

    def changed(self, base: str, cookie: bytes, attribute: str) -> Iterator[Changed]:
        self._here()
        return super().changed(base, cookie, attribute)

    def read_guid(self, guid: str, names: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        self._here()
        return super().read_guid(guid, names)

    def by_rid(self, rid: int, names: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        self._here()
        for guid, person in self.people.items():
            if person.rid == rid:
                found = {**self.read_guid(guid, names), "objectGUID": [UUID(guid).bytes_le]}
                return {name: values for name, values in found.items() if name in names}
        raise NoAccount("it is not there")

    def _here(self) -> None:
        if self.gone:
            raise DirectoryGone("restarting")


class Controller(Protocol):
    """Where people change their passwords."""

    source: ChangeSource

    def change(self, person: Person, password: str) -> None:
        """The person has this password from now on; empty: none."""

    def again(self) -> None:
        """What the controller keeps for an agent that could not take it comes once more."""


class SambaController:
    """It keeps every change, and is asked."""

    def __init__(self, database: Database, spool: Spool, folder: Path, log: MemoryLog) -> None:
        self._database = database
        place = PlaceFile(folder, load_key(folder / KEY), log)
        self.source: ChangeSource = Capture(database, spool, place, log, ManualClock())

    def change(self, person: Person, password: str) -> None:
        sealed = seal(password.encode("utf-16-le"), [CERTIFICATE]) if password else b""
        self._database.set_password(person, sealed)

    def again(self) -> None:
        """Nothing: it is in the directory."""


class WindowsController:
    """It tells of every change, and keeps what nobody took."""

    def __init__(self, database: Database, spool: Spool, folder: Path, log: MemoryLog) -> None:
        self._database = database
        self._pipe = SocketPipe(folder / "pipe")
        self.source: ChangeSource = FilterSource(WindowsCapture(database, spool, seal, log), self._pipe)
        self._number = 0
        self._kept: list[tuple[int, bytes]] = []

    def change(self, person: Person, password: str) -> None:
        self._database.set_password(person)
        number = self._number = self._number + 1
        frame = frame_of(person.rid, person.name, password, number=number, changed_at=10**17 + number)
        self._kept.append((number, frame))
        self.again()

    def again(self) -> None:
        path = self._pipe.path
        self._kept = [(one, frame) for one, frame in self._kept if tell(path, frame, one) is Reply.LATER]


class World:
    """A controller, an agent's source and its queue."""

    def __init__(self, kind: type[SambaController | WindowsController], folder: Path) -> None:
        self.folder = folder
        self.log = MemoryLog()
        self.database = Database()
        self.spool = Spool(folder, self.log, limit=1 << 22, aside=lambda: "now")
        self.controller: Controller = kind(self.database, self.spool, folder, self.log)
        self.source = self.controller.source
        self.targets: tuple[Target, ...] = (target(certificate=CERTIFICATE),)

    def begin(self) -> None:
        self.source.begin(BASE, self.database.invocation)
        self.round()

    def round(self) -> int:
        return self.source.round(Configuration(ServiceSettings(), self.targets))

    def change(self, person: Person, password: str = "Sesam-1") -> int:
        """How many changes the agent took for it."""
        self.controller.change(person, password)
        return self.round()

    def waiting(self, number: int = 0) -> list[Waiting]:
        """For one of the targets, in the order of delivery."""
        found: list[Waiting] = []
        guid = str(self.targets[number].guid)
        while more := self.spool.next_few(guid, (), 1, passed=[one.change.reference for one in found]):
            found += more
        return found

    def passwords(self) -> list[str]:
        messages = (one.change.secret for one in self.waiting())
        opened = (decrypt(one, decryptor=SERVER.decryptor()).bytes for one in messages)
        return [one.decode("utf-16-le") for one in opened if one is not None]


@pytest.fixture(params=[SambaController, WindowsController])
def idle(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    made = World(request.param, tmp_path)
    yield made
    made.source.flush()


@pytest.fixture
def world(idle: World) -> World:
    """One that has begun."""
    idle.begin()
    return idle


def test_what_was_set_before_it_began_is_told_to_nobody(idle: World) -> None:
    idle.database.add("ann")
    idle.source.begin(BASE, idle.database.invocation)
    assert idle.round() == 0
    assert idle.waiting() == []


def test_a_change_is_taken_once_as_ciphertext_to_the_server(world: World) -> None:
    ann = world.database.add("ann")
    world.round()
    for one in world.waiting():
        world.spool.done(str(world.targets[0].guid), {one.change.reference: True})
    assert world.change(ann, "Pä€😀-1") == 1
    (one,) = world.waiting()
    assert world.passwords() == ["Pä€😀-1"]
    change = one.change
    assert (change.user_guid, change.user_sid, change.account) == (ann.guid, "S-1-5-21-1-2-3-1000", "ann")
    assert UUID(change.reference).version == 5
    assert change.origin == world.database.invocation
    assert world.log.of(2201)[-1] == {**change.names(), "targets": ["one"]}
    world.controller.again()
    assert world.round() == 0
    assert len(world.waiting()) == 1


def test_nothing_on_the_disk_and_no_event_holds_the_password(world: World) -> None:
    ann = world.database.add("ann")
    world.change(ann, CANARY)
    assert CANARY in world.passwords()
    for path in world.folder.iterdir():
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes()
            assert CANARY.encode("utf-16-le") not in path.read_bytes()
    assert CANARY not in repr(world.log.lines)


def test_changes_of_one_person_keep_their_order(world: World) -> None:
    ann = world.database.add("ann")
    before = len(world.passwords())
    for number in range(5):
        world.change(ann, f"Sesam-{number}")
    assert world.passwords()[-5:] == [f"Sesam-{number}" for number in range(5)]
    times = [one.change.changed_at for one in world.waiting()][before:]
    assert times == sorted(set(times))


def test_the_usn_says_whether_there_is_something_to_do(idle: World) -> None:
    assert idle.source.seen_usn < 0
    idle.begin()
    assert idle.source.seen_usn == idle.database.highest_usn()
    idle.controller.change(idle.database.add("ann"), "Sesam-1")
    assert idle.source.seen_usn != idle.database.highest_usn()
    idle.round()
    assert idle.source.seen_usn == idle.database.highest_usn()


def test_a_directory_that_is_away_loses_nothing(world: World) -> None:
    ann = world.database.add("ann")
    world.round()
    world.database.gone = True
    world.controller.change(ann, "Sesam-away")
    with pytest.raises(DirectoryGone):
        world.round()
    world.database.gone = False
    world.source.come_back(BASE, world.database.invocation)
    world.controller.again()
    assert world.round() == 1
    assert world.passwords()[-1] == "Sesam-away"


def test_a_queue_that_cannot_be_written_loses_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = world.database.add("ann")
    world.round()

    def full(*_: object) -> None:
        raise SpoolFull("no space left")

    with monkeypatch.context() as patched, suppress(SpoolFull):
        patched.setattr(world.spool, "add", full)
        world.change(ann, "Sesam-full")
    assert world.log.numbers()[-1] == 6018
    world.controller.again()
    assert world.round() == 1
    assert world.passwords()[-1] == "Sesam-full"


def test_another_database_begins_anew_and_is_named(world: World) -> None:
    ann = world.database.add("ann")
    world.round()
    world.database.invocation = str(uuid4())
    world.source.come_back(BASE, world.database.invocation)
    world.round()
    assert world.change(ann, "Sesam-new") == 1
    assert world.waiting()[-1].change.origin == world.database.invocation


# -------------------------------------------------------------------------------------------------------------- who is told


def test_groups_decide_who_is_told(world: World) -> None:
    everybody, admins = (
        target("everybody", exclusion=ADMINS, certificate=CERTIFICATE),
        target("admins", inclusion=ADMINS, certificate=CERTIFICATE),
    )
    world.targets = (everybody, admins)
    world.round()
    ann, dan = world.database.add("ann"), world.database.add("dan")
    dan.groups.append(ADMINS)
    world.change(ann)
    world.change(dan)
    assert {one.change.account for one in world.waiting(0)} == {"ann"}
    assert {one.change.account for one in world.waiting(1)} == {"dan"}
    assert {(one["user"], one["target"]) for one in world.log.of(2303)} == {
        ("ann", "admins"), ("dan", "everybody"),
    }  # fmt: skip


def test_without_an_active_target_nothing_is_queued(world: World) -> None:
    world.targets = (target(disabled=True, certificate=CERTIFICATE),)
    world.round()
    assert world.change(world.database.add("ann")) == 0
    assert set(world.log.numbers()) == {4201}


@pytest.mark.parametrize("control", [0x1000, 0x2000, 0x800])
def test_machines_are_nobody(world: World, control: int) -> None:
    assert world.change(world.database.add("x$", control=control)) == 0
    assert (world.waiting(), world.log.lines) == ([], [])


@pytest.mark.parametrize(
    ("more", "password", "number"),
    [
        ({}, "", 6005),
        ({"sAMAccountName": []}, "Sesam-1", 6004),
        ({"objectSid": [b"\x01\x05\x00"]}, "Sesam-1", 6010),
    ],
)
def test_what_cannot_be_told_is_said(
    world: World, more: dict[str, list[bytes]], password: str, number: int
) -> None:
    ann = world.database.add("ann")
    world.round()
    world.log.lines.clear()
    before = len(world.waiting())
    ann.more.update(more)
    assert world.change(ann, password) == 0
    assert world.log.numbers() == [number]
    assert len(world.waiting()) == before


def test_an_account_that_is_gone_is_said(world: World) -> None:
    ann = world.database.add("ann")
    world.round()

    def deleted(_guid: str) -> None:
        raise NoAccount("it is not there")

    world.database.before_read = deleted
    assert world.change(ann) == 0
    assert len(world.log.of(4101)) == 1
