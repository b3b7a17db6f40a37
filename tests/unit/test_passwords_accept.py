"""What is taken in from a domain controller, and what is not: a test for each number of services/passwords/accept.py."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from datetime import timedelta

import msgspec
import pytest

from bastide.domain.errors import StoreError, StoreUnavailable
from bastide.domain.ids import Sid
from bastide.domain.management_agents import CsId, Link, MaId
from bastide.domain.passwords import OLDEST, REASONS, SKEW, Receipt, State
from bastide.services.passwords import refusals
from bastide.services.passwords.callers import Caller
from bastide.wire import Verdict, check_of
from tests.support.sync_world import ReversedOpener, SyncWorld, guid_of, sid_of

SECRET = "Grüße 🐟 pass"


@pytest.fixture
def world() -> SyncWorld:
    made = SyncWorld()
    made.ready("alice", "bob")
    return made


def test_a_change_is_staged_for_each_target_in_one_commit(world: SyncWorld) -> None:
    told = world.tell("alice", SECRET)
    assert (told.verdict, told.receipt) == (Verdict.ACCEPTED, Receipt.STAGED)
    staged = world.deliveries(State.PENDING)
    assert {one.ma for one in staged} == {"ma-crm", "ma-files"}
    assert all(one.sealed and SECRET.encode() not in one.sealed for one in staged)
    assert world.events.numbers()[-3:] == [6903, 6907, 6907]
    (record,) = world.audit("password.staged")
    assert record.request == staged[0].reference
    assert record.subject_name == "alice"
    world.work()
    assert world.password("alice", "crm") == world.password("alice", "files") == SECRET
    assert world.served("crm") == world.served("files") == 1


# Step 1 of the procedure.
def test_while_it_is_switched_off_the_agent_comes_later() -> None:
    world = SyncWorld(enabled=False)
    world.ready()
    told = world.tell("alice", SECRET)
    assert told.verdict is Verdict.LATER
    assert told.delay > 0
    assert world.passwords.accept.heartbeat(world.caller(), 3).verdict is Verdict.LATER
    assert not world.deliveries()
    assert not world.vault.references()
    world.passwords.switchboard.enable(world.dave)
    assert world.passwords.accept.heartbeat(world.caller(), 3).verdict is Verdict.ACCEPTED
    assert world.tell("alice", SECRET).receipt is Receipt.STAGED


# Step 2 of the procedure.
def test_a_controller_speaks_for_its_own_domain_only(world: SyncWorld) -> None:
    """Another domain's controller names a user of CORP: the user is looked for in the space of that domain alone."""
    world.add_source("lab", "crm")
    told = world.notification("alice", SECRET, domain="corp")
    answer = world.passwords.accept.notification(world.caller("lab"), told)
    assert answer.receipt is Receipt.NOT_IN_CS
    assert not world.deliveries()


def test_a_domain_cannot_use_up_the_references_of_another_one(world: SyncWorld) -> None:
    """References are made of what every controller knows; one of LAB says first what one of CORP will say."""
    world.add_source("lab", "crm")
    real = world.notification("alice", SECRET)
    evil = msgspec.structs.replace(real, secret=b"x", check=b"")
    answer = world.passwords.accept.notification(world.caller("lab"), evil)
    assert answer.receipt is Receipt.NOT_IN_CS
    answers = world.passwords.accept.notifications(world.caller(), [real, real])
    assert [one.receipt for one in answers] == [Receipt.STAGED, Receipt.DUPLICATE]
    assert world.passwords.accept.notification(world.caller(), real).receipt is Receipt.DUPLICATE
    assert world.passwords.accept.notification(world.caller("lab"), evil).receipt is Receipt.DUPLICATE
    world.work()
    assert world.password("alice", "crm") == SECRET
    assert not world.vault.references()


