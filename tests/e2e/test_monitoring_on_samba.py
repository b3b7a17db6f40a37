"""Monitoring on the real forests: every drift is caused by hand with plain LDAP, found, put right where the rules say so, and nothing else is touched."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.directory.changes import AdChangeFeed
from bastide.directory.entries import Entry, by_guid, to_filetime
from bastide.directory.session import ADD, DELETE, REPLACE, Session
from bastide.domain.drift import Finding, Rule, Rules
from bastide.domain.ids import ObjectRef
from bastide.domain.people import Forest
from bastide.domain.requests import State
from bastide.domain.roles import Enforcer
from bastide.services.ports import AuditQuery
from bastide.wiring import Adapters
from bastide.wiring.monitor import MonitorAdapters, Monitoring
from bastide_lab import plan
from tests.support.changes_world import give, hide
from tests.support.directory_lab import CORP_BASE, GROUPS, PRIV_BASE, USERS, DirectoryLab
from tests.support.patience import PATIENCE
from tests.support.samba_world import SambaWorld

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
pytestmark = pytest.mark.lab
PRIV, CORP = Forest.PRIV, Forest.CORP
BASES = {PRIV: PRIV_BASE, CORP: CORP_BASE}
_TRUST = f"CN=priv.bastide.test,CN=System,{CORP_BASE}"
_SET = """
import sys
import ldb
from samba.auth import system_session
from samba.param import LoadParm
from samba.samdb import SamDB
database, dn, value = sys.argv[1:]
parameters = LoadParm()
parameters.load_default()
samdb = SamDB(database, lp=parameters, session_info=system_session())
change = ldb.Message(ldb.Dn(samdb, dn))
change["trustAttributes"] = ldb.MessageElement(value, ldb.FLAG_MOD_REPLACE, "trustAttributes")
samdb.modify(change)
"""
#: Counters and stamps that move by themselves; what the drift is about is compared by name.
_MOVES = {
    "repluptodatevector", "repsfrom", "repsto", "usnchanged", "whenchanged", "lastlogon", "logoncount", "lastlogontimestamp", "badpwdcount", "badpasswordtime", "ridpreviousallocationpool",
    "ridnextrid", "ridallocationpool", "ridavailablepool", "msds-keyversionnumber", "dscorepropagationdata", "rid-set-references",
    "msds-sitename",
}  # fmt: skip


class Monitored(SambaWorld):
    """With the feeds of the service account, as production wires them."""

    def _adapters(self) -> Adapters:
        feeds = {
            PRIV: AdChangeFeed(self.forests.priv.connections, (USERS, GROUPS)),
            CORP: AdChangeFeed(self.forests.corp.connections),
        }
        rules = Rules({}, {}, "Team Directory")
        return replace(super()._adapters(), monitoring=MonitorAdapters(feeds, rules, timedelta(seconds=0.5)))

    @property
    def monitoring(self) -> Monitoring:
        assert self.services.monitoring is not None
        return self.services.monitoring

    def findings(self) -> dict[Rule, Finding]:
        with self.store.read() as uow:
            return {one.drift.rule: one for one in uow.monitored.findings()}

    def quiet(self, what: str) -> None:
        """Nothing is found any more; what still is, is said."""
        began = time.monotonic()
        while found := self.findings():
            assert time.monotonic() - began < PATIENCE, (what, found)
            time.sleep(0.05)

    def watched(self, side: Forest) -> frozenset[str]:
        with self.store.read() as uow:
            return frozenset(one.guid for one in uow.monitored.watched(side))

    def told(self, kind: str) -> list[Mapping[str, str]]:
        with self.store.read() as uow:
            return [json.loads(one.data) for one in uow.audit.read(AuditQuery(kind=kind, limit=0))]

    def by_hand(self, side: Forest, ref: ObjectRef, how: int, name: str, value: str) -> None:
        self.forests.admin_modify(side, by_guid(ref.guid), [(how, name, [value.encode()])])

    def set_trust(self, attributes: str) -> None:
        """Samba takes no change of a trust over LDAP; whoever has its disk makes one."""
        database = self.lab.site.database(plan.host("corpdc"))
        done = self.lab.exec("corpdc", ["/usr/bin/python3", "-c", _SET, str(database), _TRUST, attributes])
        assert done.returncode == 0, done.stdout + done.stderr

    def everything(self, side: Forest) -> dict[str, dict[str, list[bytes]]]:
        """The whole domain as an administrator reads it."""

        def read(session: Session) -> dict[str, dict[str, list[bytes]]]:
            found = session.search(BASES[side], "(objectClass=*)", ["*"])
            return {
                one.guid(): {
                    name: sorted(values) for name, values in one.attributes.items() if name not in _MOVES
                }
                for one in found
            }

        return self.forests.admins[side].on_any("look", read)


def soon(fact: Callable[[], object], what: str) -> float:
    """Seconds until it came true."""
    began = time.monotonic()
    while not fact():
        assert time.monotonic() - began < PATIENCE, what
        time.sleep(0.05)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def world(directory_lab: DirectoryLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    made = Monitored(directory_lab, tmp_path_factory.mktemp("monitored"), prefix="mo.")
    made.prepare("alice", "Correct-Horse-Battery-1")
    made.prepare_role("Monitored files", "FileAdmins", ("CORP\\alice",))
    made.monitoring.watch.plant()
    made.start()
    soon(lambda: len(made.told("monitor.loaded")) == 2, "both domains are read")
    yield made
    made.close()


@pytest.fixture
def group(world: Monitored) -> ObjectRef:
    with world.store.read() as uow:
        return uow.groups.all()[0].priv


def members(world: Monitored, group: ObjectRef) -> frozenset[str]:
    return frozenset(world.forests.priv.members_of(group))


def test_each_drift_is_found_and_only_what_is_delegated_is_put_right(
    world: Monitored, group: ObjectRef
) -> None:
    forests = world.forests
    stranger = forests.add_user(PRIV, forests.new_name("mo"))
    bob = forests.corp.find_person("bob").ref
    with world.store.read() as uow:
        user, carried = uow.users.all()[0], uow.groups.all()[0]
    assert world.findings() == {}
    before = {side: world.everything(side) for side in (PRIV, CORP)}
    spans = []

    world.by_hand(PRIV, group, ADD, "member", by_guid(stranger.guid))
    spans.append(soon(lambda: len(world.told("drift.repaired")) == 1, "a stranger is taken out"))
    assert members(world, group) == frozenset()

    world.by_hand(
        PRIV, user.priv, REPLACE, "accountExpires", str(to_filetime(world.clock.now() + timedelta(days=1)))
    )
    spans.append(soon(lambda: len(world.told("drift.repaired")) == 2, "an open account is closed"))

    world.by_hand(CORP, carried.corp, ADD, "member", by_guid(bob.guid))
    spans.append(soon(lambda: Rule.OTHER_MEMBER in world.findings(), "a member of the CORP group is found"))
    assert world.findings()[Rule.OTHER_MEMBER].drift.reason.startswith(f"CORP\\bob ({bob.sid}) became")
    world.by_hand(CORP, carried.corp, DELETE, "member", by_guid(bob.guid))
    world.quiet("it is gone again")

    taken_back = give(forests, PRIV, group.guid, stranger.sid)
    spans.append(soon(lambda: Rule.RIGHTS_CHANGED in world.findings(), "permissions are found"))
    assert f"PRIV\\{stranger.name} ({stranger.sid})" in world.findings()[Rule.RIGHTS_CHANGED].drift.reason
    taken_back()
    world.quiet("they are back")

    holder = forests.admin_read(CORP, f"CN=AdminSDHolder,CN=System,{CORP_BASE}", "objectGUID").guid()
    taken_back = give(forests, CORP, holder, bob.sid)
    spans.append(soon(lambda: Rule.RIGHTS_CHANGED in world.findings(), "AdminSDHolder is found"))
    taken_back()
    world.quiet("it is back")

    kept = forests.admin_read(CORP, _TRUST, "trustAttributes").text("trustAttributes")
    world.set_trust("72")
    spans.append(soon(lambda: Rule.TRUST_CHANGED in world.findings(), "the trust is found"))
    assert f"trustAttributes was {kept}, is 72" in world.findings()[Rule.TRUST_CHANGED].drift.reason
    world.set_trust(kept)
    world.quiet("it is back")

    world.by_hand(PRIV, group, REPLACE, "sAMAccountName", f"{group.name}x")
    spans.append(soon(lambda: Rule.GROUP_CHANGED in world.findings(), "a PAM group is found"))
    world.by_hand(PRIV, group, REPLACE, "sAMAccountName", group.name)
    world.quiet("it is back")

    after = {side: world.everything(side) for side in (PRIV, CORP)}
    for side in (PRIV, CORP):
        changed = {
            (guid, name)
            for guid in before[side].keys() | after[side].keys()
            for name in before[side].get(guid, {}).keys() | after[side].get(guid, {}).keys()
            if before[side].get(guid, {}).get(name) != after[side].get(guid, {}).get(name)
        }
        assert changed <= {(user.priv.guid, "accountexpires")}, "nothing else was touched"
    rules = {one["rule"] for one in world.told("drift.found")}
    assert rules == {
        "stranger",
        "open-account",
        "other-member",
        "rights-changed",
        "trust-changed",
        "group-changed",
    }
    assert {one["owner"] for one in world.told("drift.found")} == {"Team Directory"}
    print(f"found or repaired after {', '.join(f'{span:.2f}' for span in sorted(spans))} s")


def test_who_joins_a_group_within_the_group_is_found_with_the_way_to_the_top(world: Monitored) -> None:
    forests = world.forests
    with world.store.read() as uow:
        top = uow.groups.all()[0].corp
    outer, inner = (forests.add_group(CORP, forests.new_name("mo")) for _ in range(2))
    world.by_hand(CORP, outer, ADD, "member", by_guid(inner.guid))
    world.by_hand(CORP, top, ADD, "member", by_guid(outer.guid))
    soon(lambda: Rule.OTHER_MEMBER in world.findings(), "the group is found")
    soon(lambda: inner.guid in world.watched(CORP), "what is within it is watched")
    world.monitoring.control.accept(world.dave, world.findings()[Rule.OTHER_MEMBER].key, "a test")

    nina = forests.add_user(CORP, forests.new_name("mo"))
    world.by_hand(CORP, inner, ADD, "member", by_guid(nina.guid))
    span = soon(lambda: Rule.NESTED_MEMBER in world.findings(), "who joined is found")
    found = world.findings()[Rule.NESTED_MEMBER].drift
    assert found.guid == top.guid
    assert found.reason.endswith(f": {nina.name} -> {inner.name} -> {outer.name} -> {top.name}")
    world.by_hand(CORP, inner, DELETE, "member", by_guid(nina.guid))
    world.quiet("who left is not said any more")
    world.by_hand(CORP, top, DELETE, "member", by_guid(outer.guid))
    print(f"who joined a nested group was found after {span:.2f} s")


def test_who_came_and_went_between_two_looks_is_found_by_name(world: Monitored) -> None:
    with world.store.read() as uow:
        watched = uow.groups.all()[0].corp

    def said(who: ObjectRef) -> list[str]:
        return [one["rule"] for one in world.told("drift.found") if str(who.sid) in one["reason"]]

    for _ in range(5):
        who = world.forests.add_user(CORP, world.forests.new_name("mo"))
        for how in (ADD, DELETE):
            world.by_hand(CORP, watched, how, "member", by_guid(who.guid))
        span = soon(lambda who=who: said(who), "it is found")  # type: ignore[misc]  # mypy cannot infer a default of a lambda
        if said(who) == ["momentary-member"]:
            break
    else:
        pytest.fail("a look came between the two each time")
    found = world.findings()[Rule.MOMENTARY_MEMBER]
    assert found.drift.reason.startswith(
        f"{who.name} ({who.sid}) was a member of {watched.name} for a moment"
    )
    world.monitoring.control.accept(world.dave, found.key, "a test")
    world.quiet("it was accepted")
    print(f"a member for a moment was found after {span:.2f} s")


def test_a_stranger_that_is_taken_out_on_both_controllers_is_not_said_to_have_come_and_gone(
    world: Monitored, group: ObjectRef
) -> None:
    """A controller on which Bastide took somebody out tells it again when the other one's write reaches it: in the lab after a second."""
    forests, control = world.forests, world.monitoring.control
    stranger = forests.add_user(PRIV, forests.new_name("mo"))
    done = len(world.told("drift.repaired"))

    def everywhere() -> bool:
        answers = forests.admins[PRIV].on_each(lambda session: session.read(by_guid(group.guid), ["member"]))
        return all(isinstance(one, Entry) and one.all("member") for one in answers.values())

    control.turn(world.dave, "a test", on=False)
    world.by_hand(PRIV, group, ADD, "member", by_guid(stranger.guid))
    soon(everywhere, "both controllers have the stranger")
    control.turn(world.dave, "a test", on=True)
    soon(lambda: len(world.told("drift.repaired")) > done, "the stranger is taken out")
    time.sleep(5)
    world.quiet("nothing is left to be said")
    rules = [one["rule"] for one in world.told("drift.found") if str(stranger.sid) in one["reason"]]
    assert rules == ["stranger"]


