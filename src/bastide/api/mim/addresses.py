"""Addresses as OData 3 writes them, `pamrequests(guid'...')/Close`, and as our routes are written. Pure."""

import re

PREFIX = "/api/pamresources"
#: An address that no route has.
_NOWHERE = f"{PREFIX}/-"
_ADDRESS = re.compile(
    r"/(?P<resource>[a-z]+)(?:\((?:(?P<named>[a-z]+)=)?(?:guid)?'?(?P<key>[0-9a-f-]{36})'?\)/(?P<action>[a-z]+))?/?",
    re.ASCII | re.IGNORECASE,
)


def is_ours(path: str) -> bool:
    """Whether an address belongs to this API. IIS does not tell capitals from small letters."""
    return path.lower() == PREFIX or path.lower().startswith(f"{PREFIX}/")


def plain(path: str) -> str:
    """The address of the route: `/api/pamresources/pamrequests/KEY/close`. Asked for in that form, it does not exist."""
    match = _ADDRESS.fullmatch(path[len(PREFIX) :])
    if match is None:
        return _NOWHERE
    parts = (match["resource"], match["key"], match["action"])
    return "/".join([PREFIX, *(part.lower() for part in parts if part)])
