"""How what was taken in reaches the targets: a test for each number of services/passwords/deliver.py, and the retry rules."""

import base64
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.errors import CapabilityMissing, LostLease, NotConfigured, TargetDenied, TargetUnavailable
from bastide.domain.management_agents import CsId, Link, ManagementAgent, MvId, Operation, PasswordSource
from bastide.domain.passwords import FINAL, Code, Delivery, Proof, Stamp, State
from bastide.services.pace import PASSWORD
from bastide.services.passwords.lanes import Lanes
from bastide.services.passwords.lookup import secret_context
from bastide.services.passwords.ports import Result, Security
from bastide.workers.jobs import Job
from bastide.workers.runner import Runner
from tests.support.sync_world import LEASE, SyncWorld, guid_of

SECRET = "Grüße 🐟 pass"


@pytest.fixture
def world() -> SyncWorld:
    made = SyncWorld()
    made.ready("alice", "bob")
    return made


def of(world: SyncWorld, agent: str, *states: State) -> list[Delivery]:
    return [one for one in world.deliveries(*states) if one.ma == f"ma-{agent}"]


# Step 1 of the procedure.
def test_switched_off_nothing_is_delivered_and_on_again_all_is(world: SyncWorld) -> None:
    world.tell("alice", SECRET)
    world.passwords.switchboard.disable(world.dave)
    world.work()
    assert not world.served("crm")
    assert len(world.deliveries(State.PENDING)) == 2
    world.passwords.switchboard.enable(world.dave)
    world.work()
    assert world.password("alice", "crm") == SECRET


# Step 2 of the procedure.
def test_a_batch_takes_few_queries(world: SyncWorld) -> None:
    from sqlalchemy import event

    for number in range(40):
        world.add_user(f"user{number}", "corp", "crm", "files")
        world.tell(f"user{number}", SECRET)
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    event.listen(world.store.engine, "before_cursor_execute", counted)
    world.work()
    assert world.served("crm") == 40
    assert count < 60, "a query for each delivery would be 80 and more"


# Step 3 of the procedure.
def test_only_the_newest_of_several_changes_is_set(world: SyncWorld) -> None:
    for password in ("first", "second", "third"):
        world.clock.move(seconds=1)
        world.tell("alice", password)
    world.work()
    assert world.password("alice", "crm") == "third"
    assert world.served("crm") == 1
    assert [one.code for one in of(world, "crm", State.FAILED)] == [Code.OUT_OF_DATE] * 2
    assert world.events.numbers().count(6919) == 4
    assert not world.vault.references(), "what was overtaken needs no key either"


def test_an_older_change_of_another_domain_does_not_overwrite(world: SyncWorld) -> None:
    """Revisions of two source objects say nothing about each other; time does."""
    world.add_source("lab", "crm")
    with world.store.write() as uow:
        uow.space.put([world.cs_object("alice", "lab", MvId(guid_of("mv alice")))])
        uow.commit()
    world.tell("alice", "newer", domain="corp", revision=3)
    world.work()
    old = world.clock.now() - timedelta(hours=1)
    world.tell("alice", "older", domain="lab", revision=900, at=old)
    world.work()
    assert world.password("alice", "crm") == "newer"
    assert [one.code for one in of(world, "crm", State.FAILED)] == [Code.OUT_OF_DATE]
    world.clock.move(minutes=1)
    world.tell("alice", "newest", domain="lab", revision=901)
    world.work()
    assert world.password("alice", "crm") == "newest"


def test_a_new_change_does_not_wait_for_the_retry_of_an_old_one(world: SyncWorld) -> None:
    world.systems.systems["crm"].faults.down = True
    world.tell("alice", "first")
    world.work()
    world.systems.systems["crm"].faults.down = False
    world.clock.move(seconds=5)
    world.tell("alice", "second")
    world.work()
    assert world.password("alice", "crm") == "second"
    world.clock.move(minutes=5)
    world.work()
    assert world.password("alice", "crm") == "second"
    assert world.served("crm") == 1


