"""The schema of Microsoft's PCNS, as objects and as LDIF: its two classes and sixteen attributes with their OIDs.

Names, OIDs and what each attribute is for are Microsoft's; the syntaxes are those that fit the values which its tools show ([MS-ADTS] 3.1.1.2.2.2). An existing
Windows schema is left as it is. Attributes are neither indexed nor in the global catalogue.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from uuid import UUID, uuid5

from bastide.pcns import ATTRIBUTES, SERVICE_CLASS, TARGET_CLASS

#: attributeSyntax, oMSyntax.
_STRING = ("2.5.5.12", "64")
_OCTETS = ("2.5.5.10", "4")
_INTEGER = ("2.5.5.9", "2")
_BOOLEAN = ("2.5.5.8", "1")
_SID = ("2.5.5.17", "4")
_SYNTAX: Mapping[str, tuple[str, str]] = {
    "TargetGUID": _OCTETS,
    "TargetSPN": _STRING,
    "TargetServer": _STRING,
    "TargetAuthenticationService": _INTEGER,
    "TargetUserNameFormat": _INTEGER,
    "TargetKeepAliveInterval": _INTEGER,
    "TargetDisabled": _BOOLEAN,
    "TargetEncryptionKey": _OCTETS,
    "ServiceMaxQueueLength": _INTEGER,
    "ServiceMaxQueueAge": _INTEGER,
    "ServiceMaxNotificationRetries": _INTEGER,
    "ServiceRetryInterval": _INTEGER,
    "TargetExclusionSID": _SID,
    "TargetInclusionSID": _SID,
    "TargetQueueWarningLevel": _INTEGER,
    "TargetQueueWarningInterval": _INTEGER,
}
_LONGEST_STRING = "1024"
#: schemaIDGUID of objects that we make; one made by Microsoft's installer keeps its own.
_GUIDS = UUID("0f4b3d52-7f7c-5f0b-9a52-5f4b2b3f5d11")
#: Administrators and the system change it; who can sign in can read it: it holds no secret.
_SECURITY = "D:(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;DA)(A;;RPWPCRCCDCLCLORCWOWDSDDTSW;;;SY)(A;;RPLCLORC;;;AU)"
SchemaObject = tuple[str, dict[str, list[str | bytes]]]


def attribute_objects(schema: str) -> Iterator[SchemaObject]:
    """DN and attributes of each attributeSchema object below the schema's DN."""
    for name, oid in ATTRIBUTES.items():
        syntax, om_syntax = _SYNTAX[name.rpartition("-")[2]]
        values: dict[str, list[str | bytes]] = {
            "objectClass": ["top", "attributeSchema"],
            "attributeID": [oid],
            "attributeSyntax": [syntax],
            "oMSyntax": [om_syntax],
            "isSingleValued": ["TRUE"],
            "searchFlags": ["0"],
            "showInAdvancedViewOnly": ["TRUE"],
            "lDAPDisplayName": [name],
            "adminDisplayName": [name],
            "schemaIDGUID": [uuid5(_GUIDS, oid).bytes_le],
        }
        if syntax == _STRING[0]:
            values["rangeUpper"] = [_LONGEST_STRING]
        yield f"CN={_common_name(name)},{schema}", values


def class_objects(schema: str) -> Iterator[SchemaObject]:
    """DN and attributes of the two classSchema objects. The attributes must be known to the schema before."""
    yield _class(schema, SERVICE_CLASS, "Service", ["container"])
    yield _class(schema, TARGET_CLASS, "Target", ["container", SERVICE_CLASS[0]])


def ldif(schema: str) -> str:
    """All of it for `ldapmodify` or `ldifde -i -k`, in the order in which it must be added."""
    parts = [
        "# Schema of the Password Change Notification Service. Once for each forest, by a member of Schema Admins.\n"
    ]
    parts += [_record(dn, values) for dn, values in attribute_objects(schema)]
    parts.append(_REFRESH)
    for dn, values in class_objects(schema):
        parts += [_record(dn, values), _REFRESH]
    return "\n".join(parts)


_REFRESH = "dn:\nchangetype: modify\nadd: schemaUpdateNow\nschemaUpdateNow: 1\n-\n"


def _class(schema: str, named: tuple[str, str], kind: str, superiors: list[str]) -> SchemaObject:
    name, oid = named
    held = [attribute for attribute in ATTRIBUTES if attribute.rpartition("-")[2].startswith(kind)]
    return f"CN={_common_name(name)},{schema}", {
        "objectClass": ["top", "classSchema"],
        "governsID": [oid],
        "objectClassCategory": ["1"],
        "subClassOf": ["top"],
        "rDNAttID": ["cn"],
        "mayContain": list(held),
        "possSuperiors": list(superiors),
        "defaultHidingValue": ["TRUE"],
        "showInAdvancedViewOnly": ["TRUE"],
        "lDAPDisplayName": [name],
        "adminDisplayName": [name],
        "defaultSecurityDescriptor": [_SECURITY],
        "schemaIDGUID": [uuid5(_GUIDS, oid).bytes_le],
    }


def _common_name(display_name: str) -> str:
    return "MS" + display_name.removeprefix("mS")


def _record(dn: str, values: Mapping[str, list[str | bytes]]) -> str:
    lines = [f"dn: {dn}", "changetype: add"]
    for name, held in values.items():
        lines += [_line(name, value) for value in held]
    return "\n".join(lines) + "\n"


def _line(name: str, value: str | bytes) -> str:
    if isinstance(value, bytes):
        return f"{name}:: {b64encode(value).decode()}"
    return f"{name}: {value}"
