"""The agent at work: one thread that captures and keeps house, one for each target, one that watches the key, one that answers on the local socket."""

import fcntl
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event, Thread
from typing import TypeVar

from bastide.clock import Clock
from bastide.pcns import MOST_TARGETS, Configuration, ServiceSettings, Target
from bastide_agent.capture import Capture, ticks
from bastide_agent.channel import KerberosConnector, Machine
from bastide_agent.configuration import Reader, Reading, active, differences
from bastide_agent.deliver import Connector, Delivery
from bastide_agent.events import EventLog, Value
from bastide_agent.failures import DirectoryGone, NoKeytab, SpoolFull, Stop, where
from bastide_agent.host import identify
from bastide_agent.keyring import PARAMETER, CannotTell, KeyRing, KeyState
from bastide_agent.ldapi import Directory
from bastide_agent.local import Asked, LocalServer, WordList, filter_status
from bastide_agent.metadata import TICKS
from bastide_agent.privileges import NotOpened, Opener, Thing, machine_keytab
from bastide_agent.settings import NAME, Settings
from bastide_agent.source import ChangeSource
from bastide_agent.spool import KEY, Spool, Waiting
from bastide_agent.spool_file import load_key
from bastide_agent.state import PlaceFile
from bastide_agent.sums import SummingLog
from bastide_agent.threads import TargetThreads

#: Seconds between two looks at the highest USN. It costs the controller 0.1 to 0.4 ms.
POLL = 0.05
_HOUSEKEEPING = 1.0
_BACK_OFF = (0.2, 0.5, 1.0, 2.0, 5.0)
_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_LOCK = "agent.lock"
#: How long GnuPG is waited for at the end: what it says of the key comes before the last event.
_KEY_S = 10.0
_T = TypeVar("_T")


