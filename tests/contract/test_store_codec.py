"""Whatever the domain can say comes back from the database as it was."""

from datetime import UTC, datetime, time, timedelta, timezone
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import PamUser
from bastide.domain.requests import Request, Vote
from bastide.domain.roles import PamGroup, Role, Window
from bastide.store.unit_of_work import SqlStore
from tests.support import build

pytest_plugins = ["tests.support.postgres", "tests.support.stores"]


# NUL cannot come this far (parse_name and parse_text refuse it), and PostgreSQL has no place for it; nor has UTF-8 for surrogates.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
zones = st.sampled_from([UTC, timezone(timedelta(hours=-7))])
moments = st.datetimes(
    build.NOW.replace(1990, tzinfo=None), build.NOW.replace(2200, tzinfo=None), timezones=zones
)
sids = st.integers(0, 2**32 - 1).map(lambda rid: Sid(f"S-1-5-21-1-2-3-{rid}"))
st.register_type_strategy(Sid, sids)
st.register_type_strategy(str, texts)
st.register_type_strategy(datetime, moments)
st.register_type_strategy(time, st.times())
st.register_type_strategy(timedelta, st.timedeltas(timedelta(days=-400), timedelta(days=400)))
numbers = st.integers(0, 10**6)


def built(kind: type[Any], **more: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, id=st.uuids().map(str), version=st.just(0), **more)


windows = st.builds(Window, days=st.frozensets(st.integers(0, 6)))
users_ = built(PamUser, name=st.uuids().map(str), corp=st.builds(ObjectRef), priv=st.builds(ObjectRef))
groups_ = built(PamGroup, name=st.uuids().map(str))
roles_ = built(Role, name=st.uuids().map(str), window=st.none() | windows)
requests_ = built(Request, attempts=numbers, votes=st.lists(st.builds(Vote), max_size=3).map(tuple))


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(group=groups_, role=roles_, request=requests_, user=users_)
def test_whatever_the_domain_can_say_comes_back_the_same(
    store: SqlStore, group: PamGroup, role: Role, request: Request, user: PamUser
) -> None:
    with store.write() as uow:
        uow.groups.add(group)
        uow.roles.add(role)
        uow.requests.add(request)
        uow.users.add(user)
        assert uow.groups.get(group.id) == group
        assert uow.roles.get(role.id) == role
        assert uow.requests.get(request.id) == request
        assert uow.users.get(user.id) == user
        assert uow.users.by_sid(user.corp.sid) == user
