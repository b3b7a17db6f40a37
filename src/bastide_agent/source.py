"""Where changed passwords come from, as the agent sees it: capture.py reads a Samba controller's directory, windows/source.py hears a Windows controller's filter.
Both pass one contract suite (tests/contract/test_agent_sources.py).
"""

from typing import Protocol

from bastide.pcns import Configuration


class ChangeSource(Protocol):
    """Puts changes into the queue, as ciphertext. Used by one thread."""

    def begin(self, base: str, invocation: str) -> None:
        """From now on changes of this database (its naming context, and its invocation id) are told; what was set before is not. Raises DirectoryGone, SpoolFull."""

    def come_back(self, base: str, invocation: str) -> None:
        """After the directory was away: the same database goes on, another one begins anew. Raises DirectoryGone, SpoolFull."""

    def round(self, configuration: Configuration) -> int:
        """Go by this configuration. How many changes went into the queue since the last round. Raises DirectoryGone, SpoolFull, Stop."""

    def flush(self) -> None:
        """The end: nothing is held back, and nothing comes any more. Raises SpoolFull."""

    @property
    def seen_usn(self) -> int:
        """The directory's highest USN at the last round; with another one there is something to do. Below 0: none yet."""
