"""What the directory adapters claim, checked against the KDCs and shares of the lab: real tickets, real access, controllers that go away."""

import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from bastide.directory.active_directory import ActiveDirectory
from bastide.directory.channel import AdControllerRegister
from bastide.directory.constants import AccountControl
from bastide.directory.entries import by_guid
from bastide.directory.kerberos import Identity, PasswordCheck, PasswordRefused, Why
from bastide.directory.ldap import Controllers, SealedConnect, discover, listed
from bastide.directory.session import ADD
from bastide.directory.trust import AdProber
from bastide.domain.errors import DirectoryDenied, DirectoryUnavailable, NotAuthorized
from bastide.domain.health import Severity
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest
from bastide.services.ports import NewAccount, Samples
from tests.support.directory_lab import (
    CORP,
    CORP_GROUPS,
    DOMAIN_LOCAL,
    GROUPS,
    PASSWORD,
    PRIV,
    PRIV_BASE,
    USERS,
    DirectoryLab,
)

pytest_plugins = ["tests.support.lab", "tests.support.directory_fixtures"]
pytestmark = pytest.mark.lab

SERVICE = f"HTTP/bastide.{PRIV}"


@pytest.fixture
def user(directory_lab: DirectoryLab) -> ObjectRef:
    """A PAM user, dormant."""
    name = directory_lab.new_name("p.")
    account = NewAccount(name, name, f"{name}@{PRIV}", USERS, directory_lab.now() - timedelta(days=1))
    ref = directory_lab.preparer.create_account(account, PASSWORD)
    directory_lab.settle(Forest.PRIV, by_guid(ref.guid))
    return ref


@pytest.fixture(scope="module")
def check(directory_lab: DirectoryLab) -> PasswordCheck:
    keytab = directory_lab.work / "http.keytab"
    if not keytab.exists():
        directory_lab.lab.keytab("priv", [SERVICE], keytab)
    return PasswordCheck(f"{SERVICE}@PRIV.BASTIDE.TEST", keytab)


# ------------------------------------------------------------------------------------------------------------ passwords


def why(check: PasswordCheck, principal: str, password: str) -> Why:
    with pytest.raises(PasswordRefused) as caught:
        check.verify(principal, password)
    assert caught.value.message == PasswordRefused(Why.OTHER).message, "the same for every cause"
    assert caught.value.__cause__ is None
    assert not password or password not in repr(caught.value)
    return caught.value.why


def test_a_password_is_proven_by_the_kdc(
    directory_lab: DirectoryLab, check: PasswordCheck, user: ObjectRef
) -> None:
    principal = f"{user.name}@PRIV.BASTIDE.TEST"
    assert why(check, principal, PASSWORD) is Why.DORMANT, (
        "the right password of a dormant account proves nothing"
    )
    directory_lab.priv.set_ends({user.sid: directory_lab.now() + timedelta(minutes=5)})
    assert check.verify(principal, PASSWORD) == (principal, user.sid.rid)
    assert why(check, principal, PASSWORD + "x") is Why.WRONG
    assert why(check, principal, "") is Why.WRONG
    assert why(check, principal, "a\x00b") is Why.WRONG
    assert why(check, "nobody-here@PRIV.BASTIDE.TEST", PASSWORD) is Why.UNKNOWN


def test_a_kdc_that_cannot_prove_itself_is_not_believed(
    directory_lab: DirectoryLab, check: PasswordCheck, user: ObjectRef
) -> None:
    """Whoever poses as the KDC can say yes to any password, but has no ticket for our key: here our key is another one."""
    directory_lab.priv.set_ends({user.sid: directory_lab.now() + timedelta(minutes=5)})
    stranger = directory_lab.work / "stranger.keytab"
    if not stranger.exists():
        directory_lab.lab.keytab("corp", [f"HTTP/bastide.{CORP}"], stranger)
    with pytest.raises(DirectoryDenied, match="could not be proven"):
        PasswordCheck(check.service, stranger).verify(f"{user.name}@PRIV.BASTIDE.TEST", PASSWORD)


def test_no_kdc_is_no_wrong_password(check: PasswordCheck) -> None:
    with pytest.raises(DirectoryUnavailable):
        check.verify("alice@NOWHERE.BASTIDE.TEST", PASSWORD)


