"""A mail server and a webhook on loopback, over TLS, that keep what they are given."""

import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from tests.support.certificates import issue

PASSWORD = "Kanarienvogel-7f3a91c2"
TOKEN = "webhook-token-5d1e88b4a0"


@dataclass
class MailServer:
    """`refuses`: recipients that it does not know. `quotes`: it refuses every message, and repeats it from this word on."""

    port: int
    letters: list[tuple[str, EmailMessage]] = field(default_factory=list)
    refuses: set[str] = field(default_factory=set)
    quotes: str = ""

    async def handle_RCPT(self, *given: Any) -> str:  # noqa: N802  # aiosmtpd's name
        _server, _session, envelope, address, _options = given
        if address in self.refuses:
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, *given: Any) -> str:  # noqa: N802  # aiosmtpd's name
        envelope: Envelope = given[2]
        parsed = message_from_bytes(cast("bytes", envelope.content), policy=policy.default)
        if self.quotes:
            body = parsed.get_content()
            return f"554 refused for {envelope.rcpt_tos[0]}, near: {body[body.index(self.quotes) :].strip()[:60]}"
        self.letters.append((str(envelope.rcpt_tos[0]), parsed))
        return "250 taken"


def tls(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Of a server on localhost, and the authority to believe."""
    pair = issue(folder, "localhost", "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context, pair.certificate


class _Anywhere(Controller):
    """On a port that is free. aiosmtpd calls itself once it listens, and must know where."""

    def _trigger_server(self) -> None:
        server: Any = self.server
        self.port = server.sockets[0].getsockname()[1]
        super()._trigger_server()  # type: ignore[no-untyped-call]


def _login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    good = data.login == b"bastide" and data.password == PASSWORD.encode()
    return AuthResult(success=good, handled=good)


@contextmanager
def mail_server(context: ssl.SSLContext | None, *, starttls: bool = False) -> Iterator[MailServer]:
    """Implicit TLS, STARTTLS, or without a context neither."""
    server = MailServer(0)
    options: dict[str, Any] = {"authenticator": _login, "auth_require_tls": context is not None}
    if starttls:
        options |= {"tls_context": context, "require_starttls": True}
    controller = _Anywhere(
        server, hostname="127.0.0.1", port=0, ssl_context=None if starttls else context, **options
    )
    if not starttls and context is not None:
        # aiosmtpd takes only STARTTLS for a protected connection.
        controller.SMTP_kwargs |= {"auth_require_tls": False}
    controller.start()
    server.port = controller.port
    try:
        yield server
    finally:
        controller.stop()


@dataclass
class Webhook:
    """`status`: what it answers with; `location`: where it sends on to."""

    port: int
    calls: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    status: int = 200
    location: str = ""
    body: bytes = b"{}"
    #: Set: it does not answer.
    silent: threading.Event = field(default_factory=threading.Event)
    answers: threading.Event = field(default_factory=threading.Event)


@contextmanager
def webhook(context: ssl.SSLContext | None) -> Iterator[Webhook]:
    """Over TLS if there is a context."""
    hook = Webhook(0)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            hook.calls.append((self.path, dict(self.headers.items()), json.loads(raw or b"{}")))
            if hook.silent.is_set():
                hook.answers.wait(30)
            self.send_response(hook.status)
            if hook.location:
                self.send_header("Location", hook.location)
            self.send_header("Content-Length", str(len(hook.body)))
            self.end_headers()
            self.wfile.write(hook.body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Who does not believe us hangs up."""

    server = Server(("127.0.0.1", 0), Handler)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    hook.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        hook.answers.set()
        server.shutdown()
        server.server_close()
        thread.join(10)
