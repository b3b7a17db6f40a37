"""What only the twin has: controllers that are cut off, tickets, and a hook before each write."""

from datetime import UTC, datetime, timedelta

import pytest

from bastide.directory.memory import MemoryDirectory, MemoryPreparer
from bastide.directory.memory_forest import SAMBA_LIKE, MemoryForest
from bastide.domain.errors import Ambiguous, DirectoryUnavailable, NotAuthenticated, ObjectExists
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.domain.roles import Scope
from bastide.services.ports import Capabilities, NewAccount

START = datetime(2026, 1, 5, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WINDOWS_LIKE = Capabilities(
    link_ttl=True, shadow_principals=True, authentication_policies=True, sid_filtering=True
)


class Setting:
    """One PAM user and one PAM group, linked to CORP."""

    def __init__(self, capabilities: Capabilities = SAMBA_LIKE) -> None:
        self.now = START
        self.priv = MemoryForest(
            Forest.PRIV, self.clock, controllers=("dc1", "dc2"), capabilities=capabilities
        )
        self.corp = MemoryForest(Forest.CORP, self.clock)
        self.directory, self.corp_directory = MemoryDirectory(self.priv), MemoryDirectory(self.corp)
        self.preparer = MemoryPreparer(self.priv)
        self.user = self.priv.add_person("priv.alice", password="right", expires=START - HOUR).ref
        self.group = self.priv.add_group("PAM-Files").ref
        self.files = self.corp.add_group("FileAdmins", scope=Scope.DOMAIN_LOCAL).ref
        self.corp_directory.add_members(self.files, [self.group.sid])

    def clock(self) -> datetime:
        return self.now

    def open(self) -> None:
        self.directory.add_members(self.group, [self.user.sid])
        self.directory.set_ends({self.user.sid: self.now + HOUR})


def test_a_ticket_carries_the_groups_of_its_moment_and_outlives_them() -> None:
    s = Setting()
    with pytest.raises(NotAuthenticated):
        s.priv.buy_ticket(s.user.sid, s.now)
    s.open()
    cap = s.preparer.ensure_ticket_policy("cap", timedelta(minutes=15))
    s.preparer.protect(s.user, cap)
    ticket = s.priv.buy_ticket(s.user.sid, s.now)
    assert s.corp.admits(ticket, s.files.sid, s.now)
    s.directory.remove_members(s.group, [s.user.sid])
    assert s.corp.admits(ticket, s.files.sid, s.now), "the old ticket still says so"
    fresh = s.priv.buy_ticket(s.user.sid, s.now)
    assert not s.corp.admits(fresh, s.files.sid, s.now)
    assert not s.corp.admits(ticket, s.files.sid, s.now + timedelta(minutes=15))


def test_taking_the_corp_link_away_cuts_old_tickets_too() -> None:
    s = Setting()
    s.open()
    ticket = s.priv.buy_ticket(s.user.sid, s.now)
    s.corp_directory.remove_members(s.files, [s.group.sid])
    assert not s.corp.admits(ticket, s.files.sid, s.now)


def test_protected_users_caps_where_no_policy_does() -> None:
    s = Setting()
    s.preparer.protect(s.user, "")
    s.open()
    assert s.priv.buy_ticket(s.user.sid, s.now).until == s.now + timedelta(hours=4)


def test_a_cut_controller_keeps_what_it_had_and_its_end_holds() -> None:
    """As measured: with the link cut, dc2 still gives tickets with the removed member; accountExpires is refused by both."""
    s = Setting()
    s.open()
    s.priv.cut("dc2")
    s.directory.remove_members(s.group, [s.user.sid])
    assert set(s.directory.observe([s.user.sid])) == {"dc1"}
    assert s.group.sid in s.priv.buy_ticket(s.user.sid, s.now, at="dc2").sids
    assert s.group.sid not in s.priv.buy_ticket(s.user.sid, s.now, at="dc1").sids
    for controller in ("dc1", "dc2"):
        assert not s.priv.can_buy_ticket(s.user.sid, s.now + HOUR, at=controller)
    s.priv.heal("dc2")
    assert all(
        state[s.user.sid].groups == frozenset() for state in s.directory.observe([s.user.sid]).values()
    )
    assert len(s.directory.observe([s.user.sid])) == 2


def test_an_isolated_controller_is_written_by_us_and_by_nobody_else() -> None:
    s = Setting()
    s.priv.isolate("dc2")
    s.priv.add_group("only-on-dc1")
    s.open()
    states = s.directory.observe([s.user.sid])
    assert [states[name][s.user.sid].groups for name in ("dc1", "dc2")] == [{s.group.guid}] * 2
    assert [g.ref.name for g in s.priv.replica("dc2").groups()] == ["PAM-Files"]


def test_with_all_controllers_cut_nothing_works_and_all_are_listed() -> None:
    s = Setting()
    s.priv.cut("dc1")
    s.priv.cut("dc2")
    assert [c.reachable for c in s.directory.controllers()] == [False, False]
    for call in (
        lambda: s.directory.observe([s.user.sid]),
        lambda: s.directory.add_members(s.group, [s.user.sid]),
        lambda: s.directory.remove_members(s.group, [s.user.sid]),
        lambda: s.directory.set_ends({s.user.sid: START}),
        lambda: s.directory.find_person("priv.alice"),
    ):
        with pytest.raises(DirectoryUnavailable):
            call()


class Killed(BaseException):
    """As a power cut: nothing may catch it."""


def test_the_hook_stops_the_write_it_is_told_of() -> None:
    s = Setting()
    seen: list[str] = []

    def die_at_second(number: int, what: str) -> None:
        seen.append(what)
        if len(seen) == 2:
            raise Killed

    # Apart, so that replication does not do the second write by itself.
    s.priv.isolate("dc2")
    s.priv.before_write = die_at_second
    with pytest.raises(Killed):
        s.directory.add_members(s.group, [s.user.sid])
    assert seen == ["dc1 add to PAM-Files", "dc2 add to PAM-Files"]
    states = s.directory.observe([s.user.sid])
    assert states["dc1"][s.user.sid].groups == {s.group.guid}
    assert states["dc2"][s.user.sid].groups == frozenset()


def test_time_limited_links_end_by_themselves_where_the_directory_can() -> None:
    s = Setting(WINDOWS_LIKE)
    s.directory.add_members(s.group, [s.user.sid])
    s.directory.add_members(s.group, [s.user.sid], {s.user.sid: HOUR})
    assert s.directory.time_left(s.group, s.user.sid) == {"dc1": HOUR, "dc2": HOUR}
    s.now += HOUR
    assert s.directory.time_left(s.group, s.user.sid) == {}
    assert s.directory.observe([s.user.sid])["dc1"][s.user.sid].groups == frozenset()


def test_a_shadow_principal_puts_the_corp_sid_into_the_ticket() -> None:
    s = Setting(WINDOWS_LIKE)
    ops = s.corp.add_group("GlobalOps").ref
    shadow = s.preparer.create_shadow_principal("CORP.GlobalOps", ops.sid)
    s.directory.add_members(shadow, [s.user.sid])
    s.directory.set_ends({s.user.sid: s.now + HOUR})
    assert s.corp.admits(s.priv.buy_ticket(s.user.sid, s.now), ops.sid, s.now)


def test_a_password_proves_an_account_that_is_open() -> None:
    s = Setting()
    with pytest.raises(NotAuthenticated):
        s.priv.verify_password("priv.alice", "right")
    s.open()
    assert s.priv.verify_password("PRIV\\priv.alice", "right") == s.user.sid
    for name, password in (("priv.alice", "wrong"), ("priv.alice", ""), ("nobody", "right")):
        with pytest.raises(NotAuthenticated):
            s.priv.verify_password(name, password)
    assert "right" not in repr(s.priv.account(s.user.sid))


def test_a_name_that_fits_two_people_is_refused() -> None:
    s = Setting()
    s.priv.add_person("mallory", upn="priv.alice@priv.bastide.test")
    with pytest.raises(Ambiguous, match=r"CN=mallory.*CN=priv\.alice"):
        s.directory.find_person("priv.alice@priv.bastide.test")


def test_names_are_taken_whatever_their_case() -> None:
    s = Setting()
    with pytest.raises(ObjectExists):
        s.preparer.create_account(NewAccount("PRIV.Alice", "", "x@y", "OU=PAM", START), "password")
    assert s.priv.add_person("priv.bob").ref.sid != s.user.sid
    assert s.priv.domain_sid != s.corp.domain_sid
    assert Sid(f"{s.priv.domain_sid}-1").domain == s.priv.domain_sid
