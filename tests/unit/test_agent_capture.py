"""Capture: which change is taken, once, with the right name and time, and what is said when nothing can be taken."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import uuid4

import pytest

from bastide import pcns, wire
from bastide.pcns import Configuration, ServiceSettings, Target
from bastide_agent.capture import Capture
from bastide_agent.failures import DirectoryGone, SpoolFull
from bastide_agent.ldapi import Changed
from bastide_agent.metadata import TICKS, Malformed, origin_of, package
from bastide_agent.spool import KEY, Spool
from bastide_agent.spool_file import load_key
from bastide_agent.state import PLACE, PlaceFile
from tests.support.agent import (
    ADMINS,
    BASE,
    ManualClock,
    MemoryDirectory,
    MemoryLog,
    credentials,
    metadata,
    target,
)


class OnePage(MemoryDirectory):
    """Shows all that changed at once."""

    def changed(self, base: str, cookie: bytes, attribute: str) -> Iterator[Changed]:
        first, last = super().changed(base, cookie, attribute)
        yield Changed(first.guids + last.guids, last.cookie)


class World:
    """An agent's capture, its queue, and a directory."""

    def __init__(
        self, path: Path, directory: MemoryDirectory | None = None, targets: Sequence[Target] | None = None
    ) -> None:
        self.path = path
        self.directory = directory or MemoryDirectory()
        self.targets = tuple(targets) if targets is not None else (target(),)
        self.clock = ManualClock()
        self.start()

    def start(self) -> None:
        """As after kill -9: nothing but the files is left."""
        self.log = MemoryLog()
        self.spool = Spool(self.path, self.log, limit=1 << 22, aside=lambda: "now")
        place = PlaceFile(self.path, load_key(self.path / KEY), self.log)
        self.capture = Capture(self.directory, self.spool, place, self.log, self.clock)
        self.capture.begin(BASE, self.directory.invocation)

    def round(self) -> int:
        return self.capture.round(Configuration(ServiceSettings(), self.targets))

    def waiting(self) -> list[str]:
        found: list[str] = []
        while item := self.spool.next_for(str(self.targets[0].guid), found):
            found.append(item.change.reference)
        return found


def test_the_first_round_takes_no_password(tmp_path: Path) -> None:
    directory = MemoryDirectory()
    for name in ("ann", "ben", "cid"):
        directory.add(name)
    world = World(tmp_path, directory)
    assert world.round() == 0
    assert world.waiting() == []
    assert world.log.lines == []


def test_a_change_is_taken_with_its_names_and_time(tmp_path: Path) -> None:
    world = World(tmp_path)
    ann = world.directory.add("ann")
    world.round()
    world.spool.done(str(world.targets[0].guid), {world.waiting()[0]: True})
    world.directory.set_password(ann, b"sealed", b"n" * 16)
    assert world.round() == 1
    item = world.spool.next_for(str(world.targets[0].guid))
    assert item is not None
    change = item.change
    assert change.reference == wire.reference_of(ann.guid, world.directory.invocation, ann.usn)
    assert (change.user_guid, change.account, change.user_sid) == (ann.guid, "ann", "S-1-5-21-1-2-3-1000")
    assert (change.changed_at, change.revision, change.origin) == (
        ann.last_set,
        ann.version,
        world.directory.invocation,
    )
    assert (change.secret, change.check) == (b"sealed", wire.check_of(change.reference, b"n" * 16))
    assert world.log.of(2201)[-1]["targets"] == ["one"]


def test_must_change_takes_the_time_of_the_metadata(tmp_path: Path) -> None:
    world = World(tmp_path)
    ann = world.directory.add("ann")
    ann.last_set = 0
    world.round()
    item = world.spool.next_for(str(world.targets[0].guid))
    assert item is not None
    assert item.change.changed_at == 13_439_722_808 * TICKS


def test_two_agents_name_a_change_alike(tmp_path: Path) -> None:
    """The second controller has other local USNs, and another time of arrival."""
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
    here, there = World(tmp_path / "1"), World(tmp_path / "2")
    there.directory.usn = 7_000
    there.capture.round(Configuration(ServiceSettings(), there.targets))
    ann = here.directory.add("ann")
    copied = there.directory.replicate(ann)
    assert copied.local_usn != ann.local_usn
    here.round()
    there.round()
    assert (
        here.waiting() == there.waiting() == [wire.reference_of(ann.guid, here.directory.invocation, ann.usn)]
    )


