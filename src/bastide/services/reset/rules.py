"""What a new password is judged by before it is set: of a reset, and by the help desk (services/help_desk/rules.py)."""

from collections.abc import Collection

from bastide.domain.errors import InvalidInput
from bastide.domain.ids import Sid
from bastide.domain.reset import password_rules
from bastide.domain.reset.password_rules import Policy, Whose
from bastide.services.ports import Directory
from bastide.services.reset.ports import Breached, Corpus, PolicyReader


class NewPasswords:
    """`breached` None: there is no list of lost passwords on this server."""

    def __init__(
        self,
        *,
        directory: Directory,
        policies: PolicyReader,
        breached: Breached | None,
        banned: Collection[str],
    ) -> None:
        self._directory = directory
        self._policies = policies
        self._breached = breached
        self._banned = banned

    def policy(self, person: Sid) -> Policy | None:
        """What the domain asks of this person's password; None: it shows nothing. Raises DirectoryUnavailable."""
        return self._policies.policy(person)

    def rules(self, person: Sid) -> tuple[str, ...]:
        """In words, for the page. Raises DirectoryUnavailable."""
        return password_rules.in_words(
            self.policy(person), banned=bool(self._banned), breached=self._breached is not None
        )

    def check(self, password: str, person: Sid) -> None:
        """Raises InvalidInput with everything that is wrong with it, DirectoryError, NotConfigured. The list of lost passwords is asked last."""
        found = self._directory.find_person(person)
        whose = Whose(found.ref.name, found.display_name)
        password_rules.check(password, self.policy(person), whose, self._banned)
        if self._breached is not None and self._breached.times(password):
            raise InvalidInput(
                password_rules.FIELD,
                "is on the list of passwords that others lost: guessers try those first",
                remedy="choose one that nobody used before",
            )

    def corpus(self) -> Corpus | None:
        """The list of lost passwords; None: there is none. Raises NotConfigured."""
        return None if self._breached is None else self._breached.corpus()
