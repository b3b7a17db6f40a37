"""The receiver against real Kerberos: who gets in, who does not, and what a stolen or wrong ticket is worth (rows 10 and 11 of security-tests.md)."""

import secrets
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import gssapi
import pytest
from gssapi.raw import RequirementFlag as Flag
from gssapi.raw.misc import GSSError

from bastide import wire
from bastide.clock import SystemClock
from bastide.directory.channel import AdControllerRegister, GssAcceptor
from bastide.directory.kerberos import Identity
from bastide.directory.ldap import Controllers, SealedConnect, discover
from bastide.receiver.conversation import Host
from bastide.receiver.server import Receiver
from bastide.services.passwords.accept import Accept, Told
from bastide.services.passwords.callers import Caller, Callers
from bastide.services.passwords.silence import Silence
from bastide_lab.lab import Lab
from tests.support.inside import inside

pytest_plugins = ["tests.support.lab"]
pytestmark = pytest.mark.lab
GUID = "0e8dd3d5-7b5c-4d1a-b0ef-000000000001"
CORP, PRIV = "corp.bastide.test", "priv.bastide.test"
#: [MS-ADTS] 2.2.16.
WORKSTATION_TRUST_ACCOUNT, TRUSTED_TO_AUTH_FOR_DELEGATION = 0x1000, 0x1000000
SEALED = (
    Flag.mutual_authentication | Flag.confidentiality | Flag.integrity | Flag.replay_detection | Flag.out_of_sequence_detection
)  # fmt: skip


@dataclass
class Book:
    events: list[int] = field(default_factory=list)
    told: list[wire.Notification] = field(default_factory=list)
    heard_of: list[str] = field(default_factory=list)

    def write(self, number: int, **_: object) -> None:
        self.events.append(number)

    def heard(self, caller: Caller) -> None:
        self.heard_of.append(caller.host)

    def write_down(self) -> None:
        """What the listener does beside."""

    def notifications(self, _: Caller, several: Sequence[wire.Notification]) -> tuple[Told, ...]:
        self.told += several
        return tuple(Told(wire.Verdict.ACCEPTED) for _ in several)


@dataclass
class Stage:
    lab: Lab
    port: int
    book: Book
    keytabs: Path
    opened: list[socket.socket] = field(default_factory=list)

    def connect(self, address: tuple[str, int] | None = None) -> socket.socket:
        self.opened.append(socket.create_connection(address or ("127.0.0.1", self.port), timeout=10))
        return self.opened[-1]

    def credentials(self, forest: str, account: str) -> gssapi.Credentials:
        name = gssapi.Name(f"{account}@{self.lab.realm(forest)}", gssapi.NameType.kerberos_principal)
        cache = f"MEMORY:{forest}-{account.strip('$')}-{time.monotonic_ns()}"
        keytab = self.keytab(forest, account)
        return gssapi.Credentials(
            name=name, usage="initiate", store={"client_keytab": f"FILE:{keytab}", "ccache": cache}
        )

    def forwardable(self, forest: str, account: str) -> gssapi.Credentials:
        """A service's own, with which it can get tickets in others' names. libkrb5 asks for such a one where krb5.conf says so; kinit, when it is told."""
        keytab, cache = self.keytab(forest, account), self.keytabs / f"{account.strip('$')}.ccache"
        principal = f"{account}@{self.lab.realm(forest)}"
        command = ["kinit", "-f", "-k", "-t", str(keytab), "-c", f"FILE:{cache}", principal]
        subprocess.run(command, check=True, capture_output=True, timeout=20)
        name = gssapi.Name(principal, gssapi.NameType.kerberos_principal)
        return gssapi.Credentials(
            name=name, usage="both", store={"keytab": f"FILE:{keytab}", "ccache": f"FILE:{cache}"}
        )

    def keytab(self, forest: str, account: str) -> Path:
        made = self.keytabs / f"{forest}-{account.strip('$')}.keytab"
        if not made.exists():
            self.lab.keytab(forest, [account], made)
        return made


