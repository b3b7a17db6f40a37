"""Everything that the settings name on this machine: keys, databases of their own, channels, the issuer. Kerberos and TLS have checks of their own."""

import os
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bastide.config import (
    Config,
    ConfigError,
    Metrics,
    Oidc,
    Passwords,
    secret_path,
)
from bastide.domain.counted import counted
from bastide.domain.errors import BastideError
from bastide.domain.health import Category, Finding
from bastide.health.check import PATIENT, Check, Need
from bastide.health.look import CREDENTIAL, Problem, good, is_open, look, owner_of, secret
from bastide.health.world import World
from bastide.sections import AlertDestination, Alerts, NotificationChannel, Notifications, Reset

#: What `bastide keys generate` makes, and does not overwrite.
_KEY_FILES = ("master.key", "signing.key", "signing.pub")
_OPENPGP_FILES = ("openpgp.key", "openpgp.pgp")
_HOW_TO_MONITOR = (
    "`openssl rand -hex 32` makes one: write it into that file, mode 0600 (docs/operations/monitoring.md)"
)
_HOW_TO_NAME = "write one address into it, as in mailtos://user:password@mail.example.com, mode 0600, or set notifications.channels.url"
_HOW_TO_RESET = "docs/how-to/self-service-reset.md says what it has to be"
_HOW_TO_BAN = "write one word into each line of it, in UTF-8, or leave reset.banned_words out"
_HOW_TO_ALERT = "write one address into it, as in mailtos://user:password@mail.example.com?to=ops@example.com, mode 0600, or set alerts.destinations.url"


def settings(world: World) -> Iterator[Finding]:
    """There is a world, so they could be read."""
    yield good("settings", f"{world.file} is well-formed")


def keys(world: World) -> Iterator[Finding]:
    """The master key, which must open what is sealed, and the audit's signing key."""
    config = world.config
    sealed = _sealed(config)
    for name, made in (("master", _KEY_FILES), ("signing", _KEY_FILES[1:] + _KEY_FILES[:1])):
        reference = getattr(config.keys, name)
        remedy = f"{_generate('', reference, made)}, or set keys.{name}"
        if name == "master" and sealed:  # a new key would open nothing of that
            remedy = _put_back(sealed)
        found = secret(f"keys: {name}", reference, remedy)
        if is_open(found):
            found = _or_made(look(found.key, partial(_key, config, name, sealed), remedy), remedy)
        yield found


def _or_made(found: Finding, remedy: str) -> Finding:
    """With a remedy that says where a new key belongs, where a new key is all that helps."""
    from bastide.store.keys import HOW_TO_MAKE  # noqa: PLC0415  # cryptography takes its time

    return replace(found, remedy=remedy) if found.remedy == HOW_TO_MAKE else found


def _sealed(config: Config) -> Counter[str] | None:
    """How many values each master key has sealed; None: database or vault cannot be read, which their own checks say."""
    from bastide.wiring.master_key import sealed_values  # noqa: PLC0415  # SQLAlchemy takes its time

    try:
        return sealed_values(config)
    except (BastideError, ConfigError, ImportError, OSError):
        return None


def _put_back(sealed: Counter[str]) -> str:
    from bastide.wiring.master_key import put_back  # noqa: PLC0415  # SQLAlchemy takes its time

    return put_back(sealed)


def _key(config: Config, name: str, sealed: Counter[str] | None) -> str:
    """As the service loads it at its start."""
    from bastide.store.keys import Ed25519Signer, read_key, read_public_key  # noqa: PLC0415  # cryptography takes its time
    from bastide.wiring.master_key import check_master_key  # noqa: PLC0415

    path = secret_path(getattr(config.keys, name))
    user = owner_of(path)
    if name == "signing":
        Ed25519Signer(read_key(path, user), [read_public_key(Path(other)) for other in config.keys.trusted])
        return str(path)
    opened = check_master_key(config, Counter() if sealed is None else sealed, user)
    if sealed is None:
        return f"{path}; not compared with what is sealed: the database cannot be read"
    return f"{path} fits the {opened} sealed values" if opened else f"{path}; nothing is sealed yet"


