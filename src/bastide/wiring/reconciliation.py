"""An administrator on the server doubts the database, or the directory: compared they are by the next node that works."""

from contextlib import closing
from datetime import datetime

from bastide.domain.errors import InvalidInput
from bastide.domain.ids import parse_text
from bastide.services.recovery import begin, reconciling
from bastide.store import migrations
from bastide.store.unit_of_work import SqlStore

_REASON_LIMIT = 400


def ask_for(url: str, reason: str, actor: str, now: datetime) -> bool:
    """Whether it begins anew: one was under way, and may have read already what is doubted. `actor`: who asks, as the system names them. Raises InvalidInput, StoreError."""
    text = parse_text("reason", reason, _REASON_LIMIT)
    if not text:
        raise InvalidInput("reason", "say why")
    migrations.check(url)
    with closing(SqlStore(url)) as store, store.write() as uow:
        anew = reconciling(uow) is not None
        begin(uow, now, cause=f"asked for by {actor}: {text}")
        uow.commit()
    return anew