# Step 4 of the procedure.
@pytest.mark.parametrize(
    ("rules", "code", "number"),
    [
        ({"enabled": False}, Code.NOT_ENABLED, 6921),
        ({"operation": Operation.CHANGE}, Code.SET_UNSUPPORTED, 6928),
    ],
)
def test_agents_that_are_not_to_set_passwords(rules: dict[str, object], code: Code, number: int) -> None:
    world = SyncWorld()
    world.ready(**rules)
    world.tell("alice", SECRET)
    world.work()
    assert {one.code for one in world.deliveries(State.FAILED)} == {code}
    assert number in world.events.numbers()
    assert not world.served("crm")
    assert not world.vault.references()


def test_an_object_that_is_gone_or_somebody_elses(world: SyncWorld) -> None:
    world.tell("alice", SECRET)
    world.tell("bob", SECRET)
    with world.store.write() as uow:
        uow.space.remove([CsId(guid_of("cs crm alice"))])
        found = uow.space.get(CsId(guid_of("cs crm bob")))
        uow.space.put([replace(found, mv=MvId(guid_of("mv somebody else")))])
        uow.commit()
    world.work()
    assert not world.served("crm")
    assert world.served("files") == 2
    assert [one.code for one in of(world, "crm")] == [Code.OBJECT_MISSING] * 2
    assert 6923 in world.events.numbers()


@pytest.mark.parametrize(
    ("cut", "code"),
    [
        ("join", Code.OBJECT_MISSING),
        ("source object", Code.OBJECT_MISSING),
        ("target", Code.NOT_ENABLED),
        ("source", Code.NOT_ENABLED),
    ],
)
def test_what_was_cut_off_since_is_not_delivered(world: SyncWorld, cut: str, code: Code) -> None:
    """An administrator found that the account was joined to the wrong person, or that its passwords have no business there."""
    world.tell("alice", SECRET)
    source = CsId(guid_of("cs corp alice"))
    with world.store.write() as uow:
        if cut == "join":
            uow.space.put([replace(uow.space.get(source), link=Link.APART, mv=None)])
        elif cut == "source object":
            uow.space.remove([source])
        uow.commit()
    if cut == "target":
        world.change_agent("corp", lambda a: replace(a, source=replace(_source(a), targets=())))
    elif cut == "source":
        world.change_agent("corp", lambda a: replace(a, source=replace(_source(a), enabled=False)))
    world.work()
    assert not world.served("crm")
    assert {one.code for one in world.deliveries(State.FAILED)} == {code}
    assert not world.vault.references()


def _source(agent: ManagementAgent) -> PasswordSource:
    assert agent.source is not None
    return agent.source


def test_what_the_target_does_not_have(world: SyncWorld) -> None:
    world.systems.systems["crm"].delete(guid_of("crm alice"))
    world.tell("alice", SECRET)
    world.work()
    assert [one.code for one in of(world, "crm", State.FAILED)] == [Code.OBJECT_MISSING]


def test_without_its_key_nobody_opens_it(world: SyncWorld) -> None:
    world.tell("alice", SECRET)
    world.vault.destroy(world.vault.references())
    world.work()
    assert {one.code for one in world.deliveries(State.FAILED)} == {Code.KEY_GONE}
    assert not world.served("crm")


# Step 5 of the procedure.
@pytest.mark.parametrize("error", [NotConfigured("no way"), CapabilityMissing("cannot")])
def test_a_target_without_a_way_to_set_passwords(world: SyncWorld, error: Exception) -> None:
    world.systems.systems["crm"].faults.openings.append(error)  # type: ignore[arg-type]
    world.tell("alice", SECRET)
    world.work()
    assert [one.code for one in of(world, "crm", State.FAILED)] == [Code.NOT_CONFIGURED]
    assert 6922 in world.events.numbers()
    assert world.password("alice", "files") == SECRET, "the other target is not concerned"


