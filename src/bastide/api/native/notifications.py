"""The channels that messages leave by."""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import get, post
from litestar.params import FromPath, JSONBody

from bastide.api.native.inputs import Body
from bastide.api.native.views import View
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases
from bastide.http.parts import needed
from bastide.services.notifications.channels import Standing
from bastide.wiring import Services
from bastide.wiring.notifications import Notifications

TAGS = ["notifications"]
_RIGHT = needs(Right.ADMINISTER)


class ChannelView(View, frozen=True, kw_only=True):
    """`failing_since`: nothing was taken since. `problem`: what was said the last time, while something waits. No view holds an address."""

    name: str
    people: bool
    events: list[str]
    roles: list[str]
    waiting: int
    sent_at: datetime | None
    failing_since: datetime | None
    problem: str


class Channels(View, frozen=True, kw_only=True):
    items: list[ChannelView]


class ChannelTest(Body, frozen=True, kw_only=True):
    """`to`: a mail address, for a channel to people; else empty."""

    to: Annotated[str, msgspec.Meta(max_length=320)] = ""


class ChannelTested(View, frozen=True, kw_only=True):
    """The channel took the message."""

    name: str


def _notifications(services: Services) -> Notifications:
    return needed(services.notifications, "notifications")


def _view(one: Standing) -> ChannelView:
    return ChannelView(
        name=one.channel.name,
        people=one.channel.people,
        events=sorted(occasion.value for occasion in one.channel.occasions),
        roles=sorted(one.channel.roles),
        waiting=one.waiting,
        sent_at=one.sent_at,
        failing_since=one.failing_since,
        problem=one.problem,
    )


@get("/notification-channels", opt=_RIGHT, sync_to_thread=True, tags=TAGS, summary="The channels")
def channels(actor: Caller, services: UseCases) -> Channels:
    """Who is told by which channel, and how each does."""
    return Channels(items=[_view(one) for one in _notifications(services).channels.all(actor)])


@post(
    "/notification-channels/{name:str}/tests",
    opt=_RIGHT,
    sync_to_thread=True,
    status_code=200,
    tags=TAGS,
    summary="Send a test message",
)
def run_test(
    actor: Caller, services: UseCases, name: FromPath[str], data: JSONBody[ChannelTest]
) -> ChannelTested:
    """One message, now. What the channel does not take is the problem target-unavailable, with what came back."""
    return ChannelTested(name=_notifications(services).channels.test(actor, name, data.to).name)


HANDLERS = [channels, run_test]
