"""Reports as tables: who may ask, who did, who never does, who agreed, and who has power that no grant explains."""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from bastide.domain import census
from bastide.domain.census import Seat
from bastide.domain.errors import DirectoryError, InvalidInput
from bastide.domain.ids import GroupId, RoleId, Sid, UserId
from bastide.domain.people import Actor, require_reader
from bastide.domain.requests import LIVE
from bastide.domain.roles import Carrier, PamGroup
from bastide.domain.tables import Cell, Subject, Table, in_order
from bastide.domain.usage import UNUSED, Usage, approvers_of, usage_of
from bastide.services.baseline.ports import Census
from bastide.services.eligibility import Eligibility, Eligible
from bastide.services.history import requests_since
from bastide.services.ports import Store, UnitOfWork

USUAL = timedelta(days=90)
LONGEST = timedelta(days=3660)
#: Rows of a table; what is beyond is said in a note.
MOST = 20_000
_Made = tuple[tuple[str, ...], list[tuple[Cell, ...]], tuple[str, ...]]


class Tables:
    """The use case. Raises NotAuthorized."""

    def __init__(
        self,
        *,
        store: Store,
        eligibility: Eligibility,
        censuses: Mapping[str, Census],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._eligibility = eligibility
        self._censuses = censuses
        self._now = now

    def table(self, actor: Actor, subject: Subject, since: datetime | None = None) -> Table:
        """What happened since then counts (USUAL unless it is said otherwise). Raises InvalidInput; what the directory does not say is a note."""
        require_reader(actor)
        now = self._now()
        begin = now - USUAL if since is None else since
        if not timedelta(0) < now - begin <= LONGEST:
            raise InvalidInput("since", "must lie in the past, and at most ten years ago")
        columns, rows, notes = self._makers()[subject](begin)
        title, about = _TITLES[subject]
        if len(rows) > MOST:
            notes = (*notes, f"there are {len(rows)} rows; the first {MOST} are shown")
        return Table(
            subject,
            title,
            about,
            columns,
            in_order(rows)[:MOST],
            now,
            None if subject is Subject.STANDING else begin,
            notes,
        )

    def _makers(self) -> Mapping[Subject, Callable[[datetime], _Made]]:
        return {
            Subject.ELIGIBLE: lambda since: self._eligible(since, unused=False),
            Subject.UNUSED: lambda since: self._eligible(since, unused=True),
            Subject.ACTIVATIONS: self._activations,
            Subject.APPROVALS: self._approvals,
            Subject.STANDING: lambda _: self._standing(),
        }

    def _eligible(self, since: datetime, *, unused: bool) -> _Made:
        with self._store.read() as uow:
            roles, groups = uow.roles.all(), {one.id: one.name for one in uow.groups.all()}
        usage = usage_of(requests_since(self._store, since))
        found, problems = self._eligibility.people(roles)
        columns = ("role", "person", "gives", "candidate", "asked", "used", "last used", "can ask")
        rows = [_eligible_row(one, _of(usage, one), groups) for one in found]
        if unused:
            rows = [row for row, one in zip(rows, found, strict=True) if not _of(usage, one).used]
        return columns, rows, problems

    def _activations(self, since: datetime) -> _Made:
        columns = ("began", "person", "role", "ended", "true end", "reason", "ticket", "approved by", "state", "request")  # fmt: skip
        rows: list[tuple[Cell, ...]] = [
            (
                one.active_from, one.user_name, one.role_name, one.ends_at, one.true_end, one.justification, one.ticket,
                ", ".join(approvers_of(one)) or "nobody had to", one.state.value, one.id,
            )
            for one in requests_since(self._store, since)
            if one.active_from is not None
        ]  # fmt: skip
        return columns, rows, ()

    def _approvals(self, since: datetime) -> _Made:
        columns = ("approver", "at", "decision", "person", "role", "stage", "reason", "second factor", "signed", "request")  # fmt: skip
        rows: list[tuple[Cell, ...]] = [
            (
                vote.name, vote.at, vote.decision.value, one.user_name, one.role_name, vote.stage, vote.reason,
                "none" if vote.proof is None else vote.proof.method, "no" if vote.signature is None else "yes", one.id,
            )
            for one in requests_since(self._store, since)
            for vote in one.votes
        ]  # fmt: skip
        return columns, rows, ()

    def _standing(self) -> _Made:
        columns = ("domain", "group", "member", "what", "through", "enabled")
        rows: list[tuple[Cell, ...]] = []
        notes = [] if self._censuses else ["no directory can be asked here who is in its groups"]
        with self._store.read() as uow:
            groups, granted = uow.groups.all(), granted_of(uow)
            known = {one.account for one in uow.envelopes.current()}
        carried = {sid for group in groups for sid in (group.corp.sid, group.priv.sid)}
        for domain, directory in self._censuses.items():
            try:
                seats = directory.seats(sorted(carried))
            except DirectoryError as error:
                notes.append(f"the groups of {domain} could not be read: {error.message}")
                continue
            rows += [_standing_row(domain, seat) for seat in census.standing(seats, granted, known)]
        return columns, rows, tuple(notes)


def granted_of(uow: UnitOfWork) -> Mapping[Sid, frozenset[Sid]]:
    """Group to the members that live grants, and the links of PAM groups, put there."""
    users = {user.id: user for user in uow.users.all()}
    groups: dict[GroupId, PamGroup] = {group.id: group for group in uow.groups.all()}
    found: dict[Sid, set[Sid]] = {}
    for group in groups.values():
        if group.carrier is not Carrier.DIRECT:
            found.setdefault(group.corp.sid, set()).add(group.priv.sid)
    for request in uow.requests.in_states(LIVE):
        user = users.get(request.user)
        for privilege in request.privileges if user is not None else ():
            if privilege in groups and user is not None:
                found.setdefault(groups[privilege].priv.sid, set()).add(user.priv.sid)
    return {group: frozenset(members) for group, members in found.items()}


def _of(usage: Mapping[tuple[UserId, RoleId], Usage], one: Eligible) -> Usage:
    return UNUSED if one.user is None else usage.get((one.user.id, one.role.id), UNUSED)


def _eligible_row(one: Eligible, usage: Usage, groups: Mapping[GroupId, str]) -> tuple[Cell, ...]:
    by = [*(["by name"] if one.direct else []), *one.through]
    able = "yes" if one.user is not None and one.enabled and one.role.enabled else "no"
    return (
        one.role.name, one.name, ", ".join(groups.get(group, group) for group in one.role.privileges), ", ".join(by),
        usage.asked, usage.used, usage.last, able if one.user is not None else "no: not prepared",
    )  # fmt: skip


def _standing_row(domain: str, seat: Seat) -> tuple[Cell, ...]:
    enabled = "not shown" if seat.enabled is None else "yes" if seat.enabled else "no"
    return (
        domain, seat.group_name, seat.member_name, seat.sort.value, " > ".join(seat.path), enabled,
    )  # fmt: skip


_TITLES: Mapping[Subject, tuple[str, str]] = {
    Subject.ELIGIBLE: (
        "Who may ask for what",
        "Every candidate of every role, each person in a group that is one, and what they did with it.",
    ),
    Subject.UNUSED: (
        "Eligibility that nobody uses",
        "Who may ask for a role, and had no access by it since then.",
    ),
    Subject.ACTIVATIONS: ("Activations", "Every access that was asked for since then and began."),
    Subject.APPROVALS: ("Approvals by person", "Every decision on what was asked for since then."),
    Subject.STANDING: (
        "Standing privileges",
        "Members of privileged groups that no grant explains, nested ones too. This is the list to eliminate.",
    ),
}
