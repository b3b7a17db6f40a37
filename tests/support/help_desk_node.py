"""A help desk on the real forests: people of CORP with an account in OpenLDAP too, the policies of the domain, codes by mail."""

from dataclasses import replace
from pathlib import Path

from bastide.directory.password_policy import AdPolicyReader
from bastide.domain.management_agents import CsId, MvId
from bastide.domain.people import Actor, Forest, Right
from bastide.services.help_desk.desk import HelpDesk, Seat
from bastide.services.help_desk.ports import Settings
from bastide.services.passwords.person import Ordered, Outcome
from bastide.wiring import Adapters
from bastide_lab import plan
from tests.support.directory_lab import CORP
from tests.support.reset_node import OLD, ResetNode, Someone
from tests.support.target_systems import pwd_last_set

OPERATORS = "DbAdmins"


class HelpDeskNode(ResetNode):
    """`bob` of CORP is the operator. Members of FileAdmins are protected, and the operators themselves."""

    def _adapters(self) -> Adapters:
        base = super()._adapters()
        return replace(
            base,
            help_desk=Settings(guarded=("CORP\\FileAdmins", f"CORP\\{OPERATORS}"), channels=("mail",)),
            policies={Forest.CORP: AdPolicyReader(self.forests.corp.connections)},
        )

    @property
    def desk(self) -> HelpDesk:
        assert self.services.help_desk is not None
        return self.services.help_desk

    def operator(self) -> Actor:
        return self._actor("bob", Forest.CORP, frozenset({Right.BROWSE, Right.SET}))

    def let_ask_for_a_change(self) -> None:
        """What docs/how-to/password-targets.md names for `must_change`, beside what the delegation of the reset gives."""
        self._dsacl("set")

    def let_ask_no_more(self) -> None:
        """The container is as the script of the delegation left it: other tests say what its account may not do."""
        self._dsacl("delete")

    def _dsacl(self, act: str) -> None:
        database = self.lab.site.database(plan.host("corpdc"))
        command: list[str | Path] = [
            "samba-tool",
            "dsacl",
            act,
            "-H",
            database,
            "--objectdn",
            self.corp.staff,
        ]
        self.lab.exec("corpdc", [*command, "--sddl", pwd_last_set(self.corp.account.sid)], check=True)

    # ------------------------------------------------------------------------------------------------------------ people

    def caller(self) -> Someone:
        """With the same password in both systems."""
        someone = self.newcomer()
        raw = self.people.admin()
        raw.passwd_s(someone.people_dn, None, OLD)
        raw.unbind_s()
        return someone

    def found(self, someone: Someone) -> MvId:
        """As an operator finds the person: by the number."""
        (one,) = self.desk.find(self.operator(), self.number(someone))
        return one.id

    @staticmethod
    def number(someone: Someone) -> str:
        return someone.mail.partition("@")[0]

    def seats(self, person: MvId) -> dict[str, Seat]:
        return {one.account.agent: one for one in self.desk.show(self.operator(), person).seats}

    def accounts(self, person: MvId) -> tuple[CsId, ...]:
        return tuple(one.account.object.id for one in self.seats(person).values())

    def code_of_caller(self, someone: Someone, had: int) -> str:
        """What the caller reads out: it went to the address that the directory has."""
        return self.code(self.address(someone), had)

    def told_of_it(self, someone: Someone, had: int) -> str:
        """The letter that comes after so many."""
        self.soon(lambda: len(self.letters(self.address(someone))) > had, "nobody told the person")
        return self.letters(self.address(someone))[had]

    def address(self, someone: Someone) -> str:
        return f"{self.number(someone)}@{CORP}"

    def outcomes(self, operation: str) -> dict[str, Outcome]:
        """When all systems have answered."""
        last: list[Ordered] = []

        def over() -> bool:
            last[:] = [self.desk.operation(self.operator(), operation)]
            return last[0].over

        self.soon(over, "not every system has answered")
        return {one.agent: one for one in last[0].outcomes}

    def must_change(self, someone: Someone) -> bool:
        """As the domain keeps it: pwdLastSet is 0."""
        entry = self.forests.admin_read(Forest.CORP, someone.corp.dn, "pwdLastSet")
        return entry.text("pwdLastSet") == "0"

    def changes_it(self, someone: Someone, old: str, new: str) -> bool:
        """As the person does it at the next sign-in, with MIT's client."""
        principal = f"{someone.name}@{self.lab.realm('corp')}"
        command = ["setsid", "-w", "kpasswd", principal]
        return self.lab.exec("client", command, input=f"{old}\n{new}\n{new}\n").returncode == 0

    def wrong_in_both(self, someone: Someone) -> None:
        """Until both systems have locked the account."""
        for number in range(3):
            assert self.signs_in(someone, f"Wrong-Horse-Battery-{number}")
        self.people.lock(someone.people_dn)
