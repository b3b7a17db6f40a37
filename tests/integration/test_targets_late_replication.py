"""A Samba domain with two controllers as a target: locks, counts of wrong passwords and passwords that one of them does not know of yet. The rules are numbered in
active_directory_each.py.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bastide.directory.entries import Entry, by_guid
from bastide.directory.kerberos import Identity
from bastide.directory.ldap import SealedConnect
from bastide.directory.session import Session
from bastide.domain.errors import NoSuchObject
from bastide.domain.passwords import Code
from bastide.services.passwords.ports import NewPassword, Result, Security
from bastide.targets.active_directory import AdTarget
from bastide_lab.lab import Lab
from tests.support.inside import inside
from tests.support.target_systems import Samba, accepts, cs_object, now

pytest_plugins = ["tests.support.lab"]
pytestmark = pytest.mark.lab

GOOD, NEXT, THIRD = "Correct-Horse-Battery-1", "Next-Horse-Battery-2", "Third-Horse-Battery-3"
FIRST, SECOND = "privdc", "privdc2"


class Two(Samba):
    """The domain, with a look at each of its controllers."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        super().__init__(lab, folder)
        principal, keytab = f"Administrator@{lab.realm('priv')}", folder / "administrator.keytab"
        self.administrator = {"principal": principal, "keytab": str(keytab)}
        identity = Identity(principal, keytab)
        self.at: dict[str, Session] = {
            FIRST: self.admin,
            SECOND: SealedConnect(identity, now)(lab.fqdn(SECOND))[0],
        }

    def on(self, *hosts: str, **changes: Any) -> AdTarget:
        """A target that is told of these controllers, in this order."""
        return self.target(self.settings(controllers=tuple(map(self.lab.fqdn, hosts)), **changes))

    def mighty(self, *hosts: str) -> AdTarget:
        """As the administrator, whom a policy object is shown to."""
        return self.on(*hosts, bind_name="", **self.administrator)

    def people(self, count: int) -> list[Entry]:
        """With a password, known to both."""
        made = [self.add_user() for _ in range(count)]
        with self.on(FIRST) as target:
            for user in made:
                self.succeeds(target.set([NewPassword(cs_object(user.guid()), GOOD)]))
        until(lambda: all(self.same(one, "pwdLastSet") for one in made))
        return made

    def same(self, user: Entry, name: str) -> bool:
        try:
            return self.shown(FIRST, user, name) == self.shown(SECOND, user, name)
        except NoSuchObject:
            return False

    @staticmethod
    def succeeds(results: Sequence[Result]) -> None:
        assert [(one.code, one.detail) for one in results] == [(Code.SUCCESS, "")] * len(results)

    @contextmanager
    def three_lock(self, *users: Entry) -> Iterator[None]:
        """On both controllers, as long as it lasts."""
        with ExitStack() as stack:
            for user in users:
                stack.enter_context(self.strict(user.dn))
            until(lambda: all(self.ruled(one) for one in users))
            yield

    def ruled(self, user: Entry) -> bool:
        return bool(
            self.at[SECOND].must_read(by_guid(user.guid()), ["msDS-ResultantPSO"]).all("msDS-ResultantPSO")
        )

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Neither controller hears the other; then both do, at once."""
        self.lab.cut(FIRST, SECOND)
        self.lab.cut(SECOND, FIRST)
        try:
            yield
        finally:
            self.lab.mend(FIRST)
            self.lab.mend(SECOND)
        for to, whence in ((FIRST, SECOND), (SECOND, FIRST)):
            names = [self.lab.fqdn(to), self.lab.fqdn(whence)]
            self.lab.exec(to, ["samba-tool", "drs", "replicate", *names, self.base, "-P"], check=True)

    def opens(self, host: str, dn: str, password: str) -> bool:
        return accepts(self.lab, host, dn, password)

    def shown(self, host: str, user: Entry, name: str) -> int:
        return self.at[host].must_read(by_guid(user.guid()), [name]).number(name)

    def locked_on_second(self, user: Entry) -> None:
        for _ in range(3):
            self.opens(SECOND, user.dn, "wrong")
        assert self.shown(SECOND, user, "lockoutTime")


def until(good: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not good():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(scope="module")
def two(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("two")
    with inside(lab.namespace("bastide")):
        made = Two(lab, folder)
        try:
            yield made
        finally:
            made.at[SECOND].raw.unbind_s()
            made.close()


def unlocked(target: AdTarget, user: Entry) -> str:
    """The password that opens then."""
    Two.succeeds(target.unlock([cs_object(user.guid())]))
    return GOOD


def reset(target: AdTarget, user: Entry) -> str:
    Two.succeeds(target.set([NewPassword(cs_object(user.guid()), NEXT, unlock=True)]))
    return NEXT


DEEDS = (unlocked, reset)


def test_a_lock_that_only_the_other_controller_knows_is_seen_and_taken_away_for_good(two: Two) -> None:
    """Rules 3 and 4. Before, a lock came back everywhere with the next replication, and nobody had shown it."""
    people = two.people(len(DEEDS))
    opening = {}
    with two.three_lock(*people), two.apart():
        for user, deed in zip(people, DEEDS, strict=True):
            two.locked_on_second(user)
            with two.on(FIRST, SECOND) as target:
                assert target.look([cs_object(user.guid())])[0].locked
                opening[user.dn] = deed(target, user)
                assert not target.look([cs_object(user.guid())])[0].locked
            assert two.opens(SECOND, user.dn, GOOD), "the new password is not there yet, and the lock is gone"
    until(lambda: all(two.same(one, name) for one in people for name in ("lockoutTime", "pwdLastSet")))
    for dn, password in opening.items():
        assert [two.opens(host, dn, password) for host in (FIRST, SECOND)] == [True, True]


def test_after_an_unlock_one_slip_at_the_other_controller_locks_nobody(two: Two) -> None:
    """Rule 3: the count of wrong passwords is each controller's own."""
    people = two.people(len(DEEDS))
    with two.three_lock(*people):
        for user in people:
            two.locked_on_second(user)
        until(lambda: all(two.same(one, "lockoutTime") for one in people))
        for user, deed in zip(people, DEEDS, strict=True):
            with two.on(FIRST, SECOND) as target:
                password = deed(target, user)
            until(partial(two.same, user, "pwdLastSet"))
            assert not two.opens(SECOND, user.dn, "one slip")
            assert two.opens(SECOND, user.dn, password)


