"""Requests of a time, for those who count: page by page, so that no transaction is long."""

from collections.abc import Iterator
from datetime import datetime

from bastide.domain.requests import Place, Request
from bastide.services.ports import Store

PAGE = 500


def requests_since(store: Store, since: datetime) -> Iterator[Request]:
    """Those that were made since, newest first."""
    before: Place | None = None
    while True:
        with store.read() as uow:
            page = uow.requests.history(user=None, limit=PAGE, before=before)
        for request in page:
            if request.created_at < since:
                return
            yield request
        if len(page) < PAGE:
            return
        before = Place(page[-1].created_at, page[-1].id)
