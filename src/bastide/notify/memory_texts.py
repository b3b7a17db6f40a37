"""The twin in memory of program.py: keeps what it was given, and fails where a test says so."""

from bastide.domain.errors import TargetUnavailable


class MemoryTexts:
    """As the port Texts. `down`: why nothing is taken; empty: everything is."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, str]] = []
        self.down = ""

    def send(self, number: str, text: str) -> None:
        if self.down:
            raise TargetUnavailable(self.down)
        self.taken.append((number, text))
