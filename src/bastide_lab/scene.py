"""The people and the things the demo and the tests meet. Data only; `samba_side.py` writes it into the directories.

Nobody has any right here that the story does not need: the service accounts get theirs from the product's own
delegation, and authentication policies are the product's to make.
"""

from dataclasses import dataclass

from bastide_lab.plan import (
    ADMINISTRATOR,
    CORP,
    CORPDC,
    PRIV,
    REALMS,
    SERVER_NAMES,
    SERVERS,
    Host,
    Realm,
    Site,
    server_names,
)

# [MS-ADTS] 2.2.12 Group Type Flags, security-enabled, as the signed 32-bit number that the attribute holds
GLOBAL = 0x2 - 2**31
DOMAIN_LOCAL = 0x4 - 2**31
UNIVERSAL = 0x8 - 2**31
# [MS-KILE] 2.2.7: AES128 and AES256, nothing older
AES_ONLY = 0x08 | 0x10


@dataclass(frozen=True, slots=True)
class Person:
    account: str
    given_name: str
    surname: str
    groups: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    name: str
    kind: int
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Service:
    account: str
    unit: str = ""
    principals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """A share of the realm's controller with one file that only `readers` (and Domain Admins) may read."""

    name: str
    file: str
    content: str
    readers: str


@dataclass(frozen=True, slots=True)
class Forest:
    realm: Realm
    people: tuple[Person, ...]
    groups: tuple[Group, ...]
    services: tuple[Service, ...]
    units: tuple[str, ...]
    shares: tuple[Share, ...] = ()


CORP_FOREST = Forest(
    realm=CORP,
    units=("OU=Groups",),
    people=(
        Person("alice", "Alice", "Archer"),
        Person("bob", "Bob", "Baker"),
        Person("carol", "Carol", "Clark"),
        Person("erin", "Erin", "Evans"),
        Person("zoe", "Zoë", "Müller-Łukasz"),
        Person("mallory", "Mallory", "Moss"),
    ),
    groups=(
        Group("FileAdmins", DOMAIN_LOCAL, "OU=Groups"),
        Group("DbAdmins", DOMAIN_LOCAL, "OU=Groups"),
        Group("GlobalOps", GLOBAL, "OU=Groups"),
        Group("UniversalOps", UNIVERSAL, "OU=Groups"),
    ),
    # The trust is one way: a CORP person can only ever get a ticket for a name in CORP.
    services=(
        Service("svc-bastide-http", principals=tuple(f"HTTP/{server_names(one)[1]}" for one in SERVERS)),
        Service("svc-bastide-pcns", principals=(f"PCNSCLNT/{SERVER_NAMES[1]}",)),
    ),
    shares=(
        Share("files", "report.txt", "the quarterly figures, for file administrators\n", "FileAdmins"),
        Share("db", "report.txt", "the connection strings, for database administrators\n", "DbAdmins"),
    ),
)

PRIV_FOREST = Forest(
    realm=PRIV,
    units=("OU=PAM Objects", "OU=Users,OU=PAM Objects", "OU=Groups,OU=PAM Objects", "OU=Services"),
    people=(
        Person("adm.dave", "Dave", "Dunn", ("Bastide Administrators",)),
        Person("aud.frank", "Frank", "Foster", ("Bastide Auditors",)),
        Person("apr.grace", "Grace", "Green", ("Bastide Approvers",)),
        Person("apr.heidi", "Heidi", "Hall", ("Bastide Approvers",)),
        Person("apr.ivan", "Ivan", "Ives", ("Team Network",)),
    ),
    groups=(
        Group("Bastide Administrators", GLOBAL),
        Group("Bastide Auditors", GLOBAL),
        Group("Bastide Approvers", GLOBAL),
        Group("Team Network", GLOBAL),
    ),
    services=(
        Service("svc-bastide", "OU=Services", tuple(f"HTTP/{server_names(one)[0]}" for one in SERVERS)),
        Service("svc-bastide-prepare", "OU=Services"),
        Service("svc-bastide-pcns", "OU=Services", (f"PCNSCLNT/{SERVER_NAMES[0]}",)),
    ),
)

FORESTS = {forest.realm.key: forest for forest in (CORP_FOREST, PRIV_FOREST)}


def accounts() -> list[str]:
    """Every account that has a password, the way `Lab.password` names it."""
    names = [rf"{key}\{ADMINISTRATOR}" for key in REALMS]
    for key, forest in FORESTS.items():
        names += [rf"{key}\{person.account}" for person in forest.people]
        names += [rf"{key}\{service.account}" for service in forest.services]
    return names


def order(site: Site, controller: Host, passwords: dict[str, str]) -> dict[str, object]:
    """What `samba_side.populate` has to do on `controller`, as JSON. Holds passwords: standard input only."""
    forest = FORESTS[controller.realm.key]

    def password(account: str) -> str:
        return passwords[f"{forest.realm.key}\\{account}".lower()]

    return {
        "database": str(site.database(controller)),
        "units": forest.units,
        "people": [
            {
                "username": person.account,
                "password": password(person.account),
                "givenname": person.given_name,
                "surname": person.surname,
                "mailaddress": f"{person.account}@{forest.realm.dns}",
            }
            for person in forest.people
        ],
        "groups": [
            {"groupname": g.name, "grouptype": g.kind, "groupou": g.unit or None} for g in forest.groups
        ],
        "memberships": [[group, person.account] for person in forest.people for group in person.groups],
        "services": [
            {
                "username": service.account,
                "password": password(service.account),
                "userou": service.unit or None,
                "principals": service.principals,
                "encryption_types": AES_ONLY,
            }
            for service in forest.services
        ],
        "addresses": [[f"{server.name}.{forest.realm.dns}", server.address] for server in SERVERS],
        "shares": [
            {
                "path": str(site.data(controller) / "shares" / share.name),
                "file": share.file,
                "content": share.content,
                "readers": share.readers,
            }
            for share in (forest.shares if controller is CORPDC else ())
        ],
    }
