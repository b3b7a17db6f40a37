"""A Samba domain as a connected system: import and DirSync, options, refusals told apart, certificates, and the dates that coverage reads."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import ldap
import pytest
from ldap.dn import explode_dn

from bastide import pcns
from bastide.directory.password_set import WANTED, password_set
from bastide.directory.pcns import AdNotificationDirectory
from bastide.directory.session import REPLACE
from bastide.domain.errors import BadSource, NotFound, ObjectExists, TargetDenied, TargetUnavailable
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Imported, NewPassword, Security
from bastide.targets.active_directory import AdConnector, AdTarget, what_it_is, why_refused
from bastide.targets.password_dates import AdPasswordDates
from bastide_lab import plan
from bastide_lab.lab import Lab
from tests.support.certificates import issue
from tests.support.inside import inside
from tests.support.target_systems import Samba, cs_object, now, opening, samba

pytest_plugins = ["tests.support.lab"]
pytestmark = pytest.mark.lab

GOOD, NEXT = "Correct-Horse-Battery-1", "Next-Horse-Battery-2"


@pytest.fixture(scope="module")
def domain(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Samba]:
    folder = tmp_path_factory.mktemp("domain")
    with inside(lab.namespace("bastide")), samba(lab, folder) as made:
        yield made


def read(domain: Samba, cookie: bytes, **changes: Any) -> tuple[dict[str, Imported], bytes]:
    found: dict[str, Imported] = {}
    for page in AdConnector(domain.settings(**changes), opening(domain.password)).read(cookie):
        found |= {one.anchor: one for one in page.objects}
        cookie = page.cookie
    return found, cookie


def test_a_domain_says_which_one_it_is_whatever_the_settings_call_it(domain: Samba) -> None:
    found = what_it_is(domain.settings(), opening(domain.password))
    named, guid = sorted(found, reverse=True)
    assert guid.startswith("directory ")
    assert named == f"domain {'.'.join(explode_dn(domain.base, notypes=True)).lower()}"
    alias = domain.settings(domain="alias.invalid")
    assert alias.controllers
    assert what_it_is(alias, opening(domain.password)) == found
    with pytest.raises(TargetDenied, match="no secret yet"):
        what_it_is(domain.settings(), opening(""))


def show_deleted(domain: Samba, *, may: bool) -> None:
    """What an administrator grants to whoever must see deletions: list the container (docs/how-to/password-targets.md)."""
    sid = domain.admin.search(domain.base, f"(sAMAccountName={domain.service})", ["objectSid"])[0].sid()
    database = domain.lab.site.database(plan.host("privdc"))
    container = f"CN=Deleted Objects,{domain.base}"
    script = (
        "import sys\n"
        "from samba.samdb import SamDB\n"
        "from samba.auth import system_session\n"
        "from samba.param import LoadParm\n"
        "from samba.dcerpc import security\n"
        "from samba.ndr import ndr_pack, ndr_unpack\n"
        "import ldb\n"
        "database, dn, sid, may = sys.argv[1:]\n"
        "parameters = LoadParm(); parameters.load_default()\n"
        "samdb = SamDB(database, lp=parameters, session_info=system_session())\n"
        "controls = ['show_deleted:1']\n"
        "found = samdb.search(dn, scope=ldb.SCOPE_BASE, attrs=['nTSecurityDescriptor'], controls=controls)[0]\n"
        "old = ndr_unpack(security.descriptor, found['nTSecurityDescriptor'][0])\n"
        "sd = security.descriptor.from_sddl(old.as_sddl(), security.dom_sid(samdb.get_domain_sid()))\n"
        "ace = security.ace(); ace.type = 0; ace.access_mask = 0x14; ace.trustee = security.dom_sid(sid)\n"
        "sd.dacl_add(ace) if may == 'yes' else None\n"
        "change = ldb.Message(found.dn)\n"
        "change['sd'] = ldb.MessageElement(ndr_pack(sd), ldb.FLAG_MOD_REPLACE, 'nTSecurityDescriptor')\n"
        "samdb.modify(change, controls=controls)\n"
    )
    done: subprocess.CompletedProcess[str] = domain.lab.exec(
        "privdc", ["/usr/bin/python3", "-c", script, database, container, sid, "yes" if may else "no"]
    )
    assert done.returncode == 0, done.stderr


# --------------------------------------------------------------------------------------------------------------- import


def test_import_brings_what_joins_need_and_no_secret(domain: Samba) -> None:
    added = domain.add_user(employeeID=b"4711", mail=b"zoe@example.test", userPrincipalName=b"zoe@upn.test")
    everybody, _ = read(domain, b"")
    found = everybody[added.guid()]
    assert found.dn == added.dn
    assert found.type == "user"
    assert found.attributes["employeeID"] == ("4711",)
    assert found.attributes["mail"] == ("zoe@example.test",)
    assert found.attributes["userPrincipalName"] == ("zoe@upn.test",)
    assert found.attributes["objectSid"] == (str(added.sid()),)
    assert {"sAMAccountName", "userAccountControl", "pwdLastSet"} <= set(found.attributes)
    assert all(one.dn.endswith(domain.unit) for one in everybody.values())


def test_dirsync_brings_what_is_new_changed_and_moved_away(domain: Samba) -> None:
    old = domain.add_user()
    _, cookie = read(domain, b"")
    assert read(domain, cookie)[0] == {}
    new = domain.add_user()
    domain.admin.raw.rename_s(old.dn, "CN=renamed here")
    changed, cookie = read(domain, cookie)
    assert set(changed) == {new.guid(), old.guid()}
    assert changed[old.guid()].dn == f"CN=renamed here,{domain.unit}"
    domain.admin.raw.rename_s(changed[old.guid()].dn, "CN=moved away", f"CN=Users,{domain.base}")
    changed, _ = read(domain, cookie)
    assert changed[old.guid()].deleted
    domain.admin.delete(f"CN=moved away,CN=Users,{domain.base}")


def test_dirsync_shows_deletions_to_whoever_may_list_deleted_objects(domain: Samba) -> None:
    doomed = domain.add_user()
    _, cookie = read(domain, b"")
    domain.admin.delete(doomed.dn)
    assert read(domain, cookie)[0] == {}, "without the right it is not seen, and a full import says so"
    show_deleted(domain, may=True)
    changed, _ = read(domain, cookie)
    assert changed[doomed.guid()].deleted


def test_a_mark_of_another_domain_or_none_is_refused(domain: Samba) -> None:
    for mark in (b"no mark", b'{"base":"DC=else,DC=test","dirsync":""}'):
        with pytest.raises(BadSource):
            read(domain, mark)


# ------------------------------------------------------------------------------------------------------------ passwords


def test_refusals_are_told_apart(domain: Samba) -> None:
    user = domain.add_user()
    administrator = domain.admin.search(domain.base, "(sAMAccountName=Administrator)", ["objectGUID"])[0]
    with domain.target() as target:
        batch = [
            NewPassword(cs_object(user.guid()), "short"),
            NewPassword(cs_object(administrator.guid()), GOOD),
            NewPassword(cs_object(str(uuid4())), GOOD),
            NewPassword(cs_object("no GUID at all"), GOOD),
            NewPassword(cs_object(user.guid()), "Aa1-with-a-NUL\x00in-it"),
            NewPassword(cs_object(user.guid()), GOOD),
        ]
        codes = [one.code for one in target.set(batch)]
    missing = Code.OBJECT_MISSING
    assert codes == [Code.POLICY, Code.DENIED, missing, missing, Code.POLICY, Code.SUCCESS]


def test_which_controller_took_a_password_is_said_in_the_words_of_its_agent(domain: Samba) -> None:
    """With the rights of an agent's account: the same as the replication metadata of the password."""
    user = domain.add_user()
    someone = cs_object(user.guid())
    with domain.target() as target:
        (done,) = target.set([NewPassword(someone, GOOD)])
        changed = target.change(someone, GOOD, NEXT)
    written = password_set(domain.admin.must_read(user.dn, WANTED))
    assert written is not None
    assert (done.origin, changed.origin) == (written.origin, written.origin)
    assert written.origin


