"""From the table [help_desk] of the settings to its use cases."""

from collections.abc import Callable, Mapping
from datetime import datetime

from bastide.config import Config
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from bastide.services.factors import Factors
from bastide.services.help_desk.desk import HelpDesk
from bastide.services.help_desk.letters import Letters
from bastide.services.help_desk.orders import StillInReach
from bastide.services.help_desk.ports import Settings
from bastide.services.help_desk.post import Post, RegisteredContacts
from bastide.services.help_desk.rules import Rules
from bastide.services.help_desk.tier import Tier
from bastide.services.help_desk.verify import Verify
from bastide.services.notifications.people import AddressBook
from bastide.services.ports import CodeHasher, Directory, Random, Sealer, Store
from bastide.services.reset.people import People, directory_of
from bastide.services.reset.ports import PolicyReader
from bastide.services.reset.rules import NewPasswords
from bastide.wiring.notifications import NotificationAdapters
from bastide.wiring.passwords import Passwords
from bastide.wiring.reset import ResetAdapters, guarded_groups


def assemble_help_desk(
    settings: Settings,
    *,
    store: Store,
    forests: Mapping[Forest, Directory],
    policies: Mapping[Forest, PolicyReader],
    reset: ResetAdapters | None,
    passwords: Passwords,
    factors: Factors,
    notifications: NotificationAdapters | None,
    hasher: CodeHasher,
    sealer: Sealer,
    random: Random,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
) -> HelpDesk:
    """Wire it. Without notifications no code can be sent, and nobody is told. `reset`: its banned words, and its list of lost passwords, count here as well."""
    tier = Tier(store=store, forests=forests, settings=settings)
    post = None
    if notifications is not None:
        post = Post(
            notifier=notifications.notifier,
            language=notifications.settings.language,
            book=AddressBook(store=store, forests=forests, now=now),
            contacts=RegisteredContacts(store=store, sealer=sealer),
            text=None if reset is None or reset.texts is None else reset.texts.send,
            channels=settings.channels or _of_people(notifications),
        )
    verify = Verify(
        store=store,
        tier=tier,
        factors=factors,
        post=post,
        hasher=hasher,
        sealer=sealer,
        random=random,
        settings=settings,
        now=now,
    )
    return HelpDesk(
        store=store,
        tier=tier,
        rules=_rules(forests, policies, reset),
        verify=verify,
        letters=Letters(store=store, tier=tier, post=post, sealer=sealer, now=now, jitter=jitter),
        person=passwords.person,
        at_once=passwords.at_once,
        random=random,
        settings=settings,
        now=now,
    )


def order_rules(
    settings: Settings | None,
    *,
    store: Store,
    forests: Mapping[Forest, Directory],
    reset: ResetAdapters | None,
    now: Callable[[], datetime],
) -> StillInReach:
    """What is asked of an order once more, right before it is delivered. Also where neither table is there any more: an order of before may wait."""
    own, guarded = frozenset[str](), tuple[str, ...]()
    if settings is not None:
        own, guarded = settings.own_names, settings.guarded
    if reset is not None:
        own, guarded = own | reset.settings.own, tuple(dict.fromkeys((*guarded, *reset.settings.guarded)))
    tier = Tier(store=store, forests=forests, settings=Settings(own_names=own, guarded=guarded))
    if reset is None:
        return StillInReach(store=store, tier=tier, excluded=None)
    people = People(store=store, directory=directory_of(forests), tier=tier, settings=reset.settings, now=now)

    def excluded(account: Sid) -> str | None:
        found = people.of(account)
        return None if found is None else found.excluded

    return StillInReach(store=store, tier=tier, excluded=excluded)


def _of_people(notifications: NotificationAdapters) -> tuple[str, ...]:
    """Where no channel may carry a code, these carry the word of what was done, which holds none."""
    return tuple(one.name for one in notifications.settings.channels if one.people)


def _rules(
    forests: Mapping[Forest, Directory],
    policies: Mapping[Forest, PolicyReader],
    reset: ResetAdapters | None,
) -> Rules:
    return Rules(
        [
            NewPasswords(
                directory=forests[forest],
                policies=reader,
                breached=None if reset is None else reset.breached,
                banned=() if reset is None else reset.settings.banned,
            )
            for forest, reader in policies.items()
        ]
    )


def help_desk_settings(config: Config) -> Settings | None:
    """None: the settings have no such table."""
    table = config.help_desk
    if table is None:
        return None
    preparer = [] if config.priv.preparer is None else [config.priv.preparer.principal]
    principals = [one.casefold() for one in (config.priv.principal, *preparer)]
    return Settings(
        own_names=frozenset({*principals, *(one.partition("@")[0] for one in principals)}),
        guarded=guarded_groups(config),
        unverified=table.unverified,
        channels=tuple(table.code_channels),
    )
