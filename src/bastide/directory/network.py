"""DNS and TCP of this machine, as the tests of the directories and the health checks need them."""

import errno
import socket
import ssl
from typing import Protocol


class Network(Protocol):
    """What the tests of a domain need of the network; an argument, so that they can be tested."""

    def services(self, question: str) -> list[str]:
        """Targets of an SRV name. Raises OSError with the reason."""

    def knock(self, host: str, port: int) -> str:
        """Why the port cannot be reached; empty: it can."""


class RealNetwork:
    """DNS and TCP of this machine."""

    def __init__(self, timeout: float = 3.0) -> None:
        self.timeout = timeout

    def services(self, question: str) -> list[str]:
        """Raises OSError: no such name, no record of the type, or no answer. Raises ImportError without the extra `ad`."""
        import dns.exception  # noqa: PLC0415  # the other questions do without it
        import dns.resolver  # noqa: PLC0415

        try:
            answer = dns.resolver.Resolver().resolve(question, "SRV", lifetime=self.timeout, search=False)
        except dns.resolver.NXDOMAIN:
            raise OSError("no such name") from None
        except dns.resolver.NoAnswer:
            raise OSError("the name has no SRV record") from None
        except dns.resolver.NoNameservers as error:
            raise OSError(f"the name servers refuse or fail: {error}") from None
        except dns.exception.Timeout:
            raise OSError(f"the name servers did not answer within {self.timeout:g} s") from None
        except dns.exception.DNSException as error:
            raise OSError(f"{type(error).__name__}") from None
        return sorted(f"{record.target}".rstrip(".").lower() for record in answer)

    def knock(self, host: str, port: int) -> str:
        """Refused, dropped and unresolved are three different repairs."""
        try:
            with socket.create_connection((host, port), timeout=self.timeout):
                return ""
        except socket.gaierror:
            return "unresolved: DNS knows no address"
        except ConnectionRefusedError:
            return "refused: nothing listens there"
        except TimeoutError:
            return "timed out: a firewall drops it, or the host is down"
        except OSError as error:
            if error.errno in {errno.EHOSTUNREACH, errno.ENETUNREACH}:
                return "unreachable: no route, a firewall that rejects, or the host is down"
            return f"failed: {error.strerror}"

    def certificate(self, host: str, port: int) -> str:
        """What a TLS server shows of itself, as PEM; not verified. Raises OSError."""
        return ssl.get_server_certificate((host, port), timeout=self.timeout)

    def addresses(self, name: str) -> frozenset[str]:
        """Of a host name, as every program of this machine finds them: by /etc/hosts, DNS and the search domains. Raises OSError."""
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            raise OSError((error.strerror or "no such name").lower()) from None
        return frozenset(str(address[0]) for *_, address in found)

    def name_of(self, address: str) -> str:
        """The full name that belongs to an address, in lower case: by /etc/hosts and PTR records. Raises OSError."""
        try:
            found, _ = socket.getnameinfo((address, 0), socket.NI_NAMEREQD)
        except socket.gaierror as error:
            raise OSError((error.strerror or "no such name").lower()) from None
        return found.rstrip(".").lower()
