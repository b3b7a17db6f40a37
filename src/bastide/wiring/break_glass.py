"""Emergency accounts: the use cases of a node."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from bastide.services.break_glass.accounts import EmergencyAccounts
from bastide.services.break_glass.ports import EmergencyDirectory, EmergencyReader, PasswordProof
from bastide.services.break_glass.seal import Sealing
from bastide.services.break_glass.watch import Watch
from bastide.services.ports import CodeHasher, Random, Store
from bastide.store.shares import WordShares


@dataclass(frozen=True, slots=True)
class BreakGlassAdapters:
    """What looks at the accounts, by domain: the service account. `drill_after`: how old a drill may be."""

    readers: Mapping[str, EmergencyReader] = field(default_factory=dict)
    drill_after: timedelta = timedelta(days=180)


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakGlass:
    """`sealing` takes the domain as the administrator reaches it."""

    accounts: EmergencyAccounts
    watch: Watch
    sealing: Callable[[EmergencyDirectory, PasswordProof], Sealing]


def assemble_break_glass(
    adapters: BreakGlassAdapters,
    *,
    store: Store,
    hasher: CodeHasher,
    random: Random,
    now: Callable[[], datetime],
) -> BreakGlass:
    """Wire the use cases to these adapters."""
    sharing = WordShares()

    def sealing(directory: EmergencyDirectory, proof: PasswordProof) -> Sealing:
        return Sealing(
            store=store,
            directory=directory,
            watcher=adapters.readers.get(directory.domain),
            proof=proof,
            sharing=sharing,
            hasher=hasher,
            random=random,
            now=now,
            wait=time.sleep,
        )

    return BreakGlass(
        accounts=EmergencyAccounts(
            store=store,
            readers=adapters.readers,
            sharing=sharing,
            hasher=hasher,
            now=now,
            drill_after=adapters.drill_after,
        ),
        watch=Watch(store=store, readers=adapters.readers, now=now),
        sealing=sealing,
    )
