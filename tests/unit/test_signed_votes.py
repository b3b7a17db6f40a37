"""What approvers signed, read again by the worker: a test per number of services/signed_votes.py, by somebody who writes into the database."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from webauthn.helpers import bytes_to_base64url

from bastide.domain import signatures
from bastide.domain.errors import Conflict, DirectoryUnavailable
from bastide.domain.ids import GroupId, Sid
from bastide.domain.people import Actor, Demand, Forest
from bastide.domain.requests import Decision, Request, Signature, State, Vote
from bastide.domain.roles import Role
from bastide.domain.webauthn import assertion_of
from bastide.services.pace import ACCOUNT
from bastide.services.ports import AuditQuery
from bastide.services.roles import StageDraft
from bastide.services.security_keys import CHALLENGE_LIFE, Asked, Ballot
from bastide.services.signin import SecurityKey
from tests.support.authenticator import PRESENT, Authenticator
from tests.support.world import START, World

SESSION = "session"
TWO = (StageDraft("owners", ("PRIV\\grace", "PRIV\\heidi"), 2),)
Change = Callable[[Request], Request]


class Signing(World):
    """Alice asks; Grace and Heidi have a security key each."""

    def __init__(self) -> None:
        super().__init__()
        (self.user,) = self.prepare("alice")
        self.group = self.prepare_group()
        self.devices: dict[str, Authenticator] = {}
        self.keys: dict[str, SecurityKey] = {}
        for name in ("grace", "heidi"):
            self.give_key(name)

    def give_key(self, name: str) -> None:
        device, use, actor = Authenticator(), self.services.security_keys, self.sign_in(name)
        asked = use.ask_to_register(actor, SESSION)
        self.keys[name] = use.register(actor, SESSION, "key", device.make(asked))
        self.devices[name] = device

    def role(self, stages: tuple[StageDraft, ...] = TWO, **rules: Any) -> Role:
        return self.add_role(stages=stages, **{"approval_factor": Demand.WEBAUTHN, **rules})

    def sign(self, request: Request, name: str, reason: str = "", **wrong: Any) -> tuple[Actor, Signature]:
        use, actor = self.services.security_keys, self.with_mfa(self.sign_in(name))
        ballot = Ballot(request.id, Decision.APPROVE, reason)
        asked = use.ask_to_sign(actor, SESSION, ballot)
        answer = self.devices[name].use(asked, **wrong)
        proof, signature = use.sign(actor, SESSION, replace(ballot, stage=asked.stage), answer)
        return actor.proved(proof), signature

    def agree(self, request: Request, *names: str) -> Request:
        for name in names or ("grace", "heidi"):
            actor, signature = self.sign(request, name, "agreed")
            request = self.services.requests.decide(
                actor, request.id, Decision.APPROVE, "agreed", signature=signature
            )
        return request

    def tamper(self, request: Request, change: Change) -> None:
        """Somebody with the database's password."""
        with self.store.write() as uow:
            uow.requests.save(change(uow.requests.get(request.id)))
            uow.commit()

    def wake(self) -> None:
        """The worker looks at Alice's account now."""
        with self.store.write() as uow:
            uow.work.poke(ACCOUNT, self.user.id, self.clock.now())
            uow.commit()

    def told(self, kind: str) -> list[dict[str, Any]]:
        with self.store.read() as uow:
            return [json.loads(record.data) for record in uow.audit.read(AuditQuery(kind=kind, limit=0))]

    def is_refused(self, request: Request, cause: str) -> None:
        """Failed, said, and nothing was opened."""
        self.work()
        ended = self.get(request)
        assert ended.state is State.FAILED, ended
        assert cause in ended.reason
        assert [cause in said["cause"] for said in self.told("request.signature-refused")] == [True]
        assert self.events("request.failed") == ["request.failed"]
        assert not self.opens_share(self.user)


@pytest.fixture
def world() -> Iterator[Signing]:
    made = Signing()
    yield made
    made.close()


def on_vote(number: int, **changes: Any) -> Change:
    def change(request: Request) -> Request:
        votes = list(request.votes)
        votes[number] = replace(votes[number], **changes)
        return replace(request, votes=tuple(votes))

    return change


def on_signature(**changes: Any) -> Change:
    def change(request: Request) -> Request:
        seal = request.votes[0].signature
        assert seal is not None
        return on_vote(0, signature=replace(seal, **changes))(request)

    return change