# Step 3 of the procedure.
@pytest.mark.parametrize(
    ("off", "verdict", "receipt"),
    [
        (SKEW + timedelta(seconds=1), Verdict.REFUSED, Receipt.FUTURE),
        (SKEW, Verdict.ACCEPTED, Receipt.STAGED),
        (-OLDEST, Verdict.ACCEPTED, Receipt.STAGED),
        (-OLDEST - timedelta(seconds=1), Verdict.REFUSED, Receipt.OVERDUE),
    ],
)
def test_the_window(world: SyncWorld, off: timedelta, verdict: Verdict, receipt: Receipt) -> None:
    told = world.tell("alice", SECRET, at=world.clock.now() + off)
    assert (told.verdict, told.receipt) == (verdict, receipt)
    assert bool(world.deliveries()) is (receipt is Receipt.STAGED)


def test_what_is_too_old_is_for_good_only_if_something_newer_is_known(world: SyncWorld) -> None:
    """The agent of the controller was down for four days, and has the newest password."""
    old = world.clock.now() - OLDEST - timedelta(seconds=1)
    assert world.tell("alice", SECRET, revision=8).receipt is Receipt.STAGED
    for revision in (0, 7, 8):
        told = world.tell("alice", SECRET, at=old, revision=revision)
        assert (told.verdict, told.receipt) == (Verdict.DISCARD, Receipt.TOO_OLD)
    told = world.tell("alice", SECRET, at=old, revision=9)
    assert (told.verdict, told.receipt) == (Verdict.REFUSED, Receipt.OVERDUE)
    assert world.tell("nobody", SECRET, at=old, revision=9).receipt is Receipt.TOO_OLD


def test_a_change_of_the_future_is_taken_when_the_time_has_come(world: SyncWorld) -> None:
    told = world.notification("alice", SECRET, at=world.clock.now() + timedelta(hours=1))
    assert world.passwords.accept.notification(world.caller(), told).receipt is Receipt.FUTURE
    again = msgspec.structs.replace(told, attempt=2)
    world.passwords.accept.notification(world.caller(), again)
    assert len(world.audit("password.refused")) == 1, "tries of one notification do not fill the audit"
    world.clock.move(hours=1)
    assert world.passwords.accept.notification(world.caller(), again).receipt is Receipt.STAGED


@pytest.mark.parametrize("changed_at", [-(2**63), 2**63, 2**70])
def test_times_that_no_calendar_has(world: SyncWorld, changed_at: int) -> None:
    assert world.tell("alice", SECRET, changed_at=changed_at).receipt in {Receipt.FUTURE, Receipt.TOO_OLD}


# Step 4 of the procedure.
def test_a_domain_that_is_no_source(world: SyncWorld) -> None:
    told = world.notification("alice", SECRET)
    assert world.passwords.accept.notification(world.caller("other"), told).receipt is Receipt.NOT_A_SOURCE
    assert world.events.numbers()[-1] == 6926
    for source in (
        lambda s: replace(s, enabled=False),
        lambda s: replace(s, enabled=True, targets=()),
    ):
        world.change_agent("corp", lambda a, s=source: replace(a, source=s(a.source)))  # type: ignore[misc]
        assert world.tell("alice", SECRET).receipt is Receipt.NOT_A_SOURCE


def test_nothing_is_kept_of_a_domain_that_is_not_set_up_as_a_source(world: SyncWorld) -> None:
    before = world.head()
    for off in (timedelta(0), -2 * OLDEST, 2 * SKEW):
        told = world.notification("alice", SECRET, at=world.clock.now() + off)
        world.passwords.accept.notification(world.caller("other"), told)
    assert world.head() == before
    with world.store.read() as uow:
        assert not uow.changes.history(user="", before=None, limit=5)


# Step 5 of the procedure.
def test_a_known_reference_is_accepted_without_effect(world: SyncWorld) -> None:
    told = world.notification("alice", SECRET)
    first = world.passwords.accept.notification(world.caller(), told)
    before = world.head()
    again = world.passwords.accept.notification(world.caller(), told)
    assert (first.receipt, again.receipt) == (Receipt.STAGED, Receipt.DUPLICATE)
    assert again.verdict is Verdict.ACCEPTED
    assert world.head() == before
    world.work()
    assert world.passwords.accept.notification(world.caller(), told).receipt is Receipt.DUPLICATE
    world.work()
    assert world.served("crm") == 1