def test_must_change(domain: Samba) -> None:
    user = domain.add_user()
    someone = cs_object(user.guid(), user.dn)
    with domain.target() as target:
        assert target.set([NewPassword(someone, GOOD, must_change=True)])[0].code is Code.SUCCESS
        assert domain.admin.must_read(user.dn, ["pwdLastSet"]).text("pwdLastSet") == "0"
        assert target.verify(someone, GOOD) is Proof.PROVED, "AD says so of the right password only"
        assert target.set([NewPassword(someone, GOOD)])[0].code is Code.SUCCESS
        assert domain.admin.must_read(user.dn, ["pwdLastSet"]).text("pwdLastSet") != "0"


def test_unlock_and_no_proof_near_a_lockout(domain: Samba) -> None:
    """security-tests.md, row 27. The threshold is that of a policy object for this one user."""
    user = domain.add_user()
    someone = cs_object(user.guid(), user.dn)
    name = user.text("sAMAccountName")
    database = domain.lab.site.database(plan.host("privdc"))
    pso: list[str | Path] = ["samba-tool", "domain", "passwordsettings", "pso"]
    create: list[str | Path] = [*pso, "create", name, "7", "--account-lockout-threshold=3", "-H", database]
    domain.lab.exec("privdc", create, check=True)
    try:
        domain.lab.exec("privdc", [*pso, "apply", name, name, "-H", database], check=True)
        with (
            domain.target() as target,
            domain.target(domain.settings(bind_name="", **administrator(domain))) as mighty,
        ):
            assert target.set([NewPassword(someone, GOOD)])[0].code is Code.SUCCESS
            assert mighty.verify(someone, GOOD) is Proof.PROVED
            domain.signs_in(user.dn, "wrong-1")
            domain.signs_in(user.dn, "wrong-2")
            assert mighty.verify(someone, GOOD) is Proof.NOT_TRIED, "one failure would lock it"
            domain.signs_in(user.dn, "wrong-3")
            locked = domain.admin.must_read(user.dn, ["lockoutTime"])
            assert locked.number("lockoutTime"), "it is locked"
            assert mighty.verify(someone, GOOD) is Proof.NOT_TRIED
            assert target.set([NewPassword(someone, GOOD, unlock=True)])[0].code is Code.SUCCESS
            assert not domain.admin.must_read(user.dn, ["lockoutTime"]).number("lockoutTime")
            assert domain.signs_in(user.dn, GOOD)
    finally:
        domain.lab.exec("privdc", [*pso, "delete", name, "-H", database], check=True)


