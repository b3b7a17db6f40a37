"""The REST API as the commands see it: one call, one answer, or one Stop.

(1) The server's certificate and name are always verified; no option turns that off.
(2) Who calls: a Kerberos ticket per call, or a session that is opened with a password and ended with the command.
(3) A second factor is asked for only when the server wants one, once, and sent in a header of that one call.
(4) Password, code and session token live in local variables and headers; no repr and no message shows them.
"""

import base64
import json
import ssl
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx

from bastide.cli.connection import Connection, bad_address
from bastide.cli.exits import Exit, Stop
from bastide.cli.ticket import Whose

API = "/api/v1"
CODE_HEADER = "Bastide-Code"
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_LONG = httpx.Timeout(6 * 3600.0, connect=10.0)
_UNAVAILABLE = {502, 503, 504}
_UNAVAILABLE_CODES = {
    "directory-unavailable",
    "issuer-unavailable",
    "target-unavailable",
    "store-busy",
    "store-unavailable",
    "lost-lease",
}
_UNAUTHORIZED = 401
_FIRST_ERROR = 400


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server said: its own text, and the same read."""

    text: str
    data: Any

    @property
    def items(self) -> list[dict[str, Any]]:
        """The objects of a listing, bare or wrapped."""
        if isinstance(self.data, list):
            return self.data
        wrapped = self.data.get("items", []) if isinstance(self.data, dict) else []
        return list(wrapped)

    @property
    def fields(self) -> dict[str, Any]:
        """The one object of an answer."""
        return self.data if isinstance(self.data, dict) else {}


class Handshake(Protocol):
    """One SPNEGO exchange with the server."""

    def step(self, token: bytes | None = None) -> bytes | None: ...
    def whose(self) -> Whose:
        """Of the ticket that is used."""


class Negotiate(httpx.Auth):
    """RFC 4559: a token with each call, and the server's answer checked where it gives one."""

    def __init__(self, start: Callable[[], Handshake]) -> None:
        self._start = start
        self._last: Handshake | None = None

    def refused(self, stop: Stop) -> Stop:
        """A refusal of the server, and whose ticket it was that it refused."""
        return stop if self._last is None else self._last.whose().refused(stop)

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        self._last = handshake = self._start()
        request.headers["Authorization"] = f"Negotiate {base64.b64encode(handshake.step() or b'').decode()}"
        response = yield request
        scheme, _, answer = response.headers.get("WWW-Authenticate", "").partition(" ")
        if scheme.lower() == "negotiate" and answer and response.status_code != _UNAUTHORIZED:
            handshake.step(base64.b64decode(answer))


class Bearer(httpx.Auth):
    """A session token. httpx shows an Auth's class name only, so it does not leak through a repr."""

    def __init__(self, token: str) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        request.headers["Authorization"] = f"Bearer {self._token}"
        yield request