# Step 6 of the procedure.
def test_a_user_who_is_not_in_the_connector_space(world: SyncWorld) -> None:
    told = world.tell("nobody", SECRET)
    assert (told.verdict, told.receipt) == (Verdict.DISCARD, Receipt.NOT_IN_CS)
    assert world.events.numbers()[-2:] == [6903, 6904]
    assert world.tell("alice", SECRET, user_guid="no GUID").receipt is Receipt.NOT_IN_CS


def test_a_user_who_is_not_joined(world: SyncWorld) -> None:
    world.add_user("carol", "corp", "crm", joined=False)
    assert world.tell("carol", SECRET).receipt is Receipt.NOT_JOINED
    assert world.events.numbers()[-1] == 6905
    with world.store.write() as uow:
        found = uow.space.get(CsId(guid_of("cs corp alice")))
        uow.space.put([replace(found, link=Link.CONFLICT)])
        uow.commit()
    assert world.tell("alice", SECRET).receipt is Receipt.NOT_JOINED, "an object in conflict is nobody's"


def test_an_account_of_ours_is_never_passed_on(world: SyncWorld) -> None:
    own = Sid(sid_of("alice"))
    world.change_agent("corp", lambda a: replace(a, source=replace(a.source, own_accounts=(own,))))  # type: ignore[type-var]
    assert world.tell("alice", SECRET).receipt is Receipt.OWN_ACCOUNT
    assert world.events.numbers()[-1] == 6912
    assert world.tell("bob", SECRET).receipt is Receipt.STAGED


def test_a_controller_does_not_say_whose_account_it_is(world: SyncWorld) -> None:
    """An account of ours, under the SID of somebody else: what was imported counts."""
    own = Sid(sid_of("alice"))
    world.change_agent("corp", lambda a: replace(a, source=replace(a.source, own_accounts=(own,))))  # type: ignore[type-var]
    told = world.tell("alice", SECRET, user_sid=sid_of("bob"))
    assert (told.verdict, told.receipt) == (Verdict.REFUSED, Receipt.OTHER_ACCOUNT)
    with world.store.write() as uow:
        found = uow.space.get(CsId(guid_of("cs corp bob")))
        uow.space.put([replace(found, attributes={"sAMAccountName": ("bob",)})])
        uow.commit()
    assert world.tell("bob", SECRET).receipt is Receipt.OTHER_ACCOUNT, "nobody knows that it is not ours"
    assert not world.deliveries()


@pytest.mark.parametrize(
    "settings",
    [
        {"domain": "Corp.test.", "principal": "alice@CORP.TEST"},
        {"domain": "corp.test", "bind_name": "CORP\\Alice"},
        {"domain": "corp.test", "bind_name": "CN=alice,OU=corp"},
    ],
)
def test_the_accounts_of_agents_are_ours_without_being_named(
    world: SyncWorld, settings: dict[str, object]
) -> None:
    writer = world.add_target("writer")
    world.change_agent("writer", lambda a: replace(a, settings=settings))
    assert world.tell("alice", SECRET).receipt is Receipt.OWN_ACCOUNT
    assert world.tell("bob", SECRET).receipt is Receipt.STAGED
    elsewhere = {**settings, "domain": "lab.test"}
    world.change_agent(writer.name, lambda a: replace(a, settings=elsewhere))
    assert world.tell("alice", SECRET).receipt is Receipt.STAGED


def test_an_older_change_comes_too_late(world: SyncWorld) -> None:
    assert world.tell("alice", "new", revision=8).receipt is Receipt.STAGED
    later = world.clock.now() + timedelta(minutes=1)
    assert world.tell("alice", "old", revision=7, at=later).receipt is Receipt.OUT_OF_DATE, (
        "AD's own counter decides, whatever the clocks of two controllers say"
    )
    assert world.events.numbers()[-1] == 6918
    world.work()
    assert world.password("alice", "crm") == "new"


