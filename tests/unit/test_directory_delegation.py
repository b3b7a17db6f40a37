"""The delegation scripts as text: the least rights, and names that try to become commands. What they do is tested in the lab."""

import shlex
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest

from bastide.directory.active_directory import ActiveDirectory
from bastide.directory.constants import (
    GUID_ACCOUNT_EXPIRES,
    GUID_CLASS_PASSWORD_SETTINGS,
    GUID_CLASS_SHADOW_PRINCIPAL,
    GUID_CLASS_USER,
    GUID_LOCKOUT_TIME,
    GUID_MEMBER,
    GUID_RESET_PASSWORD,
    GUID_RESULTANT_PSO,
)
from bastide.directory.delegation import (
    Account,
    CorpGroup,
    Plan,
    Resets,
    policy_ldif,
    rights,
    samba_script,
    warnings,
    windows_script,
)
from bastide.directory.preparer import AdPreparer
from bastide.domain.errors import InvalidInput
from bastide.domain.ids import Sid
from bastide.domain.people import Forest
from tests.support.recording_ldap import BASE, SHADOW, RecordingDc, connected

SERVICE, PREPARER = Sid("S-1-5-21-1-2-3-1001"), Sid("S-1-5-21-1-2-3-1002")
PLAN = Plan(
    service=Account(SERVICE, r"PRIV\svc-bastide"),
    preparer=Account(PREPARER, r"PRIV\svc-prepare"),
    priv_base="DC=priv,DC=x",
    corp_base="DC=corp,DC=x",
    users="OU=Users,DC=priv,DC=x",
    groups=("OU=Groups,DC=priv,DC=x",),
    corp_groups=(CorpGroup("CN=FileAdmins,DC=corp,DC=x"),),
)


def test_the_service_writes_two_attributes_and_nothing_else() -> None:
    """F18."""
    writes = {
        (right.dn, right.sddl.split(";")[3])
        for forest in Forest
        for right in rights(PLAN, forest)
        if str(SERVICE) in right.sddl and "WP" in right.sddl.split(";")[2]
    }
    assert writes == {
        ("OU=Groups,DC=priv,DC=x", GUID_MEMBER),
        ("OU=Users,DC=priv,DC=x", GUID_ACCOUNT_EXPIRES),
        ("CN=FileAdmins,DC=corp,DC=x", GUID_MEMBER),
    }


SHADOWS = "CN=Shadow Principal Configuration,CN=Services,CN=Configuration,DC=priv,DC=x"
WITH_SHADOWS = replace(PLAN, shadow_principals=True)


def test_shadow_principals_add_rights_in_their_container_and_nowhere_else() -> None:
    before, after = set(rights(PLAN, Forest.PRIV)), set(rights(WITH_SHADOWS, Forest.PRIV))
    assert before < after
    assert {(right.dn, right.sddl) for right in after - before} == {
        (SHADOWS, f"(OA;CIIO;LCRPLO;;{GUID_CLASS_SHADOW_PRINCIPAL};{SERVICE})"),
        (SHADOWS, f"(OA;CIIO;WP;{GUID_MEMBER};{GUID_CLASS_SHADOW_PRINCIPAL};{SERVICE})"),
        (SHADOWS, f"(OA;CI;CCDC;{GUID_CLASS_SHADOW_PRINCIPAL};;{PREPARER})"),
        (SHADOWS, f"(OA;CIIO;LCRPLO;;{GUID_CLASS_SHADOW_PRINCIPAL};{PREPARER})"),
        (SHADOWS, "(A;CIIO;RC;;;OW)"),
    }
    assert rights(WITH_SHADOWS, Forest.CORP) == rights(PLAN, Forest.CORP)


RESETTER = Sid("S-1-5-21-7-8-9-1003")
STAFF = "OU=Staff,DC=corp,DC=x"
WITH_RESETS = replace(PLAN, resets=Resets(Account(RESETTER, r"CORP\svc-reset"), (STAFF,)))


def test_self_service_reset_adds_a_look_at_policies_and_two_rights_where_people_are() -> None:
    """The account that sets passwords reads and writes nothing else, and no other account sets one."""
    before, after = set(rights(PLAN, Forest.CORP)), set(rights(WITH_RESETS, Forest.CORP))
    assert before < after
    policies = "CN=Password Settings Container,CN=System,DC=corp,DC=x"
    user = GUID_CLASS_USER
    assert {(right.dn, right.sddl) for right in after - before} == {
        ("DC=corp,DC=x", f"(OA;CIIO;RP;{GUID_RESULTANT_PSO};{user};{SERVICE})"),
        (policies, f"(A;;LCRP;;;{SERVICE})"),
        (policies, f"(OA;CIIO;RP;;{GUID_CLASS_PASSWORD_SETTINGS};{SERVICE})"),
        (STAFF, f"(OA;CIIO;CR;{GUID_RESET_PASSWORD};{user};{RESETTER})"),
        (STAFF, f"(OA;CIIO;WP;{GUID_LOCKOUT_TIME};{user};{RESETTER})"),
    }
    assert rights(WITH_RESETS, Forest.PRIV) == rights(PLAN, Forest.PRIV)
    script = windows_script(WITH_RESETS, Forest.CORP)
    for line in (
        f'dsacls "{STAFF}" /I:S /G "CORP\\svc-reset:CA;Reset Password;user"',
        f'dsacls "{STAFF}" /I:S /G "CORP\\svc-reset:WP;lockoutTime;user"',
        f'dsacls "{policies}" /G "PRIV\\svc-bastide:LCRP"',
        f'dsacls "{policies}" /I:S /G "PRIV\\svc-bastide:RP;;msDS-PasswordSettings"',
    ):
        assert line in script


