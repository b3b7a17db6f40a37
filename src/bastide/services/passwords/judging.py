"""Whether a notification is taken in: steps (1) to (6) of accept.py, decided by what a batch has read. Nothing is read or written here."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bastide.domain.management_agents import CsId, CsObject, PasswordSource
from bastide.domain.passwords import (
    DAY,
    Delivery,
    Own,
    Receipt,
    Stamp,
    echo,
    in_turn,
    out_of_order,
    tied,
    untied,
    written_before,
)
from bastide.services.passwords.batch import JOINED, Batch
from bastide.services.passwords.own_accounts import not_whom
from bastide.services.passwords.ports import SourceState
from bastide.services.passwords.told import Case, guid_of, stamp_of
from bastide.wire import Notification

#: Seconds that an agent is asked to wait.
LONG, SOON = 60, 2
_TURNS = frozenset({Receipt.OUT_OF_DATE, Receipt.ECHO})
#: Those of these writes of ours that wrote the password of the notification.
Equal = Callable[[Sequence[Delivery]], tuple[Delivery, ...]]


def judge(batch: Batch, told: Notification, equal: Equal) -> Case:
    """What is found out about it, in the order of the steps. `equal` is asked only of what would be staged otherwise."""
    case = _judge_source(batch, told)
    if case.receipt is Receipt.TOO_OLD:
        return _too_old(batch, case)
    if not case.undecided or case.agent is None or case.agent.source is None:
        return case
    return _judge_object(batch, case, case.agent.source, equal)  # (6)


def _judge_source(batch: Batch, told: Notification) -> Case:
    agent = batch.source.agent  # (2)
    case = Case(batch.caller, told, stamp_of(told), batch.reference(told), agent=agent)
    if not batch.source.enabled:  # (1)
        return replace(case, later="password synchronization is switched off", delay=LONG)
    if (wrong := out_of_order(case.stamp, batch.now)) is not None:  # (3)
        return replace(case, receipt=wrong)
    if agent is None or agent.source is None or not agent.source.enabled or not agent.source.targets:
        return replace(case, receipt=Receipt.NOT_A_SOURCE)  # (4)
    if batch.is_known(case.reference):  # (5)
        return replace(case, receipt=Receipt.DUPLICATE)
    return case


def _judge_object(batch: Batch, case: Case, source: PasswordSource, equal: Equal) -> Case:
    found = batch.object(case.told.user_guid)
    if found is None:
        return replace(case, receipt=Receipt.NOT_IN_CS)
    stamp = Stamp(case.stamp.changed_at, case.stamp.revision, found.id)
    if found.mv is None or found.link not in JOINED:
        return replace(case, object=found, stamp=stamp, receipt=Receipt.NOT_JOINED)
    if wrong := not_whom(case.told.user_sid, found, source, batch.source.own_names):
        return replace(case, object=found, stamp=stamp, receipt=wrong)
    return _judge_order(batch, case, stamp, found, source, equal)


def _judge_order(
    batch: Batch, case: Case, stamp: Stamp, found: CsObject, source: PasswordSource, equal: Equal
) -> Case:
    """Echo, order, and what is left to ask then."""
    known, same = batch.state(found.id), batch.same(found)
    last, made = known.stamp if known else None, batch.made(same)
    origin = guid_of(case.told.origin)
    if last is not None and tied(stamp, last):
        stamp = untied(stamp, last, origin, batch.origin(found, last))
    own, echoes = echo(stamp, last, made, batch.now, origin)
    state = _counted(known, stamp, batch.now)
    if own is Own.ASK_LATER:
        later = "a password of ours is on its way to this account"
        return replace(case, object=found, stamp=stamp, state=state, same=same, later=later, delay=SOON)
    targets = batch.targets(found, source)
    receipt = Receipt.ECHO if own is Own.YES else _by_order(stamp, last, state, source, targets)
    if receipt is Receipt.STAGED and own is Own.COMPARE and (alike := equal(echoes)):
        receipt, echoes = Receipt.ECHO, alike
    if receipt is not Receipt.STAGED:
        targets = ()
    return replace(
        case,
        object=found,
        stamp=stamp,
        turn=in_turn(stamp, last, batch.whole(written_before(own, made, echoes))),
        state=state,
        same=same,
        echoes=echoes,
        receipt=receipt,
        targets=targets,
        names=tuple(batch.source.agents[one.ma].name for one in targets),
    )


def _by_order(
    stamp: Stamp, last: Stamp | None, state: SourceState, source: PasswordSource, targets: Sequence[CsObject]
) -> Receipt:
    if not stamp.newer_than(last):
        return Receipt.OUT_OF_DATE
    if source.daily_limit and state.count > source.daily_limit:
        return Receipt.DAILY_LIMIT
    return Receipt.STAGED if targets else Receipt.NO_TARGETS


def _counted(before: SourceState | None, stamp: Stamp, now: datetime) -> SourceState:
    """With this change counted. The stamp stays the last one known; staging.py moves it."""
    if before is None or not timedelta(0) <= now - before.day_began < DAY:
        return SourceState(before.stamp if before else stamp, now, 1)
    return SourceState(before.stamp, before.day_began, before.count + 1)


def _too_old(batch: Batch, case: Case) -> Case:
    """By AD's own counter this may be the newest change there is: then it is not thrown away."""
    if case.agent is None or not case.stamp.revision or batch.is_known(case.reference):
        return case
    found = batch.object(case.told.user_guid)
    if found is None:
        return case
    before = batch.state(found.id)
    known = before.stamp.revision if before else 0
    return replace(case, receipt=Receipt.OVERDUE) if case.stamp.revision > known else case


def may_be_staged(cases: Sequence[Case]) -> tuple[bool, ...]:
    """Which of these, judged each by itself, are to be staged, or may be when those before them count: a change of the same user may turn the order of the
    next one, or account for the write of ours that seemed to explain it.
    """
    named: set[CsId] = set()
    may: list[bool] = []
    for case in cases:
        again = case.object is not None and case.object.id in named
        may.append(case.receipt is Receipt.STAGED or (again and (bool(case.later) or case.receipt in _TURNS)))
        if case.object is not None:
            named.add(case.object.id)
    return tuple(may)
