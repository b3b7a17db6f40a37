"""Groups that are members of watched groups, through any number of levels: who joins one of them has what the group at the top gives. Pure.

(1) A nested group is watched as long as it is a member, and as long as it may come back unsaid: while it is accepted where it was a member and nothing
    proves that it is out.
(2) Who was in it when it was first seen is right. Who came later is drift of the group at the top, with the way there, until somebody accepts it.
(3) A nested group that is a PAM group itself is judged by its own rules; the way leads on through it.
(4) Each group is passed once on the way from a top, by the shortest way: a loop ends, and a person is said once for each group that they joined.
(5) A distribution group gives nothing, and nothing through it ([MS-ADTS] 3.1.1.4.5.19: it is no part of a token).
(6) A nested group whose members were never seen, or that is not shown any more, is said, and so is a member of the own domain of which it is not shown what it
    is. Of a group of another domain nothing is known, not even that it is one.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping

from bastide.domain.drift import Drift, Rule, addressed
from bastide.domain.ids import Sid
from bastide.domain.monitored import Kind, Named, Watched
from bastide.domain.people import Forest
from bastide.domain.roles import Carrier, PamGroup

#: So many nested groups of one domain are watched; of one more it is said that it is not.
MOST = 1000
Way = tuple[str, ...]


def tops(groups: Iterable[PamGroup], side: Forest) -> frozenset[str]:
    """GUIDs of the groups of a domain that PAM gives."""
    if side is Forest.PRIV:
        return frozenset(group.priv.guid for group in groups)
    return frozenset(group.corp.guid for group in groups if group.carrier is not Carrier.DIRECT)


def within(one: Watched) -> tuple[Named, ...]:
    """(1): groups that are members of this one, or that are accepted there."""
    kept = {*one.now.members, *one.accepted.members}
    return tuple(named for named in one.now.named or () if named.is_group and named.sid in kept)


def hidden(one: Watched) -> tuple[Named, ...]:
    """(6): members of the own domain of which it is not shown what they are."""
    members = set(one.now.members)
    return tuple(named for named in one.now.named or () if not named.guid and named.sid in members)


def holding(gone: Collection[str], watched: Mapping[str, Watched]) -> frozenset[str]:
    """GUIDs of groups in which these were members. Nobody tells that a deletion took them out."""
    return frozenset(
        guid
        for guid, one in watched.items()
        if gone and any(named.guid in gone and named.sid in one.now.members for named in within(one))
    )


def kept(watched: Mapping[str, Watched], above: Collection[str]) -> frozenset[str]:
    """(1): GUIDs of all groups within these, as far as they are known."""
    found: set[str] = set()
    level = set(above)
    while level and len(found) < MOST:
        level = {named.guid for guid in level & watched.keys() for named in within(watched[guid])}
        level -= found | set(above)
        found |= level
    return frozenset(found)


def abroad(
    corp: Mapping[str, Watched], groups: Collection[PamGroup], domains: Collection[str]
) -> Mapping[Sid, Way]:
    """(6): who of these domains (SIDs without RID) is in watched groups of CORP, or is accepted there, but for PAM groups; with the way to the top, empty for
    one that is out now.
    """
    above = tops(groups, Forest.CORP)
    ours = {group.priv.sid for group in groups}
    found: dict[Sid, Way] = {}
    for guid in sorted(above & corp.keys()):
        for group, way in _walk(corp[guid], (corp[guid].now.name,), corp):
            if isinstance(group, Watched):
                found |= {sid: way for sid in group.now.members if sid not in found}
    for guid in (above | kept(corp, above)) & corp.keys():
        found |= {sid: () for sid in corp[guid].accepted.members if sid not in found}
    return {sid: way for sid, way in found.items() if sid.domain in domains and sid not in ours}


def recalled(found: Mapping[Sid, Named | None], watched: Mapping[str, Watched]) -> Mapping[Sid, Named | None]:
    """(6): who is not found, and is watched as a group since an earlier look, is hidden from us or was deleted."""
    lost = {sid for sid, named in found.items() if named is None}
    return {
        **found,
        **{
            one.now.sid: _called(one)
            for one in watched.values()
            if one.now.sid in lost and one.now.kind is Kind.GROUP
        },
    }


def _called(group: Watched) -> Named:
    return Named(group.now.sid, group.now.name, group.guid, is_group=True)


def nested_drifts(
    watched: Mapping[str, Watched], groups: Collection[PamGroup], side: Forest, abroad: Mapping[str, Way]
) -> Iterator[Drift]:
    """All that stand below the watched groups of one domain. `abroad`: by GUID, groups of this domain that are in groups of the other one."""
    above = tops(groups, side)
    ways = {guid: way for guid, way in abroad.items() if way and guid not in above} | dict.fromkeys(above, ())
    late = {guid: who for guid, one in watched.items() if guid not in above and (who := _late(one))}  # (3)
    for guid in sorted(ways.keys() & watched.keys()):
        top = watched[guid]
        if top.gone_at is None and top.now.security:
            yield from _below(top, (top.now.name, *ways[guid]), watched, late)
        elif top.gone_at is not None and guid not in above:
            yield _unseen(top, _called(top), ways[guid])


def _late(group: Watched) -> tuple[tuple[Sid, str], ...]:
    """(2): who came after it was first seen and was not accepted, by SID and name."""
    came = sorted(set(group.now.members) - set(group.accepted.members))
    names = {named.sid: named.name for named in group.now.named or ()} if came else {}
    return tuple((sid, names.get(sid, str(sid))) for sid in came)


def _below(
    top: Watched, way: Way, watched: Mapping[str, Watched], late: Mapping[str, Iterable[tuple[Sid, str]]]
) -> Iterator[Drift]:
    for group, on in _walk(top, way, watched):
        if isinstance(group, Named):
            yield _unseen(top, group, on)
        else:
            yield from _joined(top, group, on, late.get(group.guid, ()))


def _walk(top: Watched, way: Way, watched: Mapping[str, Watched]) -> Iterator[tuple[Watched | Named, Way]]:
    """The group and all within it, each with the way from it; of one that was never seen or is hidden, only what it is called and the way from where it is a
    member.
    """
    seen: set[str] = {top.guid}
    level: list[tuple[Watched, Way]] = [(top, way)]
    while level:
        deeper: list[tuple[Watched, Way]] = []
        for group, on in level:
            yield group, on
            for named in (*within(group), *hidden(group)):
                key = named.guid or named.sid
                if named.sid not in group.now.members or key in seen:  # (4)
                    continue
                seen.add(key)
                inner = watched.get(named.guid)
                if inner is None or inner.gone_at is not None:  # (6)
                    yield named, on
                elif inner.now.security:  # (5)
                    deeper.append((inner, (inner.now.name, *on)))
        level = deeper


def _joined(top: Watched, group: Watched, way: Way, late: Iterable[tuple[Sid, str]]) -> Iterator[Drift]:
    """(2)"""
    for sid, name in late:
        who = name if name == sid else f"{name} ({sid})"
        found = Drift(
            Rule.NESTED_MEMBER,
            top.domain,
            top.guid,
            top.now.name,
            f"{sid} {group.guid}",
            f"{who} became a member of {group.now.name}, and has what {way[-1]} gives: {' -> '.join((name, *way))}",
            f"take it out of {group.now.name}, or accept it: `bastide monitor accept DRIFT --reason TEXT`",
        )
        yield addressed(found)


def _unseen(top: Watched, named: Named, way: Way) -> Drift:
    """(6)"""
    what = f"who is in {named.name} is not shown to us, or there are more than {MOST} groups to look through"
    if not named.guid:
        what = f"what {named.sid} is, is not shown to us, nor who joins it if it is a group"
    return Drift(
        Rule.UNREADABLE,
        top.domain,
        top.guid,
        top.now.name,
        f"within {named.guid or named.sid}",
        f"{what}: {' -> '.join((named.name, *way))}",
        f"let the service account read {named.name} and its members, or take it out of {way[0]}",
    )


def member_of(drift: Drift) -> tuple[Sid, str]:
    """Whom a finding of a member is about, and the GUID of the group that they joined."""
    sid, _, guid = drift.detail.partition(" ")
    return Sid(sid), guid if drift.rule is Rule.NESTED_MEMBER else drift.guid
