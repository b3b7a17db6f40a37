"""One loop per job: claim, run, sleep until the next due time or a wake-up. It keeps no state, so killing it at any step is safe."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta

from bastide.clock import Clock
from bastide.domain.errors import DirectoryError, LostLease, StoreError
from bastide.services.ports import Store, Work
from bastide.workers.jobs import Job

_log = logging.getLogger(__name__)
#: After an error that says nothing about when to come back.
_PAUSE_SECONDS = 1.0
#: From so many rows on it was a burst.
_BURST = 100
#: The clock is compared with what is due at least this often.
_LONGEST_SLEEP = timedelta(seconds=60)
#: What is due and was not claimed is due by a clock behind ours, the database's: no spinning until the two agree.
_SHORTEST_SLEEP = timedelta(milliseconds=50)


class HeldLease:
    """Of rows claimed together. `began`: a monotonic moment before the claim. Renewed by one thread, asked by others."""

    def __init__(
        self,
        store: Store,
        works: Sequence[Work],
        owner: str,
        lease: timedelta,
        clock: Clock,
        began: float,
    ) -> None:
        self._store = store
        self._works = works
        self._owner = owner
        self._lease = lease
        self._clock = clock
        self._since = began
        self._lost = False
        self._one_at_a_time = threading.Lock()

    def renew(self) -> None:
        """Raises LostLease, StoreError."""
        with self._one_at_a_time:
            began = self._clock.monotonic()
            self._store.renew(self._works, owner=self._owner, lease=self._lease, now=self._clock.now())
            if self._clock.monotonic() - self._since > self._lease.total_seconds():
                self._lost = True  # for a while it was over: some of the rows may be another node's by now
            self._since = began

    def require(self) -> None:
        """Raises LostLease if more than half of the lease has gone and it cannot be renewed, or it was over for a while."""
        if self._late():
            with suppress(StoreError):
                self.renew()
        if self._lost or self._late():
            raise LostLease("the lease was not renewed in time: another node may hold this work now")

    def _late(self) -> bool:
        return self._clock.monotonic() - self._since > self._lease.total_seconds() / 2


class Runner:
    """Runs the jobs of one node in threads until `stop`."""

    def __init__(
        self,
        *,
        store: Store,
        jobs: tuple[Job, ...],
        owner: str,
        clock: Clock,
        after_burst: Callable[[], None] = lambda: None,
        trace: Callable[[Sequence[Work]], AbstractContextManager[None]] = lambda _: nullcontext(),
    ) -> None:
        """`after_burst` is called when a job has nothing left to do after much of it: what that needed can be given back. `trace`: around the work of each claim."""
        self._after_burst = after_burst
        self._trace = trace
        self._store = store
        self._jobs = jobs
        self._owner = owner
        self._clock = clock
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Start one thread per job."""
        for job in self._jobs:
            thread = threading.Thread(
                target=self._loop, args=(job,), name=f"job-{'-'.join(job.kinds)}", daemon=True
            )
            thread.start()
            self._threads.append(thread)

    def stop(self, timeout: float = 15.0) -> None:
        """Let each job finish what it holds, then return. What takes longer is taken over when its lease is over."""
        self._stop.set()
        self._store.wake()
        for thread in self._threads:
            thread.join(timeout)

    def run_due(self) -> int:
        """Run everything that is due now, in this thread; how many rows. For tests and the embedded demo."""
        done = 0
        while rows := sum(self._once(job) for job in self._jobs):
            done += rows
        return done

    def _loop(self, job: Job) -> None:
        self._warm_up(job)
        done = 0
        while not self._stop.is_set():
            try:
                if rows := self._once(job):
                    done += rows
                    continue
                if done >= _BURST:
                    self._after_burst()
                done = 0
                self._sleep(job)
            except LostLease as error:
                _log.warning("%s: %s", job.kinds, error.message)
            except StoreError as error:
                _log.error(
                    "%s: %s", job.kinds, error.message
                )  # a traceback adds nothing: the door named the cause
                self._stop.wait(_PAUSE_SECONDS)
            except Exception:  # noqa: BLE001  # a job that dies would leave grants open; the loop outlives any error and says so
                _log.exception("%s: unexpected; the rows come back when their lease is over", job.kinds)
                self._stop.wait(_PAUSE_SECONDS)

    @staticmethod
    def _warm_up(job: Job) -> None:
        if job.warm_up is None:
            return
        try:
            job.warm_up()
        except DirectoryError as error:
            _log.info("%s: not ready yet: %s", job.kinds, error.message)
        except Exception:  # noqa: BLE001  # as in the loop: a thread that dies here would never end a grant
            _log.exception("%s: unexpected while getting ready; the work is done all the same", job.kinds)

    def _once(self, job: Job) -> int:
        began = self._clock.monotonic()
        works = self._store.claim(
            job.kinds, owner=self._owner, lease=job.lease, limit=job.batch, now=self._clock.now()
        )
        if works:
            lease = HeldLease(self._store, works, self._owner, job.lease, self._clock, began)
            with self._renewing(job, lease), self._trace(works):
                job.run(works, lease)
        return len(works)

    @staticmethod
    @contextmanager
    def _renewing(job: Job, lease: "HeldLease") -> Iterator[None]:
        """Keep the lease while the job runs. When it is lost all the same, the job learns of it when it asks, or from its fence at the end."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(job.lease.total_seconds() / 3):
                try:
                    lease.renew()
                except StoreError as error:
                    _log.warning("%s: the lease was not renewed: %s", job.kinds, error.message)

        keeper = threading.Thread(target=renew, name=f"lease-{'-'.join(job.kinds)}", daemon=True)
        keeper.start()
        try:
            yield
        finally:
            done.set()
            keeper.join()

    def _sleep(self, job: Job) -> None:
        """Until something is due. The wall clock is looked at every minute, because it may be set; the database is not asked meanwhile."""
        due = self._store.next_due(job.kinds)
        while not self._stop.is_set():
            left = _LONGEST_SLEEP if due is None else due - self._clock.now()
            poked = self._store.wait(max(min(left, _LONGEST_SLEEP), _SHORTEST_SLEEP).total_seconds())
            if poked or (due is not None and left <= _LONGEST_SLEEP):
                return
