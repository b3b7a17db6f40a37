"""Who a PAM user is, in the names that people type: for the caller, and for those who may see everybody."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from bastide.domain.errors import InvalidInput, NotFound
from bastide.domain.ids import Sid, UserId, parse_id, typed
from bastide.domain.people import Actor, Forest, PamUser, Right, require
from bastide.domain.roles import Subject
from bastide.services.ports import Directory, Person, Store


@dataclass(frozen=True, slots=True)
class Profile:
    """A PAM user, and the CORP account as the directory shows it."""

    user: PamUser
    person: Person


def everyday(user: PamUser) -> Subject:
    """A PAM user as a role names one: by the account that is used every day."""
    forest = Forest.PRIV if user.corp.sid == user.priv.sid else Forest.CORP
    return Subject(user.corp.sid, f"{forest.value.upper()}\\{user.corp.name}")


class Profiles:
    """Looks PAM users up in the store and in the forests."""

    def __init__(self, *, store: Store, forests: Mapping[Forest, Directory]) -> None:
        self._store = store
        self._forests = forests

    def own(self, actor: Actor) -> PamUser | None:
        """The PAM user that the caller is; None if none. Raises NotAuthorized."""
        require(actor, Right.USE)
        with self._store.read() as uow:
            return uow.users.by_sid(actor.sid)

    def me(self, actor: Actor) -> Profile:
        """The caller. Raises NotFound, DirectoryUnavailable."""
        user = self.own(actor)
        if user is None:
            raise NotFound(f"{actor.name} is not a PAM user")
        return self._profile(user)

    def find(self, actor: Actor, name: str) -> Profile:
        """By id, or by the userPrincipalName of either account. Whom the caller may not see does not exist, and is not looked for. Raises
        NotFound, DirectoryUnavailable.
        """
        require(actor, Right.USE)
        if actor.rights & {Right.ADMINISTER, Right.AUDIT}:
            user = self._by_upn(name) if "@" in name else self._by_id(name)
        else:
            user = self.own(actor)
            if user is not None and not self._is_called(user, name):
                user = None
        if user is None:
            raise NotFound("there is no such user")
        return self._profile(user)

    def subject(self, actor: Actor, key: str, *, group: bool) -> Subject:
        """Whom a role can name: a PAM user by id, another account or a group by SID. Raises NotAuthorized, NotFound, InvalidInput,
        DirectoryUnavailable.
        """
        require(actor, Right.ADMINISTER)
        user = None if group else self._by_id(key)
        if user is not None:
            return everyday(user)
        for forest, directory in self._forests.items() if key.upper().startswith("S-1-") else ():
            sid = Sid.parse(key.upper())
            with suppress(NotFound):
                found = directory.find_group(sid) if group else directory.find_person(sid)
                return Subject(found.ref.sid, f"{forest.value.upper()}\\{found.ref.name}", is_group=group)
        raise NotFound(f"there is no {'group' if group else 'user'} {typed(key)}")

    def _is_called(self, user: PamUser, name: str) -> bool:
        if "@" not in name:
            return name.casefold() == user.id
        accounts = (self._in(Forest.CORP, user.corp.sid), self._in(Forest.PRIV, user.priv.sid))
        return any(one is not None and one.upn.casefold() == name.casefold() for one in accounts)

    def _by_id(self, name: str) -> PamUser | None:
        with self._store.read() as uow:
            try:
                return uow.users.get(UserId(parse_id("user", name)))
            except (NotFound, InvalidInput):
                return None

    def _by_upn(self, name: str) -> PamUser | None:
        for forest in (Forest.CORP, Forest.PRIV):
            found = self._in(forest, name)
            if found is not None and found.upn.casefold() == name.casefold():
                with self._store.read() as uow:
                    return uow.users.by_sid(found.ref.sid)
        return None

    def _in(self, forest: Forest, name: str) -> Person | None:
        directory = self._forests.get(forest)
        try:
            return directory.find_person(name) if directory is not None else None
        except NotFound:
            return None

    def _profile(self, user: PamUser) -> Profile:
        person = self._in(Forest.CORP, user.corp.sid) or self._in(Forest.PRIV, user.priv.sid)
        if person is None:
            raise NotFound(f"no account of {user.name} is left in the directory")
        return Profile(user, person)
