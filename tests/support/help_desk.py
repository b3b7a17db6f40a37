"""A help desk in memory: Hanna and Otto of CORP set passwords, Wanda looks. People have an account in CORP and one in each of `crm` and `files`. Fixtures for modules
with `pytest_plugins = ["tests.support.help_desk"]`.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest
from litestar.testing import TestClient

from bastide.audit.event_log import MemoryEventLog
from bastide.directory.memory_policy import MemoryPolicyReader
from bastide.domain.ids import Sid
from bastide.domain.management_agents import (
    CsId,
    CsObject,
    Link,
    MaId,
    ManagementAgent,
    MvId,
    MvObject,
    Operation,
    PasswordManagement,
    PasswordSource,
)
from bastide.domain.people import Actor, Forest
from bastide.domain.reset.password_rules import Policy
from bastide.notify.memory import MemoryNotifier
from bastide.services.help_desk.desk import HelpDesk
from bastide.services.help_desk.ports import Settings
from bastide.services.notifications.ports import Channel, Message
from bastide.services.notifications.ports import Settings as NotificationSettings
from bastide.services.ports import AuditQuery
from bastide.store.md4 import Md4NtHasher
from bastide.store.vault import AesEnvelope, SqlVault
from bastide.targets.memory import Account, MemorySystem
from bastide.wiring import Adapters
from bastide.wiring.notifications import NotificationAdapters
from bastide.wiring.passwords import PasswordAdapters
from tests.support.api import ApiWorld, app_over
from tests.support.notification_world import LEAD
from tests.support.sync_world import ReversedOpener
from tests.support.world import ADDRESS

#: The routes of the help desk, and the right that each asks for.
RIGHTS = {
    "GET /help-desk/people": "browse",
    "GET /help-desk/people/{person}": "browse",
    "GET /help-desk/people/{person}/history": "browse",
    "POST /help-desk/people/{person}/verifications": "set-passwords",
    "POST /help-desk/verifications/{verification}": "set-passwords",
    "POST /help-desk/people/{person}/passwords": "set-passwords",
    "POST /help-desk/people/{person}/changes": "set-passwords",
    "POST /help-desk/people/{person}/unlocks": "set-passwords",
    "GET /help-desk/operations/{operation}": "browse",
    "GET portal/desk": "browse",
    "POST portal/desk": "browse",
    "GET portal/desk/people/{person}": "browse",
    "POST portal/desk/people/{person}/verify": "set-passwords",
    "POST portal/desk/people/{person}/prove": "set-passwords",
    "POST portal/desk/people/{person}/set": "set-passwords",
    "POST portal/desk/people/{person}/change": "set-passwords",
    "POST portal/desk/people/{person}/unlock": "set-passwords",
    "GET portal/desk/operations/{operation}": "browse",
    "GET portal/events/orders/{order}": "browse",
}
SPACES = ("corp", "crm", "files")
#: What CORP asks of a password.
POLICY = Policy("DC=corp", 8, complex=True, history=24, least_age=timedelta(days=1))
PEOPLE = ("alice", "bob", "mallory")
_SPACE = UUID("6a1b1f0e-2222-4222-8333-444455556666")


def id_of(name: str) -> str:
    return str(uuid5(_SPACE, name))


class HelpDeskWorld(ApiWorld):
    """`settings` changes what the help desk may."""

    def __init__(self, **settings: Any) -> None:
        self._settings = settings
        self.notifier = MemoryNotifier()
        self.numbered = MemoryEventLog()
        self.policies = MemoryPolicyReader(POLICY)
        super().__init__()
        passwords = self.services.passwords
        assert passwords is not None
        passwords.switchboard.enable(self.dave)
        self._make_systems()
        for name in PEOPLE:
            self.add_accounts(name)

    def _adapters(self) -> Adapters:
        adapters = super()._adapters()
        people = {
            name: self.corp.add_person(name, password=f"{name}-corp-pw")
            for name in ("hanna", "otto", "wanda")
        }
        self.desks = {
            "Helpdesk": self.corp.add_group(
                "Helpdesk", members=[people[n].ref.sid for n in ("hanna", "otto")]
            ),
            "Browsers": self.corp.add_group("Browsers", members=[people["wanda"].ref.sid]),
            "Board": self.corp.add_group("Board"),
        }
        fields: dict[str, Any] = {
            "own_names": frozenset({"svc-bastide"}),
            "guarded": (
                "Administrators",
                "Auditors",
                "Approvers",
                "CORP\\Helpdesk",
                "CORP\\Browsers",
                "CORP\\Board",
            ),
            "channels": ("mail",),
        }
        told = NotificationSettings(channels=(Channel(name="mail", people=True),), home=ADDRESS, lead=LEAD)
        self.vault = SqlVault("sqlite://", adapters.sealer)
        return replace(
            adapters,
            rights=replace(
                adapters.rights,  # type: ignore[type-var]
                browsers=frozenset({self.desks["Browsers"].ref.sid}),
                setters=frozenset({self.desks["Helpdesk"].ref.sid}),
            ),
            passwords=PasswordAdapters(
                vault=self.vault,
                envelope=AesEnvelope(adapters.random),
                opener=ReversedOpener(),
                hasher=Md4NtHasher(),
                events=self.numbered,
                threads=1,
            ),
            notifications=NotificationAdapters(self.notifier, told),
            help_desk=Settings(**{**fields, **self._settings}),
            policies={Forest.CORP: self.policies},
        )

    def close(self) -> None:
        super().close()
        self.vault.close()

    # -------------------------------------------------------------------------------------------------------------- made

    def _make_systems(self) -> None:
        agents = []
        for name in SPACES:
            self.systems.systems[name] = MemorySystem()
            source = PasswordSource(domain=self.corp.dns_name, enabled=True) if name == "corp" else None
            agents.append(
                ManagementAgent(
                    id=MaId(id_of(f"ma {name}")),
                    name=name,
                    connector="memory",
                    settings={"system": name},
                    passwords=PasswordManagement(enabled=True, operation=Operation.BOTH),
                    source=source,
                )
            )
        with self.store.write() as uow:
            for agent in agents:
                uow.agents.add(agent)
            uow.commit()

    def add_accounts(self, name: str, *, sid: str = "", spaces: tuple[str, ...] = SPACES) -> None:
        """Of somebody in CORP."""
        mv = MvId(self.person(name))
        values = {"displayName": (name.capitalize(),), "accountName": (name,)}
        with self.store.write() as uow:
            uow.metaverse.put([MvObject(id=mv, type="person", attributes=values)])
            uow.space.put([self._object(name, space, mv, sid) for space in spaces])
            uow.commit()
        for space in spaces:
            self.systems.systems[space].put(
                id_of(f"{space} {name}"), dn=f"CN={name},OU={space}", password="Old-Horse-1"
            )

    def _object(self, name: str, space: str, mv: MvId, sid: str) -> CsObject:
        attributes: dict[str, tuple[str, ...]] = {"sAMAccountName": (name,)}
        if space == "corp":
            attributes["objectSid"] = (sid or self.sid_of(name),)
        return CsObject(
            id=CsId(self.account_id(space, name)),
            ma=MaId(id_of(f"ma {space}")),
            anchor=id_of(f"{space} {name}"),
            dn=f"CN={name},OU={space}",
            type="user",
            attributes=attributes,
            link=Link.JOINED,
            mv=mv,
            because="sAMAccountName = accountName",
        )

    def set_mail(self, name: str, address: str) -> None:
        """What the directory says of a person."""
        found = self.corp.account(Sid(self.sid_of(name)))
        person = replace(found.person, mail=address)
        self.corp.change(replace(found, person=person), self.corp.expires(person.ref.sid))

    # -------------------------------------------------------------------------------------------------------------- seen

    @property
    def desk(self) -> HelpDesk:
        assert self.services.help_desk is not None
        return self.services.help_desk

    def operator(self, name: str = "hanna") -> Actor:
        """With a CORP ticket and a second factor, as the door makes it of both."""
        actor = self.sign_in(name, Forest.CORP)
        return actor.proved(self.with_mfa(actor).mfa)

    def sid_of(self, name: str) -> str:
        return str(self.services.forests[Forest.CORP].find_person(name).ref.sid)

    @staticmethod
    def person(name: str) -> str:
        return id_of(f"mv {name}")

    @staticmethod
    def account_id(space: str, name: str) -> str:
        return id_of(f"cs {space} {name}")

    def accounts(self, *spaces: str, name: str = "alice") -> tuple[CsId, ...]:
        return tuple(CsId(self.account_id(space, name)) for space in spaces or SPACES)

    def there(self, space: str, name: str = "alice") -> Account:
        """The account in its system."""
        return self.systems.systems[space].account(id_of(f"{space} {name}"))

    def told(self) -> list[Message]:
        """What people were told of what was done for them; no code is among it."""
        return [one for _, one in self.notifier.taken if "If you did not ask for this" in one.body]

    def told_by_now(self) -> list[str]:
        """The words, after a moment."""
        self.clock.move(seconds=2)
        self.work()
        return [one.body for one in self.told()]

    def kinds(self, prefix: str = "help-desk.") -> list[str]:
        with self.store.read() as uow:
            return [one.kind for one in uow.audit.read(AuditQuery(limit=0)) if one.kind.startswith(prefix)]

    def whole_audit(self) -> str:
        with self.store.read() as uow:
            return repr(list(uow.audit.read(AuditQuery(limit=0))))


@pytest.fixture
def help_desk_world() -> Iterator[HelpDeskWorld]:
    made = HelpDeskWorld()
    yield made
    made.close()


@pytest.fixture
def served_desk(help_desk_world: HelpDeskWorld) -> Iterator[HelpDeskWorld]:
    """With its API in front."""
    with app_over(help_desk_world.services) as app, TestClient(app, raise_server_exceptions=False) as client:
        help_desk_world.client = client
        yield help_desk_world