def test_a_locked_account_takes_no_change_until_it_is_unlocked(domain: Samba) -> None:
    """Before, Samba's answer to such a change was called a refusal of the password."""
    user = domain.add_user()
    someone = cs_object(user.guid(), user.dn)
    with domain.target() as target:
        target.set([NewPassword(someone, GOOD)])
        domain.lock(user.dn)
        assert target.look([someone])[0].locked
        refused = target.change(someone, GOOD, NEXT)
        assert (refused.code, refused.detail[:21]) == (Code.DENIED, "the account is locked")
        assert target.unlock([someone])[0].code is Code.SUCCESS
        wrong = target.change(someone, "Never-Was-Its-Password-3", NEXT)
        assert (wrong.code, wrong.detail[:25]) == (Code.DENIED, "the old password is wrong")
        assert target.change(someone, GOOD, NEXT).code is Code.SUCCESS


def test_who_must_change_is_shown_so_until_it_is_done(domain: Samba) -> None:
    user = domain.add_user()
    someone = cs_object(user.guid(), user.dn)
    with domain.target() as target:
        target.set([NewPassword(someone, GOOD, must_change=True)])
        (shown,) = target.look([someone])
        assert (shown.must_change, shown.set_at, shown.locked, shown.disabled) == (True, None, False, False)
        assert target.change(someone, GOOD, NEXT).code is Code.SUCCESS
        (shown,) = target.look([someone])
        assert not shown.must_change
        assert shown.set_at is not None
        assert abs((now() - shown.set_at).total_seconds()) < 60
        domain.admin.modify(user.dn, [(REPLACE, "userAccountControl", [b"514"])])
        assert target.look([someone])[0].disabled


