"""The sign-in of a call, and its seal: Kerberos with mutual authentication, or NTLM, as the share itself is signed in to. SPNEGO is not spoken: nothing is negotiated."""

import struct
from typing import Final

import spnego
from spnego import ContextReq
from spnego.iov import BufferType

from bastide.backup.ndr import BadNdr
from bastide.backup.rpc_pdu import CALL, HEADER, REQUEST, TRAILER, Pdu, joined
from bastide.backup.smb_login import ByTicket, Login, first_line

#: [MS-RPCE] 2.2.1.1.7 and 2.2.1.1.8.
_NTLM, _KERBEROS, _PRIVACY = 10, 16, 6
#: A body is filled up to it: [MS-RPCE] 2.2.2.12.
_BLOCK: Final = 16
#: What the library makes of a token of NTLM that is torn, besides its own errors.
_TORN = (ValueError, LookupError, OverflowError, struct.error)
_WANTED = (
    ContextReq.dce_style
    | ContextReq.mutual_auth
    | ContextReq.replay_detect
    | ContextReq.sequence_detect
    | ContextReq.confidentiality
    | ContextReq.integrity
)


class Security:
    """One sign-in at a host, as `login`. Verbs raise SpnegoError, BadNdr."""

    def __init__(self, login: Login, host: str) -> None:
        """Raises StoreUnavailable if the password cannot be read."""
        self._login = login
        if isinstance(login, ByTicket):
            self._kind, protocol, account, password = _KERBEROS, "kerberos", None, None
            self._needed = ContextReq.confidentiality | ContextReq.mutual_auth
        else:
            self._kind, protocol, account, password = _NTLM, "ntlm", login.account, first_line(login.password)
            # Who answers is proved by the seal: nobody else has its key.
            self._needed = ContextReq.confidentiality
        self._context = spnego.client(
            account, password, hostname=host, service="host", context_req=_WANTED, protocol=protocol
        )
        #: How long the token of a seal is, in bytes; known when the sign-in is complete.
        self._token = 0

    def step(self, token: bytes) -> bytes:
        """The next token of ours. `token`: theirs, empty at first. Raises BastideError without a ticket."""
        try:
            if isinstance(self._login, ByTicket):
                with self._login.tickets.used():
                    return self._context.step(token or None) or b""
            return self._context.step(token or None) or b""
        except _TORN as error:
            raise BadNdr(f"a token that is none: {type(error).__name__}") from None

    def is_complete(self) -> bool:
        """Both sides are proved, and what is said can be encrypted."""
        return self._context.complete and self._context.context_attr & self._needed == self._needed

    def trailer(self, padding: int = 0) -> bytes:
        """Before a token."""
        return TRAILER.pack(self._kind, _PRIVACY, padding, 0, 0)

    def sealed(self, call: int, verb: int, stub: bytes) -> bytes:
        """A request."""
        self._token = self._token or self._context.query_message_sizes().header
        padding = -len(stub) % _BLOCK
        trailer = self.trailer(padding)
        bare = joined(
            REQUEST, call, CALL.pack(len(stub), 0, verb) + stub + bytes(padding) + trailer, bytes(self._token)
        )
        at, end = HEADER.size + CALL.size, len(bare) - self._token - TRAILER.size
        wrapped = self._context.wrap_iov(
            [
                (BufferType.sign_only, bare[:at]),
                (BufferType.data, bare[at:end]),
                (BufferType.sign_only, trailer),
                BufferType.header,
            ],
            encrypt=True,
        )
        body, token = wrapped.buffers[1].data or b"", wrapped.buffers[3].data or b""
        if not wrapped.encrypted or len(token) != self._token or len(body) != end - at:
            raise BadNdr("a request that cannot be sealed")
        return bare[:at] + body + trailer + token

    def opened(self, pdu: Pdu) -> bytes:
        """The body of an answer, in clear. Raises BadNdr for one that is not sealed."""
        if len(pdu.body) < CALL.size or not pdu.token:
            raise BadNdr("an answer that is not encrypted")
        kind, level, padding, _, _ = TRAILER.unpack(pdu.trailer)
        if (kind, level) != (self._kind, _PRIVACY):
            raise BadNdr("an answer that is not encrypted as was agreed")
        begin, rest = pdu.body[: CALL.size], pdu.body[CALL.size :]
        unwrapped = self._context.unwrap_iov(
            [
                (BufferType.sign_only, pdu.header + begin),
                (BufferType.data, rest),
                (BufferType.sign_only, pdu.trailer),
                (BufferType.header, pdu.token),
            ]
        )
        clear = unwrapped.buffers[1].data or b""
        if not unwrapped.encrypted or padding > len(clear):
            raise BadNdr("an answer that is not encrypted")
        return begin + clear[: len(clear) - padding]
