"""Monitoring goes from one real controller to another that has not heard of the last changes: it knows that it has not, and when it has."""

import time
from dataclasses import replace

import pytest

from bastide.directory.changes import AdChangeFeed
from bastide.directory.entries import child
from bastide.directory.ldap import Controllers, SealedConnect
from bastide.domain.ids import ObjectRef
from bastide.domain.people import Forest
from bastide.services.monitor.ports import Domain
from bastide.services.monitor.reading import Reading, Wish, read
from tests.support.directory_lab import GROUPS, PRIV, DirectoryLab
from tests.support.patience import PATIENCE

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
pytestmark = pytest.mark.lab


def feed_of(forests: DirectoryLab, controller: str) -> AdChangeFeed:
    """As the service account, for which this controller alone is in reach."""
    identity = forests.identity("svc-bastide", "priv")
    made = Controllers(PRIV, lambda: [controller], SealedConnect(identity, forests.now), time.monotonic)
    forests.closing.append(made)
    return AdChangeFeed(made)


def wish_for(*refs: ObjectRef) -> Wish:
    none: frozenset[str] = frozenset()
    return Wish(
        frozenset(ref.guid for ref in refs), none, none, none, none, (), {}, 0, frozenset(), none, none
    )


def after(domain: Domain, reading: Reading) -> Domain:
    return replace(
        domain, mark=reading.mark, cookie=reading.cookie, until=reading.until, awaited=reading.awaited
    )


def test_a_controller_that_has_not_heard_of_an_object_says_so_until_it_has(
    directory_lab: DirectoryLab,
) -> None:
    forests = directory_lab
    one, other = forests.admins[Forest.PRIV].names()
    dn = child(forests.new_name("late"), GROUPS)
    with forests.late():
        forests.admin_on(0, lambda session: session.add(dn, {"objectClass": [b"group"]}))
        new = forests.admins[Forest.PRIV].on(one, lambda session: session.must_read(dn, ["*"])).ref()
        wish, domain = wish_for(new), Domain(Forest.PRIV, PRIV)
        first = read(feed_of(forests, one), domain, wish, forests.now())
        assert (new.guid in first.seen, first.awaited) == (True, ())
        domain, feed = after(domain, first), feed_of(forests, other)
        second = read(feed, domain, wish, forests.now())
        assert (second.gone, second.other) == ({new.guid}, True)
        assert [one.invocation for one in second.awaited] == [first.mark.invocation]
        domain = after(domain, second)
    deadline = time.monotonic() + PATIENCE
    while (now := read(feed, domain, wish, forests.now())).awaited:
        assert time.monotonic() < deadline, "it never heard of everything"
        domain = after(domain, now)
        time.sleep(0.1)
    assert (new.guid in now.seen, now.gone) == (True, set())
