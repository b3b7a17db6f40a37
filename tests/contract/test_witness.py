"""Somebody who tells early that a server is gone: the twin in memory, the client over a loopback, and Samba's Witness alike."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import pytest

from bastide.backup.smb_login import ByPassword, ByTicket
from bastide.backup.witness import Notice, Unwatched, Watch, Witness
from bastide.backup.witness_rpc import RpcWitness
from bastide.directory.kerberos import Identity
from bastide_lab.lab import Lab
from bastide_lab.plan import FILES, SHARE, WITNESS
from tests.support import rpc_server
from tests.support.memory_witness import MemoryWitness
from tests.support.patience import PATIENCE

pytest_plugins = ["tests.support.lab", "tests.support.share_fixtures"]


@dataclass
class Cluster:
    """`send`: have who listens sent to another node, `to`; `nobody`: an address at which no service is."""

    witness: Witness
    server: str
    address: str
    to: str
    send: Callable[[], object]
    nobody: str

    def watch(self) -> Watch:
        return self.witness.watch(self.server, self.address)


@pytest.fixture(params=["memory", "rpc", pytest.param("ctdb", marks=pytest.mark.lab)])
def cluster(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Cluster]:
    if request.param == "memory":
        yield _in_memory()
    elif request.param == "rpc":
        secret = tmp_path / "password"
        secret.write_text(f"{rpc_server.PASSWORD}\n")
        with rpc_server.serving(monkeypatch, tmp_path / "users") as server:
            move = rpc_server.addresses((rpc_server.NODE, 1))
            yield Cluster(
                RpcWitness(ByPassword(rpc_server.ACCOUNT, secret)),
                "files.priv.test",
                rpc_server.SERVER,
                rpc_server.NODE,
                lambda: server.tell(rpc_server.notice(2, move)),
                "0.0.0.1",
            )
    else:
        yield _on_samba(request)


def _in_memory() -> Cluster:
    witness = MemoryWitness()

    def send() -> None:
        witness.watches[-1].said.put(Notice("CLIENT_MOVE", ("192.0.2.2",)))

    class OfOne:
        def watch(self, server: str, address: str) -> Watch:
            if address == "192.0.2.9":
                raise Unwatched("the Witness service: nobody answers", remedy="start it")
            return witness.watch(server, address)

    return Cluster(OfOne(), "files", "192.0.2.1", "192.0.2.2", send, "192.0.2.9")


def _on_samba(request: pytest.FixtureRequest) -> Cluster:
    lab = cast("Lab", request.getfixturevalue("share_lab"))
    request.getfixturevalue("share_folder")
    writer = cast("Identity", request.getfixturevalue("writer"))
    shares = lab.shares
    (other,) = (host.name for host in FILES if host.name != shares.holder())
    return Cluster(
        RpcWitness(ByTicket(writer)),
        SHARE.fqdn,
        SHARE.address,
        WITNESS,
        lambda: shares.send_clients(other),
        "0.0.0.1",
    )


def heard(watch: Watch, send: Callable[[], object]) -> Notice | None:
    """What is told when somebody listens: it may not be kept for who does not listen yet."""
    told: list[Notice | None] = []
    waiting = threading.Thread(target=lambda: told.append(watch.wait()))
    waiting.start()
    deadline = time.monotonic() + PATIENCE
    while waiting.is_alive() and time.monotonic() < deadline:
        send()
        waiting.join(1)
    (notice,) = told
    return notice


def test_what_is_told_arrives(cluster: Cluster) -> None:
    watch = cluster.watch()
    assert heard(watch, cluster.send) == Notice("CLIENT_MOVE", (cluster.to,))
    watch.close()
    assert watch.wait() is None, "who has told is done"


def test_who_watches_is_another_node(cluster: Cluster) -> None:
    watch = cluster.watch()
    watch.close()
    assert watch.by.endswith(f" ({cluster.to})")


def test_closing_ends_the_waiting_and_nothing_is_told_after_it(cluster: Cluster) -> None:
    watch = cluster.watch()
    assert heard(watch, watch.close) is None
    watch.close()
    assert watch.wait() is None


def test_two_are_watched_side_by_side(cluster: Cluster) -> None:
    first, second = cluster.watch(), cluster.watch()
    first.close()
    assert heard(second, cluster.send) == Notice("CLIENT_MOVE", (cluster.to,))


def test_where_there_is_no_service_nobody_watches(cluster: Cluster) -> None:
    with pytest.raises(Unwatched, match=r"Witness|endpoint mapper") as refused:
        cluster.witness.watch(cluster.server, cluster.nobody)
    assert refused.value.remedy
