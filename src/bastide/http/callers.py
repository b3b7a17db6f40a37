"""Where a call comes from, as far as it is worth remembering with a sign-in: the address, and the kind of program, no more."""

from dataclasses import dataclass

from bastide.http.door import Connection

_UNKNOWN = "unknown"
_AGENT_LIMIT = 1000
#: The first that is in the header counts: Edge calls itself Chrome too, and Chrome calls itself Safari.
_PROGRAMS = (
    ("bastide", "Bastide's command line"), ("Edg", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("FxiOS/", "Firefox"),
    ("Chrom", "Chromium"), ("CriOS/", "Chrome"), ("Safari/", "Safari"), ("PowerShell", "PowerShell"), ("curl/", "curl"),
    ("python", "Python"),
)  # fmt: skip
_SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iOS"), ("iPad", "iOS"), ("Windows", "Windows"), ("Mac OS X", "macOS"), ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Origin:
    """`agent` is one of the few names above, so that nothing of the caller's own words is kept."""

    address: str
    agent: str


def origin(connection: Connection) -> Origin:
    """Of a call. A proxy that is trusted has put the caller's address in place before (web server)."""
    said = connection.headers.get("user-agent", "")[:_AGENT_LIMIT]
    return Origin(connection.client.host if connection.client else _UNKNOWN, agent(said))


def agent(said: str) -> str:
    """`Firefox on Windows`."""
    program = next((name for mark, name in _PROGRAMS if mark in said), "an unknown program")
    system = next((name for mark, name in _SYSTEMS if mark in said), "")
    return f"{program} on {system}" if system else program
