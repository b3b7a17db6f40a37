"""Connected systems by others: the interface, and how an entry point of the group `bastide.targets` becomes a kind.

A plug-in is code that gets passwords in clear, in the worker's own process: install none that you would not run as the worker. Its interface is
described in docs/reference/target-interface.md; `python -m bastide.targets.conformance` tests one.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import EntryPoint
from typing import Any, ClassVar, Self

from bastide.domain.errors import (
    BastideError,
    CapabilityMissing,
    InvalidInput,
    TargetDenied,
    TargetUnavailable,
)
from bastide.domain.management_agents import CsObject
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Imported, NewPassword, Page, Result, Security
from bastide.targets.kinds import Kind, Opening
from bastide.targets.spelling import THEIRS, answered, unfit

__all__ = [
    "GROUP", "INTERFACE", "Code", "CsObject", "Imported", "InvalidInput", "Page", "Plugin", "PluginTarget", "Proof", "Refusal",
    "Security", "TargetDenied", "TargetUnavailable", "kind_of", "kind_of_class",
]  # fmt: skip

GROUP = "bastide.targets"
#: Of this interface. A plug-in written for another one is not loaded.
INTERFACE = 1


class Refusal(Exception):
    """The system refused one account; the connection is good. `detail` is for people and must hold no password."""

    def __init__(self, code: Code, detail: str = "") -> None:
        super().__init__(code.value)
        self.code = code
        self.detail = detail


class Plugin(ABC):
    """One system. Made without arguments; used by one thread at a time; opened and closed any number of times.

    `open` raises TargetUnavailable (not there: try again) or TargetDenied (our account is wrong); so may every other method, and the
    connection then counts as broken. `set` and `change` return when the system has taken the password, and raise Refusal if it has not.
    """

    interface: ClassVar[int] = INTERFACE

    @classmethod  # noqa: B027  # whoever has nothing to check leaves it
    def check(cls, settings: Mapping[str, object]) -> None:
        """Raise InvalidInput or ValueError for settings that cannot be right. Opens nothing."""

    @abstractmethod
    def open(self, settings: Mapping[str, object], secret: str) -> None:
        """Connect and sign in."""

    @abstractmethod
    def close(self) -> None:
        """Hang up. Must be safe after an `open` that failed, and a second time."""

    def security(self) -> Security:
        """How this connection protects a password. Unknown counts as not secure: agents refuse it by default."""
        return Security.UNKNOWN

    @abstractmethod
    def set(self, account: CsObject, password: str, *, must_change: bool, unlock: bool) -> None:
        """As an administrator. Repeating it must do no harm."""

    def change(self, account: CsObject, old: str, new: str) -> None:
        """As the person, with the old password."""
        raise NotImplementedError

    def verify(self, account: CsObject, password: str) -> Proof:  # noqa: ARG002  # the names of the interface
        """With at most one sign-in, and none on an account that is locked or one failure away from it."""
        return Proof.NOT_TRIED

    def read(self, cookie: bytes) -> Iterator[Page]:  # noqa: ARG002  # the names of the interface
        """All objects (empty cookie), or what changed since. Raises CapabilityMissing if it cannot."""
        raise CapabilityMissing("this system shows no objects", remedy="import them from somewhere else")


class PluginTarget:
    """A plug-in as a PasswordTarget. What it raises beyond the interface becomes a result without its text, which could hold anything."""

    def __init__(self, make: Callable[[], Plugin], settings: Mapping[str, object], opening: Opening) -> None:
        self._make = make
        self._settings = settings
        self._opening = opening
        self._plugin: Plugin | None = None

    def __enter__(self) -> Self:
        """Raises TargetUnavailable, TargetDenied."""
        self._plugin = _opened(self._make, self._settings, self._opening)
        return self

    def __exit__(self, *error: object) -> None:
        plugin, self._plugin = self._plugin, None
        if plugin is not None:
            _hang_up(plugin)

    def security(self) -> Security:
        """As the plug-in says; what is no Security is unknown."""
        found = _guarded(self._open.security)
        return found if isinstance(found, Security) else Security.UNKNOWN

    def set(self, passwords: Sequence[NewPassword]) -> Sequence[Result]:
        """One result for each. Raises TargetUnavailable, TargetDenied."""
        return [
            unfit(new.password)
            or self._result(
                lambda new=new: self._open.set(  # type: ignore[misc]  # the default binds `new` now
                    new.object, new.password, must_change=new.must_change, unlock=new.unlock
                ),
            )
            for new in passwords
        ]

    def change(self, object: CsObject, old: str, new: str) -> Result:  # noqa: A002  # the port's word
        """With the old password. Raises TargetUnavailable, TargetDenied."""
        refused = unfit(new) or unfit(old)
        return refused or self._result(lambda: self._open.change(object, old, new))

    def verify(self, object: CsObject, password: str) -> Proof:  # noqa: A002  # the port's word
        """As the plug-in does it. Raises TargetUnavailable, TargetDenied."""
        if unfit(password) is not None:
            return Proof.NOT_TRIED
        found = _guarded(lambda: self._open.verify(object, password))
        return found if isinstance(found, Proof) else Proof.NOT_TRIED

    @property
    def _open(self) -> Plugin:
        if self._plugin is None:
            raise TargetUnavailable("the connection is closed")
        return self._plugin

    @staticmethod
    def _result(action: Callable[[], None]) -> Result:
        try:
            action()
        except Refusal as refusal:
            code = refusal.code if refusal.code in THEIRS - {Code.SUCCESS} else Code.FAILED
            return Result(code, answered(code))
        except NotImplementedError:
            return Result(Code.SET_UNSUPPORTED, "the plug-in does not offer this")
        except (TargetUnavailable, TargetDenied) as error:
            raise _scrubbed(error) from None
        except OSError as error:
            raise TargetUnavailable(f"the connection broke: {type(error).__name__}") from None
        except Exception as error:  # noqa: BLE001  # it is somebody else's code, and no account may stop the others
            return Result(Code.FAILED, f"the plug-in failed: {type(error).__name__}")
        return Result(Code.SUCCESS)


class PluginConnector:
    """A plug-in as a Connector."""

    def __init__(self, make: Callable[[], Plugin], settings: Mapping[str, object], opening: Opening) -> None:
        self._make = make
        self._settings = settings
        self._opening = opening

    def read(self, cookie: bytes) -> Iterator[Page]:
        """Raises TargetUnavailable, TargetDenied, BadSource, CapabilityMissing."""
        plugin = _opened(self._make, self._settings, self._opening)
        try:
            yield from plugin.read(cookie)
        except OSError as error:
            raise TargetUnavailable(f"the connection broke: {type(error).__name__}") from None
        finally:
            _hang_up(plugin)


def kind_of(point: EntryPoint) -> Kind:
    """The kind that an entry point brings. Raises InvalidInput if it cannot be loaded or is written for another interface."""
    try:
        found = point.load()
    except Exception as error:  # it is somebody else's code
        raise InvalidInput(
            "connector",
            f"the plug-in {point.name} cannot be loaded: {type(error).__name__}",
            remedy="install it again",
        ) from error
    return kind_of_class(found, point.name)


def kind_of_class(found: object, name: str) -> Kind:
    """The same for a class at hand. Raises InvalidInput."""
    if not (isinstance(found, type) and issubclass(found, Plugin)):
        raise InvalidInput("connector", f"{name} is no subclass of bastide.targets.plugins.Plugin")
    if found.interface != INTERFACE:
        raise InvalidInput(
            "connector",
            f"{name} is written for interface {found.interface}; this is {INTERFACE}",
            remedy="install a version of the plug-in for this version of Bastide",
        )
    made = found

    def check(settings: dict[str, Any]) -> None:
        try:
            made.check(settings)
        except ValueError as error:
            raise InvalidInput("settings", str(error)) from None

    return Kind(
        settings=dict,
        connector=lambda settings, opening: PluginConnector(made, settings, opening),
        target=lambda settings, opening: PluginTarget(made, settings, opening),
        check=check,
    )


def _opened(make: Callable[[], Plugin], settings: Mapping[str, object], opening: Opening) -> Plugin:
    plugin = make()
    try:
        _guarded(lambda: plugin.open(settings, opening.secret))
    except BastideError:
        _hang_up(plugin)
        raise
    return plugin


def _hang_up(plugin: Plugin) -> None:
    """Whatever goes wrong now, the passwords before it were taken."""
    with suppress(Exception):
        plugin.close()


def _guarded(action: Callable[[], Any]) -> Any:
    """Everything that is not of the interface becomes TargetUnavailable; the text of none is kept."""
    try:
        return action()
    except (TargetUnavailable, TargetDenied) as error:
        raise _scrubbed(error) from None
    except Exception as error:  # noqa: BLE001  # it is somebody else's code
        raise TargetUnavailable(f"the plug-in failed: {type(error).__name__}") from None


def _scrubbed(error: TargetUnavailable | TargetDenied) -> TargetUnavailable | TargetDenied:
    """The same without its words: the plug-in has had the password, and may spell it in any way."""
    denied = isinstance(error, TargetDenied)
    return type(error)(
        answered(Code.CREDENTIALS if denied else Code.UNAVAILABLE), remedy="look at the plug-in's own log"
    )
