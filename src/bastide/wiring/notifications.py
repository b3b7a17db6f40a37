"""From the table [notifications] of the settings to those who plan, send and look at messages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.config import Config, ConfigError, secret_path
from bastide.domain.errors import NotConfigured
from bastide.domain.notifications import Occasion
from bastide.domain.people import Forest
from bastide.domain.wording import Language
from bastide.notify.notifier import AppriseNotifier
from bastide.sections import NotificationChannel
from bastide.sections import Notifications as Table
from bastide.services.notifications.channels import Channels
from bastide.services.notifications.deliver import Deliver
from bastide.services.notifications.people import AddressBook
from bastide.services.notifications.plan import Plan
from bastide.services.notifications.ports import Channel, Notifier, Settings
from bastide.services.ports import Directory, Random, Store
from bastide.store.keys import read_guarded


@dataclass(frozen=True, slots=True)
class NotificationAdapters:
    """What notifications touch besides store and directory, and what the settings say of them."""

    notifier: Notifier
    settings: Settings


@dataclass(frozen=True, slots=True)
class Notifications:
    """The use cases. Each of `deliveries` is the job of one channel."""

    plan: Plan
    deliveries: tuple[Deliver, ...]
    channels: Channels


def assemble_notifications(
    adapters: NotificationAdapters,
    *,
    store: Store,
    forests: Mapping[Forest, Directory],
    random: Random,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
) -> Notifications:
    """Wire them."""
    notifier, settings = adapters.notifier, adapters.settings
    book = AddressBook(store=store, forests=forests, now=now)
    return Notifications(
        plan=Plan(store=store, settings=settings, now=now),
        deliveries=tuple(
            Deliver(
                store=store,
                notifier=notifier,
                book=book,
                channel=channel,
                settings=settings,
                now=now,
                jitter=jitter,
            )
            for channel in settings.channels
        ),
        channels=Channels(store=store, notifier=notifier, settings=settings, random=random, now=now),
    )


def notification_adapters(config: Config) -> NotificationAdapters | None:
    """None: the settings have no such table. No address is read yet: a channel that is broken keeps no service from starting."""
    table = config.notifications
    if table is None:
        return None
    settings = Settings(
        channels=tuple(map(_channel, table.channels)),
        home=config.server.url.rstrip("/"),
        lead=timedelta(minutes=table.ending_minutes),
        language=Language(table.language),
    )
    return NotificationAdapters(notifier_of(table), settings)


def notifier_of(table: Table, user: int | None = None) -> AppriseNotifier:
    """`user`: the uid whose files they may be, beside root; None: ours."""
    return AppriseNotifier({one.name: guarded_reader(one.url, user) for one in table.channels}, ca=table.ca)


def _channel(one: NotificationChannel) -> Channel:
    return Channel(
        name=one.name,
        people=one.people,
        occasions=frozenset(map(Occasion, one.events)) or frozenset(Occasion),
        roles=frozenset(name.casefold() for name in one.roles),
    )


def guarded_reader(url: str, user: int | None) -> Callable[[], str]:
    """Reads an address out of the file or credential that a setting names, each time anew."""

    def read() -> str:
        """Raises StoreUnavailable, NotConfigured."""
        try:
            return read_guarded(secret_path(url), user, called="address").decode()
        except ConfigError as error:
            raise NotConfigured(str(error)) from None
        except UnicodeDecodeError:
            raise NotConfigured(f"{url} is not text") from None

    return read
