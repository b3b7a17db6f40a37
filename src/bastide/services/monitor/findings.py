"""What stands is kept, what is new is said, and what is over as well: each once. By name, where the name is known (domain/names.py)."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from bastide.domain.drift import OF_OBJECTS, Drift, Finding, Rules
from bastide.domain.ids import Sid
from bastide.domain.names import sids_in, spelled
from bastide.domain.people import Forest
from bastide.services.events import by_worker
from bastide.services.ports import UnitOfWork

#: Why a repair that nobody refused is said to have failed.
NO_AVAIL = "the directory refused nothing, and it is as it was; a member whose primary group it is must be given another primary group first"


def settle(
    uow: UnitOfWork,
    side: Forest,
    found: Iterable[Drift],
    rules: Rules,
    now: datetime,
    names: Mapping[Sid, str] = MappingProxyType({}),
) -> tuple[Finding, ...]:
    """In this commit. Returns what stands in the domain. A rule whose action was changed counts from now on; a name that was known once goes on."""
    known = {one.key: one for one in uow.monitored.findings() if one.drift.domain is side}
    standing: dict[str, Finding] = {}
    changed: list[Finding] = []
    for drift in found:
        old = known.get(drift.key)
        called = {**({} if old is None else old.names), **_of(drift, names)}
        said = replace(drift, reason=spelled(drift.reason, called), remedy=spelled(drift.remedy, called))
        new = replace(rules.judge(said, now), names=called)
        if old is not None:
            new = replace(old, drift=said, action=new.action, owner=new.owner, names=called)
        elif drift.key not in standing:
            on_drift("drift.found", uow, new, now)
        if new != old:
            changed.append(new)
        standing[drift.key] = new
    uow.monitored.keep(changed)
    over = known.keys() - standing.keys()
    instead = {
        (one.drift.rule, one.drift.guid): key for key, one in standing.items() if one.drift.rule in OF_OBJECTS
    }
    for key in sorted(over):
        new_key = instead.get((known[key].drift.rule, known[key].drift.guid))
        if new_key is not None:
            on_drift("drift.changed", uow, known[key], now, instead=new_key)
            continue
        mended = known[key].tried is not None and known[key].wrong in {"", NO_AVAIL}
        on_drift("drift.repaired" if mended else "drift.gone", uow, known[key], now)
    uow.monitored.drop(over)
    return tuple(standing.values())


def _of(drift: Drift, names: Mapping[Sid, str]) -> Mapping[Sid, str]:
    return {sid: names[sid] for sid in sids_in(drift.reason, drift.remedy) if sid in names}


def on_drift(kind: str, uow: UnitOfWork, finding: Finding, now: datetime, **more: object) -> None:
    """The record of a drift: found, put right, over, accepted, or not put right."""
    drift = finding.drift
    data: dict[str, object] = {
        "rule": drift.rule.value,
        "domain": drift.domain.value,
        "object": drift.name,
        "owner": finding.owner,
        "reason": drift.reason,
        "remedy": drift.remedy,
        "action": finding.action.value,
        "drift": drift.key,
        **more,
    }
    uow.audit.append(by_worker(kind, now, subject=drift.guid, subject_name=drift.name, data=data))
