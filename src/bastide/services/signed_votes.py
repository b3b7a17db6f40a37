"""What approvers signed is read again before access begins: who can write into the database can raise a length, swap an approver or make up
a vote, and cannot sign it. For a request that is about to be opened, in order:

  (1) A key that signed opens as it was sealed when it was registered, and was registered for the account that voted.
  (2) That account is none of the person who asked, and no person counts twice.
  (3) The signature is by that key, for our address, with somebody verified, over the digest of the request as it is now.
  (4) Where the role demands signatures, every stage has its number of approvals that are signed, by people who are its approvers now.
  (5) The end is no later than the length that was signed.
  (6) It begins soon after the last vote could be given, or after the start that was signed: what was used is not used again.

What has begun is looked at too when it is to end later (5): nobody extends what needs approval.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from bastide.domain import requests, signatures, webauthn
from bastide.domain.errors import DirectoryError, MfaRefused, NotFound, StoreError
from bastide.domain.ids import GroupId, Sid
from bastide.domain.people import Demand, PamUser
from bastide.domain.requests import Decision, Request, State, Vote
from bastide.domain.roles import PamGroup, Role, Stage
from bastide.domain.webauthn import Assertion, RelyingParty
from bastide.services.cases import Case
from bastide.services.ports import Directory, Sealer

_Groups = Mapping[GroupId, PamGroup]


class SignedVotes:
    """Reads signatures again."""

    def __init__(self, *, sealer: Sealer, party: RelyingParty | None, forests: Sequence[Directory]) -> None:
        self._sealer = sealer
        self._party = party
        self._forests = forests

    def look(self, cases: Sequence[Case], groups: _Groups, now: datetime) -> None:
        """Notes for each case which of its requests may not be opened, and why."""
        for case in cases:
            for request in case.requests:
                role = case.roles.get(request.role)
                if not _opens(request, now) or not _concerned(request, role):
                    continue
                if any(group not in groups for group in request.privileges):  # cases.cannot says so
                    continue
                try:
                    cause = self.refusal(request, role, case.user, groups, now)
                except DirectoryError as error:
                    case.problem = error
                    continue
                if cause:
                    case.forged[request.id] = cause

    def refusal(
        self, request: Request, role: Role | None, user: PamUser, groups: _Groups, now: datetime
    ) -> str:
        """Why the votes do not carry the request; empty: they do. Raises DirectoryError."""
        if signatures.longer_than_signed(request):  # (5)
            return "its end is later than what was signed"
        signed: list[tuple[Vote, frozenset[Sid]]] = []
        for vote in request.votes:
            if vote.signature is None:
                continue
            try:
                accounts = self._accounts(vote, request, user, groups)
            except (MfaRefused, StoreError) as error:
                return f"the signed vote of {vote.name} does not hold: {error.message}"
            if any(accounts & others for _, others in signed):  # (2)
                return f"{vote.name} is counted twice"
            signed.append((vote, accounts))
        if signed and signatures.begins_too_late(request, _voted(request, role), now):  # (6)
            return "it was approved too long ago to begin now"
        return self._too_few(role, signed) if role is not None else ""

    def _too_few(self, role: Role, signed: Sequence[tuple[Vote, frozenset[Sid]]]) -> str:
        """(4). Raises DirectoryError."""
        if role.approval_factor is Demand.ANY:
            return ""
        if not role.stages:
            return f"{role.name} names nobody who could have approved"
        for stage in role.stages:
            agreed = [a for v, a in signed if v.stage == stage.name and v.decision is Decision.APPROVE]
            good = sum(self._approves(stage, accounts) for accounts in agreed)
            if good < stage.needed:
                return f"{good} of {stage.needed} approvals that stage {stage.name} needs are signed by its approvers"
        return ""

    def _accounts(self, vote: Vote, request: Request, user: PamUser, groups: _Groups) -> frozenset[Sid]:
        """Whose key signed, after (1) to (3). Raises MfaRefused, StoreError."""
        seal = vote.signature
        if seal is None or self._party is None:
            raise MfaRefused("server.url is not set, so no signature can be checked")
        accounts, public_key = signatures.unpack(
            self._sealer.open(seal.key_sealed, signatures.seal_context(seal.key))
        )
        if vote.voter not in accounts:  # (1)
            raise MfaRefused("the key was registered for somebody else")
        if accounts & user.sids:  # (2)
            raise MfaRefused("the person who asked cannot approve")
        challenge = signatures.digest(
            request,
            user=user,
            groups=[groups[g] for g in request.privileges],
            voter=vote.voter,
            name=vote.name,
            stage=vote.stage,
            decision=vote.decision,
            reason=vote.reason,
            nonce=seal.nonce,
            until=seal.until,
        )
        said = Assertion(seal.credential, seal.authenticator_data, seal.client_data, seal.signature)
        webauthn.check(self._party, said, challenge, public_key)  # (3)
        return accounts

    def _approves(self, stage: Stage, accounts: frozenset[Sid]) -> bool:
        """By an account of theirs, or by a group that one is in now. Raises DirectoryError."""
        named = {subject.sid for subject in stage.approvers}
        if named & accounts:
            return True
        if not any(subject.is_group for subject in stage.approvers):
            return False
        return any(named & self._groups_of(account) for account in accounts)

    def _groups_of(self, account: Sid) -> frozenset[Sid]:
        found: frozenset[Sid] = frozenset()
        for forest in self._forests:
            try:
                found |= forest.find_caller(account)[1]
            except NotFound:
                continue
        return found


def _voted(request: Request, role: Role | None) -> datetime:
    """When the last vote was given at the latest. What nobody signed says so only where it counts."""
    seals = [vote.signature for vote in request.votes if vote.signature is not None]
    said = [seal.until for seal in seals]
    if role is None or role.approval_factor is Demand.ANY:
        said += [vote.at for vote in request.votes if vote.signature is None]
    return max(said)


def _opens(request: Request, now: datetime) -> bool:
    """It is to be opened, or to stay open for longer."""
    if request.state is State.ACTIVE:
        return request.extend_to is not None
    return requests.advance(request, now).state is State.PROCESSING


def _concerned(request: Request, role: Role | None) -> bool:
    return any(vote.signature is not None for vote in request.votes) or (
        role is not None and role.approval_factor is not Demand.ANY
    )