def test_without_a_revision_time_decides(world: SyncWorld) -> None:
    now = world.clock.now()
    assert world.tell("alice", "b", revision=0, at=now).receipt is Receipt.STAGED
    assert world.tell("alice", "a", revision=0, at=now - timedelta(seconds=1)).receipt is Receipt.OUT_OF_DATE
    assert world.tell("alice", "c", revision=0, at=now + timedelta(seconds=1)).receipt is Receipt.STAGED


def test_the_daily_limit(world: SyncWorld) -> None:
    world.change_agent("corp", lambda a: replace(a, source=replace(a.source, daily_limit=3)))  # type: ignore[type-var]
    receipts = []
    for number in range(5):
        world.clock.move(minutes=1)
        receipts.append(world.tell("alice", f"pw {number}").receipt)
    assert receipts == [Receipt.STAGED] * 3 + [Receipt.DAILY_LIMIT] * 2
    assert world.events.written[-1][1]["Maximum changes"] == 3
    assert world.tell("bob", SECRET).receipt is Receipt.STAGED, "each object has a limit of its own"
    world.clock.move(hours=24)
    assert world.tell("alice", "next day").receipt is Receipt.STAGED


def test_a_person_without_accounts_in_the_targets(world: SyncWorld) -> None:
    world.add_user("erin", "corp")
    assert world.tell("erin", SECRET).receipt is Receipt.NO_TARGETS
    assert world.events.numbers()[-1] == 6906


def test_only_the_targets_that_the_source_names(world: SyncWorld) -> None:
    world.change_agent("corp", lambda a: replace(a, source=replace(a.source, targets=(MaId("ma-crm"),))))  # type: ignore[type-var]
    world.tell("alice", SECRET)
    world.work()
    assert world.password("alice", "crm") == SECRET
    assert not world.served("files")


# Step 7 of the procedure.
def test_what_was_encrypted_to_another_key_stays_with_the_agent(world: SyncWorld) -> None:
    told = world.tell("alice", SECRET, secret=b"for somebody else")
    assert (told.verdict, told.receipt) == (Verdict.REFUSED, Receipt.UNREADABLE)
    odd = ReversedOpener._HEAD + "x".encode("utf-16-le")[::-1] + b"\xd8"
    assert world.tell("alice", SECRET, secret=odd).receipt is Receipt.UNREADABLE
    assert not world.vault.references()


def test_a_secret_that_is_not_the_accounts_password(world: SyncWorld) -> None:
    """Only a hash was set since: the blob that Samba kept is of an earlier password."""
    told = world.notification("alice", SECRET)
    stale = world.notification("alice", SECRET, check=check_of(told.reference, b"\x11" * 16))
    answer = world.passwords.accept.notification(world.caller(), stale)
    assert (answer.verdict, answer.receipt) == (Verdict.DISCARD, Receipt.STALE_SECRET)
    assert not world.deliveries()
    assert world.tell("alice", SECRET, check=b"").receipt is Receipt.STAGED, (
        "a source without the hash sends none"
    )


@pytest.mark.parametrize("password", ["", "x" * 257, "🔑" * 129])
def test_a_password_that_no_account_can_have_is_not_passed_on(world: SyncWorld, password: str) -> None:
    told = world.tell("alice", password)
    assert (told.verdict, told.receipt) == (Verdict.DISCARD, Receipt.UNFIT)
    assert not world.deliveries()


def test_nothing_is_opened_that_will_not_be_staged(world: SyncWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bytes] = []
    opener = world.adapters.opener
    plain = opener.open

    def watched(messages: Sequence[bytes]) -> Generator[bytes | StoreError, None, None]:
        opened.extend(messages)
        return plain(messages)

    monkeypatch.setattr(opener, "open", watched)
    world.add_user("carol", "corp", "crm", joined=False)
    world.add_user("erin", "corp")
    for name in ("nobody", "carol", "erin"):
        world.tell(name, SECRET)
    world.tell("alice", SECRET, revision=8)
    world.tell("alice", "old", revision=7)
    assert opened == [ReversedOpener.seal(SECRET)]


