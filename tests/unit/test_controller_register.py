"""Whether the caller is a domain controller, asked of two (directory/channel.py, AdControllerRegister, by its numbers): the account of a new one has not come to both yet."""

from collections.abc import Iterator

import pytest

from bastide.audit.event_log import MemoryEventLog
from bastide.directory.channel import AdControllerRegister
from bastide.directory.constants import AccountControl
from bastide.domain.errors import DirectoryUnavailable, NotAuthorized
from bastide.domain.ids import Sid
from bastide.services.passwords.callers import Callers
from bastide.services.passwords.ports import Peer
from tests.support.recording_ldap import BASE, DOMAIN_SID, RecordingDc, Thing, connected

DOMAIN = "priv.example"
RID = 1200
PLAIN, DISABLED = int(AccountControl.SERVER_TRUST), int(AccountControl.SERVER_TRUST | AccountControl.DISABLED)


class Two:
    """dc1 is asked first. `admit` is what dc3 hears when it connects."""

    def __init__(self, first: RecordingDc, second: RecordingDc, register: AdControllerRegister) -> None:
        self.first, self.second = first, second
        self.events = MemoryEventLog()
        self._callers = Callers(register=register, events=self.events)

    def admit(self) -> str:
        realm = DOMAIN.upper()
        peer = Peer(principal=f"DC3$@{realm}", realm=realm, key_realm=realm, rid=RID, primary_group=516)
        return self._callers.admit(peer).host

    def asked(self) -> tuple[int, int]:
        """How many searches for an account each heard."""
        heard = [sum(one.dn == BASE for one in dc.operations) for dc in (self.first, self.second)]
        return heard[0], heard[1]


@pytest.fixture
def two() -> Iterator[Two]:
    first, second = RecordingDc("dc1"), RecordingDc("dc2")
    with connected(first, second) as controllers:
        yield Two(first, second, AdControllerRegister({DOMAIN: controllers}))


def add_dc3(
    dc: RecordingDc,
    *,
    flags: int = PLAIN,
    rid: int = RID,
    where: str = "OU=Domain Controllers",
    group: str = "516",
) -> Thing:
    return dc.add(
        f"CN=DC3,{where},{BASE}", sid=Sid(f"{DOMAIN_SID}-{rid}"), sAMAccountName="DC3$", objectClass="computer",
        primaryGroupID=group, userAccountControl=str(flags), dNSHostName="DC3.priv.example",
    )  # fmt: skip


def test_2_the_first_one_s_yes_is_enough(two: Two) -> None:
    add_dc3(two.first)
    assert two.admit() == "dc3.priv.example"
    assert two.asked() == (1, 0)
    assert two.events.numbers() == [6913]


@pytest.mark.parametrize(
    "there",
    [
        {},
        {"flags": DISABLED},
        {"where": "CN=Computers", "group": "515"},
        {"rid": RID - 100},
    ],
    ids=["not yet", "while it joins", "before it was made one", "an earlier one of that name"],
)
def test_3_who_is_one_by_what_another_knows_is_heard(two: Two, there: dict[str, int | str]) -> None:
    if there:
        add_dc3(two.first, **there)  # type: ignore[arg-type]  # the cases above
    add_dc3(two.second)
    assert two.admit() == "dc3.priv.example"
    assert two.events.numbers() == [6913]


def test_4_whom_neither_knows_as_one_is_refused(two: Two) -> None:
    for dc in (two.first, two.second):
        add_dc3(dc, where="CN=Computers", group="515")
    with pytest.raises(NotAuthorized, match="not a domain controller"):
        two.admit()
    assert two.events.numbers() == [6914]


def test_4_another_account_of_that_name_is_not_it(two: Two) -> None:
    add_dc3(two.second, rid=RID + 1)
    with pytest.raises(NotAuthorized):
        two.admit()


def test_4_whom_nobody_in_reach_knows_is_refused_also_while_one_is_down(two: Two) -> None:
    two.second.close()
    with pytest.raises(NotAuthorized):
        two.admit()
    assert two.events.numbers() == [6914]


def test_where_nobody_can_be_asked_it_is_no_refusal(two: Two) -> None:
    two.first.close()
    two.second.close()
    with pytest.raises(DirectoryUnavailable):
        two.admit()
    assert not two.events.numbers()