def moment(at: int) -> str:
    """100 ns since 1601 as ISO 8601; empty: never."""
    return (_EPOCH + timedelta(microseconds=at // 10)).isoformat() if at else ""


@dataclass(slots=True)
class Health:
    """What `status` shows beside queue and targets."""

    key: KeyState | None = None
    key_problem: str = "not looked at yet"
    #: What smb.conf has as `check password script`; None: not known.
    script: str | None = None
    directory_problem: str = ""
    captured: int = 0


class Agent:
    """Everything but the start (main.py). `run` belongs to the main thread."""

    def __init__(self, settings: Settings, opener: Opener, log: EventLog, clock: Clock) -> None:
        self._settings = settings
        self._opener = opener
        self._log = SummingLog(log, clock)
        self._clock = clock
        self._state = Path(settings.state)
        self._runtime = Path(settings.runtime)
        self._directory = Directory(opener.ldapi)
        self._stopping = Event()
        self._health = Health()
        self._configuration = Configuration(ServiceSettings(), ())
        #: The directory's highest USN when the configuration was read.
        self._read_at = -1
        self._problems: tuple[str, ...] = ()
        self._kept_house = float("-inf")
        self._connector: Connector | None = None
        self._spool: Spool | None = None
        self._threads: TargetThreads | None = None
        self._words = WordList(settings.filter.banned_words) if settings.filter.enabled else None
        self._local: LocalServer | None = None

    def stop(self) -> None:
        """`run` ends in order."""
        self._stopping.set()

    # --------------------------------------------------------------------------------------------------------------- life

    def run(self) -> None:
        """Until `stop`. Raises Stop, which names its event; all is in order behind it."""
        lock = self._take_lock()
        machine, reader, invocation, base = self._find_directory()
        reading = self._first_reading(reader)
        spool = self._open_spool()
        source: ChangeSource = Capture(
            self._directory,
            spool,
            PlaceFile(self._state, load_key(self._state / KEY), self._log),
            self._log,
            self._clock,
        )
        threads = TargetThreads(self._delivery, spool, self._log)
        local = LocalServer(self._runtime / NAME, self._words, self.status, self._log)
        self._spool, self._threads, self._local = spool, threads, local
        self._connector = KerberosConnector(machine, lambda: keytab(self._opener))
        key = Thread(target=self._watch_key, name="key", daemon=True)
        try:
            self._load(spool, reading)
            local.start()
            self._patiently(lambda: source.begin(base, invocation))
            threads.follow(self._configuration)
            key.start()
            self._log.write(2001)
            self._loop(source, reader, base)
        except (
            SpoolFull
        ) as error:  # before the loop, which waits for room: without a queue and a place nothing can be begun
            raise Stop(6018, str(error)) from None
        finally:
            self._log.write(2104)
            self._stopping.set()
            threads.stop()
            local.stop()
            if key.is_alive():
                key.join(_KEY_S)
            with suppress(SpoolFull):  # said already (6008, 6018); a crash would be no worse
                source.flush()
                spool.close()
            self._directory.close()
            self._log.tell_all()
            os.close(lock)
            self._log.write(2002)

    def _take_lock(self) -> int:
        """One agent for one queue."""
        descriptor = os.open(self._state / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            raise Stop(
                6013,
                f"another agent works with the queue in {self._state}: stop that one (`systemctl stop bastide-agent`), or give "
                "this one a `state` of its own",
            ) from None
        return descriptor

    def _patiently(self, work: Callable[[], _T]) -> _T:
        """Again and again while the directory does not answer: after a boot Samba may take longer than we. Raises Stop when told to stop."""
        number = 0
        while True:
            try:
                done = work()
            except DirectoryGone as error:
                self._away(error)
                self._stopping.wait(_BACK_OFF[min(number, len(_BACK_OFF) - 1)])
                number += 1
                if self._stopping.is_set():
                    raise Stop(2104, "told to stop") from None
            else:
                self._health.directory_problem = ""
                return done

    def _away(self, error: DirectoryGone) -> None:
        """Said once for each time away."""
        if not self._health.directory_problem:
            self._log.write(7000, error_code="ldapi", detail=str(error))
        self._health.directory_problem = str(error)

    def _find_directory(self) -> tuple[Machine, Reader, str, str]:
        root, machine, invocation = self._patiently(lambda: identify(self._directory))
        return machine, Reader(self._directory, root), invocation, root.base

    # ------------------------------------------------------------------------------------------------------ configuration

    def _first_reading(self, reader: Reader) -> Reading:
        reading = self._patiently(reader.read)
        if reading is None:
            raise Stop(
                6000, "the directory has no configuration of password notification: `bastide pcns` makes one"
            )
        return reading

    def _accept(self, reading: Reading) -> Configuration:
        """Raises Stop (6029)."""
        for problem in reading.problems:
            if problem not in self._problems:
                self._log.write(6035, detail=problem)
        self._problems = reading.problems
        if len(reading.configuration.targets) > MOST_TARGETS:
            raise Stop(
                6029,
                f"{len(reading.configuration.targets)} targets are configured; {MOST_TARGETS} is the most",
            )
        return reading.configuration

    def _refresh(self, reader: Reader, spool: Spool) -> None:
        """After any change of the directory. Raises Stop (6029, 6030), DirectoryGone, SpoolFull."""
        reading = reader.read()
        if reading is None:
            raise Stop(6030, "the configuration of password notification was deleted")
        old, new = self._configuration, self._accept(reading)
        if new == old:
            return
        if self._threads:
            self._threads.follow(
                new
            )  # first: whom nothing is to be sent to gets nothing, whatever the disk says
        self._discarded(4203, spool.forget_targets(_guids(new)))
        self._enforce(spool, new.service, 4204, 4204)
        for number, fields in differences(old, new):
            self._log.write(number, **fields)
        self._configuration = new  # last: after SpoolFull all of this is done again

    def _load(self, spool: Spool, reading: Reading) -> None:
        """What the queue holds from before, under the configuration of today. Raises Stop, SpoolFull."""
        self._configuration = self._accept(reading)
        read = spool.loaded
        gone = spool.forget_targets(_guids(self._configuration))
        self._discarded(4202, gone)
        expired = self._enforce(spool, self._configuration.service, 4205, 4205)
        counts: dict[str, Value] = {
            "read": read or 0,
            "expired": expired,
            "no_targets": len(gone),
            "queued": spool.waiting(),
        }
        if spool.saved_as:
            self._log.write(6001, **counts, saved_as=spool.saved_as)
        elif read is None:
            self._log.write(2003)
        else:
            self._log.write(2004, **counts)
        if not active(self._configuration):
            self._log.write(4001)

    def _open_spool(self) -> Spool:
        try:
            return Spool(
                self._state,
                self._log,
                limit=self._settings.queue_bytes,
                aside=lambda: self._clock.now().strftime("%Y%m%dT%H%M%S.%f"),
            )
        except SpoolFull as error:
            raise Stop(6018, str(error)) from None

    def _enforce(self, spool: Spool, rules: ServiceSettings, expired: int, trimmed: int) -> int:
        """Age and length, as the configuration limits them. How many were given up. Raises SpoolFull."""
        given_up = 0
        if rules.max_queue_age:
            before = ticks(self._clock.now()) - rules.max_queue_age * TICKS
            given_up += self._discarded(expired, spool.expire(before))
        if rules.max_queue_length:
            given_up += self._discarded(trimmed, spool.trim(rules.max_queue_length))
        return given_up

    def _discarded(self, number: int, items: list[Waiting]) -> int:
        for item in items:
            self._log.write(number, **item.change.names())
        return len(items)

    # --------------------------------------------------------------------------------------------------------------- loop

    def _loop(self, source: ChangeSource, reader: Reader, base: str) -> None:
        number = 0
        while not self._stopping.is_set():
            began = self._clock.monotonic()
            self._log.tell_due()
            try:
                self._turn(source, reader)
                number = 0
                # DirSync in a large domain takes its time, and a busy one has always a new USN: at most half of one worker of Samba is for us.
                pause = max(POLL, self._clock.monotonic() - began)
            except DirectoryGone as error:
                self._away(error)
                pause, number = _BACK_OFF[min(number, len(_BACK_OFF) - 1)], number + 1
                self._come_back(source, base)
            except SpoolFull as error:
                self._health.directory_problem = str(error)
                pause, number = _BACK_OFF[min(number, len(_BACK_OFF) - 1)], number + 1
            self._stopping.wait(pause)

    def _come_back(self, source: ChangeSource, base: str) -> None:
        """A controller that was away may come back with another database."""
        with suppress(DirectoryGone, SpoolFull):
            _, _, invocation = identify(self._directory)
            source.come_back(base, invocation)

    def _turn(self, source: ChangeSource, reader: Reader) -> None:
        usn = self._directory.highest_usn()
        self._health.directory_problem = ""
        spool = self._spool
        if spool is None:
            raise ValueError("run opens it")
        if usn != self._read_at:
            # Before the round, which looks at the USN again: what changes between the two is read in the next turn.
            self._refresh(reader, spool)
            self._read_at = usn
        if usn != source.seen_usn:
            self._health.captured += source.round(self._configuration)
        now = self._clock.monotonic()
        if now - self._kept_house >= _HOUSEKEEPING:
            self._kept_house = now
            self._keep_house(spool)

    def _keep_house(self, spool: Spool) -> None:
        """Raises Stop (6028), SpoolFull."""
        died = self._threads.dead() if self._threads else None
        if died is not None:
            raise Stop(6028, f"a target thread died: {type(died).__name__}")
        try:
            spool.sync()
            self._enforce(spool, self._configuration.service, 4208, 4208)
        except SpoolFull as error:
            self._log.write(6018, detail=str(error))
            raise

    # ------------------------------------------------------------------------------------------------------------- others

    def _delivery(self, target: Target, service: ServiceSettings) -> Delivery:
        if self._connector is None or self._spool is None:
            raise ValueError("run makes them")
        return Delivery(
            target,
            service,
            spool=self._spool,
            connector=self._connector,
            log=self._log,
            clock=self._clock,
            ticks=lambda: ticks(self._clock.now()),
            names=lambda: {str(one.guid): one.name for one in self._configuration.targets},
        )

    def _watch_key(self) -> None:
        """In a thread of its own: GnuPG takes its time."""
        ring = key_ring(self._settings, self._opener)
        while not self._stopping.is_set():
            try:
                self._look_at_key(ring)
            except CannotTell as error:
                self._key_unknown(str(error))
            except Exception as error:  # noqa: BLE001  # nobody would miss this thread until every change of a password fails
                self._key_unknown(f"{type(error).__name__} at {where(error)}")
            self._stopping.wait(self._settings.key_check_interval)

    def _look_at_key(self, ring: KeyRing) -> None:
        """Raises CannotTell."""
        self._health.script = None
        self._health.script = ring.script()
        state = ring.look(self._clock.now())
        self._health.key, self._health.key_problem = state, ""
        for problem in (*state.fatal, *state.warnings):
            self._log.write(6022, detail=problem)

    def _key_unknown(self, why: str) -> None:
        self._health.key, self._health.key_problem = None, why
        self._log.write(6007, key=PARAMETER, value="", error=why)

    # ------------------------------------------------------------------------------------------------------------- status

    def status(self) -> Mapping[str, object]:
        """For `bastide-agent status`. Holds no secret."""
        key, spool = self._health.key, self._spool
        deliveries = self._threads.deliveries() if self._threads else {}
        return {
            "waiting": spool.waiting() if spool else 0,
            "oldest": moment(spool.oldest()) if spool else "",
            "captured": self._health.captured,
            "problem": self._health.directory_problem,
            "key": {
                "ids": list(key.ids) if key else [],
                "problems": [*key.fatal, *key.warnings] if key else [self._health.key_problem],
            },
            "filter": filter_status(
                self._words, self._health.script, self._local.asked if self._local else Asked()
            ),
            "targets": [self._target_status(target, deliveries) for target in self._configuration.targets],
        }

    def _target_status(self, target: Target, deliveries: Mapping[str, Delivery]) -> Mapping[str, object]:
        delivery, spool = deliveries.get(str(target.guid)), self._spool
        return {
            "name": target.name,
            "server": target.server,
            "enabled": not target.disabled,
            "connected": delivery is not None and delivery.status.connected,
            "last_contact": moment(delivery.status.last_contact) if delivery else "",
            "problem": delivery.status.problem if delivery else "",
            "waiting": spool.waiting(str(target.guid)) if spool else 0,
            "oldest": moment(spool.oldest(str(target.guid))) if spool else "",
        }


def keytab(opener: Opener) -> tuple[int, str]:
    """As privileges.machine_keytab. Raises NoKeytab."""
    try:
        return machine_keytab(opener)
    except (NotOpened, OSError) as error:
        said = str(error) if isinstance(error, NotOpened) else error.strerror
        raise NoKeytab(f"no ticket without the machine account's keytab: {said}") from None


def key_ring(settings: Settings, opener: Opener) -> KeyRing:
    """Where Samba and GnuPG keep it on this host."""
    return KeyRing(
        lambda: opener.open(Thing.KEYRING),
        Path(settings.samba.configuration),
        Path(settings.runtime) / "gnupg",
    )


def paths(settings: Settings) -> dict[Thing, Path]:
    """What root opens for the agent."""
    private = Path(settings.samba.private)
    return {
        Thing.LDAPI: private / "ldap_priv" / "ldapi",
        Thing.KEYTAB: private / "secrets.keytab",
        Thing.KEYRING: Path(settings.samba.gnupg) / "pubring.kbx",
    }


def _guids(configuration: Configuration) -> set[str]:
    return {str(target.guid) for target in active(configuration)}
