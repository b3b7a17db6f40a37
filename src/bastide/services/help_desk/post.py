"""The way to a person: where a caller's code and the word of what was ordered go. Neither the caller nor the operator names a destination.

(1) What the person registered for resets comes first: whoever may write `mail` in the directory does not verify himself. A number counts where this server sends short messages.
(2) Else the `mail` of the first account that has one.
(3) The notifier is told what no problem may repeat: the code and the destination.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bastide.domain.help_desk import Route
from bastide.domain.ids import Sid
from bastide.domain.wording import Language
from bastide.services.help_desk.ports import Contacts
from bastide.services.notifications.people import AddressBook, is_address
from bastide.services.notifications.ports import Fate, Message, Notifier
from bastide.services.ports import Sealer, Store
from bastide.services.reset.contents import Contents, unseal

#: Sends one short message to a number. Raises TargetUnavailable, NotConfigured.
Text = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class Destination:
    """`directory`: the `mail` of the directory, which may be another one or none. Not for logs: its repr holds nothing."""

    to: str
    route: Route
    by_text: bool = False
    directory: str = ""

    def __repr__(self) -> str:
        return "Destination(<hidden>)"


class RegisteredContacts(Contacts):
    """Reads the registrations of self-service reset."""

    def __init__(self, *, store: Store, sealer: Sealer) -> None:
        self._store = store
        self._sealer = sealer

    def of(self, person: Sid) -> tuple[str, str]:
        """As the port."""
        with self._store.read() as uow:
            found = uow.resets.registration(person)
        contents = Contents() if found is None else unseal(self._sealer, person, found.sealed)
        return contents.mail, contents.sms


class Post:
    """`channels`: those that carry it, in order. `text` None: nothing is sent to telephones."""

    def __init__(
        self,
        *,
        notifier: Notifier,
        language: Language,
        book: AddressBook,
        contacts: Contacts,
        text: Text | None,
        channels: tuple[str, ...],
    ) -> None:
        self.language = language
        self._notifier = notifier
        self._book = book
        self._contacts = contacts
        self._text = text
        self._channels = channels

    def destination(self, sids: tuple[Sid, ...]) -> Destination | None:
        """None: there is none. Raises DirectoryError, StoreError."""
        directory = next(filter(None, map(self._book.address, sids)), "")
        for mail, number in map(self._contacts.of, sids):  # (1)
            if mail:
                return Destination(mail, Route.REGISTERED, directory=directory)
            if number and self._text is not None:
                return Destination(number, Route.REGISTERED, by_text=True, directory=directory)
        return Destination(directory, Route.DIRECTORY, directory=directory) if directory else None  # (2)

    def earlier(self, to: str) -> Destination | None:
        """Where a code went before. None: to a telephone, and nothing is sent to telephones any more."""
        if is_address(to):
            return Destination(to, Route.EARLIER)
        return None if self._text is None else Destination(to, Route.EARLIER, by_text=True)

    def send(self, id: str, to: Destination, subject: str, body: str, secrets: tuple[str, ...] = ()) -> str:  # noqa: A002  # the message's
        """Through the first channel that takes it. What the last one said; empty: it was taken. Raises TargetUnavailable, NotConfigured."""
        if to.by_text and self._text is not None:
            self._text(to.to, body)
            return ""
        problem = "no channel of [notifications] has people = true"
        message = Message(id, to.to, subject, body, secrets=(to.to, *secrets))  # (3)
        for channel in self._channels:
            (outcome,) = self._notifier.send(channel, [message])
            if outcome.fate is Fate.TAKEN:
                return ""
            problem = outcome.problem or "it did not answer in time"
        return problem
