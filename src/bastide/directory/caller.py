"""Who is calling, by the token that a controller made of the ticket."""

from bastide.directory.entries import any_sid, by_sid
from bastide.directory.session import Session
from bastide.domain.errors import DirectoryDenied, NoSuchObject
from bastide.domain.ids import Sid
from bastide.services.cluster.ports import Caller


def caller_of(session: Session) -> Sid:
    """Of the SIDs in the token (tokenGroups of rootDSE), the one that is an account's; of somebody from another domain the first, as Samba orders them."""
    root = session.must_read("", ["tokenGroups", "defaultNamingContext"])
    sids = [Sid.from_bytes(raw) for raw in root.all("tokenGroups")]
    if not sids:
        raise DirectoryDenied(
            f"{session.controller} does not say who is calling", remedy="try another with --controller"
        )
    people = session.search(
        root.text("defaultNamingContext"), f"(&(objectClass=user){any_sid(sids)})", ["objectSid"]
    )
    return people[0].sid() if people else sids[0]


def name_of(session: Session, sid: Sid) -> str:
    """The sAMAccountName; the SID itself where there is none."""
    try:
        found = session.read(by_sid(sid), ["sAMAccountName"])
    except NoSuchObject:
        found = None
    return (found.text("sAMAccountName") if found else "") or str(sid)


def named_caller(session: Session) -> Caller:
    """Whoever is calling, for people."""
    sid = caller_of(session)
    return Caller(str(sid), name_of(session, sid))
