"""What every NotificationDirectory does, in memory and on Samba: the PCNS configuration, in the order in which an administrator makes it."""

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bastide import pcns
from bastide.clock import SystemClock
from bastide.directory.kerberos import Identity
from bastide.directory.ldap import SealedConnect
from bastide.directory.memory_pcns import MemoryNotificationDirectory
from bastide.directory.pcns import AdNotificationDirectory
from bastide.domain.errors import Conflict, NoSuchObject, NotFound, ObjectExists
from bastide.services.passwords.ports import NotificationDirectory
from bastide_lab.lab import Lab
from tests.support.inside import inside

pytest_plugins = ["tests.support.lab"]
USERS, ADMINS = "Domain Users", "Domain Admins"
SPN = "HTTP/bastide.corp.bastide.test"


@pytest.fixture(scope="module", params=["memory", pytest.param("samba", marks=pytest.mark.lab)])
def directory(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[NotificationDirectory]:
    if request.param == "memory":
        sids = {USERS: "S-1-5-21-1-2-3-513", ADMINS: "S-1-5-21-1-2-3-512"}
        yield MemoryNotificationDirectory(sids, {SPN: ("CN=svc,DC=memory",)})
        return
    lab: Lab = request.getfixturevalue("lab")
    keytab = tmp_path_factory.mktemp("pcns") / "admin.keytab"
    lab.keytab("corp", ["Administrator"], keytab)
    with inside(lab.namespace("bastide")):
        identity = Identity(f"Administrator@{lab.realm('corp')}", keytab)
        session, _ = SealedConnect(identity, SystemClock().now)(lab.fqdn("corpdc"))
        yield AdNotificationDirectory(session)
        session.raw.unbind_ext_s()


def target(directory: NotificationDirectory, name: str) -> pcns.Target:
    return pcns.Target(
        name=name,
        guid=uuid.uuid4(),
        server="bastide.corp.bastide.test",
        spn=SPN,
        inclusion=directory.group_sid(USERS),
        exclusion=directory.group_sid(ADMINS),
        keep_alive=15,
        warning_level=2**32 - 1,
        warning_interval=60,
        certificate=bytes(range(256)),
    )


def test_the_configuration_of_a_domain(directory: NotificationDirectory) -> None:
    with pytest.raises(NotFound, match="schema") as refused:
        directory.read()
    assert "extend-schema" in refused.value.remedy
    assert len(directory.extend_schema()) == len(pcns.ATTRIBUTES) + 2
    assert directory.extend_schema() == ()

    with pytest.raises(NotFound, match="not configured"):
        directory.read()
    service = pcns.ServiceSettings(
        max_queue_length=2**32 - 1, max_queue_age=7, max_notification_retries=1000, retry_interval=3600
    )
    directory.save_service(service)
    assert directory.read().configuration == pcns.Configuration(service, ())

    one, two = target(directory, "One, with a comma"), target(directory, "two")
    directory.add_target(one)
    directory.add_target(two)
    with pytest.raises(ObjectExists):
        directory.add_target(one)
    found = directory.read()
    assert found.configuration.targets == (one, two)
    assert set(found.dns) == {"one, with a comma", "two"}

    changed = replace(two, disabled=True, exclusion="", certificate=b"", keep_alive=600)
    directory.save_target(found.dns["two"], changed)
    assert directory.read().configuration.targets == (one, changed)

    directory.remove_target(found.dns["two"])
    with pytest.raises(NoSuchObject):
        directory.remove_target(found.dns["two"])
    with pytest.raises(NoSuchObject):
        directory.save_target(found.dns["two"], changed)
    assert directory.read().configuration.targets == (one,)
    directory.remove_target(found.dns["one, with a comma"])


def test_names_and_sids_of_groups(directory: NotificationDirectory) -> None:
    sid = directory.group_sid(USERS)
    assert directory.group_sid(f"CORP\\{USERS}") == directory.group_sid(sid) == sid
    assert directory.group_sid(f"corp.bastide.test\\{USERS}") == sid
    assert directory.group_name(sid) == USERS
    assert directory.group_name("S-1-5-21-9-9-9-9") == "S-1-5-21-9-9-9-9"
    for missing in ("nobody here", "*", "Domain Users)(cn=*", "S-1-5-21-9-9-9-9"):
        with pytest.raises(NotFound):
            directory.group_sid(missing)


@pytest.mark.parametrize("domain", ["OTHER", "priv.bastide.test", "BUILTIN", "CORP\\CORP"])
def test_a_group_of_another_domain_is_not_taken_for_ours(
    directory: NotificationDirectory, domain: str
) -> None:
    """Each domain has its Domain Users: with the wrong group, all the wrong passwords would be told."""
    with pytest.raises(NotFound):
        directory.group_sid(f"{domain}\\{USERS}")


def test_who_holds_a_service_principal_name(directory: NotificationDirectory) -> None:
    assert len(directory.holders_of(SPN)) == 1
    assert directory.holders_of("PCNSCLNT/nobody.corp.bastide.test") == ()
    assert directory.holders_of("*") == ()


def test_the_ldif_names_every_oid(directory: NotificationDirectory) -> None:
    text = directory.schema_ldif()
    for oid in (*pcns.ATTRIBUTES.values(), pcns.TARGET_CLASS[1], pcns.SERVICE_CLASS[1]):
        assert text.count(f" {oid}\n") == 1


@pytest.mark.parametrize("forest", [pytest.param("corp", marks=pytest.mark.lab, id="samba")])
def test_what_lies_elsewhere_is_not_shown(lab: Lab, tmp_path: Path, forest: str) -> None:
    """Agents look into one container. A target beside it would look right to an administrator, and never be told anything."""
    keytab = tmp_path / "admin.keytab"
    lab.keytab(forest, ["Administrator"], keytab)
    with inside(lab.namespace("bastide")):
        identity = Identity(f"Administrator@{lab.realm(forest)}", keytab)
        session, _ = SealedConnect(identity, SystemClock().now)(lab.fqdn("corpdc"))
        ours = AdNotificationDirectory(session)
        ours.extend_schema()
        ours.save_service(pcns.ServiceSettings())
        elsewhere = f"CN=Elsewhere,CN=System,{lab.base_dn(forest)}"
        kind = pcns.TARGET_CLASS[0].encode()
        session.add(elsewhere, {"objectClass": [b"top", kind]})
        try:
            assert ours.read().configuration.targets == ()
        finally:
            session.delete(elsewhere)
            session.raw.unbind_ext_s()


@pytest.mark.parametrize("forest", [pytest.param("priv", marks=pytest.mark.lab, id="samba")])
def test_a_controller_that_is_not_the_schema_master_names_it(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forest: str
) -> None:
    keytab = tmp_path / "admin.keytab"
    lab.keytab(forest, ["Administrator"], keytab)
    with inside(lab.namespace("bastide")):
        identity = Identity(f"Administrator@{lab.realm(forest)}", keytab)
        session, _ = SealedConnect(identity, SystemClock().now)(lab.fqdn("privdc2"))
        ours = AdNotificationDirectory(session)
        # Another test of this lab may have extended it.
        monkeypatch.setattr(ours, "_schema_names", dict)
        with pytest.raises(Conflict, match="it is not the schema master") as refused:
            ours.extend_schema()
        session.raw.unbind_ext_s()
    assert f"--controller {lab.fqdn('privdc')}" in refused.value.remedy
