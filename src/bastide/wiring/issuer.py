"""From the settings of the OIDC issuer to the adapter that reads its tokens. Imported only where there is one: it brings httpx and joserfc."""

import ssl
from datetime import timedelta

from bastide.clock import Clock
from bastide.config import ConfigError, Oidc
from bastide.domain.people import Forest
from bastide.oidc.keys import IssuerKeys
from bastide.oidc.tokens import Expected, IssuedTokens
from bastide.services.signin import Naming


def issuer_keys(settings: Oidc, clock: Clock) -> IssuerKeys:
    """Connects to nothing yet. Raises ConfigError."""
    return IssuerKeys(
        settings.issuer,
        _trust(settings.ca_file),
        life=timedelta(minutes=settings.keys_minutes),
        monotonic=clock.monotonic,
    )


def issued_tokens(settings: Oidc, clock: Clock) -> IssuedTokens:
    """Connects to nothing yet. Raises ConfigError."""
    factors = (one.partition("=") for one in settings.second_factor)
    expected = Expected(
        issuer=settings.issuer,
        audience=settings.audience,
        applications=frozenset(settings.applications),
        claim=settings.claim,
        naming=Naming(settings.account),
        second_factor=tuple((claim, value) for claim, _, value in factors),
    )
    keys = issuer_keys(settings, clock)
    return IssuedTokens(expected, keys, forest=Forest(settings.forest), now=clock.now)


def _trust(ca: str) -> ssl.SSLContext:
    """The authorities of one file, or the system's."""
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        raise ConfigError(f"oidc.ca_file: {ca} holds no certificate that can be read: {error}") from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