@pytest.fixture(scope="module")
def stage(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    keytabs = tmp_path_factory.mktemp("keytabs")
    service, pcns = keytabs / "service.keytab", keytabs / "pcns.keytab"
    lab.keytab("priv", ["svc-bastide"], service)
    lab.keytab("corp", [f"PCNSCLNT/bastide.{CORP}"], pcns)
    lab.keytab("priv", [f"PCNSCLNT/bastide.{PRIV}"], pcns)
    book, clock = Book(), SystemClock()
    with inside(lab.namespace("bastide")):
        connect = SealedConnect(Identity(f"svc-bastide@{lab.realm('priv')}", service), clock.now)
        domains = {name: Controllers(name, discover(name), connect, clock.monotonic) for name in (CORP, PRIV)}
        host = Host(
            acceptor=GssAcceptor(pcns),
            callers=Callers(register=AdControllerRegister(domains), events=book),
            accept=cast("Accept", book),
            silence=cast("Silence", book),
            events=book,
            node="node-1",
            monotonic=clock.monotonic,
            patience=10,
        )
        receiver = Receiver("127.0.0.1", 0, host)
        receiver.start()
        yield Stage(lab, receiver.port, book, keytabs)
        receiver.stop()
        for one in domains.values():
            one.close()


@pytest.fixture(autouse=True)
def closing(stage: Stage) -> Iterator[None]:
    yield
    while stage.opened:
        stage.opened.pop().close()


class Agent:
    def __init__(
        self, stage: Stage, credentials: gssapi.Credentials, spn_host: str, flags: int = SEALED
    ) -> None:
        self.socket = stage.connect()
        name = gssapi.Name(f"PCNSCLNT@{spn_host}", gssapi.NameType.hostbased_service)
        self.context = gssapi.SecurityContext(
            name=name, creds=credentials, flags=flags, usage="initiate", mech=gssapi.MechType.kerberos
        )

    def shake_hands(self) -> None:
        """Raises EOFError if the server hangs up, GSSError if it is not who it should be."""
        token = self.context.step()
        while token:
            self.socket.sendall(wire.frame(token))
            if self.context.complete:
                break
            token = self.context.step(self.receive())
        assert self.context.complete

    def receive(self) -> bytes:
        head = self.socket.recv(4, socket.MSG_WAITALL)
        if len(head) < 4:
            raise EOFError
        return self.socket.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL)

    def say(self, message: wire.FromAgent, *, sealed: bool = True) -> wire.FromServer:
        self.socket.sendall(wire.frame(self.context.wrap(wire.encode(message), sealed).message))
        return wire.from_server(self.context.unwrap(self.receive()).message)

    def hello(self, domain: str) -> wire.FromServer:
        self.shake_hands()
        return self.say(wire.Hello(version=wire.VERSION, software="test", domain=domain, controller="dc"))


def note(account: str = "alice") -> wire.Notification:
    return wire.Notification(
        reference=GUID, user_guid=GUID, user_sid="s", account=account, changed_at=1, revision=1, origin=GUID, attempt=1,
        secret=b"ciphertext", check=b"",
    )  # fmt: skip


def refused(answer: wire.FromServer) -> bool:
    return isinstance(answer, wire.Answer) and answer.verdict is wire.Verdict.REFUSED


@pytest.mark.parametrize(
    ("forest", "account", "domain"), [("corp", "CORPDC$", CORP), ("priv", "PRIVDC$", PRIV)]
)
def test_a_controller_of_either_domain_is_heard(stage: Stage, forest: str, account: str, domain: str) -> None:
    agent = Agent(stage, stage.credentials(forest, account), f"bastide.{domain}")
    assert agent.hello(domain) == wire.Welcome(version=wire.VERSION, node="node-1")
    answer = agent.say(note(domain))
    assert answer == wire.Answer(reference=GUID, verdict=wire.Verdict.ACCEPTED)
    assert stage.book.told[-1] == note(domain)