def test_an_account_out_of_our_rights_is_neither_set_nor_unlocked_and_says_why(domain: Samba) -> None:
    guarded = domain.admin.search(domain.base, "(sAMAccountName=Administrator)", ["objectGUID"])[0]
    chief = cs_object(guarded.guid())
    with domain.target() as target:
        for done in (*target.set([NewPassword(chief, GOOD)]), *target.unlock([chief])):
            assert (done.code, "AdminSDHolder" in done.detail) == (Code.DENIED, True)
        assert [one.code for one in target.unlock([cs_object("no GUID at all")])] == [Code.OBJECT_MISSING]


def administrator(domain: Samba) -> dict[str, str]:
    """The one whom a policy object is shown to."""
    keytab = domain.keytab.with_name("administrator.keytab")
    return {"principal": f"Administrator@{domain.lab.realm('priv')}", "keytab": str(keytab)}


def test_change_counts_history(domain: Samba) -> None:
    user = domain.add_user()
    someone = cs_object(user.guid(), user.dn)
    with domain.target() as target:
        target.set([NewPassword(someone, GOOD)])
        assert target.change(someone, "Not-The-Old-One-1", "Next-Horse-Battery-2").code is Code.DENIED
        assert target.change(someone, GOOD, "Next-Horse-Battery-2").code is Code.SUCCESS
        assert target.change(someone, "Next-Horse-Battery-2", GOOD).code is Code.POLICY
        assert target.set([NewPassword(someone, GOOD)])[0].code is Code.SUCCESS, (
            "a set does not ask the history"
        )


# ----------------------------------------------------------------------------------------------------------- connection


def test_kerberos_is_sealed_and_a_dead_controller_is_passed_over(domain: Samba) -> None:
    living = domain.lab.fqdn("privdc")
    settings = domain.kerberos(controllers=(domain.lab.fqdn("client"), living))
    with domain.target(settings) as target:
        assert target.security() is Security.SECURE


def test_a_certificate_of_another_authority_or_host_is_refused(domain: Samba, tmp_path: Path) -> None:
    other = issue(tmp_path, "other", "other-authority").certificate
    for changes in ({"ca": str(other)}, {"controllers": (domain.lab.address("privdc"),)}):
        with pytest.raises(TargetUnavailable), domain.target(domain.settings(**changes)):
            pytest.fail("it was opened")


def test_a_wrong_secret_is_denied(domain: Samba) -> None:
    with pytest.raises(TargetDenied), AdTarget(domain.settings(), opening("not-it")):
        pytest.fail("it was opened")


# ------------------------------------------------------------------------------------------------------------- coverage