def test_a_keytab_that_is_missing_or_old_is_said_so(directory_lab: DirectoryLab) -> None:
    with (
        pytest.raises(DirectoryDenied, match="keytab"),
        Identity("svc-bastide@PRIV.BASTIDE.TEST", Path("/nowhere")).used(),
    ):
        pass
    wrong = Identity("svc-bastide-prepare@PRIV.BASTIDE.TEST", directory_lab.work / "priv-svc-bastide.keytab")
    with pytest.raises((DirectoryDenied, DirectoryUnavailable)), wrong.used():
        pass


# --------------------------------------------------------------------------------------------------------------- access


def reads_files(lab: DirectoryLab, user: ObjectRef) -> str:
    """What the person gets from CORP's file share with a fresh ticket."""
    cache = lab.work / f"{user.name}.cc"
    got = lab.lab.exec(
        "client", ["kinit", "-c", f"FILE:{cache}", f"{user.name}@PRIV.BASTIDE.TEST"], input=PASSWORD + "\n"
    )
    if got.returncode != 0:
        return got.stderr
    ticket = [f"--use-krb5-ccache=FILE:{cache}", "--use-kerberos=required"]
    done = lab.lab.exec("client", ["smbclient", f"//corpdc.{CORP}/files", *ticket, "-c", "get report.txt -"])
    return done.stdout + done.stderr


def test_a_grant_opens_the_share_and_its_end_shuts_it(directory_lab: DirectoryLab, user: ObjectRef) -> None:
    group = directory_lab.preparer.create_group(directory_lab.new_name("PAM-"), GROUPS, "")
    directory_lab.settle(Forest.PRIV, by_guid(group.guid))
    corp = directory_lab.corp.find_group("FileAdmins").ref
    assert "revoked" in reads_files(directory_lab, user)
    directory_lab.corp.add_members(corp, [group.sid])
    directory_lab.priv.add_members(group, [user.sid])
    directory_lab.priv.set_ends({user.sid: directory_lab.now() + timedelta(minutes=5)})
    assert "quarterly figures" in reads_files(directory_lab, user)
    directory_lab.priv.remove_members(group, [user.sid])
    assert "ACCESS_DENIED" in reads_files(directory_lab, user)
    directory_lab.priv.add_members(group, [user.sid])
    directory_lab.corp.remove_members(corp, [group.sid])
    assert "ACCESS_DENIED" in reads_files(directory_lab, user)
    directory_lab.priv.set_ends({user.sid: directory_lab.now()})
    assert "revoked" in reads_files(directory_lab, user)


def test_the_cap_is_what_the_kdc_gives(directory_lab: DirectoryLab, user: ObjectRef) -> None:
    """`ticket_cap` is compared with the ticket itself."""
    policy = directory_lab.preparer.ensure_ticket_policy(directory_lab.plan.policy, directory_lab.plan.cap)
    directory_lab.preparer.protect(user, policy)
    directory_lab.priv.set_ends({user.sid: directory_lab.now() + timedelta(hours=1)})
    cap = directory_lab.preparer.ticket_cap(user)
    # The KDC may be the other controller, which has to hear of the policy first.
    for _ in range(40):
        life = ticket_life(directory_lab, user)
        if life <= timedelta(minutes=10):
            break
        time.sleep(0.25)
    assert cap == directory_lab.plan.cap
    assert abs(life - cap) <= timedelta(seconds=5)


def ticket_life(lab: DirectoryLab, user: ObjectRef) -> timedelta:
    import gssapi
    from gssapi.raw import acquire_cred_with_password

    name = gssapi.Name(f"{user.name}@PRIV.BASTIDE.TEST", gssapi.NameType.kerberos_principal)
    bought = acquire_cred_with_password(
        name, PASSWORD.encode(), mechs=[gssapi.MechType.kerberos], usage="initiate"
    )
    return timedelta(seconds=int(gssapi.Credentials(base=bought.creds).lifetime))


# --------------------------------------------------------------------------------------------- controllers that go away


def two(lab: DirectoryLab, *names: str) -> ActiveDirectory:
    """A directory of its own, which has not yet learnt who is dead."""
    connect = SealedConnect(lab.identity("svc-bastide", "priv"), lab.now, network_timeout=1.0, timeout=3.0)
    return ActiveDirectory(Forest.PRIV, Controllers(PRIV, listed(names), connect, time.monotonic))


