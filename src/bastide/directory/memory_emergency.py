"""Emergency accounts in memory: the twin of emergency.py, held to the same contract suite."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from bastide.domain.break_glass import Trace
from bastide.domain.errors import (
    DirectoryDenied,
    DirectoryUnavailable,
    InvalidInput,
    NoSuchObject,
    NotAuthenticated,
    NotFound,
)
from bastide.domain.ids import Sid
from bastide.services.break_glass.ports import Found
from bastide.services.cluster.ports import Caller

_SHORTEST = 12


@dataclass
class MemoryEmergencyDomain:
    """One domain with two controllers that replicate at once, but for what each counts for itself."""

    domain: str
    now: Callable[[], datetime]
    controllers: tuple[str, ...] = ("dc1", "dc2")
    #: Controllers that do not answer, and why.
    silent: dict[str, str] = field(default_factory=dict)
    #: Controllers to which nothing replicates.
    behind: set[str] = field(default_factory=set)
    names: dict[Sid, str] = field(default_factory=dict)
    seen: dict[Sid, dict[str, Trace]] = field(default_factory=dict)
    passwords: dict[Sid, str] = field(default_factory=dict, repr=False)

    def add(self, name: str, trace: Trace) -> Sid:
        """A person's account."""
        sid = Sid(f"S-1-5-21-7-7-7-{1100 + len(self.names)}")
        self.names[sid] = name
        self.seen[sid] = dict.fromkeys(self.controllers, trace)
        return sid

    def change(self, account: Sid, **said: object) -> None:
        """What replicates."""
        for where in set(self.controllers) - self.behind:
            self.seen[account][where] = replace(self.seen[account][where], **said)  # type: ignore[arg-type]

    def remove(self, account: Sid) -> None:
        del self.seen[account]
        del self.names[account]

    def sign_in(self, principal: str, password: str, *, at: str = "") -> None:
        """Raises NotAuthenticated, and counts either way."""
        name = principal.partition("@")[0].lower()
        sid = next((sid for sid, one in self.names.items() if one.lower() == name), None)
        if sid is None:
            raise NotAuthenticated("the name or password is wrong, or the account cannot sign in now")
        where = at or self.controllers[0]
        trace = self.seen[sid][where]
        if self.passwords.get(sid) != password or not trace.enabled:
            self.seen[sid][where] = replace(trace, wrong=trace.wrong + 1, last_wrong=self.now())
            raise NotAuthenticated("the name or password is wrong, or the account cannot sign in now")
        self.seen[sid][where] = replace(trace, logons=trace.logons + 1, last_logon=self.now())


class MemoryEmergencyReader:
    """As the port EmergencyReader. `sees`: whether the sign-ins are shown to this caller."""

    def __init__(self, world: MemoryEmergencyDomain, *, sees: bool = True) -> None:
        self._world = world
        self._sees = sees
        self.domain = world.domain

    def traces(self, account: Sid) -> Mapping[str, Trace | str]:
        world = self._world
        if not set(world.controllers) - set(world.silent):
            return dict(world.silent)
        if account not in world.seen:
            raise NoSuchObject(f"there is no account {account}")
        return {
            where: world.silent.get(where) or self._shown(one) for where, one in world.seen[account].items()
        }

    def _shown(self, trace: Trace) -> Trace:
        if self._sees:
            return trace
        return replace(trace, last_logon=None, logons=0, last_wrong=None, wrong=0, shown=False)


class MemoryEmergencyDirectory(MemoryEmergencyReader):
    """As the port EmergencyDirectory."""

    def __init__(
        self, world: MemoryEmergencyDomain, *, name: str = "Administrator", may: bool = True
    ) -> None:
        super().__init__(world)
        self._name = name
        self._may = may

    def caller(self) -> Caller:
        return Caller("S-1-5-21-7-7-7-500", self._name)

    def find(self, name: str) -> Found:
        plain = name.rsplit("\\", 1)[-1].lower()
        for sid, known in self._world.names.items():
            if known.lower() == plain:
                return Found(sid, known, f"CN={known},CN=Users,DC=test")
        raise NotFound(f"there is no person {name!r} in {self.domain}")

    def set_password(self, account: Sid, password: str) -> None:
        world = self._world
        if self.controllers_are_silent():
            raise DirectoryUnavailable(f"no domain controller of {self.domain} answers")
        if account not in world.seen:
            raise NoSuchObject(f"there is no account {account}")
        if not self._may:
            raise DirectoryDenied(f"{self._name} may not set the password of {world.names[account]}")
        if len(password) < _SHORTEST:
            raise InvalidInput(
                "password", "the domain's password rules refuse it", remedy="choose a longer one"
            )
        world.passwords[account] = password
        world.change(account, password_set=world.now())

    def controllers_are_silent(self) -> bool:
        return not set(self._world.controllers) - set(self._world.silent)


class MemoryProof:
    """As the port PasswordProof."""

    def __init__(self, world: MemoryEmergencyDomain) -> None:
        self._world = world

    def prove(self, principal: str, password: str) -> None:
        self._world.sign_in(principal, password)
