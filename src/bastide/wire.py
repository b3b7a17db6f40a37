"""What an agent on a domain controller and a Bastide server say to each other. The format is described in docs/reference/wire.md.

The agent connects, both prove who they are by Kerberos (GSS-API, mutual), and from then on every frame is sealed. A frame is a length of
four bytes, big-endian, and that many bytes. This file knows the messages; who carries and seals them is somebody else's business.

Only msgspec and the standard library are used here: the agent imports this file on a domain controller.
"""

import hmac
import struct
from enum import StrEnum
from hashlib import sha256
from typing import Annotated
from uuid import UUID, uuid5

import msgspec

#: Grows when a message changes in a way that the other side must know of. The older of the two is spoken, down to OLDEST.
VERSION = 1
OLDEST = 1
SERVICE = "PCNSCLNT"
PORT = 8446
#: Longest frame, before sealing. A password of 256 characters makes about 1,100 bytes.
FRAME_LIMIT = 64 * 1024
DELAY_LIMIT = 3600
#: Longest names and secret of a message: characters, bytes. A SID in text has 184 at most ([MS-DTYP] 2.4.2.1).
NAME_LIMIT = 256
SID_LIMIT = 184
SECRET_LIMIT = 4096
CHECK_LIMIT = 64
#: `dwVersion` in the replication metadata has 32 bits ([MS-DRSR] 4.1.10.2.12).
LARGEST_REVISION = 2**32 - 1
_LENGTH = struct.Struct(">I")
#: References are made from what replication gives every controller alike, so that two agents name one change alike.
_REFERENCES = UUID("5b0a2b0e-6f0f-5c55-9c3e-8a6f3c1de2b7")


_Uuid = Annotated[
    str, msgspec.Meta(pattern=r"^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$", max_length=36)
]
_Name = Annotated[str, msgspec.Meta(max_length=NAME_LIMIT)]
_Number = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class WireError(Exception):
    """The other side said something that is not in this language. Holds none of what was said."""


class Message(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One of the messages below; `tag` tells which."""


class Hello(Message, frozen=True, tag="hello", kw_only=True):
    """The agent begins. `domain` is a DNS name, `controller` the host it runs on."""

    version: _Number
    software: _Name
    domain: _Name
    controller: _Name


class Welcome(Message, frozen=True, tag="welcome", kw_only=True):
    """The server takes it. `version` is spoken from now on. `node` names the server."""

    version: int
    node: str


class Notification(Message, frozen=True, tag="notification", kw_only=True):
    """One changed password.

    `changed_at`: 100 ns since 1601 (pwdLastSet; if that is 0, the time in the replication metadata of unicodePwd). `revision`: version of
    unicodePwd in the replication metadata; it grows with every change on whatever controller; 0: not known. `origin`: the controller (invocation id) that took the change.
    `secret`: an OpenPGP message for the server, of the password in UTF-16LE. `check`: `check_of` the reference and the account's NT hash; empty: none.
    """

    reference: _Uuid
    user_guid: _Uuid
    user_sid: Annotated[str, msgspec.Meta(max_length=SID_LIMIT)]
    account: _Name
    changed_at: _Number
    revision: Annotated[int, msgspec.Meta(ge=0, le=LARGEST_REVISION)]
    origin: _Uuid
    attempt: _Number
    secret: Annotated[bytes, msgspec.Meta(max_length=SECRET_LIMIT)]
    check: Annotated[bytes, msgspec.Meta(max_length=CHECK_LIMIT)]

    def __repr__(self) -> str:
        return f"Notification({self.reference}, {self.account})"


class Heartbeat(Message, frozen=True, tag="heartbeat", kw_only=True):
    """The agent lives, and has that many notifications waiting; the oldest since `oldest` (100 ns since 1601; 0: none)."""

    waiting: _Number
    oldest: _Number


class Verdict(StrEnum):
    """What became of a message."""

    ACCEPTED = "accepted"  # the server has it safe, or has had it before
    LATER = "later"  # come again in `delay` seconds
    REFUSED = "refused"  # not now; try again after the retry interval
    DISCARD = "discard"  # never send this again: `reason` says why


class Answer(Message, frozen=True, tag="answer", kw_only=True):
    """To every Notification and Heartbeat (there `reference` is empty), and instead of a Welcome when the caller is turned away."""

    reference: str
    verdict: Verdict
    reason: str = ""
    delay: int = 0


FromAgent = Hello | Notification | Heartbeat
FromServer = Welcome | Answer
_ENCODER = msgspec.msgpack.Encoder()
_AGENT: msgspec.msgpack.Decoder[FromAgent] = msgspec.msgpack.Decoder(FromAgent)
_SERVER: msgspec.msgpack.Decoder[FromServer] = msgspec.msgpack.Decoder(FromServer)


def encode(message: FromAgent | FromServer) -> bytes:
    """A message as bytes, unsealed and without its length. Raises WireError if it is too long."""
    raw = _ENCODER.encode(message)
    if len(raw) > FRAME_LIMIT:
        raise WireError(f"a message of {len(raw)} bytes is too long; the limit is {FRAME_LIMIT}")
    return raw


def from_agent(raw: bytes) -> FromAgent:
    """Read what an agent said, with every limit of the messages. Raises WireError."""
    try:
        return _AGENT.decode(raw)
    except msgspec.MsgspecError:
        raise WireError("the agent sent something that is no message") from None


def from_server(raw: bytes) -> FromServer:
    """Read what a server said. Raises WireError."""
    try:
        return _SERVER.decode(raw)
    except msgspec.MsgspecError:
        raise WireError("the server sent something that is no message") from None


def frame(sealed: bytes) -> bytes:
    """With its length in front."""
    return _LENGTH.pack(len(sealed)) + sealed


def length(head: bytes) -> int:
    """How many bytes follow these four. Raises WireError for more than a sealed frame can have."""
    (size,) = _LENGTH.unpack(head)
    if size > FRAME_LIMIT + 4096:
        raise WireError("the frame is too long")
    return int(size)


def common_version(theirs: int) -> int:
    """The version both speak. Raises WireError if there is none."""
    if theirs < OLDEST:
        raise WireError(f"the other side speaks version {theirs}; {OLDEST} is the oldest that is understood")
    return min(theirs, VERSION)


def reference_of(user_guid: str, origin: str, usn: int) -> str:
    """The reference id of a change: the same on every controller, for ever. `origin` and `usn` are those of unicodePwd's metadata."""
    return str(uuid5(_REFERENCES, f"{user_guid}:{origin}:{usn}"))


def check_of(reference: str, nt_hash: bytes) -> bytes:
    """Proves that a password is the one the account has now, without carrying the hash: a hash alone would open the account."""
    return hmac.digest(reference.encode(), nt_hash, sha256)
