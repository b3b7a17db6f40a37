"""What each domain controller knows by itself: locks, and passwords that it has not heard of yet.

A lock (`lockoutTime`) stands where the wrong passwords were typed until it is replicated, and their count (`badPwdCount`) is replicated never ([MS-ADA1] 2.58). An
unlock that one controller is told changes nothing where that one knows of no lock, so the lock comes back with its higher version; and elsewhere the next slip
locks again. So:

  (1) All controllers are asked side by side. One that did not answer is not asked again by the same target, and no answer of another than the first is waited for longer than `network_timeout`.
  (2) One that refuses our sign-in is left alone for five minutes: it may not know our own new password yet, and each try could lock our own account.
  (3) A lock is taken away on each of them. That is a success where one took it; those that did not are named.
  (4) An account is locked where one of them says so. For the rest counts the first that knows the account.
  (5) A change whose old password the first one calls wrong is asked of the one with the newest `pwdLastSet`, if that is newer than the first one's, and only where a wrong
      password would not lock the account. Any other second try with the same old password could lock it.
"""

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from bastide.directory.session import Session
from bastide.domain.errors import DirectoryError, TargetDenied, TargetError, TargetUnavailable
from bastide.domain.passwords import Code
from bastide.services.passwords.ports import Look, Result
from bastide.targets.ldap_connection import hang_up

Lost = TargetError | DirectoryError
_T = TypeVar("_T")
_THREADS = 16
#: Seconds.
LEFT_ALONE = 300.0


class EachController:
    """The controllers of one open target: the first, which it is signed in to, and the others, signed in to when they are needed first. `refusals`: controller to
    the moment until which it is left alone; it outlives the target.
    """

    def __init__(
        self,
        first: Session,
        names: Sequence[str],
        sign_in: Callable[[str], Session],
        refusals: MutableMapping[str, float],
        monotonic: Callable[[], float],
    ) -> None:
        self.first = first
        self._others = tuple(name for name in dict.fromkeys(names) if name != first.controller)
        self._sign_in = sign_in
        self._refusals = refusals
        self._monotonic = monotonic
        self._open: dict[str, Session] = {}
        self._lost: dict[str, Lost] = {}

    def close(self) -> None:
        for session in (self.first, *self._open.values()):
            hang_up(session)

    def on_each(self, action: Callable[[Session], _T]) -> dict[str, _T | Lost]:
        """(1) The first one's answer is the first. Raises what it came to there if there is an answer nowhere."""
        answers = self._ask((self.first.controller, *self._others), action)
        wrong = [one for one in answers.values() if isinstance(one, Lost)]
        if len(wrong) == len(answers):
            raise wrong[0]
        return answers

    def on_others(self, action: Callable[[Session], _T]) -> dict[str, _T | Lost]:
        """(1) Without the first one."""
        return self._ask(self._others, action)

    def session(self, name: str) -> Session:
        """Raises TargetUnavailable, TargetDenied."""
        if name == self.first.controller:
            return self.first
        if name not in self._open:
            self._open[name] = self._signed_in(name)
        return self._open[name]

    def _ask(self, names: Sequence[str], action: Callable[[Session], _T]) -> dict[str, _T | Lost]:
        def one(name: str) -> _T | Lost:
            if name in self._lost:
                return self._lost[name]
            try:
                return action(self.session(name))
            except (TargetError, DirectoryError) as error:
                if name != self.first.controller and isinstance(error, TargetUnavailable | TargetDenied):
                    self._lost[name] = error
                return error

        if len(names) <= 1:
            return {name: one(name) for name in names}
        with ThreadPoolExecutor(min(_THREADS, len(names)), thread_name_prefix="each-controller") as pool:
            return dict(zip(names, pool.map(one, names), strict=True))

    def _signed_in(self, name: str) -> Session:
        if self._monotonic() < self._refusals.get(name, float("-inf")):  # (2)
            raise TargetDenied(f"{name} refused our sign-in less than five minutes ago")
        try:
            session = self._sign_in(name)
        except TargetDenied:
            self._refusals[name] = self._monotonic() + LEFT_ALONE
            raise
        self._refusals.pop(name, None)
        return session


def unlocked(said: Mapping[str, Result | Lost]) -> Result:
    """(3) What an unlock of one account came to, by controller; at least one answered."""
    answers = [one for one in said.values() if isinstance(one, Result)]
    if all(one.code is not Code.SUCCESS for one in answers):
        return answers[0]
    return also(Result(Code.SUCCESS), said)


def also(result: Result, elsewhere: Mapping[str, Result | Lost]) -> Result:
    """(3) The same, with the controllers on which the lock was not taken away. One that does not know the account has no lock of it."""
    missed = {name: why for name, one in elsewhere.items() if (why := _not_taken(one))}
    if not missed:
        return result
    names, why = ", ".join(missed), next(iter(missed.values()))
    words = f"a lock may still stand on {names}: {why}"
    return replace(result, detail=f"{result.detail}; {words}" if result.detail else words)


def _not_taken(said: Result | Lost) -> str:
    if isinstance(said, Lost):
        return said.message
    fine = said.code in {Code.SUCCESS, Code.OBJECT_MISSING}
    return "" if fine else said.detail or said.code.value


def seen(looks: Sequence[Look]) -> Look:
    """(4) One account, as each controller shows it."""
    known = next((one for one in looks if one != Look()), Look())
    return replace(known, locked=True) if any(one.locked for one in looks) else known


def newest(set_at: Mapping[str, int | Lost]) -> str:
    """(5) The controller on which the password is newer than on the first; empty: none. By their `pwdLastSet`, 0 where there is none."""
    known = {name: one for name, one in set_at.items() if not isinstance(one, Lost)}
    first = next(iter(set_at))
    if first not in known:
        return ""
    best = max(known, key=lambda name: known[name])
    return best if known[best] > known[first] else ""
