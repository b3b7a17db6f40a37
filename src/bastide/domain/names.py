"""Names beside SIDs in what people read, as `Subject` has them: forest, backslash, name, and the SID in brackets. The SID stays: a name may be another's tomorrow. Pure."""

import re
from collections.abc import Iterable, Mapping

from bastide.domain.errors import InvalidInput
from bastide.domain.ids import ObjectRef, Sid
from bastide.domain.people import Forest, PamUser
from bastide.domain.roles import Carrier, PamGroup

#: One that has no name yet, and is no part of a DN.
_BARE = re.compile(r"(?<![(=\w-])S-1-\d{1,15}(?:-\d{1,10}){1,15}(?![-\d])")
#: Only these are of a domain; S-1-5-32-544 is the same in each.
_OF_A_DOMAIN = "S-1-5-21-"


def sids_in(*texts: str) -> frozenset[Sid]:
    """Those that stand there without a name."""
    found = (sid_of(one) for text in texts for one in _BARE.findall(text))
    return frozenset(sid for sid in found if sid is not None)


def sid_of(text: str) -> Sid | None:
    """None: it is none that a directory can be asked for. Events say whatever somebody sends, and people are called whatever they like."""
    try:
        sid = Sid.parse(text)
        sid.to_bytes()
    except (InvalidInput, OverflowError):
        return None
    return sid


def spelled(text: str, names: Mapping[Sid, str]) -> str:
    """With the name of each that is known; any other stays a SID."""

    def one(found: re.Match[str]) -> str:
        name = names.get(Sid(found[0]))
        return f"{name} ({found[0]})" if name else found[0]

    return _BARE.sub(one, text)


def in_forest(forest: Forest, sid: Sid, name: str) -> str:
    """As people type it."""
    return f"{forest.value.upper()}\\{name}" if sid.startswith(_OF_A_DOMAIN) else name


def of_pam(users: Iterable[PamUser], groups: Iterable[PamGroup]) -> Mapping[Sid, str]:
    """What needs no directory: PAM users and groups, on both sides."""
    refs: list[tuple[Forest, ObjectRef]] = []
    for user in users:
        refs += [(Forest.CORP, user.corp), (Forest.PRIV, user.priv)]
    for group in groups:
        corp = Forest.PRIV if group.carrier is Carrier.DIRECT else Forest.CORP
        refs += [(corp, group.corp), (Forest.PRIV, group.priv)]
    return {ref.sid: in_forest(forest, ref.sid, ref.name) for forest, ref in refs}
