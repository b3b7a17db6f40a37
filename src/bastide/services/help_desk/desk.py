"""The help desk: find a person's accounts; set, change and unlock them for somebody who calls. MIM had it as the groups FIMSyncBrowse and FIMSyncPasswordSet, and
MIIS_CSObject for programs.

To look takes Right.BROWSE, to write Right.SET. A write, in order:

  (1) The right; an operator of CORP has shown a second factor (authn.py).
  (2) Not more often than one operator does (pace.py).
  (3) The person is in reach now, by what the directories say now (domain/help_desk.py).
  (4) To set: the caller is verified, by this operator, for this. Only where the settings allow it, a reason does instead, and the audit says so. A change shows the
      old password, which is proof enough; an unlock gives nobody anything that a password does not.
  (5) The new password keeps to what the domains ask of the chosen accounts there (rules.py); otherwise no system is asked, and the verification stays good.
  (6) One commit with the order: the verification is used up, the audit says how the caller was verified, and the word to the person is planned (letters.py).

A password that is made here is shown to the operator once, in the answer; nothing keeps it. With `must_change` it is good for one sign-in.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.errors import InvalidInput, MfaRefused
from bastide.domain.help_desk import Method, used
from bastide.domain.help_desk_told import Deed, look_at
from bastide.domain.ids import parse_id, parse_text
from bastide.domain.management_agents import CsId, MvId, MvObject
from bastide.domain.people import Actor, Right, require
from bastide.services.events import by_actor
from bastide.services.help_desk.letters import Letters
from bastide.services.help_desk.pace import Act, Pace
from bastide.services.help_desk.ports import Settings
from bastide.services.help_desk.rules import Rules
from bastide.services.help_desk.tier import Tier
from bastide.services.help_desk.verify import Verify
from bastide.services.pace import HELP_DESK
from bastide.services.passwords.at_once import Answer, AtOnce
from bastide.services.passwords.person import Account, By, Ordered, PersonPasswords, Within, name_of
from bastide.services.passwords.ports import Look
from bastide.services.ports import Random, Store, UnitOfWork

#: Characters that a search needs, so that it finds a person and lists nobody.
SHORTEST = 2
SEARCH_LIMIT = 50
HISTORY_LIMIT = 100
REASON_LIMIT = 400
#: Characters of a password that is made here, or more where a domain asks for more: 20 of 62 are 119 bits.
_MADE = 20


@dataclass(frozen=True, slots=True)
class Known:
    """A person as a search shows it: `accounts` by agent and DN."""

    id: MvId
    name: str
    accounts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Seat:
    """An account with how it stands now."""

    account: Account
    look: Look


@dataclass(frozen=True, slots=True)
class Shown:
    """A person. `out_of_reach`: why nothing can be done here; empty: it can. `methods`: by which the caller can be verified."""

    person: MvObject
    name: str
    seats: tuple[Seat, ...]
    out_of_reach: str
    methods: tuple[Method, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """An order that was given. `password`: the one that was made here; empty: it was typed. Not for logs: its repr holds none."""

    operation: str
    password: str = ""

    def __repr__(self) -> str:
        return f"Given({self.operation})"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetOrder:
    """What is to be set. `password` empty: one is made. Not for logs: its repr holds none."""

    accounts: tuple[CsId, ...]
    password: str = ""
    must_change: bool = True
    unlock: bool = True
    verification: str = ""
    reason: str = ""

    def __repr__(self) -> str:
        return f"SetOrder({self.accounts})"


class HelpDesk:
    """The use cases of operators."""

    def __init__(
        self,
        *,
        store: Store,
        tier: Tier,
        rules: Rules,
        verify: Verify,
        letters: Letters,
        person: PersonPasswords,
        at_once: AtOnce,
        random: Random,
        settings: Settings,
        now: Callable[[], datetime],
    ) -> None:
        self.verify = verify
        self.letters = letters
        self._store = store
        self._tier = tier
        self._rules = rules
        self._person = person
        self._at_once = at_once
        self._random = random
        self._settings = settings
        self._now = now
        self._pace = Pace(now)

    # ------------------------------------------------------------------------------------------------------------ looking

    def find(self, actor: Actor, text: str, *, limit: int = SEARCH_LIMIT) -> tuple[Known, ...]:
        """People by a part of a value. Raises NotAuthorized, InvalidInput, TooManyTries."""
        require(actor, Right.BROWSE)
        wanted = parse_text("text", text, 256)
        if len(wanted) < SHORTEST:
            raise InvalidInput("text", f"has at least {SHORTEST} characters")
        if not 1 <= limit <= SEARCH_LIMIT:
            raise InvalidInput("limit", f"is 1 to {SEARCH_LIMIT}")
        self._pace.count(Act.LOOK, actor.sid)
        with self._store.write() as uow:
            people = uow.metaverse.search(text=wanted, limit=limit)
            accounts = uow.space.of_mvs({one.id for one in people})
            names = {agent.id: agent.name for agent in uow.agents.all()}
            # What finds nobody may be a password that was typed into the wrong field.
            data = {"text": wanted if people else "", "found": len(people)}
            uow.audit.append(by_actor("help-desk.searched", self._now(), actor, data=data))
            uow.commit()
        return tuple(
            Known(
                one.id,
                name_of(one),
                tuple(sorted((names.get(cs.ma, cs.ma), cs.dn) for cs in accounts.get(one.id, ()))),
            )
            for one in people
        )

    def show(self, actor: Actor, id: str) -> Shown:  # noqa: A002  # its id
        """A person with all accounts, as their systems show them now. Raises NotAuthorized, NotFound, TooManyTries, DirectoryUnavailable."""
        require(actor, Right.BROWSE)
        person = MvId(parse_id("person", id))
        self._pace.count(Act.LOOK, actor.sid)
        accounts = self._person.accounts(person)
        with self._store.write() as uow:
            owner = uow.metaverse.get(person)
            uow.audit.append(
                by_actor(
                    "help-desk.looked", self._now(), actor, subject=owner.id, subject_name=name_of(owner)
                )
            )
            uow.commit()
        why = self._tier.why(actor, person)
        looks = self._at_once.look([one for one in accounts if not one.unlock_hindrance])
        seats = tuple(Seat(one, looks.get(one.object.id, Look())) for one in accounts)
        methods = () if why else self.verify.methods(person)
        return Shown(owner, name_of(owner), seats, why, methods)

    def operation(self, actor: Actor, id: str) -> Ordered:  # noqa: A002  # its id
        """What became of an order. Raises NotAuthorized, NotFound."""
        require(actor, Right.BROWSE)
        return self._person.operation(parse_id("operation", id))

    def history(self, actor: Actor, id: str, *, limit: int = HISTORY_LIMIT) -> tuple[Ordered, ...]:  # noqa: A002  # its id
        """What was set and changed for a person here, newest first. Raises NotAuthorized, NotFound, InvalidInput."""
        require(actor, Right.BROWSE)
        if not 1 <= limit <= HISTORY_LIMIT:
            raise InvalidInput("limit", f"is 1 to {HISTORY_LIMIT}")
        return self._person.history(MvId(parse_id("person", id)), limit=limit)

    # ------------------------------------------------------------------------------------------------------------ writing

    def set(self, actor: Actor, whom: str, order: SetOrder) -> Given:
        """Set the password of some accounts of a person. Raises NotAuthorized, MfaRefused, InvalidInput, NotFound, Conflict, TooManyTries, DirectoryUnavailable."""
        person, reason = self._admitted(actor, whom, order.reason)
        within = self._with_verification(actor, person, order.verification, reason)  # (4)
        new = self._new(person, order.accounts, order.password)
        operation = self._person.set_for(
            person,
            order.accounts,
            new,
            must_change=order.must_change,
            unlock=order.unlock,
            by=By.actor(actor),
            reason=reason,
            within=within,
        )
        return Given(operation, "" if order.password else new)

    def change(
        self,
        actor: Actor,
        whom: str,
        accounts: Collection[CsId],
        old: str,
        new: str,
        *,
        reason: str = "",
    ) -> Ordered:
        """With the old password; waits for all targets. Raises as `set`."""
        person, reason = self._admitted(actor, whom, reason)
        within = self._without_verification(actor, person, Deed.CHANGE, "old password")
        self._rules.check(new, self._tier.members(person, accounts))  # (5)
        operation = self._at_once.change(
            person, accounts, old, new, by=By.actor(actor), reason=reason, within=within
        )
        return self._person.operation(operation)

    def unlock(
        self,
        actor: Actor,
        whom: str,
        accounts: Collection[CsId],
        *,
        reason: str = "",
    ) -> tuple[Answer, ...]:
        """Without touching the password; waits for all targets. Raises as `set`."""
        person, reason = self._admitted(actor, whom, reason)
        within = self._without_verification(actor, person, Deed.UNLOCK, "not needed")
        return self._at_once.unlock(person, accounts, by=By.actor(actor), reason=reason, within=within)

    def _admitted(self, actor: Actor, whom: str, reason: str) -> tuple[MvId, str]:
        require(actor, Right.SET)  # (1)
        person = MvId(parse_id("person", whom))
        said = parse_text("reason", reason, REASON_LIMIT)
        self._pace.count(Act.WRITE, actor.sid)  # (2)
        self._tier.require(actor, person)  # (3)
        return person, said

    def _new(self, person: MvId, accounts: Collection[CsId], typed: str) -> str:
        """(5) What was typed, or one that is made."""
        sids = self._tier.members(person, accounts)
        new = typed or self._random.password(max(_MADE, self._rules.length(sids)))
        self._rules.check(new, sids)
        return new

    def _with_verification(self, actor: Actor, person: MvId, verification: str, reason: str) -> Within:
        if verification:
            known = parse_id("verification", verification)

            def use(uow: UnitOfWork, operation: str) -> None:  # (6)
                one = used(uow.verifications.get(known), actor.sid, person, operation, self._now())
                uow.verifications.save(one)
                how = {"verified": one.method.value, "verification": one.id}
                self._say(uow, actor, person, operation, Deed.SET, how)

            return use
        if not self._settings.unverified:
            raise MfaRefused(
                "the caller is not verified",
                remedy="verify the caller first: `bastide helpdesk verify PERSON`",
            )
        if not reason:
            raise InvalidInput("reason", "says why the caller could not be verified")
        return self._without_verification(actor, person, Deed.SET, "no")

    def _without_verification(self, actor: Actor, person: MvId, what: Deed, verified: str) -> Within:
        def say(uow: UnitOfWork, operation: str) -> None:
            self._say(uow, actor, person, operation, what, {"verified": verified})

        return say

    def _say(  # (6)
        self,
        uow: UnitOfWork,
        actor: Actor,
        person: MvId,
        operation: str,
        what: Deed,
        how: Mapping[str, object],
    ) -> None:
        name, now, data = name_of(uow.metaverse.get(person)), self._now(), {"what": what.value, **how}
        uow.audit.append(
            by_actor(
                "help-desk.ordered",
                now,
                actor,
                subject=person,
                subject_name=name,
                request=operation,
                data=data,
            )
        )
        uow.work.poke(HELP_DESK, f"{what.value}:{operation}", look_at(now, now))
