"""Monitoring in a large domain, in a process on a controller of it: first read, changes, an idle minute, memory; beside a bare DirSync read of the same."""

import json
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ldap
from ldap.controls import LDAPControl

from bastide.directory import dirsync
from bastide.directory.active_directory import ActiveDirectory
from bastide.directory.changes import CHANGES, WATCHABLE, AdChangeFeed
from bastide.directory.kerberos import Identity
from bastide.directory.ldap import Controllers, SealedConnect, listed
from bastide.directory.memory import MemoryDirectory
from bastide.directory.memory_changes import MemoryChangeFeed
from bastide.directory.memory_forest import MemoryForest
from bastide.domain.drift import Rules
from bastide.domain.ids import UserId
from bastide.domain.people import Forest, PamUser
from bastide.services.monitor.ports import ChangeFeed, Moved
from bastide.services.monitor.repairs import Repairs
from bastide.services.monitor.watch import Watch
from bastide.services.names import Names
from bastide.services.pace import MONITOR
from bastide.services.ports import Directory, Store
from bastide.store.unit_of_work import SqlStore
from benchmarks import bare

Order = Mapping[str, Any]
_LEASE = timedelta(minutes=10)
_OWNER = "bench"


class Held:
    """Nobody else is there."""

    def require(self) -> None:
        """It is ours."""


class CountingFeed(AdChangeFeed):
    """Knows how many objects it was told of."""

    told = 0

    def since(self, controller: str, cookie: bytes) -> Iterator[Moved]:
        for page in super().since(controller, cookie):
            self.told += len(page.guids)
            yield page


class Node:
    """The job of one domain, run by hand."""

    def __init__(self, store: Store, feed: ChangeFeed, side: Forest, priv: Directory) -> None:
        self.store = store
        self.side = side
        self.feed = feed
        self.priv = priv
        self.watch = self._made(timedelta(0))
        self.watch.plant()

    def _made(self, hold: timedelta) -> Watch:
        return Watch(
            store=self.store,
            feeds={self.side: self.feed},
            rules=Rules({}, {}, "bench"),
            repairs=Repairs(store=self.store, priv=self.priv, now=_now),
            names=Names({Forest.PRIV: self.priv}),
            interval=timedelta(seconds=1),
            hold=hold,
            now=_now,
            monotonic=time.monotonic,
            jitter=lambda: 0.5,
        )

    def once(self) -> float:
        """Seconds of one claim: read, decide, commit."""
        return _timed(lambda: self._run(self.watch))

    def idle(self, seconds: float) -> float:
        """CPU seconds of a row that is held so long."""
        before = time.process_time()
        self._run(self._made(timedelta(seconds=seconds)))
        return time.process_time() - before

    def _run(self, watch: Watch) -> None:
        with self.store.write() as uow:
            uow.work.poke(MONITOR[self.side], self.side.value, _now())
            uow.commit()
        works = self.store.claim([MONITOR[self.side]], owner=_OWNER, lease=_LEASE, limit=1, now=_now())
        if not works:
            raise RuntimeError("the row was not due")
        watch.run(works, Held())

    def forget(self) -> None:
        """As before the first read."""
        with self.store.write() as uow:
            for one in uow.monitored.domains():
                uow.monitored.save(replace(one, cookie=b"", looked_at=None))
            uow.monitored.forget(self.side, [one.guid for one in uow.monitored.watched(self.side)])
            uow.commit()


class Bare:
    """What an administrator's script does: DirSync with the same question, and the highest USN."""

    def __init__(self, order: Order) -> None:
        self._raw = bare.connect(order["controller"])
        self._base = order["base"]
        self.cookie = b""

    def full(self) -> float:
        """Seconds of a read of everything."""
        self.cookie = b""
        return _timed(self._read)

    def change(self) -> float:
        """Seconds of a read of what changed."""
        return _timed(self._read)

    def _read(self) -> None:
        self._raw.search_s("", ldap.SCOPE_BASE, attrlist=["highestCommittedUSN"])
        more = True
        while more:
            value = dirsync.encoded(dirsync.OBJECT_SECURITY, self.cookie)
            control = LDAPControl(dirsync.OID, True, encodedControlValue=value)
            number = self._raw.search_ext(
                self._base,
                ldap.SCOPE_SUBTREE,
                WATCHABLE,
                ["objectGUID", "isDeleted", *CHANGES],
                serverctrls=[control],
            )
            _, _, _, answers = self._raw.result3(number, all=1, timeout=60)
            more, self.cookie = dirsync.decoded(
                [one.encodedControlValue for one in answers if one.controlType == dirsync.OID]
            )


