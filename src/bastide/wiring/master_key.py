"""Whether keys.master is the key that sealed what is there. Asked before the service starts: else the first person with a code finds out."""

from collections import Counter

from bastide.config import Config, secret_path
from bastide.domain.errors import StoreUnavailable
from bastide.store.keys import HOW_TO_MAKE, load_sealer
from bastide.store.sealed import sealed_by
from bastide.wiring.database import database_url, vault_url


def sealed_values(config: Config) -> Counter[str]:
    """How many values of database and vault each master key has sealed, by its id; without what keys.lost gives up.

    Raises StoreUnavailable, StoreBusy, StoreError, ConfigError.
    """
    found = sealed_by(database_url(config))
    if config.passwords is not None:
        found += sealed_by(vault_url(config.passwords))
    return Counter({id_: number for id_, number in found.items() if id_ not in config.keys.lost})


def check_master_key(config: Config, sealed: Counter[str], user: int | None = None) -> int:
    """How many values it opens, of those in `sealed`. `user`: the uid whose file it may be, beside root; None: ours.

    Raises StoreUnavailable for a file that holds no key, and for a key that leaves a value closed.
    """
    try:
        at_hand = load_sealer([secret_path(config.keys.master)], user).ids
    except StoreUnavailable as error:
        if not sealed or error.remedy != HOW_TO_MAKE:
            raise
        raise StoreUnavailable(error.message, remedy=put_back(sealed)) from error
    closed = Counter({id_: number for id_, number in sealed.items() if id_ not in at_hand})
    if closed:
        raise StoreUnavailable(
            f"keys.master is the key {', '.join(sorted(at_hand))}, which does not open {closed.total()} sealed values: "
            f"they were sealed with {', '.join(sorted(closed))}",
            remedy=put_back(closed),
        )
    return sealed.total()


def put_back(sealed: Counter[str]) -> str:
    """What to do where values were sealed with another key. A new one would open none of them."""
    ids = sorted(sealed)
    return (
        f"put the master key {' or '.join(ids)} back at keys.master, from where its copy is kept; if it is lost for ever, keys.lost gives up what it "
        "sealed (docs/operations/keys.md)"
    )