def test_dates_of_those_whom_the_configuration_includes(domain: Samba) -> None:
    notifications = AdNotificationDirectory(domain.admin)
    dates = AdPasswordDates(lambda _: (domain.settings(), opening(domain.password)))
    began = now() - timedelta(minutes=1)
    with suppress(ObjectExists):
        notifications.extend_schema()
    with suppress(NotFound):  # another test of this lab may have configured the domain
        settings = notifications.read()
        for dn in settings.dns.values():
            notifications.remove_target(dn)
        assert list(dates.since(domain.domain, began)) == []
    inner, outer, excluded = (domain.add_user() for _ in range(3))
    disabled = domain.add_user()
    groups = {name: group(domain, name) for name in ("included", "nested", "excluded")}
    member(domain, groups["included"], groups["nested"])
    for name, user in (
        ("nested", inner),
        ("nested", excluded),
        ("excluded", excluded),
        ("included", disabled),
    ):
        member(domain, groups[name], user.dn)
    sids = {name: str(domain.admin.must_read(dn, ["objectSid"]).sid()) for name, dn in groups.items()}
    target = pcns.Target(
        name="coverage",
        guid=uuid4(),
        server="b",
        spn="PCNSCLNT/b",
        inclusion=sids["included"],
        exclusion=sids["excluded"],
    )
    notifications.save_service(pcns.ServiceSettings())
    notifications.add_target(target)
    try:
        with domain.target() as opened:
            for user in (inner, outer, excluded, disabled):
                opened.set([NewPassword(cs_object(user.guid()), GOOD)])
        domain.admin.modify(disabled.dn, [(ldap.MOD_REPLACE, "userAccountControl", [b"514"])])
        (found,) = dates.since(domain.domain, began)
        assert found.user_guid == inner.guid()
        assert found.account == inner.text("sAMAccountName")
        assert began <= found.changed_at <= now() + timedelta(seconds=5)
        assert found.controller == domain.lab.fqdn("privdc")
        assert list(dates.since(domain.domain, now() + timedelta(hours=1))) == []
        _let_the_date_move(domain, inner.dn)
        (still,) = dates.since(domain.domain, began)
        assert abs(still.changed_at - found.changed_at) < timedelta(seconds=2), "no password was set"
        assert list(dates.since(domain.domain, now() - timedelta(seconds=2))) == []
        notifications.save_target(notifications.read().dns["coverage"], replace(target, disabled=True))
        assert list(dates.since(domain.domain, began)) == [], "a target that is disabled includes nobody"
    finally:
        for dn in (*groups.values(), *notifications.read().dns.values()):
            domain.admin.delete(dn)


def _let_the_date_move(domain: Samba, dn: str) -> None:
    """To change at next logon is ticked and unticked: pwdLastSet is now, and the password is as it was."""
    last = domain.admin.must_read(dn, ["pwdLastSet"]).number("pwdLastSet")
    time.sleep(3)
    for value in (b"0", b"-1"):
        domain.admin.modify(dn, [(REPLACE, "pwdLastSet", [value])])
    assert domain.admin.must_read(dn, ["pwdLastSet"]).number("pwdLastSet") > last


def group(domain: Samba, name: str) -> str:
    dn = f"CN={name} {uuid4().hex[:6]},{domain.unit}"
    values = {"objectClass": [b"group"], "sAMAccountName": [dn[3:].partition(",")[0].encode()]}
    domain.admin.add(dn, values)
    return dn


def member(domain: Samba, dn: str, who: str) -> None:
    domain.admin.modify(dn, [(ldap.MOD_ADD, "member", [who.encode()])])


def test_which_rule_a_password_broke_is_said_in_words(domain: Samba) -> None:
    """And a set, as a reset is one, breaks neither the history nor the least age."""
    user = domain.add_user()
    someone = cs_object(user.guid(), user.dn)
    with domain.target() as target:
        (simple, few, good) = target.set(
            [
                NewPassword(someone, "onlysmallletters"),
                NewPassword(someone, "Aa1-"),
                NewPassword(someone, GOOD),
            ]
        )
        assert good.code is Code.SUCCESS
        assert simple.detail.startswith("it has too few kinds of characters")
        assert few.detail.startswith("it has too few characters")
        assert target.change(someone, GOOD, NEXT).code is Code.SUCCESS
        assert target.change(someone, NEXT, GOOD).detail.startswith("it was used before")
        before = domain.admin.must_read(domain.base, ["minPwdAge"]).all("minPwdAge")
        domain.admin.modify(domain.base, [(REPLACE, "minPwdAge", [b"-864000000000"])])
        try:
            young = target.change(someone, NEXT, "Third-Horse-Battery-3")
            assert young.code is Code.POLICY
            assert young.detail.startswith("the last change is too recent")
            assert target.set([NewPassword(someone, GOOD)])[0].code is Code.SUCCESS
        finally:
            domain.admin.modify(domain.base, [(REPLACE, "minPwdAge", list(before))])


def test_windows_says_no_rule() -> None:
    text = "0000052D: SvcErr: DSID-031A12D2, problem 5003 (WILL_NOT_PERFORM), data 0"
    assert why_refused(text).startswith("the domain does not say which of its rules")
