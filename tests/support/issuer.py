"""An OIDC issuer of our own: HTTPS on loopback, with a certificate of its own authority; its answers and its tokens are what a test wants."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from litestar.testing import TestClient

from bastide.config import Oidc
from bastide.directory.memory import MemoryDirectory
from bastide.services.ports import AuditQuery
from bastide.wiring import Adapters
from bastide.wiring.issuer import issued_tokens
from tests.support.api import ApiWorld, Caller, app_over
from tests.support.certificates import issue

AUDIENCE = "api://bastide"
APPLICATION = "6f9c1a52-0000-4000-8000-000000000001"
Key = RSAKey | ECKey | OKPKey | OctKey
_DOCUMENT = "/.well-known/openid-configuration"


@dataclass
class Answer:
    body: bytes
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


class Issuer:
    """`answers` in the place of what is right, by path; `asked`: the paths that were."""

    def __init__(self, folder: Path) -> None:
        self.ca = issue(folder, "ca", "issuer-ca").certificate
        pair = issue(folder, "issuer", "localhost", ca=self.ca, ca_key=folder / "ca.key")
        self.keys: dict[str, Key] = {"one": RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})}
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    @property
    def url(self) -> str:
        return f"https://localhost:{self._server.server_port}/tenant"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def say(self, path: str, value: Any, **how: Any) -> None:
        """Answer that at a path."""
        self.answers[path] = Answer(json.dumps(value).encode(), **how)

    def document(self) -> dict[str, Any]:
        return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}

    def listed(self) -> list[dict[str, Any]]:
        return [{**key.as_dict(private=False), "kid": kid} for kid, key in self.keys.items()]

    def _answer(self, path: str) -> Answer:
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        right = {f"/tenant{_DOCUMENT}": self.document(), "/tenant/keys": {"keys": self.listed()}}
        return Answer(json.dumps(right[path]).encode()) if path in right else Answer(b"", 404)

    def _handler(issuer) -> type[BaseHTTPRequestHandler]:  # noqa: N805  # the inner class has a self of its own
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = issuer._answer(self.path)
                time.sleep(answer.seconds)
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

            def log_message(self, *_: object) -> None:
                pass

        return Handler

    def sign(
        self, claims: dict[str, Any], *, kid: str = "one", alg: str = "RS256", key: Any = None, **header: Any
    ) -> str:
        """A token with these claims. `header`: more of it, or other."""
        said = {"alg": alg, "kid": kid, "typ": "JWT", **header}
        said = {name: value for name, value in said.items() if value is not None}
        registry = jws.JWSRegistry(algorithms=[str(said["alg"])], strict_check_header=False)
        return jwt.encode(said, claims, key or self.keys[kid], registry=registry)


class IssuedWorld(ApiWorld):
    """People may sign in with the issuer's tokens."""

    def __init__(self, issuer: Issuer, **settings: Any) -> None:
        self.issuer = issuer
        usual: dict[str, Any] = {
            "issuer": issuer.url,
            "audience": AUDIENCE,
            "applications": [APPLICATION],
            "claim": "onprem_sid",
            "account": "sid",
            "ca_file": str(issuer.ca),
        }
        self.settings = Oidc(**{**usual, **settings})
        super().__init__()

    def _adapters(self) -> Adapters:
        return replace(super()._adapters(), tokens=issued_tokens(self.settings, self.clock))

    def claims(self, name: str = "alice", **more: Any) -> dict[str, Any]:
        """Those of a good token; None leaves one out."""
        forest = self.corp if self.settings.forest == "corp" else self.priv
        now = int(self.clock.now().timestamp())
        person = MemoryDirectory(forest).find_person(name)
        usual = {
            "iss": self.settings.issuer,
            "aud": AUDIENCE,
            "azp": APPLICATION,
            "iat": now - 10,
            "nbf": now - 10,
            "exp": now + 3600,
            "sub": f"subject-of-{name}",
            "onprem_sid": str(person.ref.sid),
            "upn": person.upn,
            "auth_time": now - 10,
        }
        return {key: value for key, value in {**usual, **more}.items() if value is not None}

    def bearer(self, token: str, person: str = "alice") -> Caller:
        return Caller(self, {"Authorization": f"Bearer {token}"}, person)

    def causes(self) -> list[str]:
        """Why sign-ins were refused, as the audit has it."""
        with self.store.read() as uow:
            found = list(uow.audit.read(AuditQuery(kind="session.refused", limit=0)))
        return [str(json.loads(one.data)["cause"]) for one in found]


@contextmanager
def issuing(folder: Path) -> Iterator[Issuer]:
    issuer = Issuer(folder)
    try:
        yield issuer
    finally:
        issuer.close()


@contextmanager
def served_with(issuer: Issuer, **settings: Any) -> Iterator[IssuedWorld]:
    """A world that answers HTTP and takes the issuer's tokens."""
    world = IssuedWorld(issuer, **settings)
    world.serve()
    try:
        with app_over(world.services) as app, TestClient(app, raise_server_exceptions=False) as client:
            world.client = client
            yield world
    finally:
        world.close()
