"""One probe at a time: what it returns is good news, what it raises is a finding with a remedy."""

import os
import shlex
from collections.abc import Callable
from pathlib import Path

from bastide.config import ConfigError, NoCredential, secret_path
from bastide.domain.errors import BastideError
from bastide.domain.health import Finding, Severity
from bastide.extras import install, missing_extra

CREDENTIAL = "credential:"
_OTHERS_MAY = 0o077


class Problem(Exception):
    """What a probe found wrong: one sentence, and what a person can do."""

    def __init__(self, message: str, *, remedy: str = "", severity: Severity = Severity.ERROR) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.severity = severity


def good(key: str, text: str, evidence: str = "") -> Finding:
    """It is right; `text` says how we know."""
    return Finding(key, Severity.OK, text, evidence)


def bad(
    key: str, text: str, remedy: str, evidence: str = "", *, severity: Severity = Severity.ERROR
) -> Finding:
    """It is not right."""
    return Finding(key, severity, text, evidence, remedy)


def unasked(key: str, text: str) -> Finding:
    """Nothing was looked at; `text` says why."""
    return Finding(key, Severity.SKIPPED, text)


def unfound(domain: str) -> Finding:
    """A domain whose controllers nobody names. That is a finding of dns.services, and of nothing that follows from it."""
    return unasked(domain, f"no controller of {domain} is known: see dns.services")


def look(key: str, probe: Callable[[], str], remedy: str = "") -> Finding:
    """Run one probe. Whatever it raises on purpose becomes a finding; `remedy` where the error has none of its own."""
    try:
        return good(key, probe())
    except (Problem, BastideError, ImportError, ConfigError, OSError) as error:
        return refusal(key, error, remedy)


def refusal(key: str, error: Exception, remedy: str = "") -> Finding:
    """An exception as a finding. Of one that nobody raised on purpose only the type is told."""
    match error:
        case Problem():
            return bad(key, error.message, error.remedy or remedy, severity=error.severity)
        case BastideError():
            return bad(key, error.message, error.remedy or remedy)
        case ImportError():
            extra = missing_extra(error)
            return bad(key, str(error), f"`{install(extra)}`" if extra else remedy)
        case ConfigError():
            return _of_settings(key, error, remedy)
        case OSError():
            return _of_system(key, error, remedy)
        case _:
            text = f"the check itself failed: {type(error).__name__}"
            return bad(key, text, "report it as a defect of Bastide, with this line")


def _of_settings(key: str, error: ConfigError, remedy: str) -> Finding:
    """What only the unit sees was not looked at."""
    if isinstance(error, NoCredential):
        return Finding(key, Severity.SKIPPED, str(error), remedy=_how_to_read())
    return bad(key, str(error), remedy)


def _of_system(key: str, error: OSError, remedy: str) -> Finding:
    """An error about a file names it; one about anything else, a socket for example, has no name to say."""
    file = error.filename
    if file is None:
        return bad(key, (error.strerror or str(error)).lower(), remedy)
    if isinstance(error, FileNotFoundError):
        return bad(key, f"there is no file {file}", remedy)
    if isinstance(error, PermissionError):
        who = "`sudo bastide config check`, or be the service's user"
        return bad(key, f"{file} cannot be read by this user", who)
    return bad(key, f"{file}: {(error.strerror or str(error)).lower()}", remedy)


def secret(
    key: str, reference: str, remedy: str = "put it there, mode 0600, or name another file"
) -> Finding:
    """A file that holds a secret: there, readable, and for nobody else. `remedy`: what makes it."""

    def probe() -> str:
        path = secret_path(reference)
        mode = path.stat().st_mode
        with path.open("rb") as file:
            if not file.read(1):
                raise Problem(f"{path} is empty", remedy=remedy)
        if mode & _OTHERS_MAY:
            raise Problem(
                f"others may read {path} (mode {mode & 0o777:o})",
                remedy=f"chmod 600 {shlex.quote(str(path))}",
            )
        return str(path)

    return look(key, probe, remedy)


def _how_to_read() -> str:
    """What lets a person look at what comes as a systemd credential."""
    if os.geteuid() != 0:
        return "`sudo bastide validate`: root reads the files that LoadCredential= of the unit names"
    return "no unit file names it: `CREDENTIALS_DIRECTORY=DIR bastide validate` reads it in DIR (docs/operations/keys.md)"


def is_open(finding: Finding) -> bool:
    """Whether a file that `secret` looked at can be looked into."""
    return finding.severity is Severity.OK


def owner_of(path: Path) -> int | None:
    """Root looks for the service, and a key file is its user's. Raises OSError."""
    return path.stat().st_uid if os.geteuid() == 0 else None
