"""What a person's password must be, as Active Directory says it: the fine-grained policy of the person ([MS-ADTS] 3.1.1.4.5.36, msDS-ResultantPSO), else that of the domain."""

from datetime import timedelta

from bastide.directory.entries import Entry, by_sid
from bastide.directory.ldap import Controllers
from bastide.directory.session import Session
from bastide.domain.errors import DirectoryDenied, NoSuchObject
from bastide.domain.ids import Sid
from bastide.domain.reset.password_rules import Policy

_DOMAIN = ("minPwdLength", "pwdProperties", "pwdHistoryLength", "minPwdAge")
_OWN = (
    "msDS-MinimumPasswordLength",
    "msDS-PasswordComplexityEnabled",
    "msDS-PasswordHistoryLength",
    "msDS-MinimumPasswordAge",
)
#: DOMAIN_PASSWORD_COMPLEX ([MS-SAMR] 2.2.3.5).
_COMPLEX = 0x1
_TICKS_IN_MICROSECOND = 10


class AdPolicyReader:
    """As the port PolicyReader."""

    def __init__(self, controllers: Controllers) -> None:
        self._controllers = controllers

    def policy(self, person: Sid) -> Policy | None:
        return self._controllers.on_any("read a password policy", lambda session: _policy(session, person))


def _policy(session: Session, person: Sid) -> Policy | None:
    try:
        account = session.must_read(by_sid(person), ["msDS-ResultantPSO"])
        own = account.text("msDS-ResultantPSO")
        return _own(session, own) if own else _of_domain(session, person)
    except (DirectoryDenied, NoSuchObject):
        return None


def _of_domain(session: Session, person: Sid) -> Policy | None:
    head = session.must_read(by_sid(Sid(person.domain)), _DOMAIN)
    if not head.all("minPwdLength"):
        return None
    return Policy(
        source=head.dn,
        length=head.number("minPwdLength"),
        complex=bool(head.number("pwdProperties") & _COMPLEX),
        history=head.number("pwdHistoryLength"),
        least_age=_age(head, "minPwdAge"),
    )


def _own(session: Session, dn: str) -> Policy | None:
    pso = session.must_read(dn, _OWN)
    length, is_complex, history, age = _OWN
    if not pso.all(length):  # only Domain Admins read the container of these policies by default
        return None
    return Policy(
        source=dn,
        length=pso.number(length),
        complex=pso.text(is_complex).upper() == "TRUE",
        history=pso.number(history),
        least_age=_age(pso, age),
    )


def _age(entry: Entry, name: str) -> timedelta:
    """A negative number of 100 ns ([MS-ADTS] 3.1.1.2.2.2.11)."""
    return timedelta(microseconds=-entry.number(name) // _TICKS_IN_MICROSECOND)
