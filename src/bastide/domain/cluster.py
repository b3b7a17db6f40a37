"""The cluster alias: one name for all nodes, and the keys that each of them needs to accept a ticket for it.

The account is a computer account, as Windows' own cluster name objects are: its names are those that the account may hold by itself, it can
sign in nowhere, and its password never expires.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain.errors import InvalidInput
from bastide.domain.ids import typed

#: A computer's name before NetBIOS cuts it ([MS-SAMR] 3.1.1.8.4 allows more, older programs do not).
ALIAS_LIMIT = 15
_ALIAS = re.compile(r"(?!\d+$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?", re.ASCII)
#: aes128-cts-hmac-sha1-96 and aes256-cts-hmac-sha1-96 (RFC 3962).
AES_TYPES = (17, 18)
#: The longest life of a ticket by the default policy of a domain (MaxServiceAge, MaxTicketAge: 10 h).
TICKET_LIFE = timedelta(hours=10)
#: What Kerberos allows two clocks to differ (RFC 4120, 1.6).
SKEW = timedelta(minutes=5)
#: Characters of the account's password. AD takes 256; each of these is worth 6 bits.
PASSWORD_LENGTH = 120
#: A key that is older is worth a rotation: a year.
OLD_KEY = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Alias:
    """A name in a domain. `name` is one label in lower case, `domain` the domain's DNS name in lower case."""

    name: str
    domain: str

    @classmethod
    def parse(cls, text: str, domain: str) -> "Alias":
        """`bastide` or `bastide.priv.example.com`. Raises InvalidInput."""
        base = domain.rstrip(".").lower()
        name = text.strip().rstrip(".").lower()
        if "." in name:
            name, _, given = name.partition(".")
            if given != base:
                raise InvalidInput(
                    "alias",
                    f"{typed(text)} is not in the domain {base}",
                    remedy=f"an alias is one name in the domain of its account, as in bastide.{base}",
                )
        if len(name) > ALIAS_LIMIT or not _ALIAS.fullmatch(name):
            raise InvalidInput(
                "alias",
                f"{typed(text)} is no name for a computer account",
                remedy=f"letters a to z, digits and hyphens, at most {ALIAS_LIMIT}, not digits alone",
            )
        return cls(name, base)

    @property
    def fqdn(self) -> str:
        return f"{self.name}.{self.domain}"

    @property
    def account(self) -> str:
        """Its sAMAccountName."""
        return f"{self.name.upper()}$"

    @property
    def realm(self) -> str:
        return self.domain.upper()

    @property
    def spns(self) -> tuple[str, str]:
        """Both forms in which a client may ask."""
        return f"HTTP/{self.name}", f"HTTP/{self.fqdn}"

    @property
    def principals(self) -> tuple[str, str]:
        """The names in a keytab."""
        short, full = self.spns
        return f"{short}@{self.realm}", f"{full}@{self.realm}"

    @property
    def salt(self) -> str:
        """Of the account's keys ([MS-KILE] 3.1.1.2: that of a computer, not of a user)."""
        return f"{self.realm}host{self.name}.{self.domain}"


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a keytab, without the key: whose, which version, which encryption type (RFC 3961)."""

    principal: str
    version: int
    encryption: int


def of_alias(keys: Iterable[Key], alias: Alias) -> tuple[Key, ...]:
    """Those that belong to the alias."""
    wanted = set(alias.principals)
    return tuple(key for key in keys if key.principal in wanted)


def newest(keys: Iterable[Key]) -> int:
    """The highest version; 0: there is no key."""
    return max((key.version for key in keys), default=0)


def versions(keys: Iterable[Key]) -> tuple[int, ...]:
    """All of them, the oldest first."""
    return tuple(sorted({key.version for key in keys}))


def missing(keys: Collection[Key], alias: Alias, version: int) -> tuple[str, ...]:
    """The alias' names that have no AES key of this version."""
    have = {key.principal for key in keys if key.version == version and key.encryption in AES_TYPES}
    return tuple(name for name in alias.principals if name not in have)


def weak(keys: Iterable[Key]) -> tuple[int, ...]:
    """Encryption types that are no AES."""
    return tuple(sorted({key.encryption for key in keys} - set(AES_TYPES)))


def needless_from(changed: datetime, life: timedelta) -> datetime:
    """From when no ticket can be open that was sealed with the key before: the newest one was bought at the moment of the change, by a clock that may
    differ from ours, and is shown to one that may differ too. No life: at once, after a theft.
    """
    return changed + life + 2 * SKEW if life else changed