def test_without_a_process_to_open_it_the_agent_keeps_it(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_: Sequence[bytes]) -> Generator[bytes | StoreError, None, None]:
        raise StoreUnavailable("no process can be started")
        yield b""

    monkeypatch.setattr(world.adapters.opener, "open", away)
    with pytest.raises(StoreUnavailable):
        world.tell("alice", SECRET)
    assert not world.audit("password.refused")


# Step 8 of the procedure.
def test_a_key_for_each_change_and_a_context_for_each_delivery(world: SyncWorld) -> None:
    world.tell("alice", SECRET)
    world.tell("bob", SECRET)
    references = {one.reference for one in world.deliveries(State.PENDING)}
    assert world.vault.references() == references
    assert len(set(world.vault.get(references).values())) == 2
    sealed = [one.sealed for one in world.deliveries(State.PENDING)]
    assert len(set(sealed)) == len(sealed)


# Step 9 of the procedure.
def test_a_controller_that_invents_notifications_fills_nothing(
    world: SyncWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "ALLOWED", 3)
    told = [world.tell("nobody", SECRET) for _ in range(3)]
    assert [one.receipt for one in told] == [Receipt.NOT_IN_CS] * 3
    before = world.head()
    for fields in ({}, {"secret": b"x"}, {"at": world.clock.now() + 2 * SKEW}):
        told = [world.tell("nobody", SECRET, **fields)]
        assert (told[0].verdict, told[0].receipt) == (Verdict.LATER, None)
        assert told[0].delay > 0
    assert world.head() == before
    assert world.tell("alice", SECRET).receipt is Receipt.STAGED, "good ones are taken in all the same"
    other = Caller("corp.test", "DC2$", "dc2.corp.test")
    answer = world.passwords.accept.notification(other, world.notification("nobody", SECRET))
    assert answer.receipt is Receipt.NOT_IN_CS, "each controller has its own"
    world.clock.move(minutes=21)
    assert world.tell("nobody", SECRET).receipt is Receipt.NOT_IN_CS
    assert world.tell("nobody", SECRET).verdict is Verdict.LATER


def test_the_server_decides_whether_a_refusal_is_in_the_audit(world: SyncWorld) -> None:
    """What the agent says of its tries does not."""
    told = world.notification("alice", SECRET, secret=b"junk", attempt=99)
    for _ in range(3):
        assert world.passwords.accept.notification(world.caller(), told).receipt is Receipt.UNREADABLE
    again = msgspec.structs.replace(told, attempt=1)
    assert world.passwords.accept.notification(world.caller(), again).receipt is Receipt.UNREADABLE
    assert len(world.audit("password.refused")) == 1


def test_a_revision_that_no_directory_has(world: SyncWorld) -> None:
    for revision in (2**63, 2**70, -1):
        world.clock.move(minutes=1)
        assert world.tell("bob" if revision < 0 else "alice", SECRET, revision=revision).receipt in {
            Receipt.STAGED,
            Receipt.OUT_OF_DATE,
        }


def test_no_refusal_leaves_a_key(world: SyncWorld) -> None:
    for fields in ({"user_guid": guid_of("x")}, {"secret": b""}, {"check": b"wrong"}):
        world.tell("alice", SECRET, **fields)
    assert not world.vault.references()


def test_hostile_passwords_arrive_as_they_are(world: SyncWorld) -> None:
    for password in ("'\";--", "a\r\nb", "nul\0nul", "-rf", "é" * 256, "🔑" * 128, " lead and trail "):
        world.clock.move(minutes=1)
        assert world.tell("alice", password).receipt is Receipt.STAGED
        world.work()
        assert world.password("alice", "crm") == password


def test_every_receipt_has_words() -> None:
    assert set(REASONS) == set(Receipt)


def test_what_is_refused_for_good_is_remembered(world: SyncWorld) -> None:
    world.tell("nobody", SECRET)
    with world.store.read() as uow:
        ((change, deliveries),) = uow.changes.history(user="nobody", before=None, limit=5)
    assert change.receipt is Receipt.NOT_IN_CS
    assert not deliveries
