"""What the delegation of self-service reset gives on a real CORP, and that it gives no more: each account tries."""

from collections.abc import Iterator

import pytest

from bastide.directory.constants import PASSWORD_SETTINGS
from bastide.directory.entries import by_guid, by_sid
from bastide.directory.ldap import Controllers
from bastide.directory.session import ADD, REPLACE, Change
from bastide.domain.errors import DirectoryDenied, NoSuchObject
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from tests.support.directory_lab import CORP_BASE, CORP_GROUPS, DirectoryLab
from tests.support.reset_lab import ResetLab, reset_lab

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
pytestmark = pytest.mark.lab
OLD, NEW = "Old-Horse-Battery-1", '"New-Horse-Battery-2"'.encode("utf-16-le")
RESET: Change = (REPLACE, "unicodePwd", [NEW])
UNLOCK: Change = (REPLACE, "lockoutTime", [b"0"])


@pytest.fixture(scope="module")
def corp(directory_lab: DirectoryLab) -> ResetLab:
    return reset_lab(directory_lab)


@pytest.fixture(scope="module")
def resetter(corp: ResetLab) -> Iterator[Controllers]:
    made = corp.connect()
    yield made
    made.close()


@pytest.fixture(scope="module")
def nina(corp: ResetLab) -> ObjectRef:
    return corp.person(password=OLD)


def write(controllers: Controllers, dn: str, *changes: Change) -> None:
    controllers.on_any("try", lambda session: session.modify(dn, changes))


def refused(controllers: Controllers, dn: str, *changes: Change) -> None:
    """Over the trust Samba may say that the object is not there."""
    with pytest.raises((DirectoryDenied, NoSuchObject)):
        write(controllers, dn, *changes)


def test_passwords_are_set_and_locks_taken_away_in_the_container_at_once_and_alone(
    resetter: Controllers, nina: ObjectRef
) -> None:
    write(resetter, by_guid(nina.guid), RESET, UNLOCK)
    write(resetter, by_guid(nina.guid), UNLOCK)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("pwdLastSet", b"0"),
        ("userAccountControl", b"514"),
        ("accountExpires", b"0"),
        ("mail", b"eve@evil.example"),
        ("servicePrincipalName", b"host/x"),
        ("altSecurityIdentities", b"Kerberos:eve@EVIL.EXAMPLE"),
        ("description", b"x"),
        ("sAMAccountName", b"other"),
    ],
)
def test_nothing_else_of_a_person_is_written(
    resetter: Controllers, nina: ObjectRef, attribute: str, value: bytes
) -> None:
    refused(resetter, by_guid(nina.guid), (REPLACE, attribute, [value]))


def test_nobody_outside_of_the_container_is_reset_or_unlocked(corp: ResetLab, resetter: Controllers) -> None:
    elsewhere = corp.person(password=OLD, container=f"CN=Users,{CORP_BASE}")
    administrator = by_sid(Sid(f"{elsewhere.sid.domain}-500"))
    for dn in (by_guid(elsewhere.guid), administrator, by_guid(corp.account.guid)):
        refused(resetter, dn, RESET)
        refused(resetter, dn, UNLOCK)


def test_nothing_is_given_on_what_adminsdholder_guards(corp: ResetLab) -> None:
    """Where AD copies its list onto privileged accounts, a right in the container is gone from them."""
    guard = f"CN=AdminSDHolder,CN=System,{CORP_BASE}"
    done = corp.forests.lab.exec("corpdc", ["samba-tool", "dsacl", "get", f"--objectdn={guard}"], check=True)
    assert "D:" in done.stdout
    assert str(corp.account.sid) not in done.stdout


def test_nothing_is_made_or_put_into_a_group(corp: ResetLab, resetter: Controllers, nina: ObjectRef) -> None:
    member: Change = (ADD, "member", [by_sid(nina.sid).encode()])
    for dn in (f"CN=FileAdmins,{CORP_GROUPS}", by_sid(Sid(f"{nina.sid.domain}-512"))):
        refused(resetter, dn, member)
    values = {"objectClass": [b"user"], "sAMAccountName": [b"made-this"]}
    with pytest.raises(DirectoryDenied):
        resetter.on_any("try", lambda session: session.add(f"CN=made this,{corp.staff}", values))
    with pytest.raises(DirectoryDenied):
        resetter.on_any("try", lambda session: session.delete(by_guid(nina.guid)))


def test_the_service_account_reads_policies_and_sets_no_password(corp: ResetLab, nina: ObjectRef) -> None:
    service = corp.forests.corp.connections
    container = f"{PASSWORD_SETTINGS},{CORP_BASE}"
    assert service.on_any("look", lambda session: session.must_read(container, ["cn"])).text("cn")
    refused(service, container, (REPLACE, "description", [b"x"]))
    refused(service, CORP_BASE, (REPLACE, "minPwdLength", [b"1"]))
    refused(service, by_guid(nina.guid), RESET)
    refused(service, by_guid(nina.guid), UNLOCK)
    values = {"objectClass": [b"msDS-PasswordSettings"]}
    with pytest.raises(DirectoryDenied):
        service.on_any("try", lambda session: session.add(f"CN=made this,{container}", values))
    head = corp.forests.admin_read(Forest.CORP, CORP_BASE, "minPwdLength")
    assert head.number("minPwdLength") != 1