def test_a_cut_controller_is_reported_tolerated_and_caught_up(
    directory_lab: DirectoryLab, user: ObjectRef
) -> None:
    names = [f"privdc.{PRIV}", f"privdc2.{PRIV}"]
    ad = two(directory_lab, *names)
    group = directory_lab.add_group(Forest.PRIV, directory_lab.new_name("PAM-"))
    end = directory_lab.now() + timedelta(hours=1)
    ad.add_members(group, [user.sid])
    directory_lab.lab.cut("privdc2")
    try:
        ad.remove_members(group, [user.sid])
        assert ad.set_ends({user.sid: end}) == {}
        seen = ad.observe([user.sid])
        assert set(seen) == {names[0]}
        assert group.guid not in seen[names[0]][user.sid].groups
        reasons = {one.name: one.problem for one in ad.controllers()}
        assert reasons[names[0]] == ""
        assert "contact" in reasons[names[1]]
        began = time.monotonic()
        for _ in range(20):
            ad.observe([user.sid])
        assert time.monotonic() - began < 1, "a dead controller is left alone for a while"
    finally:
        directory_lab.lab.mend("privdc2")
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        states = ad.observe([user.sid])
        if len(states) == 2 and all(
            s[user.sid].groups.isdisjoint({group.guid}) and s[user.sid].expires == end
            for s in states.values()
        ):
            break
        time.sleep(0.5)
    else:
        pytest.fail(f"privdc2 did not catch up: {states}")
    ad.close()


def test_a_new_controller_is_known_by_the_one_it_joined_at(directory_lab: DirectoryLab) -> None:
    """The other has not heard of its account: it is no controller for who asks that one alone."""
    name = directory_lab.new_name("DC")
    dn = f"CN={name},OU=Domain Controllers,{PRIV_BASE}"
    asked = directory_lab.controllers(Forest.PRIV, "svc-bastide")
    alone = Controllers(
        PRIV,
        listed(asked.names()[:1]),
        SealedConnect(directory_lab.identity("svc-bastide", "priv"), directory_lab.now),
        time.monotonic,
    )
    values = {
        "objectClass": [b"computer"],
        "sAMAccountName": [f"{name}$".encode()],
        "userAccountControl": [str(int(AccountControl.SERVER_TRUST)).encode()],
        "dNSHostName": [f"{name}.{PRIV}".encode()],
    }
    with directory_lab.late():
        directory_lab.admin_on(1, lambda session: session.add(dn, values))
        made: list[Sid] = []
        directory_lab.admin_on(1, lambda session: made.append(session.must_read(dn, ["objectSid"]).sid()))
        try:
            with pytest.raises(NotAuthorized, match="not a domain controller"):
                AdControllerRegister({PRIV: alone}).require_controller(PRIV, f"{name}$", made[0].rid)
            register = AdControllerRegister({PRIV: asked})
            assert register.require_controller(PRIV, f"{name}$", made[0].rid) == f"{name}.{PRIV}".lower()
            with pytest.raises(NotAuthorized):
                register.require_controller(PRIV, f"{name}$", made[0].rid + 1)
        finally:
            directory_lab.admin_on(1, lambda session: session.delete(dn))
            alone.close()


def test_a_foreign_member_that_two_controllers_made_apart_goes_altogether(
    directory_lab: DirectoryLab,
) -> None:
    """Two objects then stand for one SID, and taking `<SID=..>` away takes only one of them."""
    group = directory_lab.add_group(Forest.PRIV, directory_lab.new_name("local"), kind=DOMAIN_LOCAL)
    foreign = Sid(f"S-1-5-21-9-9-9-{1000 + time.monotonic_ns() % 1000000}")
    value = f"<SID={foreign}>".encode()
    made = directory_lab.admins[Forest.PRIV].on_each(
        lambda s: s.modify(by_guid(group.guid), [(ADD, "member", [value])])
    )
    assert set(made.values()) == {None}
    for _ in range(100):
        found = directory_lab.admins[Forest.PRIV].on_each(
            lambda s: len(s.search(PRIV_BASE, f"(objectSid={foreign})", ["cn"]))
        )
        if set(found.values()) == {2}:
            break
        time.sleep(0.1)
    assert set(found.values()) == {2}
    directory_lab.priv.remove_members(group, [foreign])
    assert set(directory_lab.priv.observe_link(group, foreign).values()) == {False}


