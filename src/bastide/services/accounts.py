"""Prepare: PRIV accounts for people and PRIV groups for CORP groups.

Writing needs the preparer, an account of its own; the service account has no right to it. Without one, existing objects are adopted.
A PAM user is made in this order, and what was made is taken back if a later step fails, unless the commit may have gone through:

  (1) Find the CORP person; refuse one that is prepared already.
  (2) Make the PRIV account: generated password, AES only, not delegable, born dormant. Or adopt one.
  (3) Put it into Protected Users and under the ticket-cap policy.
  (4) Read back the cap that applies, and that the account is dormant.
  (5) Commit user and audit record.

The generated password is thrown away: nobody ever knows it. The person sets their own with `bastide pam user password`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from bastide.domain import carriers
from bastide.domain.audit import Event
from bastide.domain.errors import (
    BastideError,
    CapabilityMissing,
    Conflict,
    DirectoryError,
    InvalidInput,
    NotFound,
    StoreError,
)
from bastide.domain.grants import DEFAULT_TICKET_CAP, LEAST_TICKET_CAP
from bastide.domain.health import Finding
from bastide.domain.ids import GroupId, ObjectRef, Sid, UserId, parse_name, typed
from bastide.domain.people import Actor, PamUser, Right, require, require_reader
from bastide.domain.requests import OPEN
from bastide.domain.roles import Carrier, Link, PamGroup
from bastide.services.caps import Caps
from bastide.services.events import by_actor
from bastide.services.lookup import find_group, find_user, refuse_known_group
from bastide.services.ports import (
    Directory,
    Group,
    NewAccount,
    Person,
    Preparer,
    Random,
    Store,
    UnitOfWork,
)
from bastide.services.standing import prepared_with, standing_in

PASSWORD_LENGTH = 48
_SAM_LIMIT = 20
_BORN_DORMANT = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Preparation:
    """Where prepared objects go and how they are named."""

    prefix: str = "priv."
    users_container: str = ""
    groups_container: str = ""
    group_prefix: str = "PAM-"
    upn_suffix: str = ""
    ticket_cap: timedelta = DEFAULT_TICKET_CAP
    policy_name: str = "bastide-ticket-cap"
    single_forest: bool = False


class Accounts:
    """The use cases of PAM users and groups. All raise NotAuthorized, DirectoryUnavailable."""

    def __init__(
        self,
        *,
        store: Store,
        corp: Directory,
        priv: Directory,
        preparer: Preparer | None,
        preparation: Preparation,
        caps: Caps,
        random: Random,
        now: Callable[[], datetime],
    ) -> None:
        if preparation.ticket_cap < LEAST_TICKET_CAP:
            raise InvalidInput(
                "ticket_cap", f"must be at least {int(LEAST_TICKET_CAP.total_seconds())} seconds"
            )
        self._store = store
        self._corp = corp
        self._priv = priv
        self._preparer = preparer
        self._plan = preparation
        self._caps = caps
        self._random = random
        self._now = now

    # ----------------------------------------------------------------------------------------------------------- users

    def add_user(
        self,
        actor: Actor,
        corp_name: str,
        *,
        priv_name: str = "",
        adopt: bool = False,
        kept_alive: bool = False,
        dry_run: bool = False,
    ) -> PamUser:
        """Prepare a person. `adopt` takes an existing PRIV account. Raises NotFound, Ambiguous, Conflict, ObjectExists, DirectoryDenied."""
        require(actor, Right.ADMINISTER)
        corp = self._corp.find_person(corp_name)
        self._not_prepared(corp)  # (1)
        name = parse_name("priv_name", priv_name or f"{self._plan.prefix}{corp.ref.name}")
        if adopt:
            priv = self._adoptable(name)
        elif len(name) > _SAM_LIMIT:
            raise InvalidInput(
                "priv_name",
                f"{typed(name)} has {len(name)} characters; a sAMAccountName has at most {_SAM_LIMIT}",
            )
        elif dry_run:
            self._name_is_free(name)
            priv = _planned(name, self._plan.users_container)
        else:
            priv = self._create(corp, name, kept_alive=kept_alive)  # (2), (3)
        user = PamUser(
            id=UserId(self._random.uuid()),
            name=name,
            corp=corp.ref,
            priv=priv,
            created_at=self._now(),
            kept_alive=kept_alive,
            adopted=adopt,
        )
        if dry_run:
            return replace(user, ticket_cap=self._plan.ticket_cap)
        try:
            return self._register(actor, user)  # (4), (5)
        except Exception as error:
            if not adopt:
                self._take_back(priv, error)
            raise

    def _create(self, corp: Person, name: str, *, kept_alive: bool) -> ObjectRef:
        preparer = self._need_preparer()
        end = self._now() - _BORN_DORMANT
        account = NewAccount(
            name=name,
            display_name=f"{corp.display_name or corp.ref.name} (privileged)",
            upn=f"{name}@{self._plan.upn_suffix}",
            container=self._plan.users_container,
            end=end,
        )
        ref = preparer.create_account(account, self._random.password(PASSWORD_LENGTH))
        try:
            preparer.protect(
                ref, preparer.ensure_ticket_policy(self._plan.policy_name, self._plan.ticket_cap)
            )
            if kept_alive:
                self._priv.set_ends({ref.sid: None})
        except DirectoryError as error:
            self._take_back(ref, error)
            raise
        return ref

    def _take_back(self, ref: ObjectRef, error: Exception) -> None:
        """Delete what was just made. Raises `error` from what went wrong with that."""
        if isinstance(error, StoreError) and self._may_be_registered(ref):
            return
        try:
            self._need_preparer().delete(ref)
        except BastideError as second:
            raise error from second

    def _may_be_registered(self, ref: ObjectRef) -> bool:
        """A commit whose answer got lost may have been made; then the object is in use. Yes, if nobody can tell."""
        try:
            with self._store.read() as uow:
                groups = (group.priv.guid for group in uow.groups.all())
                return uow.users.by_sid(ref.sid) is not None or ref.guid in groups
        except StoreError:
            return True

    def _register(self, actor: Actor, user: PamUser) -> PamUser:
        user = replace(user, ticket_cap=self._caps.of(user.priv))
        self._check_dormant(user)
        with self._store.write() as uow:
            uow.users.add(user)
            data = {
                "priv": user.priv.name,
                "corp": user.corp.sid,
                "ticket_cap": int(user.ticket_cap.total_seconds()),
                "adopted": user.adopted,
            }
            uow.audit.append(
                by_actor(
                    "pam-user.added",
                    self._now(),
                    actor,
                    subject=user.priv.sid,
                    subject_name=user.name,
                    data=data,
                )
            )
            uow.commit()
        return user

    def _check_dormant(self, user: PamUser) -> None:
        now = self._now()
        states = [accounts.get(user.priv.sid) for accounts in self._priv.observe([user.priv.sid]).values()]
        if not user.kept_alive and any(state is not None and state.open_at(now) for state in states):
            if not user.adopted:
                raise DirectoryError(
                    f"{user.priv.name} was made but is not dormant", remedy="look at its accountExpires"
                )
            failed = self._priv.set_ends({user.priv.sid: now})
            if failed:
                raise DirectoryError(
                    f"{user.priv.name} cannot be made dormant: {failed[user.priv.sid]}",
                    remedy="run the delegation script",
                )

    def set_password(self, actor: Actor, name: str, password: str) -> None:
        """Set the PRIV password of a PAM user: enrolment and rescue. Raises NotFound, DirectoryDenied, CapabilityMissing.

        The intent is committed before the directory is touched: no password is set of which the audit knows nothing.
        """
        require(actor, Right.ADMINISTER)
        preparer = self._need_preparer()
        with self._store.read() as uow:
            user = find_user(uow, name)
        self._on_user("pam-user.password-asked", actor, user)
        try:
            preparer.set_password(user.priv, password)
        except BastideError as error:
            try:
                self._on_user("pam-user.password-failed", actor, user, error=error.code)
            except BastideError as second:
                raise error from second
            raise
        self._on_user("pam-user.password-set", actor, user)

    def _on_user(self, kind: str, actor: Actor, user: PamUser, **data: object) -> None:
        with self._store.write() as uow:
            uow.audit.append(
                by_actor(kind, self._now(), actor, subject=user.priv.sid, subject_name=user.name, data=data)
            )
            uow.commit()

    def remove_user(self, actor: Actor, name: str, *, delete: bool = False, dry_run: bool = False) -> PamUser:
        """Forget a PAM user that no role names and no request uses; `delete` removes a PRIV account that Bastide made, too.

        It is switched off first, so that nobody asks for anything while the directory works, and on again if the directory refuses.
        """
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            user = find_user(uow, name)
            self._unused_user(uow, user)
            if delete:
                _made_by_us(user.priv.name, adopted=user.adopted)
            if dry_run:
                return user
            uow.users.save(replace(user, enabled=False))
            uow.commit()
        if delete:
            self._delete(user.priv, lambda uow: uow.users.save(replace(uow.users.get(user.id), enabled=True)))
        with self._store.write() as uow:
            uow.users.remove(user.id)
            uow.audit.append(self._removed("pam-user.removed", actor, user.priv, user.name, delete=delete))
            uow.commit()
        return user

    def users(self, actor: Actor) -> tuple[PamUser, ...]:
        """All PAM users."""
        require_reader(actor)
        with self._store.read() as uow:
            return uow.users.all()

    def user(self, actor: Actor, name: str) -> PamUser:
        """One PAM user. Raises NotFound."""
        require_reader(actor)
        with self._store.read() as uow:
            return find_user(uow, name)

    # ---------------------------------------------------------------------------------------------------------- groups

    def add_group(
        self,
        actor: Actor,
        corp_name: str,
        carrier: Carrier,
        *,
        priv_name: str = "",
        adopt: bool = False,
        dry_run: bool = False,
    ) -> PamGroup:
        """Prepare a CORP group. Raises NotFound, Ambiguous, Conflict, CapabilityMissing, ObjectExists, DirectoryDenied."""
        require(actor, Right.ADMINISTER)
        corp = (self._priv if carrier is Carrier.DIRECT else self._corp).find_group(corp_name)
        carriers.check(
            corp.ref.name,
            corp.scope,
            carrier,
            security=corp.security,
            shadow_principals=self._priv.capabilities().shadow_principals,
            single_forest=self._plan.single_forest,
        )
        name = parse_name("priv_name", priv_name or f"{self._plan.group_prefix}{corp.ref.name}")
        if carrier is Carrier.DIRECT:
            name = priv_name or corp.ref.name
        with self._store.read() as uow:
            refuse_known_group(uow, name)
        if carrier is Carrier.DIRECT:
            priv = corp.ref
        elif adopt:
            priv = self._adoptable_group(name)
        elif dry_run:
            priv = _planned(name, self._plan.groups_container)
        else:
            priv = self._make_group(corp, carrier, name)
        group = PamGroup(
            id=GroupId(self._random.uuid()),
            name=name,
            carrier=carrier,
            corp=corp.ref,
            priv=priv,
            scope=corp.scope,
            created_at=self._now(),
            adopted=adopt,
        )
        if dry_run:
            return group
        try:
            self._register_group(actor, group)
        except Exception as error:
            if not adopt and carrier is not Carrier.DIRECT:
                self._take_back(priv, error)
            raise
        return group

    def standing(self, actor: Actor, group: PamGroup) -> tuple[Finding, ...]:
        """What an operator must know of a group that was adopted with its members: other carriers take an empty one only."""
        require(actor, Right.ADMINISTER)
        return standing_in(self._priv, group) if group.carrier is Carrier.DIRECT else ()

    def _adoptable_group(self, name: str) -> ObjectRef:
        """Whoever stands in it would hold the privilege for good, without any request."""
        ref = self._priv.find_group(name).ref
        if members := self._priv.members_of(ref):
            raise Conflict(f"{ref.name} has standing members ({len(members)})", remedy="empty it first")
        return ref

    def _register_group(self, actor: Actor, group: PamGroup) -> None:
        data = prepared_with(self._priv, group)
        with self._store.write() as uow:
            if any(
                other.priv.guid == group.priv.guid or other.name.casefold() == group.name.casefold()
                for other in uow.groups.all()
            ):
                raise Conflict(f"{group.priv.name} is a PAM group already")
            uow.groups.add(group)
            uow.audit.append(
                by_actor(
                    "pam-group.added",
                    self._now(),
                    actor,
                    subject=group.priv.sid,
                    subject_name=group.name,
                    data=data,
                )
            )
            uow.commit()

    def _make_group(self, corp: Group, carrier: Carrier, name: str) -> ObjectRef:
        preparer = self._need_preparer()
        if carrier is Carrier.SHADOW_PRINCIPAL:
            return preparer.create_shadow_principal(name, corp.ref.sid)
        return preparer.create_group(
            name, self._plan.groups_container, f"Carries CORP\\{corp.ref.name}; managed by Bastide"
        )

    def remove_group(
        self, actor: Actor, name: str, *, delete: bool = False, dry_run: bool = False
    ) -> PamGroup:
        """Forget a PAM group that no role gives; `delete` removes a PRIV group that Bastide made, too. Raises NotFound, Conflict."""
        require(actor, Right.ADMINISTER)
        with self._store.write() as uow:
            group = find_group(uow, name)
            self._unused_group(uow, group)
            if delete:
                _made_by_us(group.priv.name, adopted=group.adopted or group.carrier is Carrier.DIRECT)
            if dry_run:
                return group
            uow.groups.save(replace(group, enabled=False))
            uow.commit()
        if delete:
            self._delete(
                group.priv, lambda uow: uow.groups.save(replace(uow.groups.get(group.id), enabled=True))
            )
        with self._store.write() as uow:
            uow.groups.remove(group.id)
            uow.audit.append(self._removed("pam-group.removed", actor, group.priv, group.name, delete=delete))
            uow.commit()
        return group

    def _removed(self, kind: str, actor: Actor, ref: ObjectRef, name: str, *, delete: bool) -> Event:
        return by_actor(
            kind, self._now(), actor, subject=ref.sid, subject_name=name, data={"deleted": delete}
        )

    def groups(self, actor: Actor) -> tuple[PamGroup, ...]:
        """All PAM groups."""
        require_reader(actor)
        with self._store.read() as uow:
            return uow.groups.all()

    def group(self, actor: Actor, name: str) -> PamGroup:
        """One PAM group. Raises NotFound."""
        require_reader(actor)
        with self._store.read() as uow:
            return find_group(uow, name)

    # --------------------------------------------------------------------------------------------------------- helpers

    def _not_prepared(self, corp: Person) -> None:
        with self._store.read() as uow:
            if (known := uow.users.by_sid(corp.ref.sid)) is not None:
                raise Conflict(f"{corp.ref.name} is PAM user {known.name} already")

    def _adoptable(self, name: str) -> ObjectRef:
        person = self._priv.find_person(name)
        with self._store.read() as uow:
            if (known := uow.users.by_sid(person.ref.sid)) is not None:
                raise Conflict(f"{person.ref.name} belongs to PAM user {known.name} already")
        return person.ref

    def _name_is_free(self, name: str) -> None:
        self._need_preparer()
        try:
            self._priv.find_person(name)
        except NotFound:
            return
        raise Conflict(f"there is an account {name} in PRIV already", remedy="adopt it with --adopt")

    def _delete(self, ref: ObjectRef, switch_on: Callable[[UnitOfWork], object]) -> None:
        """Delete what is switched off; if that fails, it is as it was. Raises what the directory said."""
        try:
            self._need_preparer().delete(ref)
        except Exception as error:
            try:
                with self._store.write() as uow:
                    switch_on(uow)
                    uow.commit()
            except BastideError as second:
                raise error from second
            raise

    def _need_preparer(self) -> Preparer:
        if self._preparer is None:
            raise CapabilityMissing(
                "this server has no preparer account, so it cannot create accounts",
                remedy="make the object yourself and adopt it, or set [priv.preparer] in bastide.toml",
            )
        return self._preparer

    @staticmethod
    def _unused_group(uow: UnitOfWork, group: PamGroup) -> None:
        if named := [role.name for role in uow.roles.all() if group.id in role.privileges]:
            raise Conflict(
                f"{group.name} is given by: {', '.join(named)}", remedy="take it out of these roles first"
            )
        if group.link is not Link.ABSENT or uow.requests.using_group(group.id, OPEN):
            raise Conflict(f"open requests use {group.name}", remedy="end them first")

    @staticmethod
    def _unused_user(uow: UnitOfWork, user: PamUser) -> None:
        if uow.requests.of_users([user.id], OPEN):
            raise Conflict(
                f"{user.name} has open requests",
                remedy="end them first, for instance with `bastide kill --user`",
            )
        named = [r.name for r in uow.roles.all() if any(s.sid in user.sids for s in r.candidates)]
        if named:
            raise Conflict(
                f"{user.name} is still a candidate of: {', '.join(named)}",
                remedy="take the person out of these roles first",
            )


def _planned(name: str, container: str) -> ObjectRef:
    """What a dry run would make: it has no identifiers yet."""
    return ObjectRef(guid="", sid=Sid(""), dn=f"(new) {name} in {container}", name=name)


def _made_by_us(name: str, *, adopted: bool) -> None:
    if adopted:
        raise Conflict(
            f"{name} was there before; Bastide deletes only what it made", remedy="leave out --delete"
        )
