"""What of the members of watched groups is a group, and those groups as they are. Only who is new is asked for: what an object is never changes.

(1) Of each group that was looked at, the members that were not there at the look before are asked for by SID; at its first look all of them; and those of the
    own domain that were not found the last time, because they may be groups and be hidden from us.
(2) A group among them that is not watched yet is looked at in the same read, and so on below it: none that joins is missed until the next change.
(3) A group that was seen ends its branch, so a loop ends; after so many groups (domain/nested.py) none is added. What was left out is said.
"""

from collections.abc import Collection, Mapping
from dataclasses import replace

from bastide.domain.ids import Sid
from bastide.domain.monitored import Kind, Named, Seen, Watched
from bastide.services.monitor.ports import ChangeFeed


def look_within(
    feed: ChangeFeed,
    controller: str,
    seen: dict[str, Seen],
    known: Mapping[str, Watched],
    room: int,
    own: Collection[str],
) -> None:
    """Into what was `seen`, with at most so many more. `own`: SIDs without RID of the domain. Raises DirectoryUnavailable, DirectoryDenied."""
    level = {guid for guid, one in seen.items() if one.kind is Kind.GROUP}
    while level:
        asked = {sid for guid in level for sid in _new(seen[guid], known.get(guid))}
        found = feed.named(controller, asked) if asked else {}
        for guid in level:
            seen[guid] = replace(seen[guid], named=_named(seen[guid], known.get(guid), found, own))
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
    passed = {*before.now.members, *(named.sid for named in before.now.named)}
    return set(one.members) - (passed - {named.sid for named in before.now.named if not named.guid})


def _named(
    one: Seen, before: Watched | None, found: Mapping[Sid, Named], own: Collection[str]
) -> tuple[Named, ...]:
    """Groups, and by what name who came later is called. Who was there from the start needs none. Without a GUID: who was not found."""
    first = before is None or before.now.named is None
    accepted: Collection[Sid] = () if before is None else before.accepted.members
    kept = {} if first or before is None else {named.sid: named for named in before.now.named or ()}
    new = {
        sid: Named(sid, sid, "", is_group=False)
        for sid in _new(one, before)
        if sid not in found and sid.domain in own
    }
    new |= {sid: named for sid, named in found.items() if named.is_group or not first}
    wanted = {*one.members, *accepted}
    return tuple(named for sid, named in sorted({**kept, **new}.items()) if sid in wanted)
