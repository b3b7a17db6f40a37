"""Slows down guessing of passwords. Three counts of failed sign-ins, because each alone is easy to stay below:

  (1) Per account and address: the plain guesser.
  (2) Per account, from everywhere: the guesser with many addresses. An address from which the account has signed in is not held up by
      this one: nobody can lock another person out from elsewhere.
  (3) Per address, to all accounts: one password tried on many accounts.

In memory of one node: after a restart the counts start anew, and the KDC's own lockout stands behind them.
"""

import ipaddress
import re
import threading
import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from enum import Enum

from bastide.http.problems import TooManyAttempts

ATTEMPTS = 5
PER_ACCOUNT = 20
#: People behind one address (a branch, a proxy that is not told of) share it, and mistype.
PER_ADDRESS = 30
SPAN = timedelta(minutes=15)
#: Remembered of each kind; the one unused for longest is forgotten first.
_KEPT = 10_000
#: What one subscriber of IPv6 has (RFC 6177): more than anybody can count one by one.
_SUBSCRIBER = 64

_WITH_PORT = re.compile(r"(?:\[([^\]]+)\]|([0-9.]+))(?::[0-9]+)?")

Pair = tuple[str, str]


class _Kind(Enum):
    """What is counted: how many, and how to say it."""

    PAIR = (ATTEMPTS, "to this account from this address")
    ACCOUNT = (PER_ACCOUNT, "to this account")
    ADDRESS = (PER_ADDRESS, "from this address")


class Throttle:
    """At most so many failures of each kind within SPAN."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._failures: dict[_Kind, OrderedDict[object, list[tuple[datetime, Pair]]]] = {
            kind: OrderedDict() for kind in _Kind
        }
        self._welcome: OrderedDict[Pair, None] = OrderedDict()

    @contextmanager
    def attempt(self, account: str, address: str) -> Iterator[None]:
        """Counts as a failure from the start, so that a burst is counted too. Leaving without an error takes the failures of this account
        at this address back, and no others: an attacker's own account does not clean the address.

        Raises TooManyAttempts.
        """
        pair = (_folded(account), subscriber(address))
        self._count(pair)
        yield
        with self._lock:
            for kind, key in _keys(pair).items():
                kept = [failure for failure in self._failures[kind].pop(key, []) if failure[1] != pair]
                if kept:
                    self._failures[kind][key] = kept
            self._welcome[pair] = None
            self._welcome.move_to_end(pair)
            if len(self._welcome) > _KEPT:
                self._welcome.popitem(last=False)

    def _count(self, pair: Pair) -> None:
        now = self._now()
        with self._lock:
            keys = _keys(pair)
            counted = {kind: self._recent(kind, key, now) for kind, key in keys.items()}
            for kind, failures in counted.items():
                limit, said = kind.value
                if len(failures) >= limit and not (kind is _Kind.ACCOUNT and pair in self._welcome):
                    raise TooManyAttempts(
                        f"too many failed sign-ins {said}",
                        remedy="wait a quarter of an hour, or sign in with a Kerberos ticket",
                    )
            for kind, failures in counted.items():
                if len(failures) < kind.value[0]:  # full already, for an address that is welcome all the same
                    self._keep(kind, keys[kind], [*failures, (now, pair)])

    def _recent(self, kind: _Kind, key: object, now: datetime) -> list[tuple[datetime, Pair]]:
        """The failures within SPAN. Nothing is remembered of an attempt that is refused: with names without end it would push out the others."""
        return [failure for failure in self._failures[kind].get(key, []) if failure[0] > now - SPAN]

    def _keep(self, kind: _Kind, key: object, failures: list[tuple[datetime, Pair]]) -> None:
        kept = self._failures[kind]
        kept[key] = failures
        kept.move_to_end(key)
        if len(kept) > _KEPT:
            kept.popitem(last=False)


def subscriber(address: str) -> str:
    """An IPv4 address, or the network of an IPv6 one, without the port that some proxies add; what is no address stays as it is."""
    match = _WITH_PORT.fullmatch(address)
    try:
        read = ipaddress.ip_address((match[1] or match[2]) if match else address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(read, ipaddress.IPv4Address):
        return str(read)
    if read.ipv4_mapped is not None:
        return str(read.ipv4_mapped)
    return str(ipaddress.ip_network((read, _SUBSCRIBER), strict=False))


def _folded(account: str) -> str:
    """As a directory compares names, and a bit more loosely: without case, width, accents and what is not seen. A guesser's spelling is no account
    of its own.
    """
    apart = unicodedata.normalize("NFKD", account.casefold())
    return "".join(c for c in apart if unicodedata.category(c)[0] not in "MCZ").casefold()


def _keys(pair: Pair) -> dict[_Kind, object]:
    account, address = pair
    return {_Kind.PAIR: pair, _Kind.ACCOUNT: account, _Kind.ADDRESS: address}
