"""Emergency accounts, for looking alone: sealing and opening are commands at a terminal."""

from datetime import datetime

from litestar import get

from bastide.api.native.views import View
from bastide.domain.break_glass import Envelope
from bastide.domain.people import Right
from bastide.http.door import needs
from bastide.http.handed import Caller, UseCases


class EnvelopeView(View, frozen=True, kw_only=True):
    """`state`: sealed, or used, with `why`. `looked_at`: when the worker looked at the account last."""

    account: str
    envelope: int
    state: str
    why: str
    threshold: int
    custodians: list[str]
    sealed_at: datetime
    sealed_by: str
    drilled_at: datetime | None
    looked_at: datetime | None


class EnvelopesView(View, frozen=True, kw_only=True):
    items: list[EnvelopeView]


@get(
    "/emergency-accounts",
    opt=needs(Right.ADMINISTER, also=Right.AUDIT),
    sync_to_thread=True,
    tags=["emergency accounts"],
    summary="The emergency accounts",
)
def list_emergency_accounts(actor: Caller, services: UseCases) -> EnvelopesView:
    """The envelope of each, as the database knows it. No secret is there to be shown."""
    return EnvelopesView(items=[_view(one) for one in services.break_glass.accounts.seen(actor)])


def _view(one: Envelope) -> EnvelopeView:
    return EnvelopeView(
        account=one.principal,
        envelope=one.number,
        state=one.state.value,
        why=one.why,
        threshold=one.threshold,
        custodians=list(one.custodians),
        sealed_at=one.sealed_at,
        sealed_by=one.sealer,
        drilled_at=one.drilled_at,
        looked_at=one.looked_at,
    )


HANDLERS = [list_emergency_accounts]
