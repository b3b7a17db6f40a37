"""Privileged accounts against the baseline, and what an administrator mends of them with a ticket of their own. Looking, in order:

  (1) Who counts: PAM users, members of privileged groups (nested ones too), emergency accounts, Bastide's own accounts.
  (2) The facts of each, from its domain. What cannot be read is said, and so is a member of a privileged group that is not shown at all.
  (3) The rules (domain/baseline.py).

Mending, in order:

  (4) Only what the rules found and what was asked for; that it is going to be tried is in the audit before the directory is touched.
  (5) Each account is read again right before: what is so by now is left alone.
  (6) One account, one change; then it is read back: what still lacks it is said to have failed.
  (7) One audit record for each change that was tried, also for one that failed: the directory may have taken it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.audit import Event
from bastide.domain.baseline import Account, Change, Privileged, Standing, Weakness, weaknesses
from bastide.domain.census import Sort
from bastide.domain.errors import Conflict, DirectoryError, NotFound
from bastide.domain.health import Severity
from bastide.domain.ids import Sid
from bastide.services.baseline.ports import Census, Hardener
from bastide.services.cluster.ports import Caller
from bastide.services.ports import Store


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found, and what could not be looked at, each a sentence. `accounts`: how many were."""

    weaknesses: tuple[Weakness, ...]
    accounts: int
    problems: tuple[str, ...]

    @property
    def failed(self) -> bool:
        """Whether a program that asks must hear no."""
        return any(one.severity.is_error for one in self.weaknesses) or bool(self.problems)


@dataclass(frozen=True, slots=True)
class Mended:
    """What became of one change; `problem` empty: it was made, and read back, or (`already`) was so by then."""

    account: Account
    change: Change
    problem: str = ""
    already: bool = False


class Baseline:
    """The use case. `own`: names of Bastide's own accounts by domain."""

    def __init__(
        self,
        *,
        store: Store,
        censuses: Mapping[str, Census],
        own: Mapping[str, Collection[str]],
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._censuses = censuses
        self._own = own
        self._now = now

    def look(self, *, smart_cards: bool = False, instead: Census | None = None) -> Seen:
        """All domains, or only that of `instead`, as whoever that is. Raises StoreError; what the directory refuses is a problem in the answer."""
        wanted = self._censuses if instead is None else {instead.domain: instead}
        found: list[Weakness] = []
        problems = [] if wanted else ["no directory can be asked here"]
        number = 0
        for domain, directory in wanted.items():
            try:
                privileged, unseen = self._privileged(domain, directory)
            except DirectoryError as error:
                problems.append(f"{domain} could not be looked at: {error.message}")
                continue
            problems += unseen
            number += len(privileged)
            found += [one for who in privileged for one in weaknesses(who, smart_cards=smart_cards)]
        return Seen(tuple(sorted(found, key=_order)), number, tuple(problems))

    def mend(self, directory: Hardener, wanted: Sequence[Weakness], *, policy: str) -> Iterator[Mended]:
        """(4) to (7), one after the other. `policy`: the authentication policy of the settings. Raises StoreError, Conflict if that is not what `look` found."""
        for one in wanted:
            if one.change is None or one.account.domain != directory.domain:
                raise Conflict(f"{one.rule} of {one.account.name} is nothing that is mended here")
        caller = directory.caller()
        asked = [f"{one.account.name}: {one.change.value}" for one in wanted if one.change is not None]
        self._baseline_event(
            "baseline.asked", caller, None, {"changes": asked, "domain": directory.domain}
        )  # (4)
        # Protected Users ends RC4 and delegation as well: last, so that the others are made and not only covered.
        for one in sorted(wanted, key=lambda one: one.change is Change.PROTECT):
            if one.change is None:
                continue
            mended = self._mend(directory, one.account, one.change, policy)
            if not mended.already:
                said: dict[str, object] = {"change": one.change.value, "domain": one.account.domain}
                if mended.problem:
                    self._baseline_event(
                        "baseline.failed", caller, one.account, {**said, "problem": mended.problem}
                    )
                else:
                    self._baseline_event("baseline.fixed", caller, one.account, said)  # (7)
            yield mended

    def _baseline_event(
        self, kind: str, caller: Caller, account: Account | None, data: Mapping[str, object]
    ) -> None:
        sid, name = (account.sid, account.name) if account is not None else ("", "")
        with self._store.write() as uow:
            uow.audit.append(
                Event(
                    kind,
                    self._now(),
                    caller.sid,
                    caller.name,
                    subject=sid,
                    subject_name=name,
                    data={**data, "via": "ticket"},
                )
            )
            uow.commit()

    def _mend(self, directory: Hardener, account: Account, change: Change, policy: str) -> Mended:
        """(5), (6)."""
        try:
            if not _lacks(directory, account.sid, change):
                return Mended(account, change, already=True)
            directory.apply(account.sid, change, policy)
            if _lacks(directory, account.sid, change):
                return Mended(account, change, "the directory took it, and does not show it")
        except DirectoryError as error:
            return Mended(account, change, error.message)
        return Mended(account, change)

    def _privileged(self, domain: str, directory: Census) -> tuple[tuple[Privileged, ...], list[str]]:
        """(1), (2): who counts, and a sentence for each that is not shown."""
        reasons: dict[Sid, dict[str, Standing]] = {}
        with self._store.read() as uow:
            users, groups, envelopes = uow.users.all(), uow.groups.all(), uow.envelopes.current()
        for user in users:
            reasons.setdefault(user.priv.sid, {})[f"PAM user {user.name}"] = Standing.PAM_USER
        for envelope in envelopes:
            reasons.setdefault(envelope.account, {})["emergency account"] = Standing.EMERGENCY
        for name in self._own.get(domain, ()):
            try:
                reasons.setdefault(directory.find(name), {})["account of Bastide"] = Standing.SERVICE
            except NotFound:
                continue
        unseen: dict[Sid, str] = {}
        for seat in directory.seats([group.corp.sid for group in groups]):
            through = f" through {' > '.join(seat.path)}" if seat.path else ""
            if seat.sort is Sort.HIDDEN:
                said = f"{seat.member} of {domain} is a member of {seat.group_name}{through} and is not shown to us: nobody knows what it lacks"
                unseen.setdefault(seat.member, said)
            if seat.sort is Sort.PERSON:
                reasons.setdefault(seat.member, {})[f"member of {seat.group_name}{through}"] = Standing.MEMBER
        accounts = directory.accounts(list(reasons))
        found = tuple(
            Privileged(accounts[sid], frozenset(why.values()), tuple(why))
            for sid, why in reasons.items()
            if sid in accounts
        )
        return found, list(unseen.values())


def _lacks(directory: Census, sid: Sid, change: Change) -> bool:
    """Whether the account, as it is now, lacks what the change gives. Raises DirectoryError."""
    found = directory.accounts([sid]).get(sid)
    if found is None:
        raise DirectoryError(f"the account {sid} is gone")
    now = weaknesses(Privileged(found, frozenset({Standing.MEMBER}), ()), smart_cards=True)
    return any(one.change is change for one in now)


def _order(one: Weakness) -> tuple[int, str, str]:
    """The worst first; what is no problem last."""
    return (
        -one.severity.weight if one.severity is not Severity.OK else 1,
        one.account.name.casefold(),
        one.rule,
    )
