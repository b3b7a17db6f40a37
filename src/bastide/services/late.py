"""A worker that wrote to the directory after its claim was lost: it was asleep, and for it no time had passed. No directory asks for a fence.

What it wrote was right when it was planned. Meanwhile another node may have ended the same grant and read back that it is gone; then this write has opened it
again, and nobody would look. So, in order:

  (1) Whoever cannot settle what it wrote remembers it, until (2) is committed; also when the database does not answer.
  (2) In one commit: what is over and was opened by that write goes back to Closing, with a record that says so; what is not over moves on by a version, so that
      whoever works on it reads back anew, and an active one is written and read back once more. The account is poked. Requests are never deleted: a database
      that does not know one of them came back from an earlier time (recovery.py).
  (3) The ordinary steps do the rest, under a claim and with a read-back (grants.py).
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime

from bastide.domain import requests
from bastide.domain.errors import BastideError, NotFound
from bastide.domain.ids import RequestId, UserId
from bastide.domain.requests import OPEN, Request, State
from bastide.services.cases import Case
from bastide.services.events import by_worker
from bastide.services.pace import ACCOUNT, LINK
from bastide.services.ports import Store, UnitOfWork
from bastide.services.recovery import begin

_log = logging.getLogger(__name__)


class Late:
    """What this node wrote and could not settle."""

    def __init__(self, *, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._owed: dict[UserId, set[RequestId]] = defaultdict(set)

    @contextmanager
    def watched(self, cases: Sequence[Case]) -> Iterator[None]:
        """(1). What is raised goes on."""
        try:
            yield
        except BastideError:
            for case in cases:
                self._owed[case.user.id] |= case.opens
            raise
        for case in cases:
            self.settled(case.user.id)

    def settled(self, user: str) -> None:
        """The claim was given back: it held until then."""
        self._owed.pop(UserId(user), None)

    def mend(self) -> None:
        """(2). Raises StoreError; then it is still owed."""
        if not self._owed:
            return
        with self._store.write() as uow:
            now = self._now()
            for user, opened in self._owed.items():
                open_now = uow.requests.of_users([user], OPEN)
                known = [*_known(uow, opened)]
                if len(known) < len(opened):
                    begin(uow, now, cause="it lacks access that was written to the directory")
                over = [r for r in known if r.state not in OPEN]
                for before in (*open_now, *over):
                    self._once_more(uow, before, now)
                uow.work.poke(ACCOUNT, user, now)
            uow.commit()
        self._owed.clear()

    @staticmethod
    def _once_more(uow: UnitOfWork, before: Request, now: datetime) -> None:
        after = uow.requests.save(requests.once_more(before))
        if after.state is before.state:
            return
        _log.warning("request %s was over, and a late write opened it: it is ended again", before.id)
        data = {"from": before.state.value, "role": before.role_name}
        uow.audit.append(
            by_worker(
                "request.late-write",
                now,
                subject=before.requester,
                subject_name=before.user_name,
                request=before.id,
                data=data,
            )
        )
        if after.state is State.CLOSING:
            uow.work.poke_many(
                LINK, {group.id: now for group in uow.groups.many(after.privileges) if group.needs_link}
            )


def _known(uow: UnitOfWork, ids: set[RequestId]) -> Iterator[Request]:
    for request_id in sorted(ids):
        with suppress(NotFound):
            yield uow.requests.get(request_id)
