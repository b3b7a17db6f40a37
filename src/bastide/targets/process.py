"""Any program as a connected system: one request per line on its standard input, one answer per line on its standard output, in JSON.

The messages are described in docs/reference/target-interface.md. One child lives as long as its target is open.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, Self

import msgspec

from bastide.domain.errors import BadSource, CapabilityMissing, InvalidInput, TargetDenied, TargetUnavailable
from bastide.domain.management_agents import CsObject
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Imported, NewPassword, Page, Result, Security
from bastide.targets.kinds import Kind, Opening, Settings
from bastide.targets.process_child import ROOT_ONLY, Child
from bastide.targets.spelling import THEIRS, answered, unfit

PROTOCOL = 1
#: Requests that wait for an answer at one time.
WINDOW = 16
_UNREADABLE = "wrote something that is no answer"


class ProcessSettings(Settings, frozen=True, kw_only=True):
    """`program`: full path; `arguments` hold no secret: everybody on the machine can read them. `settings` go to the program as they are.

    `timeout`: seconds for which it may be silent while it owes an answer.
    """

    program: str
    arguments: tuple[str, ...] = ()
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    timeout: float = 30.0

    def __post_init__(self) -> None:
        if not self.program.startswith("/"):
            raise InvalidInput("settings.program", "must be a full path")
        if any("\x00" in part for part in (self.program, *self.arguments)):
            raise InvalidInput("settings.arguments", "must not hold a NUL")
        if self.timeout <= 0:
            raise InvalidInput("settings.timeout", "must be more than 0 seconds")


# -------------------------------------------------------------------------------------------------------------- messages


class Opened(msgspec.Struct, forbid_unknown_fields=True):
    """Answer to "open"."""

    id: int
    code: Code = Code.SUCCESS
    detail: str = ""
    security: Security = Security.UNKNOWN
    operations: tuple[Literal["read", "set", "change", "verify"], ...] = ()


class Done(msgspec.Struct, forbid_unknown_fields=True):
    """Answer to "set" and "change"."""

    id: int
    code: Code
    detail: str = ""


class Proved(msgspec.Struct, forbid_unknown_fields=True):
    """Answer to "verify"."""

    id: int
    proof: Proof


class Shown(msgspec.Struct, forbid_unknown_fields=True):
    """An object of a page."""

    anchor: str
    dn: str = ""
    type: str = "user"
    attributes: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    deleted: bool = False


class Read(msgspec.Struct, forbid_unknown_fields=True):
    """A page: answer to "read", and again as long as `more` is true. `cookie` is text of the program's own."""

    id: int
    code: Code = Code.SUCCESS
    detail: str = ""
    objects: tuple[Shown, ...] = ()
    cookie: str = ""
    more: bool = False


_ENCODER = msgspec.json.Encoder()


