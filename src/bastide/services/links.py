"""The CORP side of PAM groups that a foreign principal carries: there while a grant uses the group, gone otherwise.

Taking the link away is what cuts new CORP tickets even from old TGTs, so it is not kept for convenience. In order:

  (1) Say in the database that it is changing, before it is touched: no grant is confirmed by it, and none is ended by its absence.
  (2) Write it, or take it away, on every reachable CORP domain controller.
  (3) Read it back from each of them.
  (4) Say that it is there (or gone), and wake the accounts that wait for it.

A grant that arrives between (1) and (4) pokes this work again, and is confirmed only after the link was seen again. Where the database and
every reachable controller agree already, nothing is touched and nothing is said: most pokes come from one more grant of a group in use.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from bastide.domain import requests
from bastide.domain.errors import (
    BastideError,
    Conflict,
    DirectoryError,
    DirectoryUnavailable,
    LostLease,
    NoSuchObject,
    NotFound,
)
from bastide.domain.ids import GroupId
from bastide.domain.requests import GRANTING, State
from bastide.domain.roles import Link, PamGroup
from bastide.services.events import announce, by_worker
from bastide.services.pace import ACCOUNT, DENIED_LIMIT, LINK, delay
from bastide.services.ports import Directory, Store, UnitOfWork, Work

_log = logging.getLogger(__name__)


class Links:
    """The worker's side of the links."""

    def __init__(
        self, *, store: Store, corp: Directory, now: Callable[[], datetime], jitter: Callable[[], float]
    ) -> None:
        self._store = store
        self._corp = corp
        self._now = now
        self._jitter = jitter

    def run(self, works: Sequence[Work]) -> None:
        """Bring the CORP side of these PAM groups to what the grants want. Raises LostLease, StoreError."""
        for work in works:
            try:
                self._run_link(work)
            except DirectoryUnavailable as error:
                self._retry_link(work, error)
            except DirectoryError as error:
                self._link_refused(work, error)
            except (Conflict, NotFound) as error:
                self._retry_link(work, error)
            except LostLease:
                self._look_again(work)
                raise

    def _look_again(self, work: Work) -> None:
        """What was written after the claim was lost may be what nobody wants any more; whoever has the claim next compares."""
        with self._store.write() as uow:
            uow.work.poke(LINK, work.key, self._now())
            uow.commit()

    def _run_link(self, work: Work) -> None:
        if self._as_it_should_be(work):
            with self._store.write() as uow:
                uow.work.finish(work, None)
                uow.commit()
            return
        with self._store.write() as uow:
            group = uow.groups.get(GroupId(work.key))
            wanted = uow.requests.using_group(group.id, GRANTING)
            if group.link is not Link.CHANGING:
                group = uow.groups.save(replace(group, link=Link.CHANGING))  # (1)
                uow.commit()
        shown = self._corp.observe_link(group.corp, group.priv.sid)
        if not _shows(shown, wanted=wanted):
            if wanted:  # (2)
                self._corp.add_members(group.corp, [group.priv.sid])
            else:
                self._corp.remove_members(group.corp, [group.priv.sid])
            shown = self._corp.observe_link(group.corp, group.priv.sid)  # (3)
        with self._store.write() as uow:
            now = self._now()
            if _shows(shown, wanted=wanted):
                self._settled(
                    uow, uow.groups.get(group.id), wanted=wanted, controllers=sorted(shown), now=now
                )  # (4)
                uow.work.finish(work, None)
            else:
                uow.work.retry(
                    work, now + delay(self._jitter, work.attempts), "waiting for the CORP side to show it"
                )
            uow.commit()

    def _as_it_should_be(self, work: Work) -> bool:
        """Whether there is nothing to do: the PAM group is gone, or its link is what is wanted, in the database and on each controller.

        Whoever changes what is wanted after this look pokes this work, so that it looks again.
        """
        with self._store.read() as uow:
            try:
                group = uow.groups.get(GroupId(work.key))
            except NotFound:
                return True
            wanted = uow.requests.using_group(group.id, GRANTING)
        if group.link is not (Link.PRESENT if wanted else Link.ABSENT):
            return False
        return _shows(self._corp.observe_link(group.corp, group.priv.sid), wanted=wanted)

    @staticmethod
    def _settled(
        uow: UnitOfWork, group: PamGroup, *, wanted: bool, controllers: list[str], now: datetime
    ) -> None:
        uow.groups.save(replace(group, link=Link.PRESENT if wanted else Link.ABSENT))
        kind = "link.present" if wanted else "link.absent"
        uow.audit.append(
            by_worker(
                kind, now, subject=group.corp.sid, subject_name=group.name, data={"controllers": controllers}
            )
        )
        waiting = uow.requests.in_states({State.PROCESSING, State.CLOSING})
        uow.work.poke_many(ACCOUNT, {r.user: now for r in waiting if group.id in r.privileges})

    def _retry_link(self, work: Work, error: BastideError) -> None:
        _log.warning("link of %s: %s", work.key, error.message)
        with self._store.write() as uow:
            uow.work.retry(work, self._now() + delay(self._jitter, work.attempts), error.message)
            uow.commit()

    def _link_refused(self, work: Work, error: BastideError) -> None:
        """The CORP side said no. Waiting activations fail once it is sure; a group that is gone carries nothing any more."""
        is_gone = isinstance(error, NoSuchObject) and work.attempts >= DENIED_LIMIT
        with self._store.write() as uow:
            now = self._now()
            moving = [
                r
                for r in uow.requests.in_states({State.PROCESSING, State.CLOSING})
                if work.key in r.privileges
            ]
            for before in moving:
                if before.state is State.PROCESSING and (is_gone or work.attempts >= DENIED_LIMIT):
                    after = uow.requests.save(
                        requests.fail(before, f"the CORP side refused: {error.message}", now)
                    )
                    uow.audit.append(*announce(before, after, now))
                    uow.work.poke(ACCOUNT, before.user, now)
            if is_gone:
                uow.groups.save(replace(uow.groups.get(GroupId(work.key)), link=Link.ABSENT))
                uow.work.poke_many(ACCOUNT, {r.user: now for r in moving})
                uow.work.finish(work, None)
            else:
                uow.work.retry(work, now + delay(self._jitter, work.attempts), error.message)
            uow.commit()


def _shows(shown: Mapping[str, bool | None], *, wanted: bool) -> bool:
    """On every controller that has the group."""
    asked = [there for there in shown.values() if there is not None]
    return bool(asked) and all(there is wanted for there in asked)
