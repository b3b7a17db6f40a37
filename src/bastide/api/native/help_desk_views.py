"""What the routes of the help desk take and answer. A password that was made here is in one answer, once; no other field holds one."""

from datetime import datetime
from typing import Annotated

from msgspec import Meta

from bastide.api.native.inputs import Body, SecretBody
from bastide.api.native.views import View
from bastide.domain.help_desk import Method, Verification
from bastide.domain.management_agents import CsId
from bastide.domain.passwords import Code, State
from bastide.services.help_desk.desk import REASON_LIMIT, Given, Known, Seat, SetOrder, Shown
from bastide.services.passwords.at_once import Answer
from bastide.services.passwords.person import Ordered, Outcome

_ID = Annotated[str, Meta(max_length=64)]
_Accounts = Annotated[list[_ID], Meta(min_length=1, max_length=100, description="Ids of the accounts.")]
_Password = Annotated[str, Meta(max_length=512)]
_Reason = Annotated[str, Meta(max_length=REASON_LIMIT)]

#: The return codes of MIIS_CSObject (pcns-mim.md, section 6). What is not there has no equal in MIM, and goes by our own name.
RETURN_CODES = {
    Code.SUCCESS: "success",
    Code.DENIED: "access-denied",
    Code.CREDENTIALS: "ma-credentials-failure",
    Code.INSECURE: "ma-encryption-not-enabled",
    Code.SET_UNSUPPORTED: "ma-feature-not-supported",
    Code.NOT_CONFIGURED: "ma-feature-not-supported",
    Code.NOT_ENABLED: "ma-feature-not-supported",
    Code.POLICY: "new-password-violate-policy",
}


class VerificationIn(Body, frozen=True, kw_only=True):
    """How the caller shows who it is."""

    method: Method


class ProofIn(SecretBody, frozen=True, kw_only=True):
    """What the caller read out."""

    code: Annotated[str, Meta(min_length=1, max_length=64)]


class SetIn(SecretBody, frozen=True, kw_only=True):
    """`password` empty: one is made, and is in the answer. `verification`: the id of a verified one."""

    accounts: _Accounts
    password: _Password = ""
    must_change: bool = True
    unlock: bool = True
    verification: _ID = ""
    reason: _Reason = ""

    def order(self) -> SetOrder:
        """As the use case takes it."""
        return SetOrder(
            accounts=tuple(map(CsId, self.accounts)),
            password=self.password,
            must_change=self.must_change,
            unlock=self.unlock,
            verification=self.verification,
            reason=self.reason,
        )


class ChangeIn(SecretBody, frozen=True, kw_only=True):
    """With the old password."""

    accounts: _Accounts
    old: _Password
    new: _Password
    reason: _Reason = ""


class UnlockIn(Body, frozen=True, kw_only=True):
    """Without a password."""

    accounts: _Accounts
    reason: _Reason = ""


class KnownView(View, frozen=True, kw_only=True):
    """A person, and the accounts as `AGENT: DN`."""

    id: str
    name: str
    accounts: list[str]


class Found(View, frozen=True, kw_only=True):
    items: list[KnownView]


class SeatView(View, frozen=True, kw_only=True):
    """An account. `locked` and so on are null where its system does not say. `hindrance`: why its password cannot be set; the others likewise."""

    id: str
    agent: str
    dn: str
    link: str
    because: str
    locked: bool | None
    disabled: bool | None
    must_change: bool | None
    set_at: datetime | None
    hindrance: str
    change_hindrance: str
    unlock_hindrance: str


class ShownView(View, frozen=True, kw_only=True):
    """`out_of_reach`: why nothing can be done here. `methods`: by which the caller can be verified."""

    id: str
    name: str
    out_of_reach: str
    methods: list[str]
    accounts: list[SeatView]


class VerificationView(View, frozen=True, kw_only=True):
    """`route`: `registered` or `directory`, where a code that was sent went; empty: none was sent. `differs`: the directory's address is not the `registered` one, or not
    the one that the last code went to (`before`); empty: nothing is known to differ.
    """

    id: str
    person: str
    name: str
    method: str
    stage: str
    until: datetime
    route: str
    differs: str


class OutcomeView(View, frozen=True, kw_only=True):
    """`return_code`: as MIIS_CSObject would say it; empty: the account has not been tried."""

    account: str
    agent: str
    dn: str
    state: str
    code: str
    return_code: str
    attempts: int
    words: str


class OperationView(View, frozen=True, kw_only=True):
    """`over`: nothing is on its way any more."""

    id: str
    person: str
    name: str
    change_type: str
    time: datetime
    performed_by: str
    reason: str
    over: bool
    outcomes: list[OutcomeView]


class GivenView(View, frozen=True, kw_only=True):
    """`password`: the one that was made here, shown this once; empty: it was typed."""

    operation: str
    password: str

    def __repr__(self) -> str:
        return f"GivenView({self.operation})"


class History(View, frozen=True, kw_only=True):
    items: list[OperationView]


class AnswerView(View, frozen=True, kw_only=True):
    account: str
    agent: str
    dn: str
    code: str
    return_code: str
    detail: str


class Answers(View, frozen=True, kw_only=True):
    items: list[AnswerView]


def known(one: Known) -> KnownView:
    return KnownView(id=one.id, name=one.name, accounts=[f"{agent}: {dn}" for agent, dn in one.accounts])


def shown(one: Shown) -> ShownView:
    return ShownView(
        id=one.person.id,
        name=one.name,
        out_of_reach=one.out_of_reach,
        methods=[method.value for method in one.methods],
        accounts=[_seat(seat) for seat in one.seats],
    )


def verification(one: Verification) -> VerificationView:
    return VerificationView(
        id=one.id,
        person=one.person,
        name=one.name,
        method=one.method.value,
        stage=one.stage.value,
        until=one.until,
        route="" if one.route is None else one.route.value,
        differs="" if one.differs is None else one.differs.value,
    )


def given(one: Given) -> GivenView:
    return GivenView(operation=one.operation, password=one.password)


def operation(one: Ordered) -> OperationView:
    return OperationView(
        id=one.id,
        person=one.person,
        name=one.name,
        change_type=one.purpose.value.upper(),
        time=one.at,
        performed_by=one.by,
        reason=one.reason,
        over=one.over,
        outcomes=[_outcome(each) for each in one.outcomes],
    )


def answer(one: Answer) -> AnswerView:
    return AnswerView(
        account=one.account,
        agent=one.agent,
        dn=one.dn,
        code=one.result.code.value,
        return_code=return_code(one.result.code),
        detail=one.result.detail,
    )


def return_code(code: Code) -> str:
    """Of MIM, where it has one."""
    return RETURN_CODES.get(code, code.value)


def _seat(seat: Seat) -> SeatView:
    account, look = seat.account, seat.look
    return SeatView(
        id=account.object.id,
        agent=account.agent,
        dn=account.object.dn,
        link=account.object.link.value,
        because=account.object.because,
        locked=look.locked,
        disabled=look.disabled,
        must_change=look.must_change,
        set_at=look.set_at,
        hindrance=account.hindrance,
        change_hindrance=account.change_hindrance,
        unlock_hindrance=account.unlock_hindrance,
    )


def _outcome(one: Outcome) -> OutcomeView:
    return OutcomeView(
        account=one.account,
        agent=one.agent,
        dn=one.dn,
        state=one.state.value,
        code=one.code.value if one.code else "",
        return_code=return_code(one.code) if one.code and one.state is not State.CLEARED else "",
        attempts=one.attempts,
        words=one.words,
    )
