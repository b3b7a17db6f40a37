"""What auditors see of privileged changes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain.counted import counted
from bastide.domain.observed import Judged, Verdict
from bastide.domain.people import Actor, require_reader
from bastide.services.intake.ports import Source
from bastide.services.ports import Store

#: Of one report.
MOST = 10_000
_SPAN = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class Report:
    """`changes`: newest first. `notes`: what could not be seen, each a sentence."""

    since: datetime
    made_at: datetime
    changes: tuple[Judged, ...]
    notes: tuple[str, ...]


class PrivilegedChanges:
    """The use case. `sources`: those of the settings."""

    def __init__(self, *, store: Store, sources: tuple[Source, ...], now: Callable[[], datetime]) -> None:
        self._store = store
        self._sources = sources
        self._now = now

    def report(self, actor: Actor, since: datetime | None, *, unexplained: bool) -> Report:
        """Since 90 days ago if nothing is said. Raises NotAuthorized."""
        require_reader(actor)
        now = self._now()
        begin = since or now - _SPAN
        wanted = (Verdict.UNEXPLAINED,) if unexplained else tuple(Verdict)
        with self._store.read() as uow:
            told = uow.observed.since(begin, wanted, MOST + 1)
            heard = {one.name: one for one in uow.observed.stations()}
        notes = []
        for source in self._sources:
            one = heard.get(source.name)
            if one is None:
                notes.append(f"{source.name} was never heard")
            elif one.silent:
                notes.append(f"{source.name} is silent since {one.heard_at:%Y-%m-%d %H:%M} UTC")
            if one is not None and one.refused:
                lines = counted(one.refused, f"line of {source.name} was", f"lines of {source.name} were")
                notes.append(f"{lines} refused, the last because {one.refusal}")
        if len(told) > MOST:
            notes.append(f"there are more than {MOST}: say a later --since")
        return Report(begin, now, tuple(one for one in told[:MOST] if not one.unsure), tuple(notes))