def test_a_round_without_changes_takes_nothing_again(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.directory.add("ann")
    assert world.round() == 1
    assert world.capture.seen_usn == world.directory.usn
    assert world.round() == 0


def test_a_change_during_the_round_is_not_lost_and_not_doubled(tmp_path: Path) -> None:
    world = World(tmp_path)
    ann, ben = world.directory.add("ann"), world.directory.add("ben")

    def meanwhile(_guid: str) -> None:
        world.directory.before_read = lambda _other: None
        world.directory.set_password(ann, b"newer")
        world.directory.set_password(ben, b"newer")

    world.directory.before_read = meanwhile
    world.round()
    assert world.capture.seen_usn != world.directory.usn
    world.round()
    held = [world.spool.next_for(str(world.targets[0].guid), world.waiting()[:n]) for n in range(2)]
    assert {(item.change.account, item.change.secret) for item in held if item} == {
        ("ann", b"newer"),
        ("ben", b"newer"),
    }
    assert world.spool.waiting() == 2


def test_kill_9_between_queue_and_place_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    world.directory.add("ann")

    class Killed(BaseException):
        pass

    def die(_self: object, _place: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(PlaceFile, "store", die)
        with pytest.raises(Killed):
            world.round()
    references = world.waiting()
    world.start()
    world.round()
    assert world.waiting() == references
    assert len(references) == 1
    world.spool.done(str(world.targets[0].guid), {references[0]: True})
    (tmp_path / PLACE).unlink()
    world.start()
    assert world.round() == 0


def test_a_change_while_the_agent_was_down_is_taken(tmp_path: Path) -> None:
    world = World(tmp_path)
    ann = world.directory.add("ann")
    world.round()
    world.directory.set_password(ann, b"while down")
    world.start()
    assert world.round() == 1


def test_a_full_queue_holds_the_place_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path)
    world.directory.add("ann")

    def full(*_arguments: object) -> None:
        raise SpoolFull("no space")

    with monkeypatch.context() as patch:
        patch.setattr(Spool, "add", full)
        with pytest.raises(SpoolFull):
            world.round()
    assert world.log.numbers() == [6018]
    assert world.round() == 1


@pytest.mark.parametrize("gone", [False, True], ids=["full", "away"])
def test_what_is_read_again_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, gone: bool
) -> None:
    """Each try reads the page anew: a bulk import without passwords would be counted with each of them."""
    world = World(tmp_path, OnePage(), targets=(target(), target("admins", inclusion=ADMINS)))
    for name in ("joe", "sue", "kim"):
        world.directory.add(name).secret = b""
    world.directory.add("ann")

    def full(*_arguments: object) -> None:
        raise SpoolFull("no space")

    def away(guid: str) -> None:
        if world.directory.people[guid].name == "ann":
            raise DirectoryGone("restarting")

    with monkeypatch.context() as patch:
        if gone:
            patch.setattr(world.directory, "before_read", away)
        else:
            patch.setattr(Spool, "add", full)
        for _ in range(3):
            with pytest.raises(DirectoryGone if gone else SpoolFull):
                world.round()
    assert world.round() == 1
    assert len(world.log.of(6005)) == 3
    assert [fields["user"] for fields in world.log.of(2303)] == ["ann"]


# ---------------------------------------------------------------------------------------------------------- lost places


@pytest.mark.parametrize("spoil", ["missing", "damaged"])
def test_a_lost_place_is_a_new_baseline_and_loud(tmp_path: Path, spoil: str) -> None:
    world = World(tmp_path)
    ann = world.directory.add("ann")
    world.round()
    path = tmp_path / PLACE
    if spoil == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-1] + b"x")
    world.directory.set_password(ann, b"old news")
    world.start()
    assert [fields["key"] for fields in world.log.of(6007)] == [PLACE]
    assert world.round() == 0
    world.directory.set_password(ann, b"news")
    assert world.round() == 1