def test_what_was_signed_is_opened(world: Signing) -> None:
    world.role()
    request = world.agree(world.ask())
    assert [vote.signature is not None for vote in request.votes] == [True, True]
    assert [said["signed"] for said in world.told("request.vote.approve")] == [True, True]
    world.work()
    assert world.get(request).state is State.ACTIVE
    assert world.opens_share(world.user)
    assert world.told("request.signature-refused") == []


def test_names_may_change_after_it_was_signed(world: Signing) -> None:
    """An account that is moved or renamed stays the same account."""
    world.role()
    request = world.agree(world.ask())
    with world.store.write() as uow:
        user, group = uow.users.get(world.user.id), uow.groups.get(world.group.id)
        uow.users.save(replace(user, corp=replace(user.corp, name="alicia", dn="CN=alicia")))
        uow.groups.save(replace(group, name="PAM-Files"))
        uow.commit()
    world.work()
    assert world.get(request).state is State.ACTIVE


# ------------------------------------------------------------------------------------------------- (1) whose the key is


def test_1_an_approver_that_is_swapped(world: Signing) -> None:
    world.role()
    request = world.agree(world.ask())
    ivan = world.sign_in("ivan")
    world.tamper(request, on_vote(0, voter=ivan.sid, name=ivan.name, person=str(ivan.sid)))
    world.is_refused(request, "registered for somebody else")


def test_1_a_key_that_was_sealed_for_another_row(world: Signing) -> None:
    world.role()
    request = world.agree(world.ask())
    world.tamper(request, on_signature(key=world.keys["heidi"].id))
    world.is_refused(request, "another row")


# ---------------------------------------------------------------------------------------------------- (2) who may count


def test_2_the_person_who_asked(world: Signing) -> None:
    """Alice's own key, registered with either account, under a vote that names her PRIV account."""
    world.role((StageDraft("owners", ("PRIV\\grace", "PRIV\\priv.alice")),))
    code = world.services.factors.invite(world.dave, "priv.alice")
    device, use, alice = Authenticator(), world.services.security_keys, world.sign_in("alice", Forest.CORP)
    use.register(alice, SESSION, "mine", device.make(use.ask_to_register(alice, SESSION)), invitation=code)
    request = world.agree(world.ask(), "grace")
    (key,) = use.mine(alice)
    nonce = b"n" * 32
    world.tamper(request, on_vote(0, voter=world.user.priv.sid, name="PRIV\\priv.alice"))
    world.tamper(request, forged_with(world, device, key, nonce))
    world.is_refused(request, "cannot approve")


def forged_with(
    world: Signing, device: Authenticator, key: SecurityKey, nonce: bytes, **wrong: Any
) -> Change:
    """The first vote, signed with that key by a program that needs no browser."""

    until = world.clock.now() + CHALLENGE_LIFE

    def change(request: Request) -> Request:
        vote = request.votes[0]
        digest = signatures.digest(
            request,
            user=world.user,
            groups=[world.group],
            voter=vote.voter,
            name=vote.name,
            stage=vote.stage,
            decision=vote.decision,
            reason=vote.reason,
            nonce=nonce,
            until=until,
        )
        asked = Asked("", json.dumps({"challenge": bytes_to_base64url(digest)}))
        said = assertion_of(device.use(asked, **wrong).credential)
        return on_vote(
            0,
            signature=Signature(
                key.id,
                key.sealed,
                nonce,
                said.id,
                said.authenticator_data,
                said.client_data,
                said.signature,
                until,
            ),
        )(request)

    return change


def test_2_one_vote_counted_twice(world: Signing) -> None:
    world.role()
    request = world.agree(world.ask(), "grace")

    def twice(before: Request) -> Request:
        (vote,) = before.votes
        again = replace(vote, person="somebody else")
        return replace(
            before,
            votes=(vote, again),
            state=State.PROCESSING,
            processing_since=world.clock.now(),
        )

    world.tamper(request, twice)
    world.wake()
    world.is_refused(request, "counted twice")


# ---------------------------------------------------------------------------------------------- (3) what the digest says