def test_a_dead_target_does_not_hold_up_the_others() -> None:
    """`crm` hangs until the test lets it go; `files` has its passwords long before."""
    world = SyncWorld(threads=4)
    world.ready("alice", "bob")
    hanging, entered = threading.Event(), threading.Event()
    crm = world.systems.systems["crm"]
    plain = crm.open

    def hang(secret: str) -> None:
        entered.set()
        assert hanging.wait(20)
        plain(secret)

    crm.open = hang  # type: ignore[method-assign]
    world.tell("alice", SECRET)
    jobs = (Job((PASSWORD,), world.passwords.deliver.run, 100, LEASE),) * 3
    runner = Runner(store=world.store, jobs=jobs, owner="node", clock=world.clock)
    runner.start()
    try:
        assert entered.wait(5)
        assert _soon(lambda: world.served("files") == 1), "in the same batch"
        world.tell("bob", SECRET)
        assert _soon(lambda: world.served("files") == 2), "in a later batch"
        assert not world.served("crm")
    finally:
        hanging.set()
        runner.stop()
    world.clock.move(seconds=2)
    world.work()
    assert world.password("alice", "crm") == world.password("bob", "crm") == SECRET


def _soon(probe: Callable[[], bool]) -> bool:
    return any(probe() or threading.Event().wait(0.02) for _ in range(400))


def test_room_in_a_target() -> None:
    lanes = Lanes(patience=0.01)
    with lanes.enter("a") as first, lanes.enter("a") as second, lanes.enter("b") as other:  # type: ignore[arg-type]
        assert (first, second, other) == (True, False, True)
    lanes.said("a", well=True)  # type: ignore[arg-type]
    with lanes.enter("a") as one, lanes.enter("a") as two, lanes.enter("a") as three:  # type: ignore[arg-type]
        assert (one, two, three) == (True, True, False)
    lanes.said("a", well=False)  # type: ignore[arg-type]
    with lanes.enter("a") as one, lanes.enter("a") as two:  # type: ignore[arg-type]
        assert (one, two) == (True, False)


def test_a_connector_that_fails_in_its_own_way_tells_nothing_of_it(
    world: SyncWorld, caplog: pytest.LogCaptureFixture
) -> None:
    def explode(*_: object) -> None:
        raise RuntimeError(f"cannot set {SECRET}")

    world.systems.systems["crm"].write = explode  # type: ignore[method-assign,assignment]
    world.tell("alice", SECRET)
    world.work()
    (failed,) = of(world, "crm")
    assert (failed.code, failed.state) == (Code.FAILED, State.PENDING)
    assert "RuntimeError" in failed.detail
    assert SECRET not in caplog.text + failed.detail + str(world.audit()) + str(world.events.written)


@pytest.mark.parametrize(
    ("spelled", "kept"),
    [
        (SECRET, False),
        (SECRET.upper(), False),
        (SECRET.encode().hex(), False),
        (base64.b64encode(f"x{SECRET}".encode("utf-16-le")).decode(), False),
        (repr(SECRET.encode()), False),
        ("a pass", True),
    ],
)
def test_what_a_target_says_is_kept_unless_it_spells_the_password(
    world: SyncWorld, spelled: str, kept: bool
) -> None:
    anchor = guid_of("crm alice")
    world.systems.systems["crm"].faults.answers[anchor] = Result(Code.POLICY, f"it refuses {spelled}")
    world.tell("alice", SECRET)
    world.work()
    (failed,) = of(world, "crm")
    assert (spelled in failed.detail) is kept
    assert ("withheld" in failed.detail) is not kept


def test_a_connection_that_breaks_does_not_spell_any_password_of_its_part(world: SyncWorld) -> None:
    def breaking(*_: object) -> None:
        raise TargetUnavailable(f"gone at {SECRET.encode('utf-16-le').hex(' ')}")

    world.systems.systems["crm"].write = breaking  # type: ignore[method-assign,assignment]
    world.tell("bob", "another password")
    world.tell("alice", SECRET)
    world.work()
    assert ["withheld" in one.detail for one in of(world, "crm")] == [True, True]


