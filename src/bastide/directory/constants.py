"""Names and numbers of Active Directory, each with the section that defines it."""

from enum import IntFlag

# ------------------------------------------------------------------------------- controls, [MS-ADTS] 3.1.1.3.4.1
#: 3.1.1.3.4.1.5: DNs come back as <GUID=..>;<SID=..>;DN.
CONTROL_EXTENDED_DN = "1.2.840.113556.1.4.529"
#: 3.1.1.3.4.1.36: link values that end come back as TTL-DNs. Samba answers error 12 where it is critical.
CONTROL_LINK_TTL = "1.2.840.113556.1.4.2309"

# --------------------------------------------------------------------------- optional features, [MS-ADTS] 3.1.1.9
#: 3.1.1.9.2: Privileged Access Management: link values with an end. Needs forest level DS_BEHAVIOR_WIN2016.
FEATURE_PAM = "ec43e873-cce8-4640-b4ab-07ffe4ab5bcd"
#: 6.1.4.2: msDS-Behavior-Version from which AD has authentication policies, and from which it has the PAM feature.
LEVEL_2012_R2 = 6
LEVEL_2016 = 7

# ------------------------------------------------------------------------------------------ matching rules, 3.1.1.3.4.4
MATCH_IN_CHAIN = "1.2.840.113556.1.4.1941"

# ---------------------------------------------------------------------------------------------- times, 3.1.1.2.3 and [MS-ADA1]
#: accountExpires ([MS-ADA1] 2.2): 100 ns units since 1601-01-01 UTC; both of these mean never.
NO_END = 0x7FFFFFFFFFFFFFFF
NEVER = frozenset({0, NO_END})
#: Seconds from 1601-01-01 to 1970-01-01, and 100 ns units in a microsecond.
EPOCH_DIFFERENCE = 11644473600
UNITS_PER_MICROSECOND = 10


class AccountControl(IntFlag):
    """userAccountControl, [MS-ADTS] 2.2.16."""

    DISABLED = 0x2
    PASSWORD_NOT_REQUIRED = 0x20
    REVERSIBLE_PASSWORD = 0x80
    NORMAL = 0x200
    WORKSTATION_TRUST = 0x1000
    SERVER_TRUST = 0x2000
    PASSWORD_NEVER_EXPIRES = 0x10000
    SMARTCARD_REQUIRED = 0x40000
    TRUSTED_FOR_DELEGATION = 0x80000
    NOT_DELEGATED = 0x100000
    USE_DES_KEY_ONLY = 0x200000
    DONT_REQUIRE_PREAUTH = 0x400000
    TRUSTED_TO_AUTH_FOR_DELEGATION = 0x1000000


class GroupType(IntFlag):
    """groupType, [MS-ADTS] 2.2.12."""

    BUILTIN = 0x1
    GLOBAL = 0x2
    DOMAIN_LOCAL = 0x4
    UNIVERSAL = 0x8
    SECURITY = 0x80000000


class TrustDirection(IntFlag):
    """trustDirection, [MS-ADTS] 6.1.6.7.12: outbound means that this domain trusts the other one."""

    INBOUND = 0x1
    OUTBOUND = 0x2


class TrustAttributes(IntFlag):
    """trustAttributes, [MS-ADTS] 6.1.6.7.9."""

    NON_TRANSITIVE = 0x1
    UPLEVEL_ONLY = 0x2
    #: SIDs of any other domain are filtered out.
    QUARANTINED = 0x4
    FOREST_TRANSITIVE = 0x8
    CROSS_ORGANIZATION = 0x10
    WITHIN_FOREST = 0x20
    #: SID history and SIDs above RID 1000 of the trusting forest pass.
    TREAT_AS_EXTERNAL = 0x40
    USES_RC4 = 0x80
    NO_TGT_DELEGATION = 0x200
    #: Shadow principals of the trusted forest pass.
    PIM_TRUST = 0x400
    TGT_DELEGATION = 0x800


#: msDS-SupportedEncryptionTypes ([MS-KILE] 2.2.7): AES-128 and AES-256, and so no RC4.
AES_ONLY = 0x18

# --------------------------------------------------------------------------------------- well-known RIDs, [MS-DTYP] 2.4.2.4
RID_PROTECTED_USERS = 525
#: Accounts and groups that AdminSDHolder guards ([MS-ADTS] 3.1.1.6.1.2), by RID in the domain, and those of BUILTIN (S-1-5-32).
PROTECTED_RIDS = frozenset({500, 502, 512, 516, 518, 519, 521, 526, 527})
PROTECTED_BUILTIN_RIDS = frozenset({544, 548, 549, 550, 551, 552})
BUILTIN_DOMAIN = "S-1-5-32"

# -------------------------------------------------------------------------------- places below CN=Configuration, 6.1.1.2.4
POLICIES = "CN=AuthN Policies,CN=AuthN Policy Configuration,CN=Services"
SHADOW_PRINCIPALS = "CN=Shadow Principal Configuration,CN=Services"

# --------------------------------------------------------------------------------------- places below a domain, 6.1.1.4
PASSWORD_SETTINGS = "CN=Password Settings Container,CN=System"  # noqa: S105  # the name of a container

# --------------------------------------------------- rights: schemaIDGUID of attributes and classes ([MS-ADA1..3], [MS-ADSC])
GUID_MEMBER = "bf9679c0-0de6-11d0-a285-00aa003049e2"
GUID_ACCOUNT_EXPIRES = "bf967915-0de6-11d0-a285-00aa003049e2"
GUID_USER_ACCOUNT_CONTROL = "bf967a68-0de6-11d0-a285-00aa003049e2"
GUID_SUPPORTED_ENCRYPTION = "20119867-1d04-4ab7-9371-cfc3d5df0afd"
GUID_ASSIGNED_POLICY = "b87a0ad8-54f7-49c1-84a0-e64d12853588"
GUID_CLASS_USER = "bf967aba-0de6-11d0-a285-00aa003049e2"
#: msDS-ShadowPrincipal: no security descriptor of its own by default, so all rights come from its container.
GUID_CLASS_SHADOW_PRINCIPAL = "770f4cb3-1643-469c-b766-edd77aa75e14"
GUID_CLASS_GROUP = "bf967a9c-0de6-11d0-a285-00aa003049e2"
GUID_CLASS_PASSWORD_SETTINGS = "3bcd9db8-f84b-451c-952f-6c52b81f9ec6"  # noqa: S105  # the name of a class
GUID_RESULTANT_PSO = "b77ea093-88d0-4780-9a98-911f8e8b1dca"
GUID_LOCKOUT_TIME = "28630ebf-41d5-11d1-a9c1-0000f80367c1"
# Extended right and property sets, [MS-ADTS] 5.1.3.2.1 and 3.1.1.2.3.3.
GUID_RESET_PASSWORD = "00299570-246d-11d0-a768-00aa006e0529"  # noqa: S105  # the name of a right
GUID_SET_ACCOUNT_RESTRICTIONS = "4c164200-20c0-11d0-a768-00aa006e0529"
GUID_SET_MEMBERSHIP = "bc0ac240-79a9-11d0-9020-00c04fc2d4cf"
