"""What of the members of watched groups is a group, and those groups as they are. Only who is new is asked for: what an object is never changes.

(1) Of each group that was looked at, the members that were not there at the look before are asked for by SID; at its first look all of them.
(2) A group among them that is not watched yet is looked at in the same read, and so on below it: none that joins is missed until the next change.
(3) A group that was seen ends its branch, so a loop ends; after so many groups (domain/nested.py) none is added. What was left out is said.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from bastide.domain.ids import Sid
from bastide.domain.monitored import Kind, Named, Seen, Watched
from bastide.services.monitor.ports import ChangeFeed


def look_within(
    feed: ChangeFeed, controller: str, seen: dict[str, Seen], known: Mapping[str, Watched], room: int
) -> None:
    """Into what was `seen`, with at most so many more. Raises DirectoryUnavailable, DirectoryDenied."""
    level = {guid for guid, one in seen.items() if one.kind is Kind.GROUP}
    while level:
        asked = {sid for guid in level for sid in _new(seen[guid], known.get(guid))}
        found = feed.named(controller, asked) if asked else {}
        for guid in level:
            seen[guid] = replace(seen[guid], named=_named(seen[guid], known.get(guid), found))
        inside = {one.guid for guid in level for one in seen[guid].named or () if one.is_group}
        fresh = sorted(inside - known.keys() - seen.keys())[:room]
        room -= len(fresh)
        looked = feed.look(controller, fresh) if fresh else {}
        seen.update(looked)
        level = set(looked)


def _new(one: Seen, before: Watched | None) -> set[Sid]:
    """(1)"""
    if before is None or before.now.named is None:
        return set(one.members)
    return set(one.members) - set(before.now.members) - {named.sid for named in before.now.named}


def _named(one: Seen, before: Watched | None, found: Mapping[Sid, Named]) -> tuple[Named, ...]:
    """Groups, and by what name who came later is called. Who was there from the start needs none."""
    first = before is None or before.now.named is None
    accepted: Collection[Sid] = () if before is None else before.accepted.members
    kept = {} if first or before is None else {named.sid: named for named in before.now.named or ()}
    new = {sid: named for sid, named in found.items() if named.is_group or not first}
    wanted = {*one.members, *accepted}
    return tuple(named for sid, named in sorted({**kept, **new}.items()) if sid in wanted)