def test_the_agents_secret_opens_its_connection(world: SyncWorld) -> None:
    world.systems.systems["crm"].secret = "right"
    world.tell("alice", SECRET)
    world.work()
    assert [one.code for one in of(world, "crm")] == [Code.CREDENTIALS]
    with world.store.write() as uow:
        crm = uow.agents.by_name("crm")
        uow.agents.set_secret(crm.id, world.sealer.seal(b"right", secret_context(crm.id)))
        uow.commit()
    world.clock.move(seconds=61)
    world.work()
    assert world.password("alice", "crm") == SECRET


# Step 6 of the procedure.
@pytest.mark.parametrize("security", [Security.NOT_SECURE, Security.UNKNOWN])
def test_a_connection_not_known_to_be_secure_gets_no_password(world: SyncWorld, security: Security) -> None:
    world.systems.systems["crm"].security = security
    world.tell("alice", SECRET)
    world.work()
    (held,) = of(world, "crm")
    assert (held.code, held.state) == (Code.INSECURE, State.PENDING)
    assert not world.served("crm")
    waived = lambda a: replace(a, passwords=replace(a.passwords, require_secure=False))  # noqa: E731
    world.change_agent("crm", waived)
    world.clock.move(seconds=61)
    world.work()
    assert world.password("alice", "crm") == SECRET


# Step 7 of the procedure.
def test_shadow_mode_does_all_but_the_write() -> None:
    world = SyncWorld()
    world.ready(shadow=True)
    world.tell("alice", SECRET)
    world.work()
    assert not world.served("crm")
    assert world.systems.systems["crm"].opened == 1
    assert all(one.shadow and not one.sealed for one in world.deliveries(State.DELIVERED))
    assert [record.kind for record in world.audit()][-2:] == ["password.shadowed"] * 2
    assert 6902 not in world.events.numbers()
    with world.store.read() as uow:
        assert not uow.changes.applied([CsId(guid_of("cs crm alice"))]), "the target has taken nothing"
    assert not world.vault.references()


def test_accepted_and_proved_are_two_things() -> None:
    world = SyncWorld()
    world.ready("alice", "bob", verify=True)
    world.systems.systems["crm"].faults.liars.add(guid_of("crm bob"))
    world.tell("alice", SECRET)
    world.tell("bob", SECRET)
    world.work()
    proofs = {one.dn: one.proof for one in of(world, "crm", State.DELIVERED)}
    assert proofs == {"CN=alice,OU=crm": Proof.PROVED, "CN=bob,OU=crm": Proof.NOT_PROVED}
    assert world.systems.systems["crm"].binds == 2, "one bind each, never more"


def test_a_broken_connection_says_nothing_about_who_was_served(world: SyncWorld) -> None:
    world.systems.systems["crm"].faults.break_after = 1
    world.tell("alice", SECRET)
    world.tell("bob", SECRET)
    world.work()
    assert [one.code for one in of(world, "crm")] == [Code.UNAVAILABLE] * 2
    world.systems.systems["crm"].faults.break_after = None
    world.clock.move(seconds=61)
    world.work()
    assert world.password("alice", "crm") == world.password("bob", "crm") == SECRET
    assert {one.state for one in of(world, "crm")} == {State.DELIVERED}


# Step 8 of the procedure.
def test_result_stamp_audit_and_work_are_one_commit(world: SyncWorld) -> None:
    world.tell("alice", SECRET)
    world.work()
    done = of(world, "crm", State.DELIVERED)[0]
    assert (done.sealed, done.attempts, done.attempted_at) == (b"", 1, world.clock.now())
    with world.store.read() as uow:
        applied = uow.changes.applied([done.object])
        rows = [row for row in uow.work.listing() if row["kind"] == PASSWORD]
    assert applied == {done.object: done.stamp}
    assert isinstance(applied[done.object], Stamp)
    assert all(row["due"] is None and row["owner"] is None for row in rows)
    delivered = world.audit("password.delivered")
    assert [record.request for record in delivered] == [done.reference] * 2
    assert not world.vault.references()
    assert world.vault.mark() == world.head()


