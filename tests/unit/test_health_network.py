"""Checks of names, ports, clocks, sign-in and tickets, in a network that answers as it was told."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from bastide.config import AuditSettings, Config, Corp, Database, Http, Oidc, Server
from bastide.directory import domain_probe
from bastide.directory.ldap import ClockApart, NotReached
from bastide.domain.errors import DirectoryDenied, DirectoryError, DirectoryUnavailable
from bastide.domain.health import Finding, Severity
from bastide.health.checks import directory, kerberos, names, ports, service, time
from bastide.health.checks.names import Names, judge
from tests.support.health import MINIMAL, ToldDomain, ToldNetwork, by_key, looking_at

DC, ADDRESS = "dc1.priv.test", "192.0.2.10"
NOW_APART = ClockApart(
    "the clock of this machine is 600 s ahead", timedelta(minutes=-10), remedy="set the clock"
)


def severities(found: Iterable[Finding]) -> dict[str, Severity]:
    return {one.about: one.severity for one in found}


def reached(error: DirectoryError) -> DirectoryError:
    """As a pool of connections hands on why none came about."""
    wrapped = NotReached(error.message, remedy=error.remedy)
    wrapped.__cause__ = error
    return wrapped


# ---------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("short", "reverse", "severity", "said"),
    [
        ({ADDRESS}, DC, Severity.OK, "agree"),
        (set(), DC, Severity.OK, "agree"),
        ({"192.0.2.99"}, DC, Severity.WARNING, "leads to another host (192.0.2.99)"),
        ({ADDRESS}, "", Severity.WARNING, "has no name (reverse record)"),
        ({ADDRESS}, "other.priv.test", Severity.WARNING, "which is other.priv.test (reverse record)"),
    ],
)
def test_names_must_agree(short: set[str], reverse: str, severity: Severity, said: str) -> None:
    found = judge(Names(DC, frozenset({ADDRESS}), frozenset(short), ((ADDRESS, reverse),)), [DC])
    assert found.severity is severity
    assert said in found.text
    assert bool(found.remedy) is found.severity.is_problem


def test_a_server_of_two_forests_may_be_called_by_either_name() -> None:
    config = msgspec.structs.replace(
        MINIMAL,
        server=Server(url="https://bastide.priv.test:8443"),
        http=Http(priv_host="bastide.priv.test", corp_host="Bastide.corp.test"),
    )
    both = {"bastide.priv.test": frozenset({ADDRESS}), "bastide.corp.test": frozenset({ADDRESS})}
    network = ToldNetwork(hosts=both, names={ADDRESS: "bastide.priv.test"})
    found = by_key(names.hosts(looking_at(config, network=network, domains={})))
    assert {name: one.severity for name, one in found.items()} == {
        "bastide.priv.test": Severity.OK,
        "bastide.corp.test": Severity.OK,
    }


def test_a_host_without_an_address_is_an_error() -> None:
    (found,) = names.hosts(looking_at(domains={"priv.test": ToldDomain({DC: timedelta(0)})}))
    assert found.severity is Severity.ERROR
    assert found.text == f"{DC} has no address: name or service not known"


def test_a_controller_of_two_domains_is_looked_at_once() -> None:
    domains = {"a": ToldDomain({DC: timedelta(0)}), "b": ToldDomain({DC: timedelta(0)})}
    network = ToldNetwork(hosts={DC: frozenset({ADDRESS})}, names={ADDRESS: DC})
    assert len(list(names.hosts(looking_at(domains=domains, network=network)))) == 1


def test_an_address_in_the_url_is_no_name() -> None:
    config = msgspec.structs.replace(MINIMAL, server=Server(url="https://192.0.2.1:8443"))
    assert list(names.hosts(looking_at(config, domains={}))) == []


@pytest.mark.parametrize(("srv", "severity"), [(["dc1"], Severity.OK), (None, Severity.ERROR)])
def test_srv_records(srv: list[str] | None, severity: Severity) -> None:
    questions = ("_ldap._tcp.dc._msdcs.priv.test", "_kerberos._tcp.priv.test")
    network = ToldNetwork(srv={} if srv is None else dict.fromkeys(questions, srv))
    found = by_key(domain_probe.name_service("priv.test", network))
    assert {name: one.severity for name, one in found.items()} == dict.fromkeys(questions, severity)


# ---------------------------------------------------------------------------------------------------------------- ports


@pytest.mark.parametrize(
    ("port", "why", "severity"),
    [
        (0, "", Severity.OK),
        (464, "timed out: a firewall drops it, or the host is down", Severity.ERROR),
        (389, "refused: nothing listens there", Severity.ERROR),
        (3268, "refused: nothing listens there", Severity.WARNING),
    ],
)
def test_each_controller_s_ports(port: int, why: str, severity: Severity) -> None:
    network = ToldNetwork(shut={(DC, port): why})
    one, other = domain_probe.ports([DC, "dc2.priv.test"], network)
    assert (one.about, one.severity) == (DC, severity)
    assert why in one.evidence
    assert other.severity is Severity.OK


CONNECTED = msgspec.structs.replace(
    MINIMAL,
    database=Database(url="postgresql://bastide@db1,db2:6432/bastide"),
    audit=AuditSettings(syslog="tls://siem.test"),
    oidc=Oidc(issuer="https://sso.test/realm", audience="a", applications=["b"], claim="c", account="sid"),
)


def test_ways_come_out_of_the_settings() -> None:
    assert [(way.host, way.port) for way in ports.ways(CONNECTED)] == [
        ("db1", 5432),
        ("db2", 6432),
        ("siem.test", 6514),
        ("sso.test", 443),
    ]
    assert list(ports.ways(MINIMAL)) == []


@pytest.mark.parametrize(
    ("url", "places"),
    [
        ("postgresql://u:p@[2001:db8::1]:6432,[2001:db8::2],db3/x", [("2001:db8::1", 6432), ("2001:db8::2", 5432), ("db3", 5432)]),
        ("postgresql+psycopg://db1:/x", [("db1", 5432)]),
        ("postgresql://%2Frun%2Fpostgresql/x", []),
        ("postgresql:///x?host=/run/postgresql", []),
        ("sqlite:////x.db", []),
    ],
)  # fmt: skip
def test_hosts_of_a_database_url(url: str, places: list[tuple[str, int]]) -> None:
    config = msgspec.structs.replace(MINIMAL, database=Database(url=url))
    assert [(way.host, way.port) for way in ports.ways(config)] == places


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        ("refused: nothing listens there", "start the database server"),
        ("timed out: a firewall drops it, or the host is down", "open TCP 6432 from here to db2"),
        ("unresolved: DNS knows no address", "add a record for db2"),
    ],
)
def test_refused_timed_out_and_unresolved_are_three_repairs(why: str, remedy: str) -> None:
    network = ToldNetwork(shut={("db2", 6432): why})
    found = by_key(ports.others(looking_at(CONNECTED, network=network)))
    assert [name for name, one in found.items() if not one.ok] == ["db2:6432"]
    assert why in found["db2:6432"].text
    assert found["db2:6432"].remedy.startswith(remedy)


@pytest.mark.parametrize(("why", "severity"), [("", Severity.OK), ("refused", Severity.WARNING)])
def test_the_service_on_this_node(why: str, severity: Severity) -> None:
    (found,) = service.listening(looking_at(network=ToldNetwork(shut={("127.0.0.1", 8443): why})))
    assert found.severity is severity


# ------------------------------------------------------------------------------------------------ sign-in, clocks, tickets


@pytest.mark.parametrize(
    ("answer", "signs_in", "clock"),
    [
        (timedelta(seconds=2), Severity.OK, Severity.OK),
        (timedelta(seconds=-90), Severity.OK, Severity.WARNING),
        (reached(NOW_APART), Severity.OK, Severity.ERROR),
        (NOW_APART, Severity.OK, Severity.ERROR),
        (DirectoryDenied("no"), Severity.ERROR, Severity.SKIPPED),
        ("port 389: refused: nothing listens there", Severity.SKIPPED, Severity.SKIPPED),
    ],
    ids=["fine", "late", "apart", "apart at once", "denied", "shut"],
)
def test_one_cause_is_one_finding(
    answer: timedelta | DirectoryError | str, signs_in: Severity, clock: Severity
) -> None:
    world = looking_at(domains={"priv.test": ToldDomain({DC: answer})})
    (one,) = directory.sign_ins(world)
    (other,) = time.controllers(world)
    assert (one.severity, other.severity) == (signs_in, clock)
    assert one.about == other.about == DC


def test_a_domain_that_cannot_be_found_hides_no_other() -> None:
    class Lost(ToldDomain):
        def asked(self) -> dict[str, timedelta | DirectoryError | str]:
            raise DirectoryUnavailable("DNS gives no domain controllers", remedy="mend DNS")

    world = looking_at(domains={"a.test": Lost(), "b.test": ToldDomain({DC: timedelta(0)})})
    for found in (directory.sign_ins(world), time.controllers(world)):
        assert severities(found) == {"a.test": Severity.SKIPPED, DC: Severity.OK}


def test_a_domain_that_cannot_be_found_is_one_finding() -> None:
    """That of its SRV records."""

    class Unnamed(ToldDomain):
        def controllers(self) -> tuple[str, ...]:
            raise DirectoryUnavailable("DNS gives no domain controllers", remedy="mend DNS")

        def name_service(self) -> Iterator[Finding]:
            return domain_probe.name_service("a.test", ToldNetwork())

        def ports(self) -> Iterator[Finding]:
            return domain_probe.ports(self.controllers(), ToldNetwork())

        def asked(self) -> dict[str, timedelta | DirectoryError | str]:
            return dict.fromkeys(self.controllers(), timedelta(0))

    world = looking_at(domains={"a.test": Unnamed()})
    assert set(severities(names.services(world)).values()) == {Severity.ERROR}
    for check in (names.hosts, ports.controllers, directory.sign_ins, time.controllers):
        (found,) = check(world)
        assert (found.severity, "dns.services" in found.text) == (Severity.SKIPPED, True)


def with_keytab(folder: Path, mode: int = 0o600) -> Config:
    file = folder / "svc.keytab"
    file.write_bytes(b"\x05\x02")
    file.chmod(mode)
    return msgspec.structs.replace(MINIMAL, priv=msgspec.structs.replace(MINIMAL.priv, keytab=str(file)))


def test_no_ticket_is_asked_for_where_nobody_answers(tmp_path: Path) -> None:
    network = ToldNetwork(shut={(DC, 88): "timed out"})
    world = looking_at(
        with_keytab(tmp_path), network=network, domains={"priv.test": ToldDomain({DC: timedelta(0)})}
    )
    (found,) = kerberos.tickets(world)
    assert found.severity is Severity.SKIPPED
    assert "ports.controllers" in found.text


def test_no_ticket_without_a_keytab_and_the_keytab_says_why(tmp_path: Path) -> None:
    world = looking_at(with_keytab(tmp_path, 0o644))
    (file,) = kerberos.keytabs(world)
    assert (file.severity, "others may read" in file.text) == (Severity.ERROR, True)
    (ticket,) = kerberos.tickets(world)
    assert ticket.severity is Severity.SKIPPED


class Told:
    """What the forests say, by forest."""

    def rights(self, forest: object) -> list[Finding]:
        return [Finding("rights.group", Severity.OK, f"of {forest}")]


def test_rights_are_told_apart_by_forest() -> None:
    config = msgspec.structs.replace(MINIMAL, corp=Corp(domain="corp.test"))
    found = directory.rights(looking_at(config, prober=Told()))
    assert [one.about for one in found] == ["PRIV rights.group", "CORP rights.group"]
