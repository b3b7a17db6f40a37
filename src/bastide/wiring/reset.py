"""From the table [reset] of the settings to the use cases of self-service reset."""

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bastide.config import Config, ConfigError, secret_path
from bastide.domain.people import Forest
from bastide.domain.reset.gates import Gate
from bastide.domain.webauthn import RelyingParty, relying_party
from bastide.domain.wording import Language
from bastide.notify.program import ProgramTexts
from bastide.sections import Reset as Table
from bastide.services.help_desk.ports import Settings as Reach
from bastide.services.help_desk.tier import Tier
from bastide.services.notifications.ports import Notifier
from bastide.services.ports import CodeHasher, Directory, Random, Sealer, Store
from bastide.services.reset.administer import Administration
from bastide.services.reset.courier import Courier
from bastide.services.reset.everywhere import JoinedAccounts
from bastide.services.reset.journey import Journey
from bastide.services.reset.people import People, directory_of
from bastide.services.reset.ports import (
    Breached,
    Everywhere,
    NamedRule,
    PasswordTimes,
    PolicyReader,
    Settings,
    Texts,
)
from bastide.services.reset.register import Registrations
from bastide.services.reset.register_keys import ResetKeys
from bastide.services.reset.registered import Registered
from bastide.services.reset.rules import NewPasswords
from bastide.services.signin import PasswordChecker
from bastide.store.breached import RangeFiles
from bastide.store.keys import read_key
from bastide.wiring.passwords import Passwords

_WORDS_MOST = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ResetAdapters:
    """What self-service reset touches besides store, directory and connected systems, and what the settings say of it."""

    settings: Settings
    notifier: Notifier
    policies: PolicyReader
    times: PasswordTimes
    texts: Texts | None = None
    breached: Breached | None = None
    language: Language = Language.ENGLISH


@dataclass(frozen=True, slots=True)
class ResetServices:
    """The use cases. `courier`: the job that sends. `pace`: what an answer takes."""

    journey: Journey
    registrations: Registrations
    keys: ResetKeys
    administration: Administration
    courier: Courier
    settings: Settings


def assemble_reset(
    adapters: ResetAdapters,
    *,
    store: Store,
    forests: Mapping[Forest, Directory],
    passwords: Passwords,
    checker: PasswordChecker,
    sealer: Sealer,
    hasher: CodeHasher,
    random: Random,
    party: RelyingParty | None,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
) -> ResetServices:
    """Wire them."""
    settings, directory = adapters.settings, directory_of(forests)
    people = _people(settings, store=store, forests=forests, now=now)
    rules = _rules(adapters, directory)
    everywhere = JoinedAccounts(
        store=store,
        person=passwords.person,
        at_once=passwords.at_once,
        times=adapters.times,
        domain=settings.domain,
    )
    registered = Registered(people=people, passwords=checker, sealer=sealer)
    registrations = Registrations(
        store=store,
        registered=registered,
        sealer=sealer,
        hasher=hasher,
        random=random,
        settings=settings,
        texts=adapters.texts is not None,
        now=now,
    )
    courier = _courier(adapters, store=store, directory=directory, people=people, everywhere=everywhere, sealer=sealer, random=random, now=now, jitter=jitter)  # fmt: skip
    administration = Administration(store=store, people=people, registered=registered, passwords=rules, settings=settings, now=now)  # fmt: skip
    return ResetServices(
        journey=Journey(
            store=store,
            people=people,
            passwords=rules,
            everywhere=everywhere,
            sealer=sealer,
            hasher=hasher,
            random=random,
            settings=settings,
            party=party,
            now=now,
        ),
        registrations=registrations,
        keys=ResetKeys(
            store=store, registered=registered, sealer=sealer, random=random, party=party, now=now
        ),
        administration=administration,
        courier=courier,
        settings=settings,
    )


def _people(
    settings: Settings, *, store: Store, forests: Mapping[Forest, Directory], now: Callable[[], datetime]
) -> People:
    """They are judged as by the help desk."""
    reach = Reach(own_names=settings.own, guarded=settings.guarded)
    tier = Tier(store=store, forests=forests, settings=reach)
    return People(store=store, directory=directory_of(forests), tier=tier, settings=settings, now=now)


