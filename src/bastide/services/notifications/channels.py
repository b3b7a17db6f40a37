"""Look at the channels, and try one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from bastide.domain.errors import InvalidInput, NotFound, TargetUnavailable
from bastide.domain.ids import typed
from bastide.domain.people import Actor, Right, require
from bastide.domain.wording import say_test
from bastide.services.events import by_actor
from bastide.services.notifications.people import is_address
from bastide.services.notifications.plan import kind_of
from bastide.services.notifications.ports import Channel, Fate, Message, Notifier, Settings
from bastide.services.ports import Random, Store, UnitOfWork


@dataclass(frozen=True, slots=True)
class Standing:
    """How a channel does. `problem`: what it said the last time, while something waits for it; `failing_since`: nothing was taken since."""

    channel: Channel
    waiting: int
    sent_at: datetime | None
    failing_since: datetime | None
    problem: str


class Channels:
    """The use cases of administrators."""

    def __init__(
        self,
        *,
        store: Store,
        notifier: Notifier,
        settings: Settings,
        random: Random,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._notifier = notifier
        self._settings = settings
        self._random = random
        self._now = now

    def all(self, actor: Actor) -> tuple[Standing, ...]:
        """The channels of the settings, in their order. Raises NotAuthorized."""
        require(actor, Right.ADMINISTER)
        with self._store.read() as uow:
            rows = [row for row in uow.work.listing() if _waits(row, self._now())]
            return tuple(self._standing(uow, channel, rows) for channel in self._settings.channels)

    def test(self, actor: Actor, name: str, to: str = "") -> Channel:
        """Send one message now. `to`: where the channel has no recipients of its own. Raises NotAuthorized, NotFound, InvalidInput, TargetUnavailable."""
        require(actor, Right.ADMINISTER)
        channel = next((one for one in self._settings.channels if one.name == name), None)
        if channel is None:
            known = ", ".join(one.name for one in self._settings.channels) or "none"
            raise NotFound(f"there is no channel {typed(name)}", remedy=f"bastide.toml names these: {known}")
        if channel.people and not is_address(to):
            raise InvalidInput(
                "to", "a channel to people needs a mail address", remedy="say whose, with --to"
            )
        if to and not channel.people:
            raise InvalidInput(
                "to", f"{name} sends to the recipients that its own address names, and to nobody else"
            )
        id_ = self._random.uuid()
        subject, body = say_test(name, f"{self._settings.home}/", self._settings.language, id_)
        (outcome,) = self._notifier.send(name, [Message(id_, to, subject, body)])
        taken = outcome.fate is Fate.TAKEN
        with self._store.write() as uow:
            data = {"taken": taken, "problem": outcome.problem}
            uow.audit.append(
                by_actor(
                    "notification.tested", self._now(), actor, subject=name, subject_name=name, data=data
                )
            )
            uow.commit()
        if not taken:
            raise TargetUnavailable(
                f"the channel {name} did not take the message: {outcome.problem or 'it did not answer in time'}",
                remedy="`bastide config check` on the server looks at its address; docs/how-to/notifications.md says what each kind needs",
            )
        return channel

    @staticmethod
    def _standing(uow: UnitOfWork, channel: Channel, rows: list[Mapping[str, object]]) -> Standing:
        kind = kind_of(channel.name)
        mine = [row for row in rows if row["kind"] == kind]
        sent = uow.audit.last("notification.sent", channel.name)
        failing = uow.audit.last("notification.failing", channel.name)
        is_failing = failing is not None and (sent is None or sent.seq < failing.seq)
        return Standing(
            channel=channel,
            waiting=len(mine),
            sent_at=None if sent is None else sent.at,
            failing_since=failing.at if failing is not None and is_failing else None,
            problem=next((str(row["error"]) for row in mine if row["error"]), ""),
        )


def _waits(row: Mapping[str, object], now: datetime) -> bool:
    """Not what is planned for later: the announcement of an end, for example."""
    due = row["due"]
    return bool(row["owner"] or row["attempts"] or (isinstance(due, datetime) and due <= now))