def test_the_windows_script_says_who_runs_the_part_on_shadow_principals() -> None:
    script = windows_script(WITH_SHADOWS, Forest.PRIV)
    assert (
        f'dsacls "{SHADOWS}" /I:S /G "PRIV\\svc-bastide:WP;member;msDS-ShadowPrincipal" || exit /b 1'
        in script
    )
    assert f'dsacls "{SHADOWS}" /G "PRIV\\svc-prepare:CCDC;msDS-ShadowPrincipal;" || exit /b 1' in script
    assert "Enterprise Admin" in script
    assert "Enterprise Admin" not in windows_script(PLAN, Forest.PRIV)
    assert SHADOWS not in windows_script(PLAN, Forest.PRIV)


def test_what_is_written_on_shadow_principals_is_what_the_script_allows() -> None:
    """Against the recording controller: what each account sends, and the one right that lets it."""
    dc = RecordingDc()
    user = dc.add_user("alice").ref()
    writes = {"add": "makes", "modify": "writes member", "delete": "deletes"}

    def sent() -> list[tuple[str, tuple[str, ...]]]:
        found = [(writes[one.kind], one.values) for one in dc.operations if one.kind in writes]
        dc.operations.clear()
        return found

    with connected(dc) as controllers:
        preparer, service = AdPreparer(controllers), ActiveDirectory(Forest.PRIV, controllers)
        shadow = preparer.create_shadow_principal("CORP.FileAdmins", Sid("S-1-5-21-7-8-9-1105"))
        assert sent() == [("makes", ())]
        service.add_members(shadow, [user.sid], {user.sid: timedelta(hours=1)})
        service.remove_members(shadow, [user.sid])
        assert {what for what, _ in sent()} == {"writes member"}
        preparer.delete(shadow)
        assert sent() == [("deletes", ())]
    plan = replace(WITH_SHADOWS, priv_base=BASE)
    allowed = {
        right.why for right in rights(plan, Forest.PRIV) if right.dn == SHADOW and "sees" not in right.why
    }
    assert allowed == {
        r"PRIV\svc-prepare makes and deletes msDS-ShadowPrincipals here",
        r"PRIV\svc-bastide writes member of the msDS-ShadowPrincipals here",
        "whoever made an object here may not rewrite its permissions",
    }


def test_nobody_gets_rights_over_everything() -> None:
    for forest in Forest:
        for right in rights(WITH_SHADOWS, forest):
            kind, _, what, attribute, child_class, who = right.sddl.strip("()").split(";")
            given = {what[i : i + 2] for i in range(0, len(what), 2)}
            assert not given & {"GA", "GW", "WD", "WO", "SD", "DT"}, right
            if given & {"WP", "CR"}:
                assert kind == "OA"
                assert attribute, right
            if right.dn == PLAN.corp_base:
                assert (what, bool(child_class)) == ("RP", True)
            assert who in {SERVICE, PREPARER, "OW"}


def test_the_preparer_gets_nothing_in_corp() -> None:
    assert str(PREPARER) not in samba_script(PLAN, Forest.CORP)
    assert "svc-prepare" not in windows_script(PLAN, Forest.CORP)


HOSTILE = "CN=a'b\"; rm -rf $HOME `id` %PATH% & del\nxcopy,OU=é,DC=corp,DC=x"


def test_a_hostile_dn_stays_one_argument_for_the_shell(tmp_path: object) -> None:
    plan = replace(PLAN, corp_groups=(CorpGroup(HOSTILE),), users=HOSTILE, groups=(HOSTILE,))
    for forest in Forest:
        script = samba_script(plan, forest).replace("samba-tool ", "printf '%s\\0' ")
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
        arguments = done.stdout.split("\0")
        assert f"--objectdn={HOSTILE}" in arguments
        assert done.stderr == ""
        assert {a for a in arguments if a.startswith("--objectdn=")} <= {
            f"--objectdn={dn}"
            for dn in (HOSTILE, plan.corp_base, f"CN=Protected Users,CN=Users,{plan.priv_base}")
        }


def test_a_hostile_dn_stays_one_line_for_cmd() -> None:
    script = windows_script(replace(PLAN, corp_groups=(CorpGroup(HOSTILE),)), Forest.CORP)
    assert not [line for line in script.split("\r\n") if line.startswith("xcopy")]
    assert "%%PATH%%" in script
    assert '\\"' not in script


def test_options_reach_samba_tool() -> None:
    for line in samba_script(PLAN, Forest.PRIV).splitlines():
        if line.startswith("samba-tool"):
            assert shlex.split(line)[-1] == "$@"


def test_a_protected_group_is_warned_about_and_goes_over_adminsdholder() -> None:
    plan = replace(
        PLAN, corp_groups=(*PLAN.corp_groups, CorpGroup("CN=Backup Operators,DC=corp,DC=x", protected=True))
    )
    assert not warnings(PLAN, Forest.CORP)
    for script in (samba_script(plan, Forest.CORP), windows_script(plan, Forest.CORP)):
        assert "WARNING" in script
        assert "EVERY protected group" in script
        assert "CN=AdminSDHolder,CN=System,DC=corp,DC=x" in script
    assert "CN=AdminSDHolder" not in samba_script(PLAN, Forest.CORP)


def test_the_policy_is_enforced_and_in_100_ns() -> None:
    text = policy_ldif(replace(PLAN, cap=timedelta(minutes=15)))
    assert "msDS-UserTGTLifetime: 9000000000\n" in text
    assert "msDS-AuthNPolicyEnforced: TRUE\n" in text
    assert "password" not in text.lower()
    with pytest.raises(InvalidInput):
        policy_ldif(replace(PLAN, cap=timedelta(seconds=60)))
    with pytest.raises(InvalidInput):
        policy_ldif(replace(PLAN, policy="x\ndn: CN=evil"))
