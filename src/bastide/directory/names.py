"""What a person typed to name an account or a group, and what AD lets such a name be. Pure: adapter and twin share it."""

import re
from dataclasses import dataclass
from datetime import timedelta

from bastide.domain.errors import InvalidInput, NotFound
from bastide.domain.grants import LEAST_TICKET_CAP
from bastide.domain.ids import Sid, parse_name

#: [MS-SAMR] 3.1.1.8.4: what sAMAccountName must not hold. `@` is legal there, but such a name could not be told from a UPN.
FORBIDDEN = '"/\\[]:|<>+=;?,*@'
#: A user's name before it breaks NetBIOS logons; AD enforces it, Samba does not.
USER_NAME_LIMIT = 20
#: rangeUpper of cn ([MS-ADA1] 2.110): the name is the RDN too.
COMMON_NAME_LIMIT = 64


@dataclass(frozen=True, slots=True)
class TypedName:
    """One of: a SID; `account@suffix`; an account name, of a named domain or of this one."""

    text: str
    sid: Sid | None = None
    domain: str = ""
    upn: str = ""
    account: str = ""


def read_name(typed: str) -> TypedName:
    """Tell the forms apart. Raises InvalidInput for what can be no name at all."""
    text = parse_name("name", typed)
    if re.fullmatch(r"S-1-[\d-]+", text, re.IGNORECASE):
        return TypedName(text, sid=Sid.parse(text.upper()))
    if "\\" in text:
        domain, _, account = text.partition("\\")
        return TypedName(text, domain=domain.strip(), account=account.strip())
    if "@" in text:
        return TypedName(text, upn=text)
    return TypedName(text, account=text)


def require_domain(name: TypedName, netbios: str, dns_name: str) -> None:
    """Raise NotFound for a name of another domain."""
    if name.domain and name.domain.lower() not in {netbios.lower(), dns_name.lower()}:
        raise NotFound(
            f"{_short(name.text)} is not of the domain {dns_name}", remedy=f"give the name as {netbios}\\name"
        )


def not_found(kind: str, name: TypedName, dns_name: str) -> NotFound:
    """The refusal for a name that fits nothing."""
    return NotFound(
        f"there is no {kind} {_short(name.text)} in {dns_name}",
        remedy="give the sAMAccountName, DOMAIN\\name, the user principal name or the SID",
    )


def check_account_name(name: str, *, limit: int = COMMON_NAME_LIMIT) -> str:
    """A name for a new account or group. Raises InvalidInput for what AD would refuse with less of a reason."""
    clean = parse_name("name", name)
    if len(clean) > limit:
        raise InvalidInput("name", f"has {len(clean)} characters; the limit is {limit}")
    bad = sorted(set(clean) & set(FORBIDDEN))
    if bad:
        raise InvalidInput("name", f"must not hold {' '.join(bad)}")
    if clean.endswith("."):
        raise InvalidInput("name", "must not end with a full stop")
    return clean


def check_cap(cap: timedelta) -> None:
    """Raise InvalidInput for a ticket cap that a KDC would ignore."""
    if cap < LEAST_TICKET_CAP:
        raise InvalidInput("cap", f"must be at least {LEAST_TICKET_CAP.seconds} seconds")


def _short(text: str) -> str:
    return repr(text[:60] + "..." if len(text) > 60 else text)  # noqa: PLR2004  # a message is one line