def large(order: Order) -> object:
    """Turn by turn, so that both meet the same moments of the machine."""
    identity = Identity(order["principal"], Path(order["keytab"]))

    def controllers(domain: str, name: str) -> Controllers:
        return Controllers(domain, listed([name]), SealedConnect(identity, _now, timeout=60), time.monotonic)

    priv = ActiveDirectory(Forest.PRIV, controllers(order["priv_domain"], order["priv_controller"]))
    feed = CountingFeed(controllers(order["domain"], order["controller"]))
    writer = ldap.initialize(f"ldapi://{quote(order['socket'], safe='')}")
    with closing(SqlStore(order["database"])) as store:
        node, peer = Node(store, feed, Forest.CORP, priv), Bare(order)
        loads: list[tuple[float, float]] = []
        for _ in range(order["turns"]):
            node.forget()
            loads.append((node.once(), peer.full()))
        spans: list[tuple[float, float]] = []
        node.once()
        for number in range(order["changes"]):
            dn = order["people"][number % len(order["people"])]
            writer.modify_s(dn, [(ldap.MOD_REPLACE, "mobile", [f"+41 44 {number:07}".encode()])])
            spans.append((node.once(), peer.change()))
        cpu = node.idle(order["idle"])
        many = _many(order, node, feed)
    return {"loads": loads, "spans": spans, "cpu": cpu, **many}


def _many(order: Order, node: Node, feed: CountingFeed) -> dict[str, float]:
    """Changes by the thousand, read after each transaction; what the process grew by after the first tenth of them. Raises RuntimeError if one was missed."""
    turns, people = order["many"], order["crowd"]
    size = len(people) // order["parts"]
    feed.told, reading, at_first = 0, 0.0, 0
    for turn in range(turns):
        some = people[turn % order["parts"] * size :][:size]
        _written(order, some, turn)
        reading += node.once()
        if turn == turns // 10:
            at_first = _resident()
    if feed.told < turns * size:
        raise RuntimeError(f"{feed.told} of {turns * size} changes were read")
    return {"grown": _resident() - at_first, "rate": turns * size / reading, "changed": turns * size}


def _written(order: Order, people: list[str], turn: int) -> None:
    message = {
        "operation": "change_many",
        "database": order["database_of_samba"],
        "people": people,
        "stamp": f"turn{turn}",
    }
    command: list[str | Path] = ["/usr/bin/python3", "-I", Path(__file__).with_name("samba_side.py")]
    subprocess.run(command, input=json.dumps(message), text=True, check=True, capture_output=True)


def memory(order: Order) -> object:
    """Changes by the hundred thousand, on the twins: what stays after the first tenth."""
    world = MemoryForest(Forest.PRIV, _now)
    users = []
    with closing(SqlStore("sqlite://")) as store:
        with store.write() as uow:
            for number in range(order["people"]):
                ref = world.add_person(f"p{number}").ref
                users.append(ref)
                uow.users.add(PamUser(UserId(f"u{number}"), ref.name, ref, ref, _now(), kept_alive=True))
            uow.commit()
        node = Node(store, MemoryChangeFeed(world), Forest.PRIV, MemoryDirectory(world))
        node.once()
        tracemalloc.start()
        at_first = 0
        for number in range(order["changes"]):
            account = world.account(users[number % len(users)].sid)
            person = replace(account.person, mail=f"{number:07}@example.test")
            world.change(replace(account, person=person), None)
            if number % order["together"] == order["together"] - 1:
                node.once()
            if number == order["changes"] // 10:
                at_first, _ = tracemalloc.get_traced_memory()
        now, _ = tracemalloc.get_traced_memory()
    return {"grown": now - at_first}


def _now() -> datetime:
    return datetime.now(UTC)


def _resident() -> int:
    """Bytes of this process in memory: proc(5), the second field of statm."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def _timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


PHASES: Mapping[str, Callable[[Order], object]] = {"monitor_large": large, "monitor_memory": memory}


def main() -> None:
    """As benchmarks/drive.py."""
    order = json.load(sys.stdin)
    result = PHASES[order["phase"]](order)
    Path(order["result"]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main()
