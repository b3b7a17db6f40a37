"""What can be asked about the controllers of any one domain: name service, ports, sign-in, clocks. Nothing is changed.

A controller whose ports do not answer cannot let anybody in: the ports are the finding then, and its sign-in and clock were not looked at. The same
holds for a clock that is too far off: no connection is used with it (ldap.py), and the clock is the finding.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from bastide.directory.ldap import ClockApart, Controllers, clock_of, too_far
from bastide.directory.network import Network
from bastide.directory.session import Session
from bastide.domain.errors import DirectoryError
from bastide.domain.health import Finding, Severity

#: Ports of a domain controller ([MS-ADTS] 6.3, [MS-KILE], [MS-SMB2]); True: Bastide or the people need it.
PORTS = {
    88: ("Kerberos", True),
    389: ("LDAP", True),
    445: ("SMB", True),
    464: ("Kerberos password", True),
    636: ("LDAPS", False),
    3268: ("global catalogue", False),
}
#: Without these nobody signs in.
DOORS = (88, 389)
_SRV = ("_ldap._tcp.dc._msdcs", "_kerberos._tcp")
#: No connection is used from five minutes on; one minute already makes short grants end at another moment than the clock on the wall says.
_SKEW_WARNING = timedelta(minutes=1)
Answers = Mapping[str, "timedelta | DirectoryError | str"]


def ok(key: str, text: str, evidence: str = "", *, subject: str = "") -> Finding:
    """All is as it should be."""
    return Finding(key, Severity.OK, text, evidence, subject=subject)


def warn(key: str, text: str, remedy: str, evidence: str = "", *, subject: str = "") -> Finding:
    """It works, and a person should know."""
    return Finding(key, Severity.WARNING, text, evidence, remedy, subject)


def wrong(key: str, text: str, remedy: str, evidence: str = "", *, subject: str = "") -> Finding:
    """It cannot work like this, or it is not safe."""
    return Finding(key, Severity.ERROR, text, evidence, remedy, subject)


def skipped(key: str, text: str, *, subject: str = "") -> Finding:
    """It was not looked at; the text says why."""
    return Finding(key, Severity.SKIPPED, text, subject=subject)


def name_service(domain: str, network: Network) -> Iterator[Finding]:
    """The SRV records by which everybody finds the controllers ([MS-ADTS] 6.3.2.3)."""
    for service in _SRV:
        question = f"{service}.{domain}"
        try:
            found = network.services(question)
        except OSError as error:
            yield wrong(
                "dns.srv",
                f"DNS does not name the services of {question}: {error}",
                f"let the name servers in resolv.conf forward the zone: `dig SRV {question}` must answer here",
                subject=question,
            )
            continue
        yield ok(
            "dns.srv", f"{question} names {len(found)} controller(s)", ", ".join(found), subject=question
        )


def ports(controllers: Sequence[str], network: Network) -> Iterator[Finding]:
    """Each controller's ports, and why one does not answer: refused and timed out are different repairs."""
    with ThreadPoolExecutor(len(PORTS) * 2) as threads:
        for controller in controllers:
            answers = threads.map(network.knock, [controller] * len(PORTS), PORTS)
            yield _judged(controller, {port: why for port, why in zip(PORTS, answers, strict=True) if why})


def _judged(controller: str, shut: Mapping[int, str]) -> Finding:
    evidence = "; ".join(f"{port} {PORTS[port][0]} {why}" for port, why in shut.items())
    if any(PORTS[port][1] for port in shut):
        return wrong(
            "ports", f"{controller} cannot be reached on all ports that are needed",
            "open them in the firewall, or start the domain controller", evidence, subject=controller,
        )  # fmt: skip
    if shut:
        return warn(
            "ports", f"{controller} answers on all ports that are needed", "", evidence, subject=controller
        )
    all_ports = ", ".join(map(str, PORTS))
    return ok("ports", f"{controller} answers on every port", all_ports, subject=controller)


class DomainProber:
    """The controllers of one domain, seen with one account. `now` is the clock that they are compared with."""

    def __init__(self, connections: Controllers, network: Network, now: Callable[[], datetime]) -> None:
        self.connections = connections
        self._network = network
        self._now = now

    def controllers(self) -> tuple[str, ...]:
        """Full names. Raises DirectoryUnavailable."""
        return self.connections.names()

    def name_service(self) -> Iterator[Finding]:
        """See there."""
        return name_service(self.connections.domain, self._network)

    def ports(self) -> Iterator[Finding]:
        """See there. Raises DirectoryUnavailable."""
        return ports(self.controllers(), self._network)

    def asked(self) -> Answers:
        """Controller to how far its clock is ahead of ours; or why it could not be asked: an error, or the port that is shut, in words.

        Raises DirectoryUnavailable.
        """

        def read_clock(session: Session) -> timedelta:
            return clock_of(session) - self._now()

        answers = self.connections.on_each(read_clock)
        return {
            name: self._shut(name) or answer if isinstance(answer, DirectoryError) else answer
            for name, answer in answers.items()
        }

    def _shut(self, controller: str) -> str:
        """Why nobody can sign in there at all; empty: the doors are open."""
        answers = ((port, self._network.knock(controller, port)) for port in DOORS)
        return next((f"port {port}: {why}" for port, why in answers if why), "")


def sign_in(answers: Answers) -> Iterator[Finding]:
    """Whether the account gets a sealed connection to each."""
    for controller, answer in answers.items():
        if isinstance(answer, str):
            yield skipped("sign-in", f"{controller} was not asked: {answer}", subject=controller)
        elif isinstance(answer, DirectoryError) and apart(answer) is None:
            text = f"no sealed connection to {controller}"
            yield wrong("sign-in", text, answer.remedy, answer.message, subject=controller)
        else:
            yield ok("sign-in", f"{controller} lets the service account in, sealed", subject=controller)


def clocks(answers: Answers) -> Iterator[Finding]:
    """How far each clock is from ours."""
    for controller, answer in answers.items():
        offset = apart(answer) if isinstance(answer, DirectoryError) else answer
        if isinstance(offset, timedelta):
            yield _skew(controller, offset)
        else:
            yield skipped("clock", f"the clock of {controller} could not be read", subject=controller)


def apart(error: DirectoryError) -> timedelta | None:
    """How far ahead the controller's clock is, where that is why it was not used."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ClockApart):
        cause = cause.__cause__
    return None if cause is None else cause.ahead


def _skew(controller: str, offset: timedelta) -> Finding:
    seconds = round(offset.total_seconds())
    text, evidence = (
        f"the clock of {controller} differs by {seconds} s",
        "rootDSE currentTime, in whole seconds",
    )
    if too_far(offset):
        return wrong(
            "clock", text, "run a time service on both; Kerberos gives up at five minutes", evidence, subject=controller
        )  # fmt: skip
    if abs(offset) >= _SKEW_WARNING:
        return warn(
            "clock", text, "run a time service on both: grants end by the controller's clock", evidence, subject=controller
        )  # fmt: skip
    return ok("clock", text, evidence, subject=controller)