def test_a_restored_controller_is_a_new_baseline(tmp_path: Path) -> None:
    world = World(tmp_path)
    ann = world.directory.add("ann")
    world.round()
    world.directory.invocation = str(uuid4())
    world.directory.usn = 50
    ann.local_usn = 49
    world.start()
    assert "restored" in str(world.log.of(6007)[0]["error"])
    world.capture.come_back(BASE, world.directory.invocation)
    assert world.round() == 0


@pytest.mark.parametrize("running", [False, True])
def test_a_controller_that_went_back_under_the_same_invocation_is_a_new_baseline(
    tmp_path: Path, *, running: bool
) -> None:
    """(8) A snapshot of the virtual machine, and the agent's state on another disk: up to the old USN the old cookie shows nothing."""
    world = World(tmp_path)
    ann = world.directory.add("ann")
    for _ in range(30):
        world.directory.set_password(ann)
        world.round()
    before = world.directory.usn
    world.directory.usn, ann.usn, ann.local_usn = 105, 105, 105
    world.directory.set_password(ann, b"before the agent looked")
    if not running:
        world.start()
    assert world.capture.seen_usn != world.directory.highest_usn()
    assert world.round() == 0
    (said,) = world.log.of(6007)
    assert said["key"] == PLACE
    assert f"went back from USN {before} to 106" in str(said["error"])
    world.start()
    world.directory.usn += 50
    world.directory.set_password(ann, b"after the snapshot")
    assert world.round() == 1
    assert world.log.of(6007) == []


def test_a_refused_cookie_loses_nothing(tmp_path: Path) -> None:
    """All accounts are looked at; their USNs say which of them changed."""
    world = World(tmp_path)
    ann = world.directory.add("ann")
    world.directory.add("ben")
    world.round()
    world.directory.refuse_cookies = True
    world.directory.set_password(ann, b"meanwhile")
    assert world.round() == 1
    assert world.log.of(6007)
    assert world.spool.waiting() == 3


def test_old_things_shown_as_new_are_not_believed(tmp_path: Path) -> None:
    world = World(tmp_path)
    for name in ("ann", "ben"):
        world.directory.add(name)
    world.round()
    before = world.waiting()
    world.directory.refuse_cookies = True
    world.round()
    assert world.waiting() == before


def test_the_directory_going_away_leaves_everything_as_it_was(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.directory.add("ann")

    def gone(_guid: str) -> None:
        raise DirectoryGone("restarting")

    world.directory.before_read = gone
    with pytest.raises(DirectoryGone):
        world.round()
    world.directory.before_read = lambda _guid: None
    assert world.round() == 1


# ------------------------------------------------------------------------------------------------------- what is not taken


@pytest.mark.parametrize(
    "changes",
    [
        {"control": 0x1000},
        {"control": 0x2000},
        {"control": 0x800},
        {"more": {"objectSid": [pcns.sid_bytes("S-1-5-21-1-2-3-502")]}},
        {"more": {"msDS-SecondaryKrbTgtNumber": [b"77"]}},
    ],
    ids=["member", "controller", "trust", "krbtgt", "krbtgt of a read-only controller"],
)
def test_accounts_of_machines_are_not_taken(tmp_path: Path, changes: dict[str, object]) -> None:
    world = World(tmp_path)
    world.directory.add("x$", **changes)
    assert world.round() == 0
    assert world.log.lines == []


@pytest.mark.parametrize(
    ("changes", "number"),
    [
        ({"secret": b""}, 6005),
        ({"more": {"supplementalCredentials": [b"\0" * 200]}}, 6005),
        ({"more": {"unicodePwd": []}}, 6005),
        ({"more": {"sAMAccountName": []}}, 6004),
        ({"more": {"objectSid": [b"\x01\x05\x00"]}}, 6010),
        (
            {"more": {"supplementalCredentials": [credentials({"Primary:SambaGPG": b"x" * 30_000})]}},
            6024,
        ),
        ({"more": {"replPropertyMetaData": [b"\x02" + bytes(20)]}}, 7000),
    ],
)
def test_what_cannot_be_taken_is_said(tmp_path: Path, changes: dict[str, object], number: int) -> None:
    world = World(tmp_path)
    person = world.directory.add("ann")
    if "secret" in changes:
        person.secret = b""
    person.more.update(changes.get("more", {}))  # type: ignore[call-overload]
    assert world.round() == (0 if number else 1)
    assert [one for one in world.log.numbers() if one != 2201] == ([number] if number else [])


def test_too_large_is_discarded_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "FRAME_LIMIT", 100)
    world = World(tmp_path)
    world.directory.add("ann")
    assert world.round() == 0
    assert world.log.of(6024)[0]["account"] == "ann"