@pytest.mark.parametrize("account", ["Administrator", "alice", "svc-bastide-http"])
def test_who_is_no_machine_is_refused(stage: Stage, account: str) -> None:
    agent = Agent(stage, stage.credentials("corp", account), f"bastide.{CORP}")
    assert refused(agent.hello(CORP))
    assert stage.book.events[-1] == 6914


def test_a_member_server_is_refused(stage: Stage) -> None:
    """Row 10: a valid ticket of a computer of the domain, even of one that lies beside the controllers."""
    administrator = stage.keytabs / "administrator.keytab"
    stage.lab.keytab("corp", ["Administrator"], administrator)
    identity = Identity(f"Administrator@{stage.lab.realm('corp')}", administrator)
    session, _ = SealedConnect(identity, SystemClock().now)(f"corpdc.{CORP}")
    password = f'"{secrets.token_hex(16)}aA1!"'.encode("utf-16-le")
    wanted = {"objectClass": [b"computer"], "sAMAccountName": [b"SRV1$"], "unicodePwd": [password]}
    session.add(
        f"CN=SRV1,OU=Domain Controllers,{stage.lab.base_dn('corp')}",
        {**wanted, "userAccountControl": [b"4096"]},
    )
    session.raw.unbind_ext_s()
    agent = Agent(stage, stage.credentials("corp", "SRV1$"), f"bastide.{CORP}")
    assert refused(agent.hello(CORP))
    assert stage.book.events[-1] == 6914


def test_a_controller_cannot_speak_for_the_other_domain(stage: Stage) -> None:
    agent = Agent(stage, stage.credentials("corp", "CORPDC$"), f"bastide.{CORP}")
    assert refused(agent.hello(PRIV))


def test_a_trusted_forest_s_controller_cannot_speak_for_the_trusting_one(stage: Stage) -> None:
    """CORP trusts PRIV, so a PRIV controller gets a ticket for our name in CORP: it must not count there."""
    agent = Agent(stage, stage.credentials("priv", "PRIVDC$"), f"bastide.{CORP}")
    assert refused(agent.hello(CORP))
    assert stage.book.events[-1] == 6914


@pytest.mark.parametrize(
    "flags",
    [
        Flag.mutual_authentication,
        SEALED & ~Flag.replay_detection,
        SEALED & ~Flag.out_of_sequence_detection,
        SEALED & ~Flag.mutual_authentication,
    ],
)
def test_without_sealing_and_mutual_authentication_nothing_is_heard(stage: Stage, flags: int) -> None:
    agent = Agent(stage, stage.credentials("corp", "CORPDC$"), f"bastide.{CORP}", flags)
    before = len(stage.book.told)
    with pytest.raises((EOFError, GSSError, OSError)):
        agent.hello(CORP)
    assert len(stage.book.told) == before


def test_an_unsealed_or_repeated_message_ends_it(stage: Stage) -> None:
    before = len(stage.book.told)
    agent = Agent(stage, stage.credentials("corp", "CORPDC$"), f"bastide.{CORP}")
    agent.hello(CORP)
    with pytest.raises((EOFError, OSError)):
        agent.say(note(), sealed=False)
    again = Agent(stage, stage.credentials("corp", "CORPDC$"), f"bastide.{CORP}")
    again.hello(CORP)
    sealed = wire.frame(again.context.wrap(wire.encode(note()), True).message)
    again.socket.sendall(sealed)
    again.receive()
    again.socket.sendall(sealed)
    with pytest.raises((EOFError, OSError)):
        again.receive()
    assert len(stage.book.told) == before + 1
    assert stage.book.heard_of