def test_a_foreign_member_is_made_on_one_controller_only(directory_lab: DirectoryLab) -> None:
    group = directory_lab.add_group(Forest.PRIV, directory_lab.new_name("local"), kind=DOMAIN_LOCAL)
    foreign = Sid(f"S-1-5-21-9-9-9-{1000 + time.monotonic_ns() % 1000000}")
    directory_lab.priv.add_members(group, [foreign])
    for _ in range(100):
        seen = directory_lab.priv.observe_link(group, foreign)
        if set(seen.values()) == {True}:
            break
        time.sleep(0.1)
    assert set(seen.values()) == {True}
    directory_lab.priv.add_members(group, [foreign])
    time.sleep(1)
    found = directory_lab.admins[Forest.PRIV].on_each(
        lambda s: len(s.search(PRIV_BASE, f"(objectSid={foreign})", ["cn"]))
    )
    assert set(found.values()) == {1}
    directory_lab.priv.remove_members(group, [foreign])


def test_with_every_controller_away_it_says_so(directory_lab: DirectoryLab, user: ObjectRef) -> None:
    ad = two(directory_lab, f"no-such-dc.{PRIV}")
    with pytest.raises(DirectoryUnavailable, match="no domain controller") as caught:
        ad.observe([user.sid])
    assert caught.value.remedy
    ad.close()


def test_dns_names_the_controllers(directory_lab: DirectoryLab) -> None:
    assert set(discover(PRIV)()) == {f"privdc.{PRIV}", f"privdc2.{PRIV}"}
    with pytest.raises(DirectoryUnavailable, match="DNS"):
        discover("nowhere.bastide.test")()


def test_several_identities_and_threads_at_once(directory_lab: DirectoryLab, user: ObjectRef) -> None:
    """The credentials cache is chosen per thread: nobody acts with the ticket of another."""
    wrong: list[str] = []

    def work(account: str, may_write: str) -> None:
        controllers = directory_lab.controllers(Forest.PRIV, account)
        for _ in range(5):
            entry = controllers.on_any(
                "look", lambda s: s.must_read(by_guid(user.guid), ["allowedAttributesEffective"])
            )
            if (may_write in entry.texts("allowedAttributesEffective")) is not (account != "svc-bastide"):
                wrong.append(account)

    threads = [
        threading.Thread(target=work, args=(account, "userAccountControl"))
        for account in ("svc-bastide", "svc-bastide-prepare", "Administrator") * 3
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_connection_is_sealed(directory_lab: DirectoryLab) -> None:
    import ldap

    strength = directory_lab.priv.connections.on_any("look", lambda s: s.raw.get_option(ldap.OPT_X_SASL_SSF))
    assert strength >= 128


# ------------------------------------------------------------------------------------------------------ the trust doctor


def test_the_lab_is_healthy_and_its_missing_sid_filtering_is_said(
    directory_lab: DirectoryLab, user: ObjectRef
) -> None:
    group = directory_lab.add_group(Forest.PRIV, directory_lab.new_name("PAM-"))
    samples = Samples(priv_user=user.dn, priv_group=group.dn, corp_group=f"CN=FileAdmins,{CORP_GROUPS}")
    prober = AdProber(directory_lab.priv, directory_lab.corp, directory_lab.now, samples=lambda: samples)
    found = [*prober.test_domain(Forest.PRIV), *prober.test_domain(Forest.CORP), *prober.test_trust()]
    assert {f.key for f in found if f.severity is not Severity.OK} == {"trust.sid-filtering"}, found
    keys = {f.key for f in found}
    assert {
        "dns.srv",
        "ports",
        "sign-in",
        "clock",
        "rights.user",
        "rights.group",
        "trust.corp-side",
        "trust.priv-side",
    } <= keys


def test_the_doctor_sees_a_dead_controller(directory_lab: DirectoryLab) -> None:
    ad = two(directory_lab, f"privdc.{PRIV}", f"privdc2.{PRIV}")
    directory_lab.lab.cut("privdc2")
    try:
        found = AdProber(ad, None, directory_lab.now).test_domain(Forest.PRIV)
    finally:
        directory_lab.lab.mend("privdc2")
        ad.close()
    bad = [f for f in found if f.severity is Severity.ERROR]
    assert {f.key for f in bad} == {"ports"}
    consequences = {(f.key, f.subject) for f in found if f.severity is Severity.SKIPPED}
    assert consequences == {("sign-in", f"privdc2.{PRIV}"), ("clock", f"privdc2.{PRIV}")}
    assert all(f"privdc2.{PRIV}" in f.text and f.remedy for f in bad)
    assert any("unreachable" in f.evidence or "timed out" in f.evidence for f in bad)
