"""Who is calling, what the call may do, and the two accounts of one person.

CORP may be in an attacker's hands; PRIV exists because of that. So the rights to administer and to read the audit come only from a
sign-in with a PRIV account, and a CORP sign-in needs a second factor that Bastide holds before it moves anything.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from bastide.domain.errors import KeyNeeded, MfaRefused, NotAuthorized
from bastide.domain.ids import GroupId, ObjectRef, Sid, UserId

#: Ways to sign in, of `Actor.via`.
KERBEROS = "kerberos"
PASSWORD = "password"  # noqa: S105  # a way to sign in
OIDC = "oidc"
TOKEN = "token"  # noqa: S105  # another
#: How long a proof of the second factor counts as fresh.
MFA_FRESH = timedelta(minutes=5)
USE_A_KEY = "use your security key in the portal, with JavaScript; the page Sign-in factors registers one"


class Forest(StrEnum):
    CORP = "corp"
    PRIV = "priv"


class Right(StrEnum):
    """What a route or command asks of its caller. Every one names exactly one."""

    USE = "use"  # ask for, see and end one's own access; manage one's own factors
    APPROVE = "approve"  # see and decide requests that name the caller as approver
    ADMINISTER = "administer"  # PAM users, groups, roles, kill switch
    AUDIT = "audit"  # read everything, change nothing
    BROWSE = "browse"  # find a person's accounts, and what they are joined to (MIM: FIMSyncBrowse)
    SET = "set-passwords"  # also set and change their passwords, and unlock them (MIM: FIMSyncPasswordSet)


class Demand(StrEnum):
    """Which second factor is good enough."""

    ANY = "any"
    WEBAUTHN = (
        "webauthn"  # a security key: what it signs holds the address of the page, so nobody can pass it on
    )


@dataclass(frozen=True, slots=True)
class MfaProof:
    """A second factor was shown: by which method, which registered factor, and when. It holds no secret."""

    method: str
    factor: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Actor:
    """The authenticated caller. `groups` are the SIDs of all groups the account is in, nested ones too. `withheld` are the rights that a
    second factor would add.
    """

    sid: Sid
    name: str
    forest: Forest
    groups: frozenset[Sid]
    rights: frozenset[Right]
    via: str
    mfa: MfaProof | None = None
    withheld: frozenset[Right] = frozenset()
    #: The call came in a session, or with a token of one.
    held: bool = False

    @property
    def sids(self) -> frozenset[Sid]:
        return self.groups | {self.sid}

    def proved(self, proof: MfaProof | None) -> "Actor":
        """The caller with that second factor. Without one nothing changes."""
        if proof is None:
            return self
        return replace(self, mfa=proof, rights=self.rights | self.withheld, withheld=frozenset())


@dataclass(frozen=True, slots=True)
class PamUser:
    """A person's PRIV account, tied to the CORP account it belongs to. `kept_alive` accounts are not dormant between grants."""

    id: UserId
    name: str
    corp: ObjectRef
    priv: ObjectRef
    created_at: datetime
    #: The longest life of a ticket of the PRIV account, as read back from the directory when it was prepared.
    ticket_cap: timedelta = timedelta(hours=10)
    kept_alive: bool = False
    enabled: bool = True
    adopted: bool = False
    #: Groups that a controller may list it in though its access is over (services/owed.py).
    owed: tuple[GroupId, ...] = ()
    version: int = 0

    @property
    def sids(self) -> frozenset[Sid]:
        return frozenset({self.corp.sid, self.priv.sid})

    def belongs_to(self, actor: Actor) -> bool:
        """Whether the caller is this person, with either account."""
        return actor.sid in self.sids


def require(actor: Actor, right: Right) -> None:
    """Raise NotAuthorized unless the caller holds the right, or MfaRefused if only the second factor is missing."""
    if right in actor.withheld:
        raise MfaRefused(
            f"a password alone does not give the right to {right.value}",
            remedy="give a code from your authenticator, or sign in with a Kerberos ticket",
        )
    if right not in actor.rights:
        raise NotAuthorized(f"{actor.name} has not the right to {right.value}", remedy=_HOW_TO_GET[right])


def require_reader(actor: Actor) -> None:
    """Raise NotAuthorized, or MfaRefused, unless the caller may see everything: auditors and administrators."""
    if Right.AUDIT not in actor.rights:
        require(actor, Right.ADMINISTER)


_HOW_TO_GET = {
    Right.USE: "sign in with the CORP or PRIV account of a PAM user",
    Right.APPROVE: "be a member of the approvers group named in bastide.toml",
    Right.ADMINISTER: "sign in with a PRIV account in the administrators group named in bastide.toml",
    Right.AUDIT: "sign in with a PRIV account in the auditors group named in bastide.toml",
    Right.BROWSE: "be a member of a group that help_desk.browse or help_desk.set of bastide.toml names",
    Right.SET: "be a member of a group that help_desk.set of bastide.toml names",
}


def is_fresh(proof: MfaProof | None, now: datetime, demand: Demand = Demand.ANY) -> bool:
    """Whether a second factor that is good enough was shown within MFA_FRESH."""
    return (
        proof is not None
        and timedelta(0) <= now - proof.at <= MFA_FRESH
        and (demand is Demand.ANY or proof.method == demand.value)
    )


def require_fresh_mfa(proof: MfaProof | None, now: datetime, demand: Demand = Demand.ANY) -> MfaProof:
    """Raise MfaRefused unless a second factor that is good enough was shown within MFA_FRESH."""
    if demand is Demand.WEBAUTHN and (proof is None or proof.method != demand.value):
        raise KeyNeeded("a security key is demanded here: a code is not enough", remedy=USE_A_KEY)
    if proof is None:
        raise MfaRefused(
            "a second factor is needed",
            remedy="give a code from your authenticator; `bastide mfa enrol` sets one up",
        )
    if not is_fresh(proof, now):
        again = (
            "use your security key again"
            if demand is Demand.WEBAUTHN
            else "give a fresh code from your authenticator"
        )
        raise MfaRefused("the second factor was shown too long ago", remedy=again)
    return proof