@pytest.mark.parametrize(
    "change",
    [
        lambda r: replace(r, ttl=r.ttl + timedelta(hours=3)),
        lambda r: replace(r, justification="something harmless"),
        lambda r: replace(r, ticket="CHG-1"),
        lambda r: replace(r, requester=Sid("S-1-5-21-9-9-9-500")),
        on_vote(0, reason="never said"),
        on_vote(1, stage="another"),
        on_vote(0, name="PRIV\\somebody"),
        on_signature(nonce=b"x" * 32),
        on_signature(until=START + timedelta(days=90)),
        on_signature(signature=b"\x30\x00"),
        on_signature(client_data=b"{}"),
        on_signature(authenticator_data=bytes(37)),
    ],
    ids=[
        "ttl", "justification", "ticket", "requester", "reason", "stage", "name", "nonce", "until", "signature",
        "client-data", "authenticator-data",
    ],
)  # fmt: skip
def test_3_a_row_that_was_altered_after_the_approval(world: Signing, change: Change) -> None:
    world.role()
    request = world.agree(world.ask())
    world.tamper(request, change)
    world.is_refused(request, "does not hold")


def test_3_a_start_that_was_moved(world: Signing) -> None:
    world.role()
    start = world.clock.now() + timedelta(hours=1)
    request = world.agree(world.ask(start_at=start))
    assert request.state is State.SCHEDULED
    world.tamper(request, lambda r: replace(r, start_at=world.clock.now()))
    world.wake()
    world.is_refused(request, "does not hold")


def test_3_groups_that_were_exchanged(world: Signing) -> None:
    """Another group in the request; and the same group, pointing elsewhere."""
    world.role()
    other = world.prepare_group("DbAdmins")
    request = world.agree(world.ask())
    world.tamper(request, lambda r: replace(r, privileges=(*r.privileges, GroupId(other.id))))
    world.is_refused(request, "does not hold")


def test_3_a_group_that_points_elsewhere(world: Signing) -> None:
    world.role()
    request = world.agree(world.ask())
    victim = world.priv.add_group("Domain Admins of PRIV")
    with world.store.write() as uow:
        group = uow.groups.get(world.group.id)
        uow.groups.save(replace(group, priv=victim.ref))
        uow.commit()
    world.is_refused(request, "does not hold")


def test_3_a_user_that_points_elsewhere(world: Signing) -> None:
    """What Alice was approved for is not given to an account that somebody put in the place of hers."""
    world.role()
    request = world.agree(world.ask())
    thief = world.priv.add_person("thief")
    with world.store.write() as uow:
        user = uow.users.get(world.user.id)
        uow.users.save(replace(user, priv=thief.ref))
        uow.commit()
    world.is_refused(request, "does not hold")


def test_3_a_signature_of_another_request(world: Signing) -> None:
    world.role()
    first = world.agree(world.ask())
    world.work()
    second, votes = world.agree(world.ask(ttl=timedelta(hours=2))), world.get(first).votes
    world.tamper(second, lambda r: replace(r, votes=votes))
    world.work()
    assert world.get(first).state is State.ACTIVE
    assert world.get(second).state is State.FAILED
    assert "does not hold" in world.told("request.signature-refused")[0]["cause"]


def test_3_another_address_and_nobody_verified(world: Signing) -> None:
    """A key that signs without PIN, or for another site, signed nothing of ours."""
    world.role((StageDraft("owners", ("PRIV\\grace",)),))
    cases: tuple[dict[str, Any], ...] = ({"flags": PRESENT}, {"origin": "https://evil.test"})
    for wrong in cases:
        request = world.agree(world.ask(), "grace")
        change = forged_with(world, world.devices["grace"], world.keys["grace"], b"n" * 32, **wrong)
        world.tamper(request, change)
        world.work()
        assert world.get(request).state is State.FAILED
        assert "does not hold" in world.get(request).reason


def test_3_a_claimed_signature_is_read_even_where_none_is_demanded(world: Signing) -> None:
    world.role(approval_factor=Demand.ANY)
    request = world.agree(world.ask())
    world.tamper(request, lambda r: replace(r, ttl=r.ttl + timedelta(hours=1)))
    world.is_refused(request, "does not hold")


# ----------------------------------------------------------------------------------------------------- (4) enough of them