class Conversation:
    """The lines that go to and from one child."""

    def __init__(self, settings: ProcessSettings, opening: Opening, owners: Collection[int]) -> None:
        """Start it and say hello. Raises TargetUnavailable, TargetDenied."""
        self._child = Child(
            (settings.program, *settings.arguments),
            timeout=settings.timeout,
            monotonic=opening.monotonic,
            owners=owners,
        )
        self._lines = self._child.lines()
        self._number = 0
        try:
            number = self.send(
                "open",
                protocol=PROTOCOL,
                name=opening.name,
                settings=settings.settings,
                secret=opening.secret,
            )
            self.hello = self.answer(Opened, [number])
            self._admit()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the child. Never raises."""
        self._child.close()

    def send(self, operation: str, **fields: object) -> int:
        """Queue a request; its number."""
        self._number += 1
        self._child.send(_ENCODER.encode({"id": self._number, "operation": operation, **fields}))
        return self._number

    def answer(self, kind: type[Any], expected: Collection[int]) -> Any:
        """The next answer. Raises TargetUnavailable for a line that is none, or that answers nothing we asked."""
        try:
            found = msgspec.json.decode(next(self._lines), type=kind)
        except msgspec.MsgspecError:
            raise self._nonsense() from None
        except StopIteration:  # after it broke
            raise TargetUnavailable(f"{self._child.name} is not running any more") from None
        if found.id not in expected:
            raise self._nonsense()
        return found

    @staticmethod
    def result(answer: Done | Opened | Read) -> Result:
        """The code of its answer; none of its words."""
        code = answer.code if answer.code in THEIRS else Code.FAILED
        return Result(code, "" if code is Code.SUCCESS else answered(code))

    def _admit(self) -> None:
        said = self.result(self.hello)
        if said.code is Code.UNAVAILABLE:
            raise TargetUnavailable(f"{self._child.name}: the system is not there")
        if said.code is not Code.SUCCESS:
            raise TargetDenied(f"{self._child.name}: {said.detail}", remedy="look at the program's own log")

    def _nonsense(self) -> TargetUnavailable:
        self.close()
        return TargetUnavailable(f"{self._child.name} {_UNREADABLE}", remedy="look at the program's own log")


# ---------------------------------------------------------------------------------------------------------------- import


class ProcessConnector:
    """Objects as the program shows them."""

    def __init__(
        self, settings: ProcessSettings, opening: Opening, owners: Collection[int] = ROOT_ONLY
    ) -> None:
        self._settings = settings
        self._opening = opening
        self._owners = owners

    def read(self, cookie: bytes) -> Iterator[Page]:
        """Raises TargetUnavailable, TargetDenied, BadSource, CapabilityMissing."""
        talk = Conversation(self._settings, self._opening, self._owners)
        try:
            if "read" not in talk.hello.operations:
                raise CapabilityMissing(
                    f"{self._settings.program} shows no objects", remedy="use a program that answers `read`"
                )
            number = talk.send("read", cookie=_text(cookie))
            yield from self._pages(talk, number, cookie)
        finally:
            talk.close()

    def _pages(self, talk: Conversation, number: int, cookie: bytes) -> Iterator[Page]:
        more = True
        while more:
            answer = talk.answer(Read, [number])
            said = talk.result(answer)
            if said.code is Code.SET_UNSUPPORTED:
                raise CapabilityMissing(
                    f"{self._settings.program} tells no changes", remedy="import all of it"
                )
            if said.code is not Code.SUCCESS:
                raise BadSource(
                    f"{self._settings.program}: {said.detail}", remedy="look at the program's own log"
                )
            more = answer.more
            yield Page(tuple(map(_imported, answer.objects)), cookie if more else answer.cookie.encode())


def _imported(shown: Shown) -> Imported:
    if not shown.anchor:
        raise BadSource("an object came without an anchor", remedy="correct the program")
    return Imported(shown.anchor, shown.dn or shown.anchor, shown.type, shown.attributes, shown.deleted)


def _text(cookie: bytes) -> str:
    try:
        return cookie.decode()
    except UnicodeDecodeError:
        raise BadSource("the mark of the last import cannot be read", remedy="import all of it") from None


# ------------------------------------------------------------------------------------------------------------- passwords


class ProcessTarget:
    """Passwords go to the child's standard input, several before the first answer."""

    def __init__(
        self, settings: ProcessSettings, opening: Opening, owners: Collection[int] = ROOT_ONLY
    ) -> None:
        self._settings = settings
        self._opening = opening
        self._owners = owners
        self._talk: Conversation | None = None

    def __enter__(self) -> Self:
        """Raises TargetUnavailable, TargetDenied."""
        self._talk = Conversation(self._settings, self._opening, self._owners)
        return self

    def __exit__(self, *error: object) -> None:
        talk, self._talk = self._talk, None
        if talk is not None:
            talk.close()

    def security(self) -> Security:
        """What the program says of its own way to the system; unknown if it says nothing."""
        found: Security = self._open.hello.security
        return found

    def set(self, passwords: Sequence[NewPassword]) -> Sequence[Result]:
        """One result for each. Raises TargetUnavailable."""
        results: dict[int, Result] = {}
        waiting: dict[int, int] = {}
        for place, new in enumerate(passwords):
            refused = self._refused("set", new.password)
            if refused is not None:
                results[place] = refused
                continue
            if len(waiting) >= WINDOW:
                self._collect(waiting, results)
            waiting[self._send_set(new)] = place
        while waiting:
            self._collect(waiting, results)
        return [results[place] for place in range(len(passwords))]

    def change(self, object: CsObject, old: str, new: str) -> Result:  # noqa: A002  # the port's word
        """With the old password. Raises TargetUnavailable."""
        refused = self._refused("change", new) or self._refused("change", old)
        if refused is not None:
            return refused
        number = self._open.send("change", account=_account(object), old=old, password=new)
        return self._open.result(self._open.answer(Done, [number]))

    def verify(self, object: CsObject, password: str) -> Proof:  # noqa: A002  # the port's word
        """As the program does it. Raises TargetUnavailable."""
        if self._refused("verify", password) is not None:
            return Proof.NOT_TRIED
        number = self._open.send("verify", account=_account(object), password=password)
        found: Proof = self._open.answer(Proved, [number]).proof
        return found

    @property
    def _open(self) -> Conversation:
        if self._talk is None:
            raise TargetUnavailable("the program is not running")
        return self._talk

    def _refused(self, operation: str, password: str) -> Result | None:
        if operation not in self._open.hello.operations:
            return Result(Code.SET_UNSUPPORTED, f"the program does not offer `{operation}`")
        return unfit(password)

    def _send_set(self, new: NewPassword) -> int:
        return self._open.send(
            "set",
            account=_account(new.object),
            password=new.password,
            must_change=new.must_change,
            unlock=new.unlock,
        )

    def _collect(self, waiting: dict[int, int], results: dict[int, Result]) -> None:
        answer = self._open.answer(Done, waiting)
        results[waiting.pop(answer.id)] = self._open.result(answer)


def _account(one: CsObject) -> Mapping[str, object]:
    return {"anchor": one.anchor, "dn": one.dn, "type": one.type, "attributes": one.attributes}


KIND = Kind(settings=ProcessSettings, connector=ProcessConnector, target=ProcessTarget)