class Client:
    """Calls the API. Use it in a `with`: leaving ends the session."""

    def __init__(
        self,
        connection: Connection,
        *,
        ask: Callable[[str], str],
        handshake: Callable[[str], Handshake],
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._connection = connection
        self._ask = ask
        self._handshake = handshake
        self._auth: httpx.Auth | None = None
        verify: ssl.SSLContext | bool = _trust(connection.ca) if transport is None else True
        try:
            base = httpx.URL(connection.server + API)
        except httpx.InvalidURL:
            raise bad_address(connection.server) from None
        self._http = httpx.Client(
            base_url=base,
            verify=verify,
            transport=transport,
            timeout=_TIMEOUT,
            follow_redirects=False,
            trust_env=False,
            headers={"Accept": "application/json", "User-Agent": "bastide-cli"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the session, whatever happened; a server that is gone ends it by time."""
        try:
            if isinstance(self._auth, Bearer):
                self._send("DELETE", "/sessions/current")
        except Stop:
            pass
        finally:
            self._http.close()

    def wait_long(self) -> None:
        """From now on an answer may take hours: an import answers when it is done."""
        self._http.timeout = _LONG

    def get(self, path: str, **params: object) -> Answer:
        """Empty parameters are left out."""
        return self._answer("GET", path, params=_clean(params))

    def post(self, path: str, body: Mapping[str, object] | None = None, **params: object) -> Answer:
        return self._answer("POST", path, body=body or {}, params=_clean(params))

    def show_code(self, path: str, code: str) -> Answer:
        """A call whose body is a code: where that one is refused, none is asked for."""
        return self._answer("POST", path, body={"code": code}, ask_code=False)

    def put(self, path: str, body: Mapping[str, object], **params: object) -> Answer:
        return self._answer("PUT", path, body=body, params=_clean(params))

    def delete(self, path: str, **params: object) -> Answer:
        return self._answer("DELETE", path, params=_clean(params))

    def lines(self, path: str, **params: object) -> Iterator[str]:
        """A long answer, line by line as it comes."""
        self.sign_in()
        wanted = yield from self._stream(path, _clean(params))
        if wanted:  # (3)
            yield from self._stream(path, _clean(params), code=self._ask("Code"))

    def _stream(self, path: str, params: Mapping[str, Any], *, code: str = "") -> Generator[str, None, bool]:
        """The lines; or none, and True if the server wants a code first."""
        headers = {CODE_HEADER: code} if code else {}
        with (
            _door(self._connection),
            self._http.stream("GET", path, params=params, headers=headers, auth=self._auth) as response,
        ):
            if response.status_code >= _FIRST_ERROR:
                response.read()
                if not code and _wants_code(response):
                    return True
                raise self._refusal(response)
            yield from _lines(response.iter_text())
        return False

    def _answer(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        params: Mapping[str, Any] | None = None,
        ask_code: bool = True,
    ) -> Answer:
        self.sign_in()
        response = self._send(method, path, body=body, params=params)
        if ask_code and _wants_code(response):  # (3)
            response = self._send(method, path, body=body, params=params, code=self._ask("Code"))
        if response.status_code >= _FIRST_ERROR:
            raise self._refusal(response)
        return _read(response)

    def _refusal(self, response: httpx.Response) -> Stop:
        stop = _problem(response)
        return self._auth.refused(stop) if isinstance(self._auth, Negotiate) else stop

    def sign_in(self) -> None:
        """Before the first call by itself; a command that asks for something else signs in first, so that people know the order."""
        if self._auth is not None:
            return
        if not self._connection.account:
            self._auth = Negotiate(lambda: self._handshake(self._connection.host))  # (2)
            return
        body: dict[str, object] = {
            "account": self._connection.account,
            "password": self._ask(f"Password of {self._connection.account}"),
        }
        response = self._send("POST", "/sessions", body=body)
        self._auth = Bearer(str(_read(response).fields.get("token", "")))

    def _send(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, object] | None = None,
        params: Mapping[str, Any] | None = None,
        code: str = "",
    ) -> httpx.Response:
        headers = {CODE_HEADER: code} if code else {}
        with _door(self._connection):
            return self._http.request(
                method, path, json=body, params=params, headers=headers, auth=self._auth
            )


@contextmanager
def _door(connection: Connection) -> Iterator[None]:
    """Every network error leaves here as a Stop. Raised `from None`: an httpx error holds the request, and with it the headers."""
    try:
        yield
    except httpx.ConnectError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise Stop(
                f"the certificate of {connection.server} is not trusted: {error}",
                remedy="name the authority that signed it with --ca, or mend the certificate",
                status=Exit.UNAVAILABLE,
            ) from None
        raise Stop(
            f"{connection.server} does not answer: {error}",
            remedy="check the address, the network, and that bastide.service runs",
            status=Exit.UNAVAILABLE,
        ) from None
    except httpx.HTTPError as error:
        raise Stop(
            f"{connection.server} did not finish its answer ({type(error).__name__})",
            remedy="try again; a request that was made is not made twice: look with `bastide request list`",
            status=Exit.UNAVAILABLE,
        ) from None


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    """Of JSON Lines, which end with a line feed alone. httpx ends them at U+2028 and its like too, which JSON has in its strings as they are."""
    rest: list[str] = []
    for piece in pieces:
        *ended, last = piece.split("\n")
        for line in ended:
            yield "".join((*rest, line))
            rest = []
        rest.append(last)
    if any(rest):
        yield "".join(rest)


def _wants_code(response: httpx.Response) -> bool:
    return response.status_code >= _FIRST_ERROR and _code_of(_fields(response)) == "mfa-refused"


def _read(response: httpx.Response) -> Answer:
    if response.status_code >= _FIRST_ERROR:
        raise _problem(response)
    if not response.content:
        return Answer("{}", {})
    try:
        return Answer(response.text, response.json())
    except ValueError:
        raise Stop(
            "the server's answer is not JSON",
            remedy="check that --server is a Bastide",
            status=Exit.UNAVAILABLE,
        ) from None


def _problem(response: httpx.Response) -> Stop:
    """RFC 9457 made into one sentence and a remedy."""
    fields = _fields(response)
    code = _code_of(fields)
    message = str(
        fields.get("detail") or fields.get("title") or f"the server answered {response.status_code}"
    )
    return Stop(
        message,
        remedy=_remedy(fields),
        status=_status(response.status_code, code),
        code=code,
        raw=response.text if fields else json.dumps({"status": response.status_code, "detail": message}),
    )


def _remedy(fields: Mapping[str, Any]) -> str:
    """With the incident id, which the operator finds in the log."""
    said, incident = str(fields.get("remedy") or ""), str(fields.get("incident") or "")
    return "; ".join(filter(None, (said, incident and f"incident {incident}")))


def _status(status: int, code: str) -> Exit:
    if status == _UNAUTHORIZED or code == "not-authenticated":
        return Exit.NOT_SIGNED_IN
    if code in _UNAVAILABLE_CODES or (not code and status in _UNAVAILABLE):
        return Exit.UNAVAILABLE
    return Exit.REFUSED


def _fields(response: httpx.Response) -> dict[str, Any]:
    try:
        content = response.json()
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _code_of(fields: Mapping[str, Any]) -> str:
    return str(fields.get("code") or "")


def _clean(params: Mapping[str, object]) -> dict[str, Any]:
    return {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in params.items()
        if value not in (None, "", False)
    }


def _trust(ca: str) -> ssl.SSLContext:
    """The system's authorities, or the one file given. TLS 1.2 at least, name and chain verified: (1)."""
    if ca and not Path(ca).is_file():
        raise Stop(f"the certificate file {ca} does not exist", remedy="check --ca", status=Exit.USAGE)
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except ssl.SSLError as error:
        raise Stop(f"{ca} holds no certificate: {error}", remedy="check --ca", status=Exit.USAGE) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
