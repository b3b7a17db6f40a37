"""What a look at the privileged accounts of a domain needs from the outside. Each port has a twin in memory; both pass tests/contract/test_census.py."""

from collections.abc import Collection, Mapping
from typing import Protocol

from bastide.domain.baseline import Account, Change
from bastide.domain.census import Seat
from bastide.domain.ids import Sid
from bastide.services.cluster.ports import Caller


class Census(Protocol):
    """One domain, for looking alone: Bastide's service account, or whoever calls. Raises DirectoryUnavailable, DirectoryDenied."""

    #: DNS name in lower case.
    domain: str

    def seats(self, also: Collection[Sid]) -> tuple[Seat, ...]:
        """Members of the groups that AdminSDHolder guards ([MS-ADTS] 3.1.1.6.1.2; not of those for controllers) and of `also`, nested ones too, groups among
        them. A group that is not there has none.
        """

    def accounts(self, sids: Collection[Sid]) -> Mapping[Sid, Account]:
        """What the directory holds on user accounts. One that is not there, or is none, is left out."""

    def manager(self, account: Sid) -> Sid | None:
        """Whom its attribute `manager` names; None: nobody, or no such account."""

    def find(self, name: str) -> Sid:
        """A user account by name, name@domain or SID. Raises NotFound, Ambiguous."""


class Hardener(Census, Protocol):
    """The same domain as the administrator who mends it."""

    def caller(self) -> Caller: ...
    def apply(self, account: Sid, change: Change, policy: str) -> None:
        """Make it so, on one controller. `policy`: the name of the authentication policy, for TICKET_CAP. Raises NoSuchObject, DirectoryDenied, CapabilityMissing."""
