"""Somebody who tells early that a file server is gone: the port that witness_rpc.py fills.

A server that dies says nothing, and its silence is noticed when an answer is too late. Another node of its cluster knows sooner. Whoever tells is believed in
one thing: the connection is given up, and made anew. What is right stays with the manifest.
"""

from dataclasses import dataclass
from typing import Protocol

from bastide.domain.errors import StoreUnavailable


class Unwatched(StoreUnavailable):
    """Nobody tells: there is no such service, it refuses, or it is gone. A backup goes on without."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What was told. `kind`: as [MS-SWN] 2.2.2.4 names it; `addresses`: where to go now, none: where the server's name leads."""

    kind: str
    addresses: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}, to {', '.join(self.addresses)}" if self.addresses else self.kind


class Watch(Protocol):
    """Somebody watches."""

    #: Who: a node's name and address.
    by: str

    def wait(self) -> Notice | None:
        """Until something is to be told. None: it was closed. Raises Unwatched when who watches is gone."""

    def close(self) -> None:
        """Nothing is told any more. From any thread, more than once, without an error."""


class Witness(Protocol):
    """The service."""

    def watch(self, server: str, address: str) -> Watch:
        """Have the server watched that is called so, at the address that the connection goes to. Raises Unwatched."""
