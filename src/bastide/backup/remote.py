"""A folder on another machine, over a connection that may break at any moment: the port that smb.py fills, and what can go wrong there."""

from typing import Protocol, TypeVar

from bastide.domain.errors import StoreUnavailable


class Lost(StoreUnavailable):
    """The connection is gone, or the server does not answer. What was under way may have happened or not."""


class Missing(StoreUnavailable):
    """There is no file of that name."""


class Taken(StoreUnavailable):
    """There is a file of that name already."""


class Busy(StoreUnavailable):
    """Somebody else has the file open, or we ourselves over a connection that the server has not given up yet."""


class File(Protocol):
    """An open file."""

    def size(self) -> int:
        """In bytes, when it was opened."""

    def write(self, offset: int, data: bytes) -> None:
        """On the server's disk when it returns."""

    def read(self, offset: int, length: int) -> bytes:
        """Fewer bytes at the end of the file; none behind it."""

    def rename(self, name: str) -> None:
        """Raises Taken: nothing is replaced."""

    def remove(self) -> None:
        """When it is closed."""

    def close(self) -> None:
        """Without an error where the connection is gone."""


F = TypeVar("F", bound=File)


class Remote(Protocol[F]):
    """The folder. Every verb raises Lost, and StoreUnavailable for what another attempt does not change."""

    #: What people call it.
    name: str

    def connect(self) -> None:
        """Anew, whatever was before; what is open is lost, unless `resume` gets it back."""

    def close(self) -> None:
        """Without an error where the connection is gone already."""

    def create(self, name: str) -> F:
        """A new file that nobody else may open. Raises Taken."""

    def reopen(self, name: str) -> F:
        """One that is there, for writing; nobody else may open it. Raises Missing, Busy."""

    def resume(self, file: F) -> F:
        """After `connect`: the same open file, as if nothing had been. Raises Missing if the server kept nothing of it."""

    def look(self, name: str) -> F:
        """One that is there, for reading. Raises Missing, Busy."""

    def names(self) -> list[str]:
        """Of all files in it."""
