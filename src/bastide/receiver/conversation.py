"""One agent's conversation: prove who it is, then take in what it says. Translates between the wire and the use cases.

(1) Kerberos, mutual and sealed, before anything else is read. What fails here is answered with a closed connection and event 6915;
    not so who says nothing: anybody can do that, as often as he likes.
    PROMPT seconds are for all of (1) to (3) together, however slowly the bytes come.
(2) The caller is a controller of its domain (services/passwords/callers.py).
(3) The first message is Hello, for that domain, in a version that both speak.
(4) Every message is sealed, of limited size, and answered once, in order.
(5) What has arrived by the time one is taken in is taken in with it, up to BATCH messages and BATCH_BYTES: notifications in one commit, and
    answered after it. So what an agent had to keep costs a commit and a round trip for BATCH changes, and what one caller may make us hold has an end.
    A conversation is not longer than the caller's ticket, and whether it still is a controller is asked again every RECHECK seconds before it is heard.
(6) Whatever goes wrong ends the conversation; what was said before it counts. The agent keeps what was not accepted and comes again.
"""

import logging
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bastide import wire
from bastide.domain.errors import BastideError, NotAuthenticated, NotAuthorized
from bastide.services.passwords.accept import Accept, Told
from bastide.services.passwords.callers import Caller, Callers
from bastide.services.passwords.ports import Channel, ChannelAcceptor, EventLog
from bastide.services.passwords.silence import Silence

