"""Audit records to a syslog receiver: RFC 5424 messages over TLS (RFC 5425), TCP (octet counting, RFC 6587), or on this host.

Syslog has no acknowledgement. So each batch has a connection of its own, closed in order: a batch counts as taken when the receiver has
acknowledged every byte. UDP loses messages without a word and is allowed to this host only.
"""

import fcntl
import ipaddress
import socket
import ssl
import struct
import termios
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

from bastide.audit.export import syslog_message
from bastide.config import ConfigError
from bastide.domain.audit import Record

_PORTS = {"udp": 514, "tcp": 601, "tls": 6514}
_TIMEOUT = 10.0


class SyslogSender:
    """`tls://host:6514`, `tcp://host:601`, `udp://localhost:514` or `unix:/dev/log`. `ca`: the receiver's CA (empty: the system's)."""

    def __init__(
        self, address: str, *, ca: str = "", timeout: float = _TIMEOUT, setting: str = "audit.syslog"
    ) -> None:
        """`setting`: which one names it; the one of the authority ends in `_ca`. Raises ConfigError."""
        self._timeout = timeout
        self._scheme, self._host, self._port, self._path = _parsed(address, setting)
        self._tls = _tls(ca, setting) if self._scheme == "tls" else None

    def send(self, messages: Sequence[bytes]) -> None:
        """Send, and wait until the receiver has taken all of it. Raises OSError."""
        if not messages:
            return
        if self._scheme == "unix":
            with _naming(self._path):
                self._datagrams(messages)
        elif self._scheme == "udp":
            self._datagrams(messages)
        else:
            self._stream(b"".join(b"%d %s" % (len(message), message) for message in messages))

    def _datagrams(self, messages: Sequence[bytes]) -> None:
        for family, target in self._local_targets():
            with socket.socket(family, socket.SOCK_DGRAM) as channel:
                channel.settimeout(self._timeout)
                channel.connect(target)
                for message in messages:
                    channel.send(message)
            return

    def _local_targets(self) -> Iterator[tuple[socket.AddressFamily, str | tuple[str, int]]]:
        """Raises OSError for a name that leads to another machine, whatever it led to yesterday."""
        if self._scheme == "unix":
            yield socket.AF_UNIX, self._path
            return
        for family, _, _, _, found in socket.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM):
            address = str(found[0])
            if not ipaddress.ip_address(address).is_loopback:
                raise OSError(f"{self._host} is another machine; UDP loses records, use tls:// or tcp://")
            yield family, (address, self._port)

    def _stream(self, framed: bytes) -> None:
        with (
            socket.create_connection((self._host, self._port), self._timeout) as plain,
            self._secured(plain) as channel,
        ):
            channel.sendall(framed)
            _finish(channel)

    @contextmanager
    def _secured(self, plain: socket.socket) -> Iterator[socket.socket]:
        if self._tls is None:
            yield plain
            return
        with self._tls.wrap_socket(plain, server_hostname=self._host) as secured:
            yield secured


class SyslogSink:
    """Where audit records go. `address` and `ca` as the sender has them."""

    def __init__(self, address: str, *, ca: str = "", host: str = "", timeout: float = _TIMEOUT) -> None:
        """`host` is the name that messages carry (default: this machine's). Raises ConfigError."""
        self.name = f"syslog:{address}"
        self._own_name = host or socket.gethostname()
        self._sender = SyslogSender(address, ca=ca, timeout=timeout)

    def write(self, records: Sequence[Record]) -> None:
        """Send, and wait until the receiver has taken all of it. Raises OSError."""
        self._sender.send([syslog_message(record, self._own_name) for record in records])


@contextmanager
def _naming(path: str) -> Iterator[None]:
    """The system's words for a socket do not say which one it is."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename = path
        raise


def _finish(channel: socket.socket) -> None:
    """Say that this is all, wait for the other side to close, and make sure that it has acknowledged every byte."""
    try:
        if isinstance(channel, ssl.SSLSocket):
            # A receiver that closes without the closing alert has closed all the same.
            with suppress(ssl.SSLError):
                channel.unwrap()
        else:
            channel.shutdown(socket.SHUT_WR)
            while channel.recv(4096):
                pass
    except TimeoutError:
        waiting = struct.unpack("i", fcntl.ioctl(channel.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
        if waiting:
            raise


def _parsed(address: str, setting: str) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        parts, host, port = urlsplit(""), "", None
    if parts.scheme == "unix" and parts.path.startswith("/"):
        return "unix", "", 0, parts.path
    if parts.scheme not in _PORTS or not host or parts.path not in {"", "/"}:
        raise ConfigError(
            f"{setting}: {address[:80]!r} is no receiver; use tls://host:6514, tcp://host:601, udp://localhost:514 or unix:/dev/log"
        )
    return parts.scheme, host, port or _PORTS[parts.scheme], ""


def _tls(ca: str, setting: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        raise ConfigError(f"{setting}_ca: {ca} cannot be used: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