def delegating(stage: Stage, account: str) -> None:
    """A member server that may speak to our name in anybody's name ([MS-SFU])."""
    administrator = stage.keytabs / "administrator.keytab"
    stage.lab.keytab("corp", ["Administrator"], administrator)
    identity = Identity(f"Administrator@{stage.lab.realm('corp')}", administrator)
    session, _ = SealedConnect(identity, SystemClock().now)(f"corpdc.{CORP}")
    password = f'"{secrets.token_hex(16)}aA1!"'.encode("utf-16-le")
    trusted = TRUSTED_TO_AUTH_FOR_DELEGATION | WORKSTATION_TRUST_ACCOUNT
    session.add(
        f"CN={account},CN=Computers,{stage.lab.base_dn('corp')}",
        {
            "objectClass": [b"computer"],
            "sAMAccountName": [f"{account}$".encode()],
            "unicodePwd": [password],
            "servicePrincipalName": [f"HTTP/{account.lower()}.{CORP}".encode()],
            "userAccountControl": [str(trusted).encode()],
            "msDS-AllowedToDelegateTo": [f"PCNSCLNT/bastide.{CORP}".encode()],
        },
    )
    session.raw.unbind_ext_s()


def test_a_delegated_ticket_of_a_controller_is_refused(stage: Stage) -> None:
    """A server that may delegate gets a ticket for our name with the controller's own PAC in it: all but one part of it says `controller`."""
    delegating(stage, "SRV2")
    own = stage.forwardable("corp", "SRV2$")
    controller = gssapi.Name(f"CORPDC$@{stage.lab.realm('corp')}", gssapi.NameType.kerberos_principal)
    agent = Agent(stage, own.impersonate(controller), f"bastide.{CORP}")
    before = len(stage.book.events)
    with pytest.raises((EOFError, OSError)):
        agent.hello(CORP)
    assert stage.book.events[before:] == [6915]


def test_the_kdc_gives_nobody_a_ticket_of_a_controller_that_is_not_delegated(stage: Stage) -> None:
    """What install-the-agent.md says to do, and that the controller itself goes on."""
    delegating(stage, "SRV3")
    own = stage.forwardable("corp", "SRV3$")
    controller = gssapi.Name(f"CORPDC$@{stage.lab.realm('corp')}", gssapi.NameType.kerberos_principal)
    sensitive = ["samba-tool", "user", "sensitive", "CORPDC$"]
    stage.lab.exec("corpdc", [*sensitive, "on"], check=True)
    try:
        with pytest.raises(GSSError):
            Agent(stage, own.impersonate(controller), f"bastide.{CORP}").shake_hands()
        agent = Agent(stage, stage.credentials("corp", "CORPDC$"), f"bastide.{CORP}")
        assert agent.hello(CORP) == wire.Welcome(version=wire.VERSION, node="node-1")
    finally:
        stage.lab.exec("corpdc", [*sensitive, "off"], check=True)
    Agent(stage, own.impersonate(controller), f"bastide.{CORP}").context.step()


def test_a_recorded_handshake_is_worth_nothing(stage: Stage) -> None:
    agent = Agent(stage, stage.credentials("corp", "CORPDC$"), f"bastide.{CORP}")
    recorded = wire.frame(agent.context.step())
    agent.socket.sendall(recorded)
    agent.receive()
    thief = stage.connect()
    thief.sendall(recorded)
    assert thief.recv(1) == b""


def test_a_false_server_is_not_told_anything(stage: Stage) -> None:
    """The other direction: who has no key of PCNSCLNT cannot answer, and the agent notices before it says a word."""
    listener = socket.create_server(("127.0.0.1", 0))
    heard: list[bytes] = []

    def false_server() -> None:
        connection, _ = listener.accept()
        with connection:
            head = connection.recv(4, socket.MSG_WAITALL)
            heard.append(connection.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL))
            connection.sendall(wire.frame(b"\x60\x06anything"))
            heard.append(connection.recv(65536))

    thread = threading.Thread(target=false_server)
    thread.start()
    agent = Agent(stage, stage.credentials("corp", "CORPDC$"), f"bastide.{CORP}")
    agent.socket = stage.connect(listener.getsockname())
    with pytest.raises(GSSError):
        agent.shake_hands()
    agent.socket.close()
    thread.join(10)
    listener.close()
    assert heard[1] == b""