_log = logging.getLogger(__name__)
_HEAD = 4
#: Seconds in which a caller must say who it is, and in which a frame that has begun must be there.
PROMPT = 10.0
#: Seconds. A controller that was removed, disabled or moved is heard no longer than that.
RECHECK = 300.0
#: Kerberos needs one token, or two.
_TOKENS = 4
#: The most that is taken in with one commit: the database's writers wait for it.
BATCH = 200
BATCH_BYTES = 256 * 1024
_READ = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a conversation needs from the server."""

    acceptor: ChannelAcceptor
    callers: Callers
    accept: Accept
    silence: Silence
    events: EventLog
    node: str
    monotonic: Callable[[], float]
    #: Seconds until a silent agent is hung up on: longer than the longest keep-alive interval.
    patience: float


class Conversation:
    """Runs until the agent hangs up or does something wrong."""

    def __init__(
        self,
        connection: socket.socket,
        address: str,
        host: Host,
        stopping: Callable[[], bool] = lambda: False,
        admitted: Callable[[Caller], None] = lambda _: None,
    ) -> None:
        """`stopping`: hang up instead of reading on. An agent with much to say never pauses. `admitted` hears who it is, once."""
        self._connection = connection
        self._address = address
        self._host = host
        self._stopping = stopping
        self._admitted = admitted
        self._arrived = bytearray()
        self._prompt_until = host.monotonic() + PROMPT
        self._over_at = self._recheck_at = float("-inf")

    def run(self) -> None:
        """To its end. Raises nothing: what went wrong is logged, in words that hold nothing of what was said."""
        try:
            channel = self._authenticate()
            self._over_at = self._host.monotonic() + channel.lifetime
            caller = self._admit(channel)
            while not self._stopping() and self._exchange(channel, caller):
                pass
        except (OSError, wire.WireError) as error:
            _log.info("the conversation with %s ended: %s", self._address, error)
        except BastideError as error:
            _log.warning("the conversation with %s ended: %s", self._address, error.message)

    def _authenticate(self) -> Channel:  # (1)
        try:
            return self._shake_hands()
        except NotAuthenticated:
            self._host.events.write(6915, Server=self._address)
            raise

    def _shake_hands(self) -> Channel:
        handshake = self._host.acceptor.begin()
        for _ in range(_TOKENS):
            token = self._receive_promptly()
            if token is None:
                raise ConnectionError("the caller hung up before it said who it is")
            answer, channel = handshake.step(token)
            if answer:
                self._connection.settimeout(PROMPT)
                self._connection.sendall(wire.frame(answer))
            if channel is not None:
                return channel
        raise NotAuthenticated("the caller did not say who it is")

    def _admit(self, channel: Channel) -> Caller:  # (2), (3)
        said = self._receive_promptly()
        if said is None:
            raise NotAuthenticated("the caller hung up before it said anything")
        hello = wire.from_agent(channel.open(said))
        if not isinstance(hello, wire.Hello):
            raise wire.WireError("the first message was not a Hello")
        try:
            caller = self._host.callers.admit(channel.peer)
            Callers.require_own(caller, hello.domain)
            version = wire.common_version(hello.version)
        except NotAuthorized as error:
            self._turn_away(channel, wire.Verdict.REFUSED, error.message)
            raise
        except BastideError as error:
            self._turn_away(channel, wire.Verdict.LATER, error.message)
            raise
        self._recheck_at = self._host.monotonic() + RECHECK
        self._admitted(caller)
        self._send(channel, wire.Welcome(version=version, node=self._host.node))
        return caller

    def _turn_away(self, channel: Channel, verdict: wire.Verdict, reason: str) -> None:
        self._send(channel, wire.Answer(reference="", verdict=verdict, reason=reason))

    def _exchange(self, channel: Channel, caller: Caller) -> bool:  # (4), (5)
        first = self._receive(min(self._host.patience, self._ticket_left()))
        if first is None:
            return False
        self._require_still(channel)
        told: list[wire.Notification] = []
        try:
            for sealed in self._at_hand(first):
                message = wire.from_agent(channel.open(sealed))
                if isinstance(message, wire.Notification):
                    told.append(message)
                elif isinstance(message, wire.Heartbeat):
                    self._take_in(channel, caller, told)
                    self._host.events.write(6909, ServerName=caller.host)
                    verdict = self._host.accept.heartbeat(caller, message.waiting)
                    self._send(channel, _answer("", verdict))
                    self._host.silence.heard(caller, message.waiting, message.oldest)
                else:
                    raise wire.WireError("a second Hello")
        finally:  # (6)
            self._take_in(channel, caller, told)
        return True

    def _ticket_left(self) -> float:
        """Seconds. Raises NotAuthenticated when it is over; the caller connects again, with a new one."""
        left = self._over_at - self._host.monotonic()
        if left <= 0:
            raise NotAuthenticated("the caller's ticket is over")
        return left

    def _require_still(self, channel: Channel) -> None:
        """Raises NotAuthenticated, NotAuthorized, DirectoryUnavailable."""
        self._ticket_left()
        if self._host.monotonic() >= self._recheck_at:
            self._host.callers.admit_again(channel.peer)
            self._recheck_at = self._host.monotonic() + RECHECK

    def _take_in(self, channel: Channel, caller: Caller, told: list[wire.Notification]) -> None:
        """Empties the list first: what fails is not taken in once more."""
        several = tuple(told)
        told.clear()
        if several:
            answers = self._host.accept.notifications(caller, several)
            paired = zip(several, answers, strict=True)
            self._send(channel, *(_answer(one.reference, answer) for one, answer in paired))
            self._host.silence.heard(caller)

    def _send(self, channel: Channel, *messages: wire.FromServer) -> None:
        frames = [wire.frame(channel.seal(wire.encode(message))) for message in messages]
        self._connection.settimeout(PROMPT)
        self._connection.sendall(b"".join(frames))

    def _at_hand(self, first: bytes) -> Iterator[bytes]:
        """(5) This frame, and those behind it that are there already, without waiting."""
        yield first
        number, size = 1, len(first)
        while number < BATCH and size < BATCH_BYTES:
            whole = self._whole()
            if whole is not None:
                yield whole
                number, size = number + 1, size + len(whole)
            elif not self._look():
                return

    def _look(self) -> bool:
        """Whether there was more to read."""
        self._connection.settimeout(0)
        try:
            part = self._connection.recv(_READ)
        except BlockingIOError:
            return False
        self._arrived += part
        return bool(part)

    def _whole(self) -> bytes | None:
        """The next frame, if all of it has arrived. Raises WireError if it cannot be one."""
        if len(self._arrived) < _HEAD:
            return None
        end = _HEAD + wire.length(bytes(self._arrived[:_HEAD]))
        if len(self._arrived) < end:
            return None
        found = bytes(self._arrived[_HEAD:end])
        del self._arrived[:end]
        return found

    def _receive_promptly(self) -> bytes | None:
        """One frame of the handshake."""
        left = self._prompt_until - self._host.monotonic()
        if left <= 0:
            raise TimeoutError("the caller took too long to say who it is")
        return self._receive(left, self._prompt_until)

    def _receive(self, patience: float, until: float = float("inf")) -> bytes | None:
        """One frame, which must begin within `patience` seconds and be whole by `until`; None at the end of the stream between two frames."""
        if not self._arrived:
            self._connection.settimeout(patience)
            self._arrived += self._connection.recv(_READ)
        if not self._arrived:
            return None
        deadline = min(self._host.monotonic() + PROMPT, until)
        while (whole := self._whole()) is None:
            left = deadline - self._host.monotonic()
            if left <= 0:
                raise TimeoutError("the frame took too long")
            self._connection.settimeout(left)
            part = self._connection.recv(_READ)
            if not part:
                raise wire.WireError("the frame was cut off")
            self._arrived += part
        return whole


def _answer(reference: str, told: Told) -> wire.Answer:
    return wire.Answer(
        reference=reference, verdict=wire.Verdict(told.verdict), reason=told.reason, delay=told.delay
    )
