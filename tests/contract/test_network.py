"""DNS and TCP as health checks ask for them: the twin and this machine's own answer alike."""

import socket
from collections.abc import Iterator

import pytest

from bastide.directory.network import RealNetwork
from bastide.health.world import Network
from tests.support.health import ToldNetwork

NOBODY = "no-such-host.invalid"  # RFC 6761, 6.4: never a name


@pytest.fixture
def port() -> Iterator[int]:
    """One that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield int(listening.getsockname()[1])


@pytest.fixture
def closed() -> int:
    """One that nobody listens on: just given back."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


@pytest.fixture(params=["told", "real"])
def network(request: pytest.FixtureRequest, closed: int) -> Network:
    if request.param == "real":
        return RealNetwork(1.0)
    return ToldNetwork(
        shut={("127.0.0.1", closed): "refused: nothing listens there", (NOBODY, 80): "unresolved: DNS knows no address"},
        hosts={"localhost": frozenset({"127.0.0.1"})},
    )  # fmt: skip


def test_an_open_port_has_no_reason(network: Network, port: int) -> None:
    assert network.knock("127.0.0.1", port) == ""


def test_a_port_that_refuses_says_so(network: Network, closed: int) -> None:
    assert network.knock("127.0.0.1", closed).startswith("refused: ")


def test_a_host_without_a_name_is_unresolved(network: Network) -> None:
    assert network.knock(NOBODY, 80).startswith("unresolved: ")


def test_addresses(network: Network) -> None:
    assert "127.0.0.1" in network.addresses("localhost")
    with pytest.raises(OSError, match=r"\w"):
        network.addresses(NOBODY)


def test_an_address_without_a_name(network: Network) -> None:
    with pytest.raises(OSError, match=r"\w"):
        network.name_of("192.0.2.1")  # RFC 5737: nobody's


def test_a_service_that_nobody_offers(network: Network) -> None:
    with pytest.raises(OSError, match=r"\w"):
        network.services(f"_ldap._tcp.{NOBODY}")


def test_what_speaks_no_tls_shows_no_certificate(network: Network, closed: int) -> None:
    with pytest.raises(OSError, match=r"\w"):
        network.certificate("127.0.0.1", closed)