def test_the_key_lives_until_the_last_target_has_the_password(world: SyncWorld) -> None:
    world.systems.systems["crm"].faults.down = True
    world.tell("alice", SECRET)
    world.work()
    assert world.password("alice", "files") == SECRET
    assert len(world.vault.references()) == 1
    world.systems.systems["crm"].faults.down = False
    world.clock.move(seconds=61)
    world.work()
    assert not world.vault.references()


def test_a_worker_that_lost_its_lease_commits_nothing(world: SyncWorld) -> None:
    world.tell("alice", SECRET)
    works = world.store.claim([PASSWORD], owner="sleeper", lease=LEASE, limit=10, now=world.clock.now())
    world.clock.move(seconds=11)
    world.work()
    head = world.head()
    with pytest.raises(LostLease):
        world.passwords.deliver.run(works)
    assert world.head() == head
    assert {one.state for one in world.deliveries()} == {State.DELIVERED}


# --------------------------------------------------------------------------------------------------------------- retries


def test_ten_retries_a_minute_apart_and_then_no_more(world: SyncWorld) -> None:
    world.systems.systems["crm"].faults.down = True
    world.tell("alice", SECRET)
    tries = 0
    for _ in range(20):
        world.work()
        tries = of(world, "crm")[0].attempts
        world.clock.move(seconds=60)
    (failed,) = of(world, "crm", State.FAILED)
    assert (tries, failed.retry_limit_reached) == (11, True), "one try and ten retries"
    assert world.events.numbers().count(6908) == 1
    assert world.events.numbers().count(6901) == 11
    assert not world.vault.references()
    last = next(fields for number, fields in world.events.written if number == 6908)
    assert last["RetryCount"] == 10


def test_no_try_before_its_time(world: SyncWorld) -> None:
    world.systems.systems["crm"].faults.down = True
    world.tell("alice", SECRET)
    world.work()
    world.clock.move(seconds=59)
    with world.store.write() as uow:
        uow.work.poke(PASSWORD, guid_of("cs crm alice"), world.clock.now())
        uow.commit()
    world.work()
    assert of(world, "crm")[0].attempts == 1
    world.clock.move(seconds=1)
    world.work()
    assert of(world, "crm")[0].attempts == 2


@pytest.mark.parametrize("code", sorted(FINAL - {Code.OUT_OF_DATE, Code.KEY_GONE}))
def test_what_is_never_tried_again(world: SyncWorld, code: Code) -> None:
    world.systems.systems["crm"].faults.answers[guid_of("crm alice")] = Result(code, "no")
    world.tell("alice", SECRET)
    world.work()
    (failed,) = of(world, "crm")
    assert (failed.state, failed.code, failed.due) == (State.FAILED, code, None)
    world.clock.move(hours=1)
    world.work()
    assert of(world, "crm")[0].attempts == 1


@pytest.mark.parametrize(
    ("error", "code"),
    [(TargetDenied("no"), Code.CREDENTIALS), (TargetUnavailable("away"), Code.UNAVAILABLE)],
)
def test_a_connection_that_does_not_come_about_is_tried_again(
    world: SyncWorld, error: TargetDenied | TargetUnavailable, code: Code
) -> None:
    world.systems.systems["crm"].faults.openings.append(error)
    world.tell("alice", SECRET)
    world.work()
    (waiting,) = of(world, "crm", State.PENDING)
    assert (waiting.code, waiting.due) == (code, world.clock.now() + timedelta(seconds=60))
    world.clock.move(seconds=60)
    world.work()
    assert world.password("alice", "crm") == SECRET


def test_no_password_in_any_text(world: SyncWorld, caplog: pytest.LogCaptureFixture) -> None:
    world.systems.systems["crm"].policy = lambda _: "too short"
    world.tell("alice", SECRET)
    world.work()
    texts = [str(world.audit()), str(world.events.written), caplog.text, repr(world.deliveries())]
    texts += [repr(world.passwords.accept), repr(world.vault), repr(world.notification("alice", SECRET))]
    assert not [text for text in texts if SECRET in text or SECRET.encode("utf-16-le").hex() in text]
