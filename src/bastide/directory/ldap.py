"""Connections to the domain controllers of one domain.

Rules: sealed (SASL GSSAPI, at least 56 bits) or not at all; no controller whose clock differs from ours; every wait has an end; a controller
that did not answer is left alone for a few seconds and then tried by one call, so that it does not cost every call its time-out; a connection
that broke is opened again once. Only what is safe to repeat is repeated: searches and desired states, never the making of an object.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Protocol, TypeVar

import dns.exception
import dns.resolver
import ldap
import ldap.sasl

from bastide.directory.kerberos import Tickets
from bastide.directory.session import Session, door
from bastide.domain.errors import DirectoryDenied, DirectoryError, DirectoryUnavailable
from bastide.services.ports import Controller

_T = TypeVar("_T")
#: Least strength of the SASL layer: integrity alone is 1, anything that encrypts is 56 or more.
_SEALED = 56
#: As many as ask at the same time: the API's threads and the jobs. To sign in again takes 30 ms, in which no other thread runs (python-ldap).
_IDLE_PER_CONTROLLER = 16
_THREADS = 16
_LEAVE_ALONE = 5.0
_ASK_DNS_AGAIN = 60.0
#: A connection is opened anew after this, or earlier if its ticket ends earlier: AD hangs up when the ticket does.
_OLDEST = 900.0
#: What Kerberos allows too (RFC 4120, 1.6).
MOST_SKEW = timedelta(minutes=5)
#: A controller tells its clock in whole seconds: one that is off by all of MOST_SKEW can look this much nearer.
_READING = timedelta(seconds=1)


class NotReached(DirectoryUnavailable):
    """No connection came about: nothing was sent, so another controller may be asked even to make an object."""


class ClockApart(DirectoryUnavailable):
    """The clock of this machine and that of the controller are too far apart. `ahead`: how far the controller's is ahead of ours."""

    def __init__(self, message: str, ahead: timedelta, *, remedy: str) -> None:
        super().__init__(message, remedy=remedy)
        self.ahead = ahead


class Connect(Protocol):
    """Opens a bound connection. Returns it and the seconds for which it may be used."""

    def __call__(self, controller: str) -> tuple[Session, float]: ...