def test_a_member_of_a_grant_comes_back_and_access_of_who_is_disabled_or_gone_ends(
    world: Monitored, group: ObjectRef
) -> None:
    forests = world.forests
    name = forests.new_name("mo")
    person = forests.add_user(CORP, name)
    user = world.prepare(name, "Correct-Horse-Battery-1")
    world.prepare_role(f"Files of {name}", "FileAdmins", (f"CORP\\{name}",))
    for how in ("disabled", "gone"):
        request = world.ask(name, f"Files of {name}", ttl=timedelta(minutes=30))
        soon(lambda request=request: world.get(request).state is State.ACTIVE, "access begins")  # type: ignore[misc]  # mypy cannot infer a default of a lambda
        if how == "disabled":
            done = len(world.told("drift.repaired"))
            world.by_hand(PRIV, group, DELETE, "member", by_guid(user.priv.guid))
            soon(lambda done=done: len(world.told("drift.repaired")) > done, "the member is back")  # type: ignore[misc]  # mypy cannot infer a default of a lambda
            assert user.priv.sid in members(world, group)
            world.by_hand(CORP, person, REPLACE, "userAccountControl", "546")
        else:
            world.by_hand(CORP, person, REPLACE, "userAccountControl", "544")
            forests.admins[CORP].on_any("arrange", lambda session: session.delete(by_guid(person.guid)))
        soon(lambda request=request: world.get(request).state is State.CLOSED, f"who is {how} loses access")  # type: ignore[misc]  # mypy cannot infer a default of a lambda
        assert how in world.get(request).reason
        assert user.priv.sid not in members(world, group)
        if how == "disabled":
            world.by_hand(CORP, person, REPLACE, "userAccountControl", "544")
    with world.store.read() as uow:
        assert not uow.users.get(user.id).enabled


