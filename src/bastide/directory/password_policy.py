"""What a person's password must be, as Active Directory says it: the fine-grained policy of the person ([MS-ADTS] 3.1.1.4.5.36, msDS-ResultantPSO), else that of the domain.

The domain's policy is shown to everybody. A fine-grained one is not, and neither, in a hardened domain, is the attribute that names it: an attribute that is not shown looks like one
that is empty. So "no policy of one's own" is believed only of who sees all of the account, or what the delegation gives; otherwise nothing is said.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from bastide.directory.constants import PASSWORD_SETTINGS, UNITS_PER_MICROSECOND
from bastide.directory.entries import Entry, by_sid, plain_dn
from bastide.directory.ldap import Controllers
from bastide.directory.session import Session
from bastide.domain.errors import DirectoryDenied, NoSuchObject
from bastide.domain.ids import Sid
from bastide.domain.reset.password_rules import Lockout, Policy

_OWN = "msDS-ResultantPSO"
#: Every object has it, and it is in no property set: who sees it sees all of the account.
_ALWAYS = "uSNChanged"
#: The container's own name, which the delegation shows.
_NAME = "cn"
#: DOMAIN_PASSWORD_COMPLEX ([MS-SAMR] 2.2.3.5).
_COMPLEX = 0x1
#: "Never", as a relative time.
_NEVER = frozenset({0, -0x8000000000000000})


@dataclass(frozen=True, slots=True)
class _Names:
    """The same rules, as a domain and as a fine-grained policy call them."""

    length: str
    complex: str
    history: str
    least_age: str
    longest_age: str
    threshold: str
    window: str
    lasts: str

    def all(self) -> Sequence[str]:
        return [getattr(self, name) for name in self.__slots__]


_DOMAIN = _Names(
    "minPwdLength",
    "pwdProperties",
    "pwdHistoryLength",
    "minPwdAge",
    "maxPwdAge",
    "lockoutThreshold",
    "lockOutObservationWindow",
    "lockoutDuration",
)
_FINE = _Names(
    "msDS-MinimumPasswordLength",
    "msDS-PasswordComplexityEnabled",
    "msDS-PasswordHistoryLength",
    "msDS-MinimumPasswordAge",
    "msDS-MaximumPasswordAge",
    "msDS-LockoutThreshold",
    "msDS-LockoutObservationWindow",
    "msDS-LockoutDuration",
)


class AdPolicyReader:
    """As the port PolicyReader."""

    def __init__(self, controllers: Controllers) -> None:
        self._controllers = controllers

    def policy(self, person: Sid) -> Policy | None:
        return self._controllers.on_any("read a password policy", lambda session: _policy(session, person))


def _policy(session: Session, person: Sid) -> Policy | None:
    try:
        account = session.must_read(by_sid(person), [_OWN, _ALWAYS])
        own = account.text(_OWN)
        if own:
            return _as_policy(session.must_read(own, _FINE.all()), _FINE)
        head = session.must_read(by_sid(Sid(person.domain)), ["distinguishedName", *_DOMAIN.all()])
        if not account.all(_ALWAYS) and not _shows_policies(session, plain_dn(head.dn)):
            return None
        return _as_policy(head, _DOMAIN)
    except (DirectoryDenied, NoSuchObject):
        return None


def _shows_policies(session: Session, base: str) -> bool:
    """Whether the container of fine-grained policies lets us in."""
    try:
        return bool(session.must_read(f"{PASSWORD_SETTINGS},{base}", [_NAME]).all(_NAME))
    except (DirectoryDenied, NoSuchObject):
        return False


def _as_policy(entry: Entry, names: _Names) -> Policy | None:
    """None: it does not show itself."""
    if not entry.all(names.length):
        return None
    longest, lasts = entry.number(names.longest_age), entry.number(names.lasts)
    return Policy(
        source=plain_dn(entry.dn),
        length=entry.number(names.length),
        complex=_is_complex(entry.text(names.complex)),
        history=entry.number(names.history),
        least_age=_age(entry.number(names.least_age)),
        longest_age=None if longest in _NEVER else _age(longest),
        lockout=Lockout(
            threshold=entry.number(names.threshold),
            window=_age(entry.number(names.window)),
            lasts=None if lasts in _NEVER else _age(lasts),
        ),
    )


def _is_complex(text: str) -> bool:
    """A domain has bits, a fine-grained policy a truth value."""
    return text == "TRUE" or (text.lstrip("-").isdigit() and bool(int(text) & _COMPLEX))


def _age(units: int) -> timedelta:
    """A negative number of 100 ns ([MS-ADTS] 3.1.1.2.2.2.11)."""
    return timedelta(microseconds=-units // UNITS_PER_MICROSECOND)
