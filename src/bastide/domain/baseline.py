"""What a privileged account must have, and which ones lack it. Pure: facts of the directory in, weaknesses out.

Each rule is a number of its own:
  (1) Protected Users: no NTLM, no RC4, no delegation, tickets of 4 hours at most ([MS-KILE] 3.3.5.7; document 5, step 1). Not for emergency accounts, which
      must sign in when Kerberos is what is broken, and not for accounts of services, for which that group is not made.
  (2) AES: the account has AES keys (its password was set since the domain has them) and offers nothing weaker ([MS-KILE] 2.2.7).
  (3) The ticket cap: an authentication policy that is enforced ends a ticket with the grant, and not hours later.
  (4) No delegation: a service must not act on with this account's ticket; and the account itself must not be trusted to do so.
  (5) No service principal name on a person: everybody in the domain can ask for a ticket and guess its password at home (kerberoasting).
  (6) Pre-authentication: without it everybody gets something to guess the password on (AS-REP roasting).
  (7) No password that can be read back, is not needed, or never changes. An emergency account's never ends, on purpose.
  (8) A smart card, where the house says so.
What is not shown to whoever looks is said, and never taken for good.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bastide.domain.health import Severity
from bastide.domain.ids import Sid

#: msDS-SupportedEncryptionTypes ([MS-KILE] 2.2.7).
_WEAK_TYPES: Mapping[int, str] = {0x1: "DES-CBC-CRC", 0x2: "DES-CBC-MD5", 0x4: "RC4"}
_AES_TYPES = 0x18


class Standing(StrEnum):
    """Why an account counts as privileged."""

    PAM_USER = "pam-user"
    MEMBER = "member"
    EMERGENCY = "emergency"
    SERVICE = "service"


class Change(StrEnum):
    """What `fix` can do. Nothing of it locks anybody out who signs in with Kerberos and AES, but SMART_CARD, which takes the password away."""

    PROTECT = "protected-users"
    AES_ONLY = "aes-only"
    TICKET_CAP = "ticket-cap"
    NOT_DELEGATED = "not-delegated"
    PREAUTH = "pre-authentication"
    NO_REVERSIBLE = "no-reversible-password"
    PASSWORD_NEEDED = "password-needed"  # noqa: S105  # a rule
    SMART_CARD = "smart-card"


@dataclass(frozen=True, slots=True)
class Account:
    """A user account as the directory holds it. `shown`: whether userAccountControl was. `encryption` None: the attribute is empty. `aes_since`: since when the
    domain makes AES keys; None: not known. `password_set` None: never.
    """

    sid: Sid
    name: str
    domain: str
    shown: bool = True
    enabled: bool = True
    guarded: bool = False
    encryption: int | None = None
    password_set: datetime | None = None
    aes_since: datetime | None = None
    cap: timedelta | None = None
    spns: tuple[str, ...] = ()
    not_delegated: bool = False
    trusted_to_delegate: bool = False
    preauth_off: bool = False
    reversible: bool = False
    password_not_needed: bool = False
    never_expires: bool = False
    smart_card: bool = False
    des_only: bool = False


@dataclass(frozen=True, slots=True)
class Privileged:
    """An account, and why it counts: one standing or several, with what led to each (`member of Domain Admins through Ops`)."""

    account: Account
    standings: frozenset[Standing]
    because: tuple[str, ...]

    @property
    def person(self) -> bool:
        """Neither an emergency account nor one of a service."""
        return not self.standings & {Standing.EMERGENCY, Standing.SERVICE}


@dataclass(frozen=True, slots=True)
class Weakness:
    """What one account lacks. `change`: what `fix` would do about it; None: a person must. An exception is no problem, and says why (severity ok)."""

    account: Account
    rule: str
    severity: Severity
    text: str
    why: str
    evidence: str = ""
    remedy: str = ""
    change: Change | None = None


_Rule = Callable[[Privileged, bool], Iterator[Weakness]]


def weaknesses(one: Privileged, *, smart_cards: bool) -> tuple[Weakness, ...]:
    """In the order of the rules. `smart_cards`: whether everybody here signs in with one. A disabled account opens nothing, and is left alone."""
    if not one.account.shown:
        return (
            Weakness(
                one.account,
                "shown",
                Severity.SKIPPED,
                f"{one.account.name}: its userAccountControl is not shown, so nothing is known of it",
                "What is not seen is not safe.",
                remedy="look as an administrator of that domain (`bastide baseline check --as-me`), or let the service account read: `bastide delegation`",
            ),
        )
    if not one.account.enabled:
        return ()
    return tuple(found for rule in _RULES for found in rule(one, smart_cards))


def _protected(one: Privileged, _: bool) -> Iterator[Weakness]:
    """(1)."""
    account, why = (
        one.account,
        "In Protected Users an account signs in without NTLM, RC4 and delegation, and its tickets end after 4 hours.",
    )
    if account.guarded:
        if Standing.EMERGENCY in one.standings:
            yield Weakness(
                account, "protected-users", Severity.WARNING,
                f"{account.name} is an emergency account and in Protected Users: it cannot sign in by NTLM when Kerberos is what is broken",
                why, remedy="take it out of Protected Users",
            )  # fmt: skip
        return
    if not one.person:
        what = "an emergency account" if Standing.EMERGENCY in one.standings else "an account of a service"
        yield Weakness(
            account, "protected-users", Severity.OK,
            f"{account.name} is {what}, and rightly not in Protected Users", why,
            evidence="an emergency account must sign in without Kerberos; a service must not be in that group",
        )  # fmt: skip
        return
    yield Weakness(
        account, "protected-users", Severity.ERROR, f"{account.name} is not in Protected Users", why,
        evidence="the members of that group, nested ones too", remedy="add it; whoever signs in by NTLM with it must stop first",
        change=Change.PROTECT,
    )  # fmt: skip


def _aes(one: Privileged, _: bool) -> Iterator[Weakness]:
    """(2)."""
    account, why = (
        one.account,
        "RC4 and DES keys can be guessed at home, and an RC4 key is the password's NT hash.",
    )
    set_at, since = account.password_set, account.aes_since
    if set_at is None or (since is not None and set_at < since):
        when = "never" if set_at is None else f"{set_at:%Y-%m-%d}"
        yield Weakness(
            account, "aes-keys", Severity.ERROR, f"{account.name} has no AES keys", why,
            evidence=f"password set: {when}; the domain makes AES keys since {since:%Y-%m-%d}" if since else f"password set: {when}",
            remedy="set its password anew; before that, AES alone would lock it out",
        )  # fmt: skip
        return
    offered = account.encryption or 0
    weak = [name for bit, name in _WEAK_TYPES.items() if offered & bit]
    if account.des_only:
        weak.append("DES only (userAccountControl)")
    if offered & _AES_TYPES and not weak:
        return
    if account.guarded and not account.des_only:
        return
    said = ", ".join(weak) if weak else "nothing: the domain's default, which has RC4"
    yield Weakness(
        account, "aes-only", Severity.WARNING, f"{account.name} can be used with more than AES", why,
        evidence=f"msDS-SupportedEncryptionTypes offers {said}",
        remedy="set it to AES (24)", change=Change.AES_ONLY,
    )  # fmt: skip


def _cap(one: Privileged, _: bool) -> Iterator[Weakness]:
    """(3)."""
    account, why = (
        one.account,
        "A ticket that was bought during a grant opens its groups until it ends, whatever was taken away since.",
    )
    if account.cap is not None or not one.person:
        return
    seen = (
        "Protected Users ends it after 4 hours"
        if account.guarded
        else "the domain's default, usually 10 hours"
    )
    yield Weakness(
        account, "ticket-cap", Severity.WARNING, f"no authentication policy caps the tickets of {account.name}", why,
        evidence=f"no policy that is enforced is assigned; {seen}",
        remedy="assign a policy with a short msDS-UserTGTLifetime: `bastide delegation script --for policy` writes one", change=Change.TICKET_CAP,
    )  # fmt: skip


def _delegation(one: Privileged, _: bool) -> Iterator[Weakness]:
    """(4)."""
    account = one.account
    if account.trusted_to_delegate:
        yield Weakness(
            account, "trusted-to-delegate", Severity.CRITICAL, f"{account.name} may act as others: it is trusted for delegation",
            "Whoever takes it over is everybody who signed in to it.", evidence="userAccountControl",
            remedy="find out which service needs that, and give it an account of its own",
        )  # fmt: skip
    if not account.not_delegated and not account.guarded:
        yield Weakness(
            account, "not-delegated", Severity.WARNING, f"services may act on with the tickets of {account.name}",
            "A service that is trusted for delegation, and is taken over, becomes this account.",
            evidence="userAccountControl lacks NOT_DELEGATED", remedy="set 'Account is sensitive and cannot be delegated'",
            change=Change.NOT_DELEGATED,
        )  # fmt: skip


def _roastable(one: Privileged, _: bool) -> Iterator[Weakness]:
    """(5)."""
    account = one.account
    if not account.spns:
        return
    service = Standing.SERVICE in one.standings
    yield Weakness(
        account, "service-principal", Severity.OK if service else Severity.ERROR,
        f"{account.name} has service principal names" + (", as an account of a service does" if service else ": everybody can guess at its password"),
        "Who has any account can ask for a ticket to such a name, and guess the password of its account at home.",
        evidence=", ".join(account.spns[:5]),
        remedy="" if service else "move them to an account of the service: `setspn -D NAME ACCOUNT`, or `samba-tool spn delete NAME ACCOUNT`",
    )  # fmt: skip


def _preauth(one: Privileged, _: bool) -> Iterator[Weakness]:
    """(6)."""
    if one.account.preauth_off:
        yield Weakness(
            one.account, "pre-authentication", Severity.CRITICAL, f"{one.account.name} signs in without pre-authentication",
            "Everybody, without any account, gets something on which to guess its password.", evidence="userAccountControl has DONT_REQ_PREAUTH",
            remedy="switch it on, and set the password anew: it may be guessed already", change=Change.PREAUTH,
        )  # fmt: skip


def _password(one: Privileged, _: bool) -> Iterator[Weakness]:
    """(7)."""
    account = one.account
    if account.reversible:
        yield Weakness(
            account, "reversible-password", Severity.ERROR, f"the password of {account.name} is stored so that it can be read back",
            "Whoever copies the database of a controller reads it as it was typed.", evidence="userAccountControl has ENCRYPTED_TEXT_PASSWORD_ALLOWED",
            remedy="switch it off, and set the password anew: the old one stays readable until then", change=Change.NO_REVERSIBLE,
        )  # fmt: skip
    if account.password_not_needed:
        yield Weakness(
            account, "password-needed", Severity.ERROR, f"{account.name} may have an empty password",
            "The domain's password rules do not count for it.", evidence="userAccountControl has PASSWD_NOTREQD",
            remedy="switch it off, and set a password", change=Change.PASSWORD_NEEDED,
        )  # fmt: skip
    if account.never_expires and not account.smart_card:
        yield Weakness(
            account, "password-ages", Severity.WARNING if one.person else Severity.OK,
            f"the password of {account.name} never expires" + ("" if one.person else ", and nobody could change it when it did"),
            "A password that was taken once opens for ever.", evidence="userAccountControl has DONT_EXPIRE_PASSWORD",
            remedy="let it expire, after its owner was told" if one.person else "",
        )  # fmt: skip


def _smart_card(one: Privileged, wanted: bool) -> Iterator[Weakness]:
    """(8)."""
    if wanted and one.person and not one.account.smart_card:
        yield Weakness(
            one.account, "smart-card", Severity.WARNING, f"{one.account.name} can sign in with a password",
            "A password can be told, guessed and phished; a card cannot.", evidence="userAccountControl lacks SMARTCARD_REQUIRED",
            remedy="demand a card; its password becomes one that nobody knows", change=Change.SMART_CARD,
        )  # fmt: skip


_RULES: Sequence[_Rule] = (_protected, _aes, _cap, _delegation, _roastable, _preauth, _password, _smart_card)