def clock_of(session: Session) -> datetime:
    """The controller's clock, in whole seconds: currentTime of rootDSE, as GeneralizedTime `20261121061455.0Z`."""
    text = session.must_read("", ["currentTime"]).text("currentTime")
    return datetime.strptime(text.split(".", 1)[0], "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def too_far(offset: timedelta) -> bool:
    """Whether no connection is used with a clock that is, as far as can be told, so far off."""
    return abs(offset) > MOST_SKEW - _READING


class SealedConnect:
    """Kerberos with a sealed SASL layer, on port 389. `now` is the clock that the controllers are compared with."""

    def __init__(
        self,
        identity: Tickets,
        now: Callable[[], datetime],
        *,
        network_timeout: float = 3.0,
        timeout: float = 10.0,
    ) -> None:
        self.identity = identity
        self._now = now
        self.network_timeout = network_timeout
        self.timeout = timeout

    def __call__(self, controller: str) -> tuple[Session, float]:
        with self.identity.used() as life, door("sign in", controller):
            raw = ldap.initialize(f"ldap://{controller}", bytes_strictness="error")
            raw.set_option(ldap.OPT_PROTOCOL_VERSION, ldap.VERSION3)
            raw.set_option(ldap.OPT_REFERRALS, 0)
            raw.set_option(ldap.OPT_NETWORK_TIMEOUT, self.network_timeout)
            raw.set_option(ldap.OPT_TIMEOUT, self.timeout)
            raw.set_option(ldap.OPT_X_SASL_NOCANON, ldap.OPT_ON)
            raw.set_option(ldap.OPT_X_SASL_SSF_MIN, _SEALED)
            raw.sasl_interactive_bind_s("", ldap.sasl.gssapi())
            if raw.get_option(ldap.OPT_X_SASL_SSF) < _SEALED:
                raw.unbind_ext_s()
                raise DirectoryDenied(f"{controller} does not seal the connection")
        session = Session(raw, controller, self.timeout)
        try:
            self._compare_clocks(session)
        except DirectoryError:
            _hang_up(session)
            raise
        return session, min(_OLDEST, life * 0.8)

    def _compare_clocks(self, session: Session) -> None:
        """Kerberos does not do it for us: MIT's library takes the KDC's time for its tickets (kdc_timesync), so a machine whose clock is ten
        minutes ahead signs in, and every end it wrote would come ten minutes late.
        """
        ahead = self._now() - clock_of(session)
        if too_far(ahead):
            raise ClockApart(
                f"the clock of this machine is {abs(round(ahead.total_seconds()))} s "
                f"{'ahead of' if ahead > timedelta(0) else 'behind'} the clock of {session.controller}",
                -ahead,
                remedy="set the clock, and run a time service here and there: grants end by the controller's clock",
            )


def discover(
    domain: str,
    *,
    timeout: float = 3.0,
    otherwise: str = "set `controllers` beside that domain in bastide.toml",
) -> Callable[[], Sequence[str]]:
    """The domain's controllers from DNS: SRV of _ldap._tcp.dc._msdcs ([MS-ADTS] 6.3.2.3). Raises DirectoryUnavailable when called; `otherwise` is what its
    remedy says for a person who cannot mend DNS.
    """

    def ask() -> Sequence[str]:
        question = f"_ldap._tcp.dc._msdcs.{domain}"
        try:
            # A resolver of its own each time: the default one reads resolv.conf once in the life of the process.
            answer = dns.resolver.Resolver().resolve(question, "SRV", lifetime=timeout, search=False)
        except dns.exception.DNSException as error:
            raise DirectoryUnavailable(
                f"DNS gives no domain controllers for {domain}: {type(error).__name__}",
                remedy=f"`host -t SRV {question}` must answer here; or {otherwise}",
            ) from error
        records = sorted(answer, key=lambda record: (record.priority, -record.weight, str(record.target)))
        return [str(record.target).rstrip(".").lower() for record in records]

    return ask


def listed(names: Sequence[str]) -> Callable[[], Sequence[str]]:
    """An explicit list instead of DNS. Full names: Kerberos needs them."""
    return lambda: list(names)


class Controllers:
    """The domain controllers of one domain, and pooled connections to them. Safe to use from several threads."""

    def __init__(
        self,
        domain: str,
        source: Callable[[], Sequence[str]],
        connect: Connect,
        monotonic: Callable[[], float],
        *,
        leave_alone: float = _LEAVE_ALONE,
    ) -> None:
        self.domain = domain
        self._source = source
        self._connect = connect
        self._monotonic = monotonic
        self._leave_alone = leave_alone
        self._lock = Lock()
        self._names: tuple[str, ...] = ()
        self._asked = float("-inf")
        self._idle: dict[str, list[tuple[Session, float]]] = {}
        self._dead: dict[str, tuple[float, DirectoryError]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix=f"ldap-{domain}")

    def close(self) -> None:
        """Hang up everywhere."""
        self._threads.shutdown()
        with self._lock:
            idle, self._idle = self._idle, {}
        for pool in idle.values():
            for session, _ in pool:
                _hang_up(session)

    def names(self) -> tuple[str, ...]:
        """All controllers. If DNS fails, those that it gave last."""
        now = self._monotonic()
        if now - self._asked < _ASK_DNS_AGAIN:
            return self._names
        try:
            found = tuple(dict.fromkeys(self._source()))
        except DirectoryUnavailable:
            if not self._names:
                raise
            found = self._names
        with self._lock:
            self._names, self._asked = found, now
        return found

    def probe(self) -> tuple[Controller, ...]:
        """Every controller, and why it cannot be reached."""
        answers = self.on_each(lambda session: session.read("", ["dnsHostName"]))
        return tuple(
            Controller(name, answer.message if isinstance(answer, DirectoryError) else "")
            for name, answer in answers.items()
        )

    def on_each(self, action: Callable[[Session], _T]) -> dict[str, _T | DirectoryError]:
        """Do it on every controller, side by side. What went wrong stands in the place of the answer."""
        names = self.names()

        def one(name: str) -> _T | DirectoryError:
            try:
                return self.on(name, action)
            except DirectoryError as error:
                return error

        if len(names) == 1:
            return {names[0]: one(names[0])}
        return dict(zip(names, self._threads.map(one, names), strict=True))

    def on_reachable(self, doing: str, action: Callable[[Session], _T]) -> dict[str, _T]:
        """Do it on every controller; those out of reach are left out.

        Raises DirectoryUnavailable if all are, and the first other error otherwise: after every controller had its turn.
        """
        answers = self.on_each(action)
        good = {name: answer for name, answer in answers.items() if not isinstance(answer, DirectoryError)}
        wrong = [answer for answer in answers.values() if isinstance(answer, DirectoryError)]
        for error in wrong:
            if not isinstance(error, DirectoryUnavailable):
                raise error
        if not good:
            raise self._nobody(doing, wrong)
        return good

    def on_any(self, doing: str, action: Callable[[Session], _T], *, repeat: bool = True) -> _T:
        """Do it on the first controller that can be reached. Without `repeat`, never a second time once it was sent."""
        wrong: list[DirectoryError] = []
        for name in self.names():
            try:
                return self.on(name, action, repeat=repeat)
            except NotReached as error:
                wrong.append(error)
            except DirectoryUnavailable as error:
                if not repeat:
                    raise
                wrong.append(error)
        raise self._nobody(doing, wrong)

    def on(self, name: str, action: Callable[[Session], _T], *, repeat: bool = True) -> _T:
        """Do it on this controller; once more on a fresh connection if an old one broke. Raises what `door` raises."""
        session, until, fresh = self._take(name, fresh=not repeat)
        try:
            answer = action(session)
        except DirectoryUnavailable as error:
            _hang_up(session)
            if fresh:
                self._mark(name, error)
                raise
            self._drop_idle(name)
            return self.on(name, action, repeat=False)
        except BaseException:
            self._give_back(session, until)
            raise
        self._give_back(session, until)
        return answer

    def _take(self, name: str, *, fresh: bool) -> tuple[Session, float, bool]:
        now = self._monotonic()
        with self._lock:
            dead = self._dead.get(name)
            pool = [] if fresh else self._idle.get(name, [])
            while pool:
                session, until = pool.pop()
                if now < until:
                    return session, until, False
                _hang_up(session)
            if dead is not None and now >= dead[0]:
                # This call tries; until it knows, the others go on leaving it alone, or one that hangs would hold every thread there is.
                self._dead[name] = (float("inf"), dead[1])
        if dead is not None and now < dead[0]:
            raise NotReached(dead[1].message, remedy=dead[1].remedy) from dead[1]
        try:
            session, life = self._connect(name)
        except DirectoryUnavailable as error:
            self._mark(name, error)
            raise NotReached(error.message, remedy=error.remedy) from error
        except BaseException:
            self._unmark(name)
            raise
        self._unmark(name)
        return session, now + life, True

    def _unmark(self, name: str) -> None:
        with self._lock:
            self._dead.pop(name, None)

    def _give_back(self, session: Session, until: float) -> None:
        if not session.broken:
            with self._lock:
                pool = self._idle.setdefault(session.controller, [])
                if len(pool) < _IDLE_PER_CONTROLLER:
                    pool.append((session, until))
                    return
        _hang_up(session)

    def _mark(self, name: str, error: DirectoryError) -> None:
        with self._lock:
            self._dead[name] = (self._monotonic() + self._leave_alone, error)
        self._drop_idle(name)

    def _drop_idle(self, name: str) -> None:
        with self._lock:
            pool = self._idle.pop(name, [])
        for session, _ in pool:
            _hang_up(session)

    def _nobody(self, doing: str, wrong: Sequence[DirectoryError]) -> DirectoryUnavailable:
        reasons = "; ".join(error.message for error in wrong) or "none is known"
        remedies = {error.remedy for error in wrong if error.remedy}
        error = DirectoryUnavailable(
            f"cannot {doing}: no domain controller of {self.domain} answers: {reasons}",
            remedy=remedies.pop()
            if len(remedies) == 1
            else "check the network, DNS, the clock and the domain controllers",
        )
        error.__cause__ = wrong[0] if wrong else None
        return error


def _hang_up(session: Session) -> None:
    """Best effort: the connection is thrown away in any case."""
    try:
        session.raw.unbind_ext_s()
    except ldap.LDAPError:
        return
