"""The tests of domain and trust: their reasons, with a network and a directory that say what the test wants."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest

from bastide.directory import trust
from bastide.directory.active_directory import ActiveDirectory
from bastide.directory.domain_probe import PORTS
from bastide.directory.network import RealNetwork
from bastide.directory.trust import AdProber
from bastide.domain.health import Finding, Severity
from bastide.domain.people import Forest
from bastide.services.ports import Samples
from tests.support.recording_ldap import BASE, DOMAIN_SID, RecordingDc, connected

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


class Told:
    """A network that answers as it was told."""

    def __init__(self, *, srv: str = "", shut: dict[int, str] | None = None) -> None:
        self.srv, self.shut = srv, shut or {}

    def services(self, question: str) -> list[str]:
        if self.srv:
            raise OSError(self.srv)
        return [f"dc1 of {question}"]

    def knock(self, host: str, port: int) -> str:
        return self.shut.get(port, "") if host == "dc1" else "unresolved"


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def directory(stack: ExitStack, dc: RecordingDc, forest: Forest = Forest.PRIV) -> ActiveDirectory:
    return ActiveDirectory(forest, stack.enter_context(connected(dc)))


def by_key(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.key: finding for finding in findings}


def trusting(dc: RecordingDc, direction: int, attributes: int = 8) -> None:
    dc.add(
        f"CN=t,CN=System,{BASE}", objectClass="trustedDomain", trustPartner="priv.example", trustDirection=str(direction),
        trustAttributes=str(attributes), securityIdentifier=DOMAIN_SID.to_bytes(),
    )  # fmt: skip
    dc.add(f"CN=System,{BASE}", objectClass="container")


def test_a_good_domain_has_nothing_wrong(stack: ExitStack) -> None:
    dc = RecordingDc()
    group, user = dc.add_group("PAM-A"), dc.add_user("alice")
    group.attributes["allowedattributeseffective"] = [b"member"]
    user.attributes["allowedattributeseffective"] = [b"accountExpires"]
    dc.time = NOW
    prober = AdProber(
        directory(stack, dc), None, lambda: NOW, samples=lambda: Samples(user.dn, group.dn), network=Told()
    )
    found = prober.test_domain(Forest.PRIV)
    assert {finding.severity for finding in found} == {Severity.OK}, found
    assert {"dns.srv", "ports", "sign-in", "clock", "rights.group", "rights.user"} <= set(by_key(found))


@pytest.mark.parametrize("why", ["no such name", "the name servers did not answer within 3 s"])
def test_dns_says_why(stack: ExitStack, why: str) -> None:
    found = AdProber(directory(stack, RecordingDc()), None, lambda: NOW, network=Told(srv=why)).test_domain(
        Forest.PRIV
    )
    (first, *_) = found
    assert (first.key, first.severity) == ("dns.srv", Severity.ERROR)
    assert why in first.text
    assert "dig SRV" in first.remedy


@pytest.mark.parametrize(
    ("port", "severity"), [(389, Severity.ERROR), (88, Severity.ERROR), (636, Severity.WARNING)]
)
def test_a_shut_port_is_named_with_its_reason(stack: ExitStack, port: int, severity: Severity) -> None:
    network = Told(shut={port: "refused: nothing listens there"})
    found = by_key(
        AdProber(directory(stack, RecordingDc()), None, lambda: NOW, network=network).test_domain(Forest.PRIV)
    )
    assert found["ports"].severity is severity
    assert f"{port} {PORTS[port][0]} refused" in found["ports"].evidence


@pytest.mark.parametrize(
    ("ahead", "severity"),
    [(0, Severity.OK), (-30, Severity.OK), (90, Severity.WARNING), (-400, Severity.ERROR)],
)
def test_the_clock_is_compared(stack: ExitStack, ahead: int, severity: Severity) -> None:
    dc = RecordingDc()
    dc.time = NOW + timedelta(seconds=ahead)
    found = by_key(AdProber(directory(stack, dc), None, lambda: NOW, network=Told()).test_domain(Forest.PRIV))
    assert found["clock"].severity is severity
    assert f"{ahead} s" in found["clock"].text


@pytest.mark.parametrize(
    ("may", "severity"),
    [([b"member"], Severity.OK), ([], Severity.ERROR), ([b"member", b"description"], Severity.WARNING)],
    ids=["right", "nothing", "too much"],
)
def test_rights_are_looked_at(stack: ExitStack, may: list[bytes], severity: Severity) -> None:
    dc = RecordingDc()
    group = dc.add_group("PAM-A")
    group.attributes["allowedattributeseffective"] = may
    prober = AdProber(
        directory(stack, dc), None, lambda: NOW, samples=lambda: Samples(priv_group=group.dn), network=Told()
    )
    found = by_key(prober.test_domain(Forest.PRIV))
    assert found["rights.group"].severity is severity
    assert found["rights.user"].severity is Severity.WARNING


def test_a_dead_directory_is_a_finding_and_no_exception(stack: ExitStack) -> None:
    dc = RecordingDc()
    ad = directory(stack, dc)
    dc.close()
    found = AdProber(ad, ad, lambda: NOW, network=Told()).test_domain(Forest.PRIV)
    keys = by_key(found)
    assert keys["sign-in"].severity is Severity.ERROR
    assert keys["domain.stopped"].severity is Severity.ERROR
    assert by_key(AdProber(ad, ad, lambda: NOW).test_trust())["trust.stopped"].remedy


def sides(stack: ExitStack, corp: RecordingDc) -> AdProber:
    priv = RecordingDc()
    trusting(priv, 1)
    return AdProber(directory(stack, priv), directory(stack, corp, Forest.CORP), lambda: NOW)


def test_a_good_trust(stack: ExitStack) -> None:
    corp = RecordingDc()
    trusting(corp, 2)
    found = sides(stack, corp).test_trust()
    assert {finding.severity for finding in found} == {Severity.OK}, found
    assert {
        "trust.corp-side",
        "trust.priv-side",
        "trust.sid",
        "trust.kind",
        "trust.sid-filtering",
        "trust.ticket",
    } == set(by_key(found))


@pytest.mark.parametrize("direction", [0, 1, 3])
def test_a_trust_in_the_wrong_direction_is_an_error(stack: ExitStack, direction: int) -> None:
    corp = RecordingDc()
    trusting(corp, direction)
    assert by_key(sides(stack, corp).test_trust())["trust.corp-side"].severity is Severity.ERROR


def test_no_trust_and_a_stranger_of_the_same_name(stack: ExitStack) -> None:
    nothing, stranger = RecordingDc(), RecordingDc()
    nothing.add(f"CN=System,{BASE}", objectClass="container")
    assert by_key(sides(stack, nothing).test_trust())["trust.corp-side"].severity is Severity.ERROR
    trusting(stranger, 2)
    stranger.things[f"CN=t,CN=System,{BASE}".lower()].attributes["securityidentifier"] = [
        b"\x01\x01" + b"\x00" * 5 + b"\x05" * 5
    ]
    assert by_key(sides(stack, stranger).test_trust())["trust.sid"].severity is Severity.ERROR


def test_missing_sid_filtering_is_said_aloud(stack: ExitStack) -> None:
    """Measured: forged CORP SIDs pass a Samba trust at every trustAttributes."""
    corp = RecordingDc(vendor="Samba Team (https://www.samba.org)")
    trusting(corp, 2, 0x4)
    found = by_key(sides(stack, corp).test_trust())["trust.sid-filtering"]
    assert found.severity is Severity.WARNING
    assert "NO SID FILTERING" in found.text
    assert "Samba" in found.evidence


@pytest.mark.parametrize(
    ("bits", "keys"),
    [
        (0x8, set()),
        (0x4, {"trust.quarantined"}),
        (0x448, {"trust.treat-as-external", "trust.pim-trust"}),
        (0x898, {"trust.uses-rc4", "trust.cross-organization", "trust.tgt-delegation"}),
    ],
)
def test_trust_attributes_in_words(bits: int, keys: set[str]) -> None:
    """F17: each bit that opens the trust is a warning with a way back."""
    found = {finding.key: finding for finding in trust.attributes(bits)}
    assert set(found) == keys | {"trust.kind"}
    assert all(found[key].severity is Severity.WARNING and found[key].remedy for key in keys)


def test_knocking_tells_refused_from_unresolved() -> None:
    network = RealNetwork(timeout=0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert network.knock("127.0.0.1", port) == ""
    assert "refused" in network.knock("127.0.0.1", port)
    assert "unresolved" in network.knock("no-such-host.invalid", 389)
