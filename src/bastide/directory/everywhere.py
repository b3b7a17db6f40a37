"""One answer out of those of several controllers, for gates that must stop whom one of them would stop: what was done on one reaches another seconds later, between sites
hours later.

(1) Groups: all that one controller says.
(2) Protected: if one says so.
(3) Open: if all say so: enabled on each, with the earliest end.
(4) A controller that does not have the account counts nothing. If none has it, there is nobody.
(5) A chain of groups may have its links on different controllers: all are asked again with what they found together, until that gives no more.
(6) What one controller cannot read is unread, and too many on one are too many.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from bastide.domain.ids import Sid
from bastide.services.ports import Above, Group, Person

#: What one controller says of an account, with the groups; None: it does not have it.
Said = tuple[Person, frozenset[Sid]] | None


def strictest(answers: Iterable[Said]) -> Said:
    """(1) to (4). Name and addresses are those of the first controller that has the account."""
    known = [answer for answer in answers if answer is not None]  # (4)
    if not known:
        return None
    people = [person for person, _ in known]
    ends = [person.expires for person in people if person.expires is not None]
    person = replace(
        people[0],
        protected=any(one.protected for one in people),  # (2)
        enabled=all(one.enabled for one in people),  # (3)
        expires=min(ends, default=None),
    )
    return person, frozenset().union(*(groups for _, groups in known))  # (1)


def together(ask: Callable[[Collection[Sid]], Collection[Above]], sids: Collection[Sid]) -> Above:
    """(5), (6). `ask`: what is above these on each controller."""
    asked, found, unread = frozenset(sids), dict[Sid, Group](), frozenset[Sid]()
    while True:
        answers = ask(asked)
        for answer in answers:
            found = {one.ref.sid: one for one in answer.groups} | found
        unread = unread.union(*(answer.unread for answer in answers))  # (6)
        complete = all(answer.complete for answer in answers)
        agreed = all(len(answer.groups) == len(found) for answer in answers)
        if agreed or not complete or asked >= found.keys():  # (5)
            groups = sorted(found.values(), key=lambda one: one.ref.name.casefold())
            return Above(tuple(groups), unread, complete)
        asked |= found.keys()
