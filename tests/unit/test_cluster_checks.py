"""Each check of a cluster alias: what it says of what it sees, and that every problem has a remedy."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bastide.directory.memory_alias import MemoryNames
from bastide.domain.cluster import AES_TYPES, Alias, Key
from bastide.domain.health import Finding, Severity
from bastide.services.cluster import checks, looks
from bastide.services.cluster.ports import Caller, Certificate, Holders, Holding, Place, Quota

NOW = datetime(2026, 3, 1, 9, tzinfo=UTC)
ALIAS = Alias.parse("bastide", "priv.bastide.test")
OU = "OU=Clusters,DC=priv"
OK, WARNING, ERROR = Severity.OK, Severity.WARNING, Severity.ERROR
GOOD = Holding(
    f"CN=bastide,{OU}", computer=True, enabled=True, spns=("http/BASTIDE", ALIAS.spns[1]), encryption=24, delegates=False, version=3,
    changed=NOW - timedelta(days=9), made=NOW - timedelta(days=99), owner="Domain Admins", owner_trusted=True, by_quota=False, masters=(),
    writable=frozenset({"useraccountcontrol"}),
)  # fmt: skip


def said(found: Iterable[Finding]) -> dict[str, Severity]:
    every = tuple(found)
    assert all(one.remedy for one in every if one.severity.is_problem), every
    worst: dict[str, Severity] = {}
    for one in every:
        worst[one.key] = max(worst.get(one.key, OK), one.severity, key=lambda severity: severity.weight)
    return worst


@pytest.mark.parametrize(
    ("place", "quota", "expected"),
    [
        (Place(OU, True, True, True, OU), Quota(10, 0), {"cluster.ou": OK, "cluster.ou-create": OK}),
        (Place(OU, False, False, False, "DC=priv"), Quota(10, 0), {"cluster.ou": ERROR}),
        (Place(OU, True, False, True, OU), Quota(10, 0), {"cluster.ou-read": ERROR}),
        (
            Place(OU, True, True, False, OU),
            Quota(10, 9),
            {"cluster.ou": OK, "cluster.ou-create": ERROR, "cluster.quota": WARNING},
        ),
        (
            Place(OU, True, True, False, OU),
            Quota(10, 10),
            {"cluster.ou": OK, "cluster.ou-create": ERROR, "cluster.quota": ERROR},
        ),
        (
            Place(OU, True, True, False, OU),
            Quota(0, 0),
            {"cluster.ou": OK, "cluster.ou-create": ERROR, "cluster.quota": WARNING},
        ),
    ],
)
def test_the_place(place: Place, quota: Quota, expected: Mapping[str, Severity]) -> None:
    assert (
        said(checks.place(place, quota, Caller("S-1-5-21-1-2-3-1104", "maker"), "priv.bastide.test"))
        == expected
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, {"cluster.name": OK}),
        (GOOD, {"cluster.name": ERROR}),
        (replace(GOOD, enabled=False, computer=False), {"cluster.name": ERROR}),
        (replace(GOOD, enabled=False), {"cluster.name": OK, "cluster.account-owner": OK}),
        (
            replace(GOOD, enabled=False, owner="eve", owner_trusted=False),
            {"cluster.name": OK, "cluster.account-owner": ERROR},
        ),
        (replace(GOOD, enabled=False, by_quota=True), {"cluster.name": OK, "cluster.account-owner": ERROR}),
        (
            replace(GOOD, enabled=False, writable=frozenset()),
            {"cluster.name": OK, "cluster.account-owner": OK, "cluster.account-write": ERROR},
        ),
        (
            replace(GOOD, enabled=False, encryption=0),
            {"cluster.name": OK, "cluster.account-owner": OK, "cluster.account-write": ERROR},
        ),
    ],
)
def test_the_name(found: Holding | None, expected: Mapping[str, Severity]) -> None:
    assert said(checks.name(ALIAS, found)) == expected


def test_whose_the_name_is_and_since_when() -> None:
    (one,) = checks.name(ALIAS, replace(GOOD, owner="carol"))
    assert "carol" in one.text
    assert "2025-11-22" in one.text


@pytest.mark.parametrize(
    ("dns", "whole", "expected"),
    [
        ((), True, OK),
        ((GOOD.dn.upper(),), True, OK),
        (("CN=other",), True, ERROR),
        ((GOOD.dn, "CN=other"), True, ERROR),
        ((), False, WARNING),
        (("CN=other",), False, ERROR),
    ],
)
def test_the_names_in_the_forest(dns: tuple[str, ...], whole: bool, expected: Severity) -> None:
    held = {ALIAS.spns[0]: Holders((), whole=True), ALIAS.spns[1]: Holders(dns, whole=whole)}
    assert said(checks.spns(ALIAS, held, GOOD.dn)) == {"cluster.spn": expected}


@pytest.mark.parametrize(
    ("found", "key", "expected"),
    [
        (GOOD, "cluster.account", OK),
        (None, "cluster.account", ERROR),
        (replace(GOOD, enabled=False), "cluster.account", ERROR),
        (replace(GOOD, delegates=True), "cluster.account", ERROR),
        (replace(GOOD, encryption=28), "cluster.account", ERROR),
        (replace(GOOD, spns=ALIAS.spns[:1]), "cluster.spn-missing", ERROR),
        (replace(GOOD, masters=("eve",)), "cluster.account-masters", WARNING),
        (replace(GOOD, owner_trusted=False), "cluster.account-masters", WARNING),
        (replace(GOOD, changed=None), "cluster.key-age", ERROR),
        (replace(GOOD, changed=NOW - timedelta(days=366)), "cluster.key-age", WARNING),
        (replace(GOOD, changed=NOW - timedelta(days=365)), "cluster.key-age", OK),
    ],
)
def test_the_account(found: Holding | None, key: str, expected: Severity) -> None:
    assert said(checks.account(ALIAS, found, NOW))[key] is expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [({"dc1": 3, "dc2": 3}, OK), ({"dc1": 3, "dc2": 2}, WARNING), ({"dc1": 3, "dc2": "gone"}, WARNING)],
)
def test_the_controllers(seen: Mapping[str, int | str], expected: Severity) -> None:
    assert said(checks.controllers(seen)) == {"cluster.controllers": expected}


def _keys(*versions: int, types: tuple[int, ...] = AES_TYPES, names: int = 2) -> tuple[Key, ...]:
    return tuple(
        Key(name, version, kind)
        for name in ALIAS.principals[:names]
        for version in versions
        for kind in types
    )


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (_keys(3), {"cluster.keytab": OK}),
        (_keys(1, 2, 3), {"cluster.keytab": OK, "cluster.keytab-older": OK}),
        ((), {"cluster.keytab": ERROR}),
        (_keys(2), {"cluster.keytab": ERROR, "cluster.keytab-older": OK}),
        (_keys(3, names=1), {"cluster.keytab": ERROR}),
        (_keys(3, types=(23,)), {"cluster.keytab": ERROR}),
        (_keys(3, types=(17, 23)), {"cluster.keytab": ERROR}),
        (_keys(3, 4), {"cluster.keytab": WARNING}),
        (_keys(4), {"cluster.keytab": ERROR}),
    ],
)
def test_a_keytab(keys: tuple[Key, ...], expected: Mapping[str, Severity]) -> None:
    assert said(checks.keytab(ALIAS, "http.keytab", keys, 3)) == expected


FULL = frozenset({"192.0.2.1"})


@pytest.mark.parametrize(
    ("full", "short", "canonical", "back", "expected"),
    [
        (FULL, FULL, ALIAS.fqdn, {}, {"cluster.dns": OK}),
        (FULL, FULL, ALIAS.fqdn, {"192.0.2.1": ALIAS.fqdn}, {"cluster.dns": OK}),
        ("no such name", FULL, "", {}, {"cluster.dns": ERROR}),
        (FULL, "no such name", ALIAS.fqdn, {}, {"cluster.dns": OK, "cluster.dns-short": WARNING}),
        (FULL, frozenset({"192.0.2.9"}), ALIAS.fqdn, {}, {"cluster.dns": OK, "cluster.dns-short": WARNING}),
        (FULL, FULL, "node1.priv.bastide.test", {}, {"cluster.dns": WARNING}),
        (FULL, FULL, ALIAS.fqdn, {"192.0.2.1": "node1"}, {"cluster.dns": OK, "cluster.dns-reverse": WARNING}),
    ],
)
def test_dns(
    full: frozenset[str] | str,
    short: frozenset[str] | str,
    canonical: str,
    back: Mapping[str, str],
    expected: Mapping[str, Severity],
) -> None:
    assert said(checks.dns(ALIAS, full, short, canonical, back)) == expected


@pytest.mark.parametrize(
    ("names", "days", "expected"),
    [
        ({ALIAS.fqdn}, 90, OK),
        ({"*.priv.bastide.test"}, 90, OK),
        ({"node1.priv.bastide.test"}, 90, ERROR),
        ({ALIAS.fqdn}, 0, ERROR),
        ({ALIAS.fqdn}, 29, WARNING),
    ],
)
def test_the_certificate(names: set[str], days: int, expected: Severity) -> None:
    shown = Certificate(frozenset(names), NOW + timedelta(days=days))
    assert said(checks.certificate(ALIAS, shown, NOW)) == {"cluster.certificate": expected}


def test_without_a_certificate_it_is_said_that_none_was_looked_at() -> None:
    names = MemoryNames({ALIAS.fqdn: FULL, ALIAS.name: FULL})
    assert said(looks.of_node(ALIAS, names, None, NOW))["cluster.certificate"] is Severity.SKIPPED
