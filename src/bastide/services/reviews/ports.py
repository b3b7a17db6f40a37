"""Where reviews are kept."""

from typing import Protocol

from bastide.domain.reviews import Line, Review, Tally


class Reviews(Protocol):
    """Reviews and their lines."""

    def add(self, review: Review) -> None:
        """Raises Conflict if the id is taken."""

    def save(self, review: Review) -> Review:
        """Raises Conflict if somebody else saved since it was read (`version`)."""

    def get(self, id: str) -> Review:  # noqa: A002
        """Raises NotFound."""

    def all(self) -> tuple[Review, ...]:
        """The latest first."""

    def open(self) -> tuple[Review, ...]:
        """Those that take decisions."""

    def add_lines(self, lines: tuple[Line, ...]) -> None: ...
    def save_line(self, line: Line) -> None:
        """Raises NotFound."""

    def line(self, review: str, id: str) -> Line:  # noqa: A002
        """Raises NotFound."""

    def lines(self, review: str) -> tuple[Line, ...]:
        """By role and person."""

    def tally(self, review: str) -> Tally:
        """Of its lines; of a review without lines, or that is not there, all zero."""