def _generate(option: str, reference: str, made: Sequence[str]) -> str:
    """What makes a key file, the first of those that `bastide keys generate` makes there, and where it then belongs."""
    command = f"`bastide keys generate {option}--to"
    if reference.startswith(CREDENTIAL):
        name = reference.removeprefix(CREDENTIAL)
        return f"{command} DIR` makes {made[0]}: put it where LoadCredential={name} of the unit looks"
    path = Path(reference)
    if any(os.path.lexists(path.parent / name) for name in made):
        return f"{command} NEW-DIR` makes {made[0]}: put it at {path}"
    here = f"{command} {shlex.quote(str(path.parent))}` makes"
    return f"{here} it" if path.name == made[0] else f"{here} {made[0]}: rename it {path.name}"


def passwords(world: World) -> Iterator[Finding]:
    """The OpenPGP keys that domain controllers encrypt to, and the vault."""
    table = world.config.passwords
    if table is None:
        return
    found = [
        secret(
            f"passwords: OpenPGP key {name}",
            name,
            f"{_generate('--openpgp ', name, _OPENPGP_FILES)}, or set passwords.openpgp",
        )
        for name in table.openpgp
    ]
    yield from found
    if all(map(is_open, found)):
        yield look(
            "passwords: OpenPGP",
            lambda: _openpgp(table.openpgp),
            "`bastide keys generate --openpgp` makes good keys",
        )
    yield look("passwords: vault", lambda: _vault(table), "set passwords.vault; no backup may hold it")


def _openpgp(names: Sequence[str]) -> str:
    from bastide.store.openpgp import load_opener  # noqa: PLC0415  # heavy, and only here

    load_opener([secret_path(name) for name in names])
    return f"{len(names)} can be used"


def _vault(table: Passwords) -> str:
    """A check makes nothing, least of all as root."""
    from bastide.store.sealed import waiting  # noqa: PLC0415  # SQLAlchemy takes its time
    from bastide.wiring.database import vault_url  # noqa: PLC0415

    number = waiting(vault_url(table))
    return "it is made when the service starts" if number is None else f"{number} changes are on their way"


def channels(world: World) -> Iterator[Finding]:
    """The channels of notifications, as far as they can be judged without a connection: nothing is sent."""
    table = world.config.notifications
    if table is None:
        return
    for one in table.channels:
        found = secret(f"notifications: {one.name}", one.url, _HOW_TO_NAME)
        if is_open(found):
            found = look(found.key, partial(_channel, table, one), _HOW_TO_NAME)
        yield found


def _channel(table: Notifications, one: NotificationChannel) -> str:
    from bastide.wiring.notifications import notifier_of  # noqa: PLC0415  # SQLAlchemy takes its time

    path = secret_path(one.url)
    notifier = notifier_of(table, owner_of(path))
    if problem := notifier.problem(one.name):
        raise Problem(f"the address in {path} cannot be used: {problem}", remedy=_HOW_TO_NAME)
    if one.people and not notifier.is_mail(one.name):
        raise Problem(
            f"people = true, but the address in {path} is not one of a mail server", remedy=_HOW_TO_NAME
        )
    return f"{path} can be used; `bastide notify test {one.name}` sends a message"


def destinations(world: World) -> Iterator[Finding]:
    """Where alerts go and by which rules, as far as that shows without a connection: nothing is sent."""
    table = world.config.alerts
    if table is None:
        return
    yield look("alerts: rules", partial(_rules, table))
    for one in table.destinations:
        if one.syslog:
            yield good(f"alerts: {one.name}", f"{one.syslog}; `bastide alert test {one.name}` sends one")
            continue
        found = secret(f"alerts: {one.name}", one.url, _HOW_TO_ALERT)
        if is_open(found):
            found = look(found.key, partial(_destination, table, one), _HOW_TO_ALERT)
        yield found


def _rules(table: Alerts) -> str:
    from bastide.wiring.alerts import alert_policy  # noqa: PLC0415  # SQLAlchemy takes its time

    rules = alert_policy(table).rules
    return f"{sum(rule.enabled for rule in rules)} of {len(rules)} rules are on"


def _destination(table: Alerts, one: AlertDestination) -> str:
    from bastide.wiring.alerts import address_reader  # noqa: PLC0415  # SQLAlchemy takes its time

    path = secret_path(one.url)
    if problem := address_reader(table, owner_of(path)).problem(one.name):
        raise Problem(f"the address in {path} cannot be used: {problem}", remedy=_HOW_TO_ALERT)
    return f"{path} can be used; `bastide alert test {one.name}` sends one"


