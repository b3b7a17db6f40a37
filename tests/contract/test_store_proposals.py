"""Changes of roles that wait for a second administrator, on SQLite and PostgreSQL."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.domain.errors import Conflict, NotAuthorized, NotFound
from bastide.domain.ids import RoleId
from bastide.domain.people import Forest
from bastide.domain.proposals import Action, Proposal, check_base, check_first, check_second
from bastide.domain.roles import Role
from bastide.store.unit_of_work import SqlStore
from tests.support import build

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]
NOW = build.NOW


def proposal(number: int, before: Role | None, after: Role | None) -> Proposal:
    return Proposal(
        id=build.uid(f"proposal {number}"),
        before=before,
        after=after,
        by=build.sid(1, Forest.PRIV),
        by_name="PRIV\\dave",
        accounts=frozenset({build.sid(7)}),
        made_at=NOW + timedelta(seconds=number),
    )


def test_kept_as_they_were_until_they_are_removed(store: SqlStore) -> None:
    role = build.role(stages=(build.stage(),), description="a\nb")
    other = build.role("Other")
    edit = proposal(1, role, replace(role, extension=False))
    removal, new = proposal(3, role, None), proposal(2, None, other)
    with store.write() as uow:
        for one in (removal, edit, new):
            uow.proposals.add(one)
        uow.commit()
    with store.read() as uow:
        assert uow.proposals.all() == (edit, new, removal), "oldest first"
        assert uow.proposals.of_role(role.id) == (edit, removal)
        assert uow.proposals.of_role(RoleId("x")) == ()
        assert uow.proposals.get(new.id) == new
    assert [one.action for one in (edit, removal, new)] == [Action.EDIT, Action.REMOVE, Action.ADD]
    with store.write() as uow, pytest.raises(Conflict):
        uow.proposals.add(edit)
    with store.write() as uow:
        uow.proposals.remove(edit.id)
        uow.commit()
    with store.write() as uow:
        with pytest.raises(NotFound, match="there is no proposal"):
            uow.proposals.get(edit.id)
        with pytest.raises(NotFound, match="there is no proposal"):
            uow.proposals.remove(edit.id)


def test_what_a_proposal_is_about_is_what_is_there() -> None:
    role = replace(build.role(), version=3)
    check_base(proposal(1, role, None), role)
    check_base(proposal(1, None, role), None)
    for before, now in ((role, replace(role, version=4)), (role, None), (None, role)):
        with pytest.raises(Conflict, match="void"):
            check_base(proposal(1, before, None if before else role), now)


def test_the_second_is_another_person() -> None:
    one = proposal(1, build.role(), None)
    check_second(one, {build.sid(2, Forest.PRIV), build.sid(8)})
    check_second(replace(one, accounts=frozenset()), {build.sid(7)})
    for mine in (one.by, build.sid(7)):
        with pytest.raises(NotAuthorized, match="nobody approves a change of their own"):
            check_second(one, {build.sid(2, Forest.PRIV), mine})


def test_the_first_is_an_administrator_still() -> None:
    check_first(proposal(1, build.role(), None), administers=True)
    with pytest.raises(NotAuthorized, match="is no administrator any more"):
        check_first(proposal(1, build.role(), None), administers=False)
