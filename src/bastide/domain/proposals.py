"""A change of a role that waits for a second administrator. Where four eyes are asked for:

(1) Who proposed a change does not approve it, with neither account, whether the two were known to be one person's then or are now.
(2) What is approved is what was shown: the proposal holds the role before and after, and is void as soon as the role is another one.
(3) Who proposed it is an administrator still: it takes two of them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bastide.domain.errors import Conflict, NotAuthorized
from bastide.domain.ids import RoleId, Sid
from bastide.domain.roles import Role

REASON_LIMIT = 400


class Action(StrEnum):
    """What is to be done to the role."""

    ADD = "add"
    EDIT = "edit"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Proposal:
    """`before` None: the role is new; `after` None: it goes. `accounts`: all that were known to be those of who proposed it."""

    id: str
    before: Role | None
    after: Role | None
    by: Sid
    by_name: str
    made_at: datetime
    accounts: frozenset[Sid] = frozenset()

    @property
    def action(self) -> Action:
        if self.before is None:
            return Action.ADD
        return Action.REMOVE if self.after is None else Action.EDIT

    @property
    def subject(self) -> Role:
        """The role as it is known until this is decided. Raises ValueError for a proposal about nothing."""
        known = self.before or self.after
        if known is None:
            raise ValueError("a proposal is about a role")
        return known

    @property
    def role(self) -> RoleId:
        return self.subject.id


def check_second(proposal: Proposal, accounts: Collection[Sid]) -> None:
    """(1). `accounts`: all that are known to be those of who approves. Raises NotAuthorized."""
    if not ({proposal.by} | proposal.accounts).isdisjoint(accounts):
        raise NotAuthorized(
            "nobody approves a change of their own", remedy="ask another administrator to look at it"
        )


def check_first(proposal: Proposal, *, administers: bool) -> None:
    """(3). `administers`: whether who proposed it has the right to, now. Raises NotAuthorized."""
    if not administers:
        raise NotAuthorized(
            f"{proposal.by_name}, who proposed this, is no administrator any more",
            remedy="reject it; if the change is a good one, propose it yourself",
        )


def check_base(proposal: Proposal, now: Role | None) -> None:
    """(2). `now`: the role as it is. Raises Conflict."""
    before = proposal.before
    same = (
        now is None
        if before is None
        else (now is not None and (now.id, now.version) == (before.id, before.version))
    )
    if not same:
        raise Conflict(
            f"role {proposal.subject.name} was changed since this was proposed: the proposal is void",
            remedy="look at the role as it is now, and propose the change again",
        )
