"""Messages that are to be sent: a row of durable work each (courier.py), by mail and to telephones apart, so that a program that hangs holds up no mail."""

from datetime import datetime

from bastide.domain.reset.gates import Gate
from bastide.domain.reset.letters import Letter
from bastide.services.pace import RESET, RESET_TEXT
from bastide.services.ports import UnitOfWork

#: The address that the directory has.
DIRECTORY = "directory"
_ALL = (DIRECTORY, Gate.MAIL.value, Gate.SMS.value)


def post(uow: UnitOfWork, letter: Letter, about: str, to: str, now: datetime) -> None:
    """To one destination. `about`: the id of a reset or a draft."""
    uow.work.poke(RESET_TEXT if to == Gate.SMS.value else RESET, f"{letter.value}:{about}:{to}", now)


def post_to_all(uow: UnitOfWork, letter: Letter, about: str, now: datetime) -> None:
    """To all contacts that are known of the person."""
    for to in _ALL:
        post(uow, letter, about, to, now)
