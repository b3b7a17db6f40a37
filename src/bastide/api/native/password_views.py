"""What the routes of password synchronization answer. No field holds a password, sealed or not."""

from datetime import datetime

from bastide.api.native.views import View
from bastide.domain.passwords import Delivery
from bastide.services.passwords.coverage import Coverage
from bastide.services.passwords.explain import Explanation
from bastide.services.passwords.queue import Item, Past
from bastide.services.passwords.switch import Status


class PasswordStatus(View, frozen=True, kw_only=True):
    """`restored`: the database is older than the vault remembers."""

    enabled: bool
    restored: bool
    waiting: int


class DeliveryView(View, frozen=True, kw_only=True):
    """One password on its way to one account, or at its end. `id` is the tracking id of the events."""

    id: str
    reference: str
    agent: str
    account: str
    dn: str
    changed_at: datetime
    created_at: datetime
    state: str
    attempts: int
    due: datetime | None
    code: str | None
    proof: str
    detail: str
    attempted_at: datetime | None
    shadow: bool
    retry_limit_reached: bool


class Deliveries(View, frozen=True, kw_only=True):
    items: list[DeliveryView]
    #: How many there are in all.
    total: int


class ChangeView(View, frozen=True, kw_only=True):
    """One notification, and what became of it at each target."""

    reference: str
    source: str
    domain: str
    user_guid: str
    account: str
    changed_at: datetime
    received_at: datetime
    controller: str
    origin: str
    attempt: int
    receipt: str
    deliveries: list[DeliveryView]


class Changes(View, frozen=True, kw_only=True):
    items: list[ChangeView]


class Cleared(View, frozen=True, kw_only=True):
    count: int


class StoryView(View, frozen=True, kw_only=True):
    reference: str
    changed_at: datetime
    received_at: datetime
    controller: str
    receipt: str
    summary: str
    targets: list[str]


class ExplanationView(View, frozen=True, kw_only=True):
    """In plain words: what would happen to a change now, and what happened to the last ones."""

    user: str
    standing: list[str]
    stories: list[StoryView]


class UncoveredView(View, frozen=True, kw_only=True):
    account: str
    user_guid: str
    changed_at: datetime
    controller: str


class ControllerGap(View, frozen=True, kw_only=True):
    controller: str
    users: int


class ContactView(View, frozen=True, kw_only=True):
    """The agent of one controller, up to a minute old. `waiting`, `oldest`: notifications in its queue and since when, as its last heartbeat said."""

    controller: str
    heard_at: datetime
    waiting: int
    oldest: datetime | None
    silent: bool


class CoverageView(View, frozen=True, kw_only=True):
    """Users whose password was changed since then, and for how many of them no notification came. `fresh`: may still be on its way."""

    domain: str
    since: datetime
    users: int
    covered: int
    fresh: int
    uncovered: list[UncoveredView]
    by_controller: list[ControllerGap]
    #: Controllers that were ever heard.
    contacts: list[ContactView]


class CoverageAnswer(View, frozen=True, kw_only=True):
    items: list[CoverageView]


def status(found: Status) -> PasswordStatus:
    """As an answer; so the others below."""
    return PasswordStatus(enabled=found.enabled, restored=found.restored, waiting=found.waiting)


def item(found: Item) -> DeliveryView:
    one: Delivery = found.delivery
    return DeliveryView(
        id=one.id,
        reference=one.reference,
        agent=found.agent,
        account=found.account,
        dn=one.dn,
        changed_at=one.stamp.changed_at,
        created_at=one.created_at,
        state=one.state.value,
        attempts=one.attempts,
        due=one.due,
        code=one.code.value if one.code else None,
        proof=one.proof.value,
        detail=one.detail,
        attempted_at=one.attempted_at,
        shadow=one.shadow,
        retry_limit_reached=one.retry_limit_reached,
    )


def change(found: Past) -> ChangeView:
    one = found.change
    return ChangeView(
        reference=one.reference,
        source=found.source,
        domain=one.domain,
        user_guid=one.user_guid,
        account=one.account,
        changed_at=one.stamp.changed_at,
        received_at=one.received_at,
        controller=one.controller,
        origin=one.origin,
        attempt=one.attempt,
        receipt=one.receipt.value,
        deliveries=[item(each) for each in found.items],
    )


def explanation(found: Explanation) -> ExplanationView:
    stories = [
        StoryView(
            reference=one.reference,
            changed_at=one.changed_at,
            received_at=one.received_at,
            controller=one.controller,
            receipt=one.receipt.value,
            summary=one.summary,
            targets=list(one.targets),
        )
        for one in found.stories
    ]
    return ExplanationView(user=found.user, standing=list(found.standing), stories=stories)


def coverage(found: Coverage) -> CoverageView:
    return CoverageView(
        domain=found.domain,
        since=found.since,
        users=found.users,
        covered=found.covered,
        fresh=found.fresh,
        uncovered=[
            UncoveredView(
                account=one.account,
                user_guid=one.user_guid,
                changed_at=one.changed_at,
                controller=one.controller,
            )
            for one in found.uncovered
        ],
        by_controller=[ControllerGap(controller=name, users=count) for name, count in found.by_controller],
        contacts=[
            ContactView(
                controller=one.host,
                heard_at=one.heard_at,
                waiting=one.waiting,
                oldest=one.oldest,
                silent=one.silent,
            )
            for one in found.contacts
        ],
    )