def test_an_account_that_is_kept_alive_is_closed_with_its_person_and_opened_by_a_grant(
    world: Monitored,
) -> None:
    forests = world.forests
    name, password = forests.new_name("mo"), "Correct-Horse-Battery-1"
    person = forests.add_user(CORP, name)
    user = world.services.accounts.add_user(world.dave, name, kept_alive=True)
    world.services.accounts.set_password(world.dave, user.name, password)
    world.prepare_role(f"Kept {name}", "FileAdmins", (f"CORP\\{name}",), floor=Enforcer.REMOVAL)
    world.monitoring.control.resync(world.dave)
    soon(lambda: user.priv.guid in world.watched(PRIV) and person.guid in world.watched(CORP), "both are watched")  # fmt: skip
    assert world.fresh_ticket(user, password) == ""

    world.by_hand(CORP, person, REPLACE, "userAccountControl", "546")
    span = soon(lambda: world.fresh_ticket(user, password) != "", "the account of who is disabled is closed")
    world.quiet("it was read")
    world.by_hand(CORP, person, REPLACE, "userAccountControl", "544")
    soon(lambda: Rule.CLOSED_ACCOUNT in world.findings(), "the person is back")

    request = world.ask(name, f"Kept {name}", ttl=timedelta(minutes=5))
    active = world.wait_for(request, State.ACTIVE)
    assert world.fresh_ticket(user, password) == ""
    ends = {one[user.priv.sid].expires for one in forests.priv.observe([user.priv.sid]).values()}
    assert ends == {active.ends_at}
    assert Rule.CLOSED_ACCOUNT in world.findings()
    world.by_hand(PRIV, user.priv, REPLACE, "accountExpires", "0")
    world.quiet("an administrator opened it")
    print(f"closed {span:.2f} s after its person was disabled")