def test_a_deleted_account_is_said(tmp_path: Path) -> None:
    world = World(tmp_path)
    ann = world.directory.add("ann")

    def delete(guid: str) -> None:
        del world.directory.people[guid]

    world.directory.before_read = delete
    assert world.round() == 0
    assert world.log.of(4101) == [{"detail": ann.guid}]


def test_groups_decide_who_is_told(tmp_path: Path) -> None:
    everybody = target("everybody", exclusion=ADMINS)
    nobody = target("nobody", inclusion="")
    admins = target("admins", inclusion=ADMINS)
    world = World(tmp_path, targets=[everybody, nobody, admins])
    world.directory.add("ann")
    dan = world.directory.add("dan")
    dan.groups.append(ADMINS)
    assert world.round() == 2
    told = {fields["user"]: fields["targets"] for fields in world.log.of(2201)}
    assert told == {"ann": ["everybody"], "dan": ["admins"]}
    assert {(f["user"], f["target"]) for f in world.log.of(2303)} == {
        ("ann", "nobody"), ("ann", "admins"), ("dan", "everybody"), ("dan", "nobody"),
    }  # fmt: skip


def test_the_primary_group_counts(tmp_path: Path) -> None:
    world = World(tmp_path)
    ann = world.directory.add("ann")
    ann.groups.clear()
    assert world.round() == 1


def test_without_an_active_target_nothing_is_queued(tmp_path: Path) -> None:
    world = World(tmp_path, targets=[target("off", disabled=True)])
    world.directory.add("ann")
    assert world.round() == 0
    assert world.log.numbers() == [4201]


def test_no_hash_and_no_ciphertext_is_logged(tmp_path: Path) -> None:
    world = World(tmp_path)
    ann = world.directory.add("ann")
    world.directory.set_password(ann, b"CANARY-cipher", b"CANARY-nt-hash!!")
    world.round()
    ben = world.directory.add("ben")
    ben.more["supplementalCredentials"] = [b"CANARY" * 40]
    world.round()
    assert "CANARY" not in repr(world.log.lines)
    assert "CANARY-nt-hash" not in repr(world.spool.__dict__)


# ---------------------------------------------------------------------------------------------------------- binary values


def test_metadata_is_taken_apart() -> None:
    invocation = str(uuid4())
    found = origin_of(metadata(9, invocation, 77, 88, 100))
    assert found is not None
    assert (found.version, found.invocation, found.usn, found.local_usn, found.changed_at) == (
        9,
        invocation,
        77,
        88,
        100 * TICKS,
    )
    assert origin_of(metadata(9, invocation, 77, 88), attribute=0x9) is None
    for bad in (b"", metadata(1, invocation, 1, 1)[:-1], b"\x05" + metadata(1, invocation, 1, 1)[1:]):
        with pytest.raises(Malformed):
            origin_of(bad)


def test_packages_are_found_and_damage_is_not_shown() -> None:
    blob = credentials({"Primary:Kerberos": b"a", "Primary:SambaGPG": b"CANARY"})
    assert package(blob) == b"CANARY"
    assert package(blob, "Primary:CLEARTEXT") == b""
    assert package(b"") == b""
    assert package(bytes(90)) == b""
    for bad in (blob[:-20], blob[:108] + b"\x51" + blob[109:], blob.replace(b"43414e", b"zzzzzz")):
        with pytest.raises(Malformed) as error:
            package(bad)
        assert "CANARY" not in repr(error.value)
        assert error.value.__cause__ is None
