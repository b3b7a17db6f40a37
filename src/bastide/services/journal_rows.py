"""Where wishes for logs, their answers, and traces are written down."""

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from bastide.domain.journal import Answer, Wish
from bastide.domain.traces import Trace


class LogWishes(Protocol):
    """What was asked, with what was answered."""

    def add(self, wish: Wish) -> None: ...
    def find(self, id: str) -> Wish | None: ...  # noqa: A002
    def get(self, id: str) -> Wish:  # noqa: A002
        """Raises NotFound."""

    def all(self) -> tuple[Wish, ...]:
        """Oldest first."""

    def unanswered(self, node: str) -> tuple[Wish, ...]:
        """Those that this node has not answered, whether it was asked or not; oldest first."""

    def remove(self, ids: Collection[str]) -> None:
        """With their answers. Those that are gone already are fine."""

    def answer(self, wish: str, answer: Answer, packed: bytes) -> None:
        """In the place of what the node said before, if it did."""

    def answers(self, wish: str) -> tuple[Answer, ...]:
        """By node."""

    def packed(self, wish: str, node: str) -> bytes:
        """Empty: it did not answer."""


class Traces(Protocol):
    """Operations that are traced, with their ends."""

    def put(self, trace: Trace) -> None: ...
    def remove(self, operation: str) -> bool:
        """Whether it was there."""

    def all(self) -> tuple[Trace, ...]:
        """By operation; also those that are over."""

    def remove_before(self, moment: datetime) -> None:
        """Those that are over."""