def test_a_controller_that_cannot_be_reached_is_named_and_hinders_nobody(two: Two) -> None:
    """Rules 1 and 3. A host on which nothing listens is refused at once: what takes time is in test_targets_ad_each.py."""
    (user,) = two.people(1)
    account = cs_object(user.guid())
    with two.on(FIRST, "client") as target:
        for done in (*target.unlock([account]), *target.set([NewPassword(account, NEXT, unlock=True)])):
            assert done.code is Code.SUCCESS
            assert done.detail.startswith(f"a lock may still stand on {two.lab.fqdn('client')}: ")
        two.succeeds(target.set([NewPassword(account, THIRD)]))
        assert target.look([account])[0].locked is False


def test_a_change_is_asked_of_the_controller_that_knows_the_newer_password(two: Two) -> None:
    """Rule 5. Before, the right old password was called wrong."""
    ahead, current = two.people(2)
    with two.three_lock(ahead, current), two.apart():
        with two.on(SECOND) as target:
            two.succeeds(target.set([NewPassword(cs_object(ahead.guid()), NEXT)]))
        with two.mighty(FIRST, SECOND) as target:
            two.succeeds([target.change(cs_object(ahead.guid()), NEXT, THIRD)])
            assert two.opens(SECOND, ahead.dn, THIRD)
            wrong = target.change(cs_object(current.guid()), "Never-Was-Its-Password-3", THIRD)
            assert (wrong.code, wrong.detail[:25]) == (Code.DENIED, "the old password is wrong")
            assert two.shown(SECOND, current, "badPwdCount") == 0, (
                "the other knows no newer one, and was not asked"
            )


def test_a_change_is_not_asked_twice_where_a_wrong_password_would_lock(two: Two) -> None:
    """Rule 5: nor where that cannot be told, because the policy object is not shown to our account."""
    (ahead,) = two.people(1)
    account = cs_object(ahead.guid())
    with two.three_lock(ahead), two.apart():
        with two.on(SECOND) as target:
            two.succeeds(target.set([NewPassword(account, NEXT)]))
        with two.on(FIRST, SECOND) as target:
            unknown = target.change(account, NEXT, THIRD)
        for _ in range(2):
            two.opens(SECOND, ahead.dn, "wrong")
        with two.mighty(FIRST, SECOND) as target:
            near = target.change(account, "Never-Was-Its-Password-3", THIRD)
        for refused in (unknown, near):
            assert refused.code is Code.DENIED
            assert refused.detail.startswith(f"{two.lab.fqdn(SECOND)} knows a newer password")
        assert two.shown(SECOND, ahead, "lockoutTime") == 0
        assert two.opens(SECOND, ahead.dn, NEXT)


def test_a_controller_that_hangs_holds_nobody_up_for_long(two: Two) -> None:
    """Rule 1. It takes the connection and never says a word: for that libldap alone waits without an end. As the first one it is passed over."""
    (user,) = two.people(1)
    account = cs_object(user.guid())
    two.lab.pause(SECOND)
    try:
        began = time.monotonic()
        with two.on(FIRST, SECOND, network_timeout=1.5) as target:
            assert target.look([account])[0].locked is False
            (done,) = target.unlock([account])
        with two.on(SECOND, FIRST, network_timeout=1.5) as target:
            assert target.security() is Security.SECURE
        waited = time.monotonic() - began
    finally:
        two.lab.resume(SECOND)
    assert done.code is Code.SUCCESS
    assert done.detail.startswith(f"a lock may still stand on {two.lab.fqdn(SECOND)}: ")
    assert waited < 15