def test_4_a_vote_that_was_made_up(world: Signing) -> None:
    world.role()
    request = world.agree(world.ask(), "grace")

    def invent(before: Request) -> Request:
        (vote,) = before.votes
        heidi = world.sign_in("heidi")
        made = Vote(
            heidi.sid, heidi.sid, heidi.name, Decision.APPROVE, "", "owners", world.clock.now(), None, None
        )
        return replace(before, votes=(vote, made), state=State.PROCESSING, processing_since=world.clock.now())

    world.tamper(request, invent)
    world.wake()
    world.is_refused(request, "1 of 2")


def test_4_a_request_that_needs_no_approval_any_more(world: Signing) -> None:
    world.role()
    request = world.ask()
    now = world.clock.now()
    world.tamper(
        request, lambda r: replace(r, needs_approval=False, state=State.PROCESSING, processing_since=now)
    )
    world.wake()
    world.is_refused(request, "0 of 2")


def test_4_a_role_that_lost_its_stages_opens_nothing(world: Signing) -> None:
    role = world.role()
    request = world.agree(world.ask())
    with world.store.write() as uow:
        uow.roles.save(replace(uow.roles.get(role.id), stages=()))
        uow.commit()
    world.is_refused(request, "names nobody")


def test_4_somebody_with_a_key_who_is_no_approver(world: Signing) -> None:
    """Ivan has a key of his own, and makes up a vote that is all his."""
    world.role()
    world.give_key("ivan")
    request = world.agree(world.ask())
    ivan = world.sign_in("ivan")
    world.tamper(request, on_vote(0, voter=ivan.sid, name=ivan.name))
    world.tamper(request, forged_with(world, world.devices["ivan"], world.keys["ivan"], b"n" * 32))
    world.is_refused(request, "1 of 2")


def test_4_approvers_by_group_are_asked_for_anew(world: Signing) -> None:
    world.role((StageDraft("network", ("PRIV\\Team Network",)),))
    world.give_key("ivan")
    request = world.agree(world.ask(), "ivan")
    ivan, priv = world.sign_in("ivan").sid, world.services.forests[Forest.PRIV]
    priv.remove_members(world.teams["Team Network"].ref, [ivan])
    world.is_refused(request, "0 of 1")


def test_4_a_directory_that_does_not_answer_is_waited_for(
    world: Signing, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.role((StageDraft("network", ("PRIV\\Team Network",)),))
    world.give_key("ivan")
    request = world.agree(world.ask(), "ivan")
    priv = world.services.forests[Forest.PRIV]

    def silent(_: str) -> None:
        raise DirectoryUnavailable("no controller answered")

    with monkeypatch.context() as broken:
        broken.setattr(priv, "find_caller", silent)
        world.runner.run_due()
    assert world.get(request).state is State.PROCESSING
    assert not world.opens_share(world.user)
    world.clock.move(minutes=1)
    world.work()
    assert world.get(request).state is State.ACTIVE


def test_4_a_role_that_demands_signatures_since(world: Signing) -> None:
    world.role(approval_factor=Demand.ANY)
    request = world.ask()
    for name in ("grace", "heidi"):
        world.approve(request, name)
    world.services.roles.adjust(
        world.dave, "File administrators", lambda r: replace(r, approval_factor=Demand.WEBAUTHN)
    )
    world.is_refused(request, "0 of 2")


# ------------------------------------------------------------------------------------------------------------ (5) its end


def test_5_an_end_that_was_moved_while_it_is_opened(world: Signing) -> None:
    world.role()
    request = world.agree(world.ask())
    now = world.clock.now()
    world.tamper(request, lambda r: replace(r, active_from=now, ends_at=now + timedelta(days=30)))
    world.is_refused(request, "later than what was signed")


def test_5_an_extension_that_nobody_asked_for(world: Signing) -> None:
    world.role()
    request = world.agree(world.ask())
    world.work()
    assert world.opens_share(world.user)
    with pytest.raises(Conflict):
        world.services.requests.extend(world.alice(), request.id, timedelta(hours=1))
    world.tamper(request, lambda r: replace(r, extend_to=world.clock.now() + timedelta(days=1)))
    world.wake()
    world.is_refused(request, "later than what was signed")


def test_a_vote_and_its_signature_come_back_from_the_database(world: Signing) -> None:
    world.role()
    request = world.agree(world.ask(), "grace")
    assert world.get(request) == request
    (vote,) = world.get(request).votes
    assert vote.signature is not None
    assert vote.signature.key == world.keys["grace"].id
    assert vote.proof is not None
    assert vote.proof.method == "webauthn"
