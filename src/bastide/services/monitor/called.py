"""By what names a drift's people and groups are called. What the database knows needs no question; the rest is asked for once, together, before the commit."""

from collections.abc import Collection, Iterable, Mapping

from bastide.domain import names
from bastide.domain.drift import Drift
from bastide.domain.ids import Sid
from bastide.domain.monitored import Pam, Watched
from bastide.domain.people import Forest
from bastide.services.monitor.reading import Reading
from bastide.services.ports import UnitOfWork


def unknown(
    reading: Reading, watched: Mapping[str, Watched], pam: Pam, standing: Collection[Sid]
) -> frozenset[Sid]:
    """Who may be named by a drift of what was just read, or is in one that is `standing`, and is none of PAM's: members and permissions that are new there, and who
    was a member for a moment.
    """
    found = {
        *standing,
        *(one.sid for gone in reading.taken_out.values() for one in gone if one.name == one.sid),
    }
    for guid, one in reading.seen.items():
        old = watched.get(guid)
        if old is not None:
            found |= set(one.members) - {*old.accepted.members, *old.now.members}
            found |= names.sids_in(*(set(one.rights or ()) ^ set(old.accepted.rights or ())))
    return frozenset(found - names.of_pam(pam.users, pam.groups).keys()) if found else frozenset()


def unnamed(uow: UnitOfWork, side: Forest) -> frozenset[Sid]:
    """Of what stands: a directory was down when it was found, or does not know them."""
    mine = (one.drift for one in uow.monitored.findings() if one.drift.domain is side)
    return frozenset().union(*(names.sids_in(one.reason, one.remedy) for one in mine))


def known(
    found: Iterable[Drift], watched: Iterable[Watched], side: Forest, pam: Pam, asked: Mapping[Sid, str]
) -> Mapping[Sid, str]:
    """All names that these drifts need, as far as anybody knows them."""
    wanted = frozenset().union(*(names.sids_in(one.reason, one.remedy) for one in found))
    if not wanted:
        return {}
    ours = names.of_pam(pam.users, pam.groups)
    seen = {one.now.sid: names.in_forest(side, one.now.sid, one.now.name) for one in watched if one.now.sid in wanted}  # fmt: skip
    return {sid: name for sid, name in {**asked, **seen, **ours}.items() if sid in wanted}
