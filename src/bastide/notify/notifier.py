"""Messages by apprise, in a process that lives for one batch (child.py)."""

import json
import re
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from bastide.domain.errors import BastideError
from bastide.domain.spelling import told
from bastide.notify import child
from bastide.services.notifications.ports import Fate, Message, Outcome

#: For new messages, in seconds; then the process may finish the one under way.
_WORKING = 40
_LONGEST = 60.0
_SCHEME = re.compile(r"([a-z]+)://", re.IGNORECASE)
_LEAST_SECRET = 4
_UNTRIED = Outcome(Fate.UNTRIED)


@dataclass(slots=True)
class _Said:
    """What came of a batch. `wrong`: with the address, so that nothing was sent; `broken_off`: the process did not come to its end."""

    wrong: str = ""
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    broken_off: str = ""


class AppriseNotifier:
    """`addresses`: name of a channel to what reads its address; it is read each time, so that a new one counts at once and none stays in memory. `ca`: PEM file of
    the authorities that are believed; empty: the system's.
    """

    def __init__(
        self, addresses: Mapping[str, Callable[[], str]], *, ca: str = "", longest: float = _LONGEST
    ) -> None:
        self._addresses = addresses
        self._ca = ca
        self._longest = longest

    def __repr__(self) -> str:
        return f"AppriseNotifier({sorted(self._addresses)})"

    def send(self, channel: str, messages: Sequence[Message]) -> tuple[Outcome, ...]:
        """One outcome for each, in their order, within a minute. A message may have arrived although its outcome is not TAKEN."""
        said = self._asked(channel, messages)
        if said.wrong:
            return tuple(Outcome(Fate.REFUSED, said.wrong) for _ in messages)
        outcomes = [said.outcomes.get(message.id, _UNTRIED) for message in messages]
        if said.broken_off and _UNTRIED in outcomes:  # whatever broke it off came of the message under way
            outcomes[outcomes.index(_UNTRIED)] = Outcome(Fate.REFUSED, said.broken_off)
        return tuple(outcomes)

    def problem(self, channel: str) -> str:
        """Why a channel cannot work, as far as that shows without a connection; empty: nothing is wrong."""
        said = self._asked(channel, ())
        return said.wrong or said.broken_off

    def is_mail(self, channel: str) -> bool:
        """Whether the channel's address is one of a mail server, which alone can send to each person. Raises BastideError."""
        return _scheme(self._address(channel)) in {"mailto", "mailtos"}

    def _address(self, channel: str) -> str:
        """The first line of what holds it. Raises BastideError."""
        return self._addresses[channel]().strip().partition("\n")[0].rstrip()

    def _asked(self, channel: str, messages: Sequence[Message]) -> _Said:
        try:
            address = self._address(channel)
        except BastideError as error:
            return _Said(wrong=error.message)
        if _scheme(address) == "":
            return _Said(
                wrong="there is no address in it; one is as in mailtos://user:password@mail.example.com"
            )
        try:
            lines, timed_out = self._run(address, messages)
        except OSError:
            return _Said(
                wrong="no process can be started to send messages; give the service more processes or memory"
            )
        said = _Said()
        secrets = (*_secrets(address), *(secret for one in messages for secret in one.secrets))
        late = f"no answer within {self._longest:.0f} s"
        said.broken_off = late if timed_out else "the process that sends messages ended"
        for line in lines:
            problem = told(str(line["problem"]), secrets) if line["problem"] else ""
            if line["id"]:
                said.outcomes[str(line["id"])] = Outcome(
                    Fate.TAKEN if line["taken"] else Fate.REFUSED, problem
                )
            elif line["done"]:
                said.broken_off = ""
            else:
                said.wrong = problem
        return said

    def _run(self, address: str, messages: Sequence[Message]) -> tuple[list[dict[str, object]], bool]:
        """What the process said, and whether its time was over. Raises OSError."""
        given = {
            "url": address,
            "seconds": _WORKING,
            "messages": [
                {"id": one.id, "to": one.to, "subject": one.subject, "body": one.body} for one in messages
            ],
        }
        process = subprocess.Popen(  # noqa: S603  # our own file
            [sys.executable, "-I", child.__file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_authorities(self._ca),
            cwd="/",
        )
        timed_out = False
        try:
            said, _ = process.communicate(json.dumps(given).encode(), timeout=self._longest)
        except subprocess.TimeoutExpired:
            process.kill()
            said, _ = process.communicate()
            timed_out = True
        lines = []
        for line in said.splitlines():
            with suppress(ValueError):  # cut off when it was killed
                lines.append(json.loads(line))
        return lines, timed_out


def _scheme(address: str) -> str:
    found = _SCHEME.match(address)
    return found[1].lower() if found else ""


def _authorities(ca: str) -> dict[str, str]:
    """The environment of the process. Requests brings authorities of its own: not those count, but the ones given, or those of this system."""
    system = ssl.get_default_verify_paths()
    if file := ca or system.cafile:
        return {"SSL_CERT_FILE": file, "REQUESTS_CA_BUNDLE": file}
    return {"REQUESTS_CA_BUNDLE": system.capath} if system.capath else {}


def _secrets(address: str) -> Iterator[str]:
    """The parts of an address that no message may repeat. Of a mail server the password; of others the path is a secret too."""
    try:
        parts = urlsplit(address)
        password = parts.password
    except ValueError:
        yield address
        return
    texts = [password or "", *(value for name, value in parse_qsl(parts.query) if name.lower() == "pass")]
    if _scheme(address) not in {"mailto", "mailtos"}:
        texts += [
            parts.username or "",
            *parts.path.split("/"),
            *(value for _, value in parse_qsl(parts.query)),
        ]
        if "." not in (parts.hostname or ""):  # services whose first token stands where a host would
            texts.append(parts.hostname or "")
    for text in texts:
        for form in {text, unquote(text)}:
            if len(form) >= _LEAST_SECRET and form != "localhost":
                yield form
