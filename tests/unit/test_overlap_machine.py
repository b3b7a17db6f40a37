"""Overlapping grants, extensions and closings in any order: a state machine that hypothesis drives (F10)."""

from datetime import timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bastide.domain.errors import Conflict
from bastide.domain.ids import RequestId
from bastide.domain.requests import GRANTING, Request, State
from bastide.domain.roles import Ttl
from tests.support.world import World

WIDE = Ttl(timedelta(minutes=10), timedelta(minutes=5), timedelta(hours=2))
ROLES = {
    "files": ("PAM-FileAdmins",),
    "databases": ("PAM-DbAdmins",),
    "both": ("PAM-FileAdmins", "PAM-DbAdmins"),
}


class Overlaps(RuleBasedStateMachine):
    """What a person may open is always exactly what the active requests say."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.world.prepare("alice")
        self.world.prepare_group()
        self.world.prepare_group("DbAdmins")
        for name, groups in ROLES.items():
            self.world.add_role(name, privileges=groups, ttl=WIDE)
        self.alice = self.world.services.accounts.users(self.world.dave)[0]
        self.asked: list[RequestId] = []

    def teardown(self) -> None:
        self.world.close()

    def _requests(self, *states: State) -> list[Request]:
        with self.world.store.read() as uow:
            return [r for r in (uow.requests.get(id_) for id_ in self.asked) if r.state in states]

    @rule(role=st.sampled_from(sorted(ROLES)), minutes=st.integers(5, 60), later=st.integers(0, 20))
    def ask(self, role: str, minutes: int, later: int) -> None:
        start = self.world.clock.now() + timedelta(minutes=later) if later else None
        try:
            request = self.world.ask(role, ttl=timedelta(minutes=minutes), start_at=start)
        except Conflict as refusal:
            assert "limit" in refusal.message
            return
        self.asked.append(request.id)
        self.world.work()

    @precondition(lambda self: self._requests(State.ACTIVE))
    @rule(data=st.data(), minutes=st.integers(1, 60))
    def extend(self, data: st.DataObject, minutes: int) -> None:
        request = data.draw(st.sampled_from(self._requests(State.ACTIVE)))
        try:
            self.world.services.requests.extend(self.world.alice(), request.id, timedelta(minutes=minutes))
        except Conflict:
            return
        self.world.runner.run_due()
        self.world.work()

    @precondition(lambda self: self._requests(State.ACTIVE, State.SCHEDULED))
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        request = data.draw(st.sampled_from(self._requests(State.ACTIVE, State.SCHEDULED)))
        self.world.services.requests.close(self.world.alice(), request.id)
        self.world.work()

    @rule(minutes=st.integers(1, 30))
    def wait(self, minutes: int) -> None:
        self.world.clock.move(minutes=minutes)
        self.world.work()

    @invariant()
    def what_opens_is_what_is_active(self) -> None:
        now = self.world.clock.now()
        wanted = {
            g
            for r in self._requests(*GRANTING)
            if r.ends_at is not None and r.ends_at > now
            for g in r.privileges
        }
        for name, share in (("PAM-FileAdmins", self.world.share), ("PAM-DbAdmins", self.world.other_share)):
            group = self.world.services.accounts.group(self.world.dave, name)
            assert self.world.opens_share(self.alice, share.ref.sid) is (group.id in wanted)

    @invariant()
    def the_account_is_open_only_as_long_as_the_latest_grant(self) -> None:
        now = self.world.clock.now()
        ends = [r.ends_at for r in self._requests(*GRANTING) if r.ends_at is not None and r.ends_at > now]
        expires = self.world.priv.expires(self.alice.priv.sid)
        assert expires is not None
        if ends:
            assert abs(expires - max(ends)) <= timedelta(seconds=1)
        else:
            assert expires <= now


TestOverlaps = Overlaps.TestCase
TestOverlaps.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
