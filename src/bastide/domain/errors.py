"""Every error Bastide raises on purpose.

BastideError
|- Refused                 the answer is no, and nothing was changed
|  |- InvalidInput         a value cannot be right, whoever asks
|  |- NotFound             no such object
|  |- Ambiguous            a name fits several objects
|  |- Conflict             right in itself, wrong in this state
|  |- NotAuthorized        the caller lacks a right
|  |- TooManyTries         so often wrong, or so often asked, that it waits
|  |- NotAuthenticated     nobody knows who is calling
|  `- MfaRefused           the second factor is missing, wrong, used up or locked
|     `- KeyNeeded         it must be a security key: no code will do
|- DirectoryError          Active Directory did not do what was asked
|  |- DirectoryUnavailable no domain controller answered: try again
|  |- DirectoryDenied      the account lacks the right: an operator must act
|  |- NoSuchObject         the object is gone
|  |- ObjectExists         the name is taken
|  `- CapabilityMissing    this directory cannot do that at all
|- IssuerUnavailable       the issuer of tokens gives no keys: try again
|- TargetError             a connected system did not do what was asked
|  |- TargetUnavailable    it did not answer: try again
|  |- TargetDenied         it knows our account and refuses, or does not know it
|  |- NotConfigured        its settings name no way to do that
|  `- BadSource            what it shows cannot be read
|- NotServing              this node is drained, or another process has its name: ask another one
|- StoreError              the database did not do what was asked
|  |- StoreBusy            locked by others: try again
|  |- StoreUnavailable     gone or full: an operator must act
|  `- LostLease            another node holds this work now
`- AuditBroken             the audit chain does not verify

A message is one sentence that names what is wrong; `remedy` says what a person can do about it. `code` is stable: clients and
documentation rely on it.
"""

from typing import ClassVar


class BastideError(Exception):
    """Root of the tree."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


class Refused(BastideError):
    """The answer is no, and nothing was changed."""

    code = "refused"


class InvalidInput(Refused):
    """A value cannot be right, whoever asks. `field` names it."""

    code = "invalid-input"

    def __init__(self, field: str, message: str, *, remedy: str = "") -> None:
        super().__init__(f"{field}: {message}", remedy=remedy)
        self.field = field


class NotFound(Refused):
    """No such object."""

    code = "not-found"


class Ambiguous(Refused):
    """A name fits several objects; the message lists them."""

    code = "ambiguous"


class Conflict(Refused):
    """Right in itself, wrong in this state."""

    code = "conflict"


class NotAuthorized(Refused):
    """The caller is known and lacks the right."""

    code = "not-authorized"


class NotAuthenticated(Refused):
    """Nobody knows who is calling. Says the same for every cause, so that it tells an attacker nothing."""

    code = "not-authenticated"


class TooManyTries(Refused):
    """So often wrong, or so often asked, that it waits. Says the same for every name."""

    code = "too-many-tries"


class MfaRefused(Refused):
    """The second factor is missing, wrong, used up or locked."""

    code = "mfa-refused"


class KeyNeeded(MfaRefused):
    """Only a security key will do here, which a browser uses: asking for a code leads nowhere."""

    code = "key-needed"


class DirectoryError(BastideError):
    """Active Directory did not do what was asked."""

    code = "directory"


class DirectoryUnavailable(DirectoryError):
    """No domain controller answered. Safe to try again: every write is a desired state."""

    code = "directory-unavailable"


class DirectoryDenied(DirectoryError):
    """The directory account lacks the right."""

    code = "directory-denied"


class NoSuchObject(DirectoryError):
    """The object is gone from the directory."""

    code = "no-such-object"


class ObjectExists(DirectoryError):
    """The name is taken in the directory."""

    code = "object-exists"


class CapabilityMissing(DirectoryError):
    """This directory cannot do that at all."""

    code = "capability-missing"


class IssuerUnavailable(BastideError):
    """The keys of the OIDC issuer cannot be had. Safe to try again."""

    code = "issuer-unavailable"


class TargetError(BastideError):
    """A connected system did not do what was asked."""

    code = "target"


class TargetUnavailable(TargetError):
    """No answer, or a connection that broke. Safe to try again."""

    code = "target-unavailable"


class TargetDenied(TargetError):
    """Our account there is wrong or lacks the right."""

    code = "target-denied"


class NotConfigured(TargetError):
    """The settings of the agent name no way to do that."""

    code = "not-configured"


class BadSource(TargetError):
    """What the system shows cannot be read: a broken file, an unknown cookie. Nothing of it was taken."""

    code = "bad-source"


class NotServing(BastideError):
    """This node takes no new work: a load balancer is to leave it alone."""

    code = "not-serving"


class StoreError(BastideError):
    """The database did not do what was asked."""

    code = "store"


class StoreBusy(StoreError):
    """Locked by others for longer than we wait."""

    code = "store-busy"


class StoreUnavailable(StoreError):
    """Gone, full or not writable."""

    code = "store-unavailable"


class LostLease(StoreError):
    """The fencing number is no longer ours: another node holds this work, and what we know of it is stale."""

    code = "lost-lease"


class AuditBroken(BastideError):
    """The audit chain does not verify; `seq` is the first record that does not fit."""

    code = "audit-broken"

    def __init__(self, seq: int, message: str) -> None:
        super().__init__(
            f"audit record {seq}: {message}",
            remedy="keep the database as it is and compare it with the exported records",
        )
        self.seq = seq
