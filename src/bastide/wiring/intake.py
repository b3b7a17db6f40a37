"""From the table [intake] of the settings to those who take events in, judge them and show them."""

import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.config import Config, ConfigError, secret_path
from bastide.domain.observed_lines import Format
from bastide.domain.people import Forest
from bastide.sections import EventSource, Intake
from bastide.services.intake.accept import Accept
from bastide.services.intake.judge import Judge
from bastide.services.intake.ports import Source
from bastide.services.intake.report import PrivilegedChanges
from bastide.services.ports import Directory, Store


@dataclass(frozen=True, slots=True)
class IntakeAdapters:
    """What the settings say of sources. `own`: forest to the names of the accounts that Bastide signs in with."""

    sources: tuple[Source, ...]
    late: timedelta
    own: Mapping[Forest, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class IntakeServices:
    """The use cases."""

    sources: tuple[Source, ...]
    accept: Accept
    judge: Judge
    changes: PrivilegedChanges


def assemble_intake(
    adapters: IntakeAdapters,
    *,
    store: Store,
    forests: Mapping[Forest, Directory],
    now: Callable[[], datetime],
    jitter: Callable[[], float],
) -> IntakeServices:
    """Wire them."""
    sources = adapters.sources
    return IntakeServices(
        sources=sources,
        accept=Accept(store=store, late=adapters.late, now=now),
        judge=Judge(store=store, sources=sources, forests=forests, own=adapters.own, now=now, jitter=jitter),
        changes=PrivilegedChanges(store=store, sources=sources, now=now),
    )


def intake_adapters(config: Config, own: Sequence[str]) -> IntakeAdapters | None:
    """None: the settings have no such table. `own`: names of PRIV accounts that Bastide signs in with."""
    table = config.intake
    if table is None:
        return None
    return IntakeAdapters(
        tuple(map(_source, table.sources)), timedelta(minutes=table.late_minutes), {Forest.PRIV: own}
    )


def intake_tls(table: Intake, certificate: str, key: str) -> ssl.SSLContext:
    """What the door shows, and whom it believes. `certificate`, `key`: the server's. Raises ConfigError."""
    try:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=table.ca)
        context.load_cert_chain(certificate, secret_path(key))
    except OSError as error:
        raise ConfigError(f"intake.ca, server.certificate or server.key cannot be used: {error}") from None
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _source(one: EventSource) -> Source:
    return Source(
        name=one.name,
        format=Format(one.format),
        subject=one.subject.lower(),
        computers=frozenset(name.casefold() for name in one.computers),
        complete=one.complete,
        silence=timedelta(minutes=one.silence_minutes),
    )
