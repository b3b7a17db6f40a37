"""Attributes that hold credentials, or open something: none of them ever enters the connector space or the metaverse."""

#: Names and OIDs in lower case. From [MS-ADTS] 3.1.1.4.4 (secret attributes), LAPS, BitLocker and TPM recovery, OpenLDAP, Samba, 389, eDirectory
#: and MIT Kerberos schemas, and what people call such columns.
DENIED = frozenset(
    {
        "unicodepwd", "dbcspwd", "ntpwdhistory", "lmpwdhistory", "supplementalcredentials",
        "userpassword", "userpkcs12", "currentvalue", "priorvalue", "peklist", "trustauthincoming",
        "trustauthoutgoing", "initialauthincoming", "initialauthoutgoing", "msds-managedpassword",
        "msds-executescriptpassword", "msds-managedpasswordpreviousid", "msds-managedpasswordid",
        "msds-keycredentiallink", "ms-mcs-admpwd", "mslaps-password", "mslaps-encryptedpassword",
        "mslaps-encryptedpasswordhistory", "mslaps-encrypteddsrmpassword",
        "mslaps-encrypteddsrmpasswordhistory", "msfve-recoverypassword", "msfve-keypackage",
        "mstpm-ownerinformation", "msts-ownerauth", "mspkidpapimasterkeys", "mspkiaccountcredentials",
        "mspki-credentialroamingtokens", "sambantpassword", "sambalmpassword", "sambapasswordhistory",
        "sambacleartextpassword", "sambapreviouscleartextpassword", "sambacurrenttrustpassword",
        "ntpassword", "lmpassword", "nthash", "lmhash", "krbprincipalkey", "krbmkey", "krb5key",
        "krbextradata", "authpassword", "pwdhistory", "passwordhistory", "nsmultiplexorcredentials",
        "nsds5replicacredentials", "ipanthash", "ipatokenotpkey", "nspmdistributedpassword",
        "nspmpassword", "nspmpasswordhistory", "password", "passwd", "pwd", "passwordhash",
        "password_hash", "pwhash", "export_password", "secret", "clearpassword", "cleartextpassword",
        "unixuserpassword", "orclpassword", "ds-pwp-password-history", "radiuspassword", "2.5.4.35",
        "1.2.840.113556.1.4.90", "1.2.840.113556.1.4.55", "1.2.840.113556.1.4.94",
        "1.2.840.113556.1.4.160", "1.2.840.113556.1.4.125", "1.3.6.1.4.1.4203.1.3.4",
        "1.3.6.1.4.1.7165.2.1.25", "1.3.6.1.4.1.7165.2.1.24",
    }
)  # fmt: skip


def denied(attribute: str) -> bool:
    """Whether the attribute may never be kept. Options (`userPassword;binary`) and case do not matter."""
    return attribute.partition(";")[0].strip().casefold() in DENIED