def reset(world: World) -> Iterator[Finding]:
    """The program and the files of self-service reset; its mail goes by one of configuration.channels. No message is sent."""
    table = world.config.reset
    if table is None:
        return
    if table.text_program:
        master = world.config.keys.master
        yield look("reset: text_program", partial(_text_program, table.text_program, master), _HOW_TO_RESET)
    if table.banned_words:
        yield look("reset: banned_words", partial(_banned_words, table), _HOW_TO_BAN)
    if table.breached:
        yield look("reset: breached", partial(_breached, table))


def _banned_words(table: Reset) -> str:
    from bastide.wiring.reset import banned_words  # noqa: PLC0415  # SQLAlchemy takes its time

    found = counted(len(banned_words(table)), "word", "words")
    return f"{table.banned_words} holds {found}"


def _breached(table: Reset) -> str:
    """Whether it can be read at all; whether it is whole and not old says targets.lost-passwords."""
    from bastide.wiring.reset import breached_of  # noqa: PLC0415  # SQLAlchemy takes its time

    if (files := breached_of(table)) is not None:
        files.corpus()
    return f"{table.breached} can be read"


def _text_program(program: str, master: str) -> str:
    from bastide.notify.program import problem  # noqa: PLC0415  # needed where there is one

    if wrong := problem(Path(program), owner_of(secret_path(master))):
        raise Problem(wrong)
    return f"{program} can be started"


def issuer(world: World) -> Iterator[Finding]:
    """The issuer of tokens: it is asked for its keys."""
    table = world.config.oidc
    if table is not None:
        yield look("oidc: issuer", lambda: _issuer(table, world), "check oidc.issuer and oidc.ca_file")


def _issuer(table: Oidc, world: World) -> str:
    from bastide.wiring.issuer import issuer_keys  # noqa: PLC0415  # needed where there is one

    number = issuer_keys(table, world.clock).look()
    if not number:
        raise Problem("the issuer has no key for signatures that could be used")
    return f"{number} keys for signatures"


def metrics(world: World) -> Iterator[Finding]:
    """The token that monitoring shows."""
    table = world.config.metrics
    if table is None:
        return
    found = secret("metrics: token", table.token, _HOW_TO_MONITOR)
    if is_open(found):
        found = look(found.key, partial(_token, table), _HOW_TO_MONITOR)
    yield found


def _token(table: Metrics) -> str:
    from bastide.wiring.monitoring import metrics_token  # noqa: PLC0415  # needed where there is one

    metrics_token(table)
    return f"{table.token} holds a token"


CHECKS = (
    Check(
        id="configuration.settings",
        category=Category.CONFIGURATION,
        subject="the settings file",
        why="A mistyped safeguard would be no safeguard; without settings nothing starts.",
        run=settings,
    ),
    Check(
        id="configuration.keys",
        category=Category.CONFIGURATION,
        subject="master key and signing key",
        why="Without the master key no second factor and no password of a system can be opened; without the signing key no checkpoint is signed.",
        run=keys,
    ),
    Check(
        id="configuration.passwords",
        category=Category.CONFIGURATION,
        subject="OpenPGP keys and vault",
        why="Passwords that domain controllers encrypted can be opened with these keys alone.",
        run=passwords,
        needs=(Need.PASSWORDS,),
    ),
    Check(
        id="configuration.channels",
        category=Category.CONFIGURATION,
        subject="channels of notifications",
        why="Approvers who are not told do not answer.",
        run=channels,
    ),
    Check(
        id="configuration.alerts",
        category=Category.CONFIGURATION,
        subject="rules and destinations of alerts",
        why="An alert that reaches nobody is none.",
        run=destinations,
    ),
    Check(
        id="configuration.reset",
        category=Category.CONFIGURATION,
        subject="the program and the files of self-service reset",
        why="Without the program no code reaches a telephone, and whoever could change it would read every code; without a file that the settings name the service does not start, or no password can be set.",
        run=reset,
    ),
    Check(
        id="configuration.metrics",
        category=Category.CONFIGURATION,
        subject="the token of monitoring",
        why="Whoever guesses or reads it sees how many there are of everything; without it the service does not start.",
        run=metrics,
    ),
    Check(
        id="configuration.issuer",
        category=Category.CONFIGURATION,
        subject="the issuer of tokens",
        why="Without its keys nobody signs in with a token.",
        run=issuer,
        timeout=PATIENT,
    ),
)