def test_a_right_on_what_the_groups_lie_in_is_found(world: Monitored, group: ObjectRef) -> None:
    """Above the container that the settings name: the group inherits it, and has no entry of its own."""
    forests = world.forests
    eve = forests.add_user(PRIV, forests.new_name("mo"))
    above = forests.admin_read(PRIV, GROUPS.partition(",")[2], "objectGUID").guid()
    soon(lambda: above in world.watched(PRIV), "it is watched")
    taken_back = give(forests, PRIV, above, eve.sid, mask=0x40020, flags=0x2)
    span = soon(lambda: Rule.RIGHTS_CHANGED in world.findings(), "it is found")
    reason = world.findings()[Rule.RIGHTS_CHANGED].drift.reason
    taken_back()
    world.quiet("it was taken back")
    assert f"allow 0x40020 to PRIV\\{eve.name} ({eve.sid})" in reason
    print(f"a right from above was found after {span:.2f} s")


def test_who_is_hidden_and_in_a_group_by_its_primary_group_or_for_a_moment_is_told_of(
    world: Monitored, group: ObjectRef
) -> None:
    """Nobody can say who it is; that the group's members changed is said."""
    forests = world.forests
    for how in ("primary", "moment"):
        who = forests.add_user(PRIV, forests.new_name("mo"))
        hide(forests, PRIV, who)
        before = len(world.told("drift.found"))

        def change(session: Session, who: ObjectRef = who, how: str = how) -> None:
            member, value = by_guid(group.guid), by_guid(who.guid).encode()
            session.raw.modify_s(member, [(ADD, "member", [value])])
            if how == "primary":
                rid = str(group.sid.rid).encode()
                session.raw.modify_s(by_guid(who.guid), [(REPLACE, "primaryGroupID", [rid])])
            else:
                session.raw.modify_s(member, [(DELETE, "member", [value])])

        forests.admins[PRIV].on_any("arrange", change)
        span = soon(lambda: Rule.UNSEEN_MEMBER in world.findings(), "it is said")
        print(f"{how}: {span:.2f} s, {[one['rule'] for one in world.told('drift.found')[before:]]}")
        if how == "primary":
            token = forests.admin_read(PRIV, who.dn, "tokenGroups").all("tokenGroups")
            assert group.sid.to_bytes() in token, "it has what the group gives"
        forests.admins[PRIV].on_any("arrange", lambda session, who=who: session.delete(by_guid(who.guid)))  # type: ignore[misc]  # mypy cannot infer a default of a lambda
        world.monitoring.control.accept(world.dave, world.findings()[Rule.UNSEEN_MEMBER].key, "a test")
        world.quiet("it was accepted")