def _courier(
    adapters: ResetAdapters,
    *,
    store: Store,
    directory: Directory,
    people: People,
    everywhere: Everywhere,
    sealer: Sealer,
    random: Random,
    now: Callable[[], datetime],
    jitter: Callable[[], float],
) -> Courier:
    return Courier(
        store=store,
        directory=directory,
        people=people,
        everywhere=everywhere,
        notifier=adapters.notifier,
        texts=adapters.texts,
        sealer=sealer,
        random=random,
        settings=adapters.settings,
        language=adapters.language,
        now=now,
        jitter=jitter,
    )


def _rules(adapters: ResetAdapters, directory: Directory) -> NewPasswords:
    return NewPasswords(
        directory=directory,
        policies=adapters.policies,
        breached=adapters.breached,
        banned=adapters.settings.banned,
    )


def reset_adapters(
    config: Config, notifier: Notifier | None, policies: PolicyReader, times: PasswordTimes
) -> ResetAdapters | None:
    """None: the settings have no such table. Raises ConfigError, StoreUnavailable."""
    table = config.reset
    if table is None or notifier is None or config.notifications is None:
        return None
    return ResetAdapters(
        settings=_settings(config, table),
        notifier=notifier,
        policies=policies,
        times=times,
        texts=ProgramTexts(Path(table.text_program)) if table.text_program else None,
        breached=breached_of(table),
        language=Language(config.notifications.language),
    )


def breached_of(table: Table) -> RangeFiles | None:
    """None: there is no list of lost passwords."""
    return RangeFiles(Path(table.breached)) if table.breached else None


def _settings(config: Config, table: Table) -> Settings:
    """Raises ConfigError, StoreUnavailable."""
    if any("key" in one.gates for one in table.rules) and relying_party(config.server.url) is None:
        raise ConfigError("reset.rules: the gate key needs a host name in server.url: browsers use security keys nowhere else")  # fmt: skip
    key = read_key(secret_path(config.keys.master))
    principals = [config.priv.principal]
    if config.priv.preparer is not None:
        principals.append(config.priv.preparer.principal)
    return Settings(
        domain=(config.corp or config.priv).domain.rstrip(".").casefold(),
        home=config.server.url.rstrip("/"),
        rules=tuple(
            NamedRule(
                gates=tuple(map(Gate, one.gates)),
                groups=tuple(one.groups),
                cooling=timedelta(hours=one.cooling_hours),
            )
            for one in table.rules
        ),
        excluded=tuple(table.excluded),
        guarded=guarded_groups(config),
        own=frozenset(one.partition("@")[0].casefold() for one in principals),
        mail=table.mail,
        questions=tuple(table.questions),
        wanted=table.questions_registered,
        asked=table.questions_asked,
        pattern=table.answer_pattern,
        permanent_after=table.permanent_after,
        mails_per_day=table.mails_per_day,
        texts_per_day=table.texts_per_day,
        banned=banned_words(table),
        secret=hmac.digest(key, b"bastide reset: names of nobody", "sha256"),
    )


def guarded_groups(config: Config) -> tuple[str, ...]:
    """Whose members nobody helps and nobody resets: groups that give rights here, and those that [help_desk] protects."""
    rights, table = config.rights, config.help_desk
    named = [*rights.administrators, *rights.auditors, *rights.approvers]
    if table is not None:
        named += [*table.browse, *table.set, *table.protected]
    return tuple(dict.fromkeys(named))


def banned_words(table: Table) -> tuple[str, ...]:
    """What no new password holds. Raises ConfigError."""
    path = table.banned_words
    if not path:
        return ()
    try:
        file = Path(path)
        if file.stat().st_size > _WORDS_MOST:
            raise ConfigError(f"reset.banned_words: {path} is larger than 1 MiB")
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"reset.banned_words: {path} cannot be read: {error}") from None
    return tuple(line.strip() for line in lines if line.strip() and not line.startswith("#"))
