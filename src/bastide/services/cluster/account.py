"""The account of a cluster alias and its keys: made, given new keys, and rid of old ones, by an administrator of the domain.

Creating:
  (1) All names follow from the alias; nothing else can be asked for.
  (2) Everything is looked at before anything is written: the OU, the right to make objects there, the name and whose it is, the service
      principal names in the whole forest, the place of the key file. One error, and nothing is written. A dry run ends here.
  (3) The audit says that it is going to be done, where this machine has one.
  (4) The account is made, or taken over, disabled: AES keys only, no delegation, both names.
  (5) The keys are in the file before the directory has them: a crash in between leaves a key that no ticket has, never a ticket without a key.
  (6) The password is random, set over the sealed connection, never shown, and not kept.
  (7) The version is read back from the directory, and the file has the keys under that version.
  (8) The account is enabled, and what was written is read back.
  (9) A fresh ticket for the alias is accepted with the file.
 (10) What fails after (4) is undone: an account that was made is deleted, one that was taken over is disabled, the keys leave the file. If that
      fails too, the error says what is left.

Rotating:
  (1) The account serves, and the file has its current key: any joined node's keytab will do.
  (2) The audit says that it is going to be done.
  (3) The new keys are added to the file before the directory has them; the old ones stay.
  (4) The password is set.
  (5) The version is read back, and the file follows.
  (6) A fresh ticket is accepted with the file.
  (7) If (4) was refused, the new keys leave the file. If nobody knows whether it was done, they stay, and the error says what to look at.

Pruning:
  (1) The file has the current key, and every controller has that version: one that is silent may still sell tickets for the old one.
  (2) The longest life of a ticket has gone by since the change.
  (3) Only then the older keys leave the file.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from bastide.domain import cluster
from bastide.domain.audit import Event
from bastide.domain.cluster import Alias
from bastide.domain.errors import BastideError, Conflict, DirectoryError, DirectoryUnavailable, StoreError
from bastide.domain.health import Finding
from bastide.services.cluster import checks, looks
from bastide.services.cluster.looks import AliasRefused, require
from bastide.services.cluster.ports import AliasDirectory, Holding, KeyFile, Recorder, TicketProof
from bastide.services.ports import Random

#: A new account, or a new key, is on the other controllers after seconds by default, and within a site after 15 s at most.
_TRIES = 12
_PAUSE = 5.0


@dataclass(frozen=True, slots=True)
class Done:
    """What was done, and what was seen before it. Not `recorded`: this machine has no audit, or was told not to use it."""

    findings: tuple[Finding, ...]
    dn: str = ""
    version: int = 0
    taken_over: bool = False
    recorded: bool = False
    #: The versions that were removed.
    pruned: tuple[int, ...] = ()


class AliasAccount:
    """The use cases of the account. `wait` sleeps for so many seconds."""

    def __init__(
        self,
        *,
        directory: AliasDirectory,
        keys: KeyFile,
        proof: TicketProof,
        random: Random,
        recorder: Recorder | None,
        now: Callable[[], datetime],
        wait: Callable[[float], None],
    ) -> None:
        self._directory = directory
        self._keys = keys
        self._proof = proof
        self._random = random
        self._recorder = recorder
        self._now = now
        self._wait = wait

    # ------------------------------------------------------------------------------------------------------ creating

    def plan(self, alias: Alias, place: str) -> Done:
        """(2): what would be done. Raises AliasRefused, DirectoryError."""
        findings, found = looks.before_creating(self._directory, alias, place, self._keys)
        dn = found.dn if found else f"CN={alias.name},{place}"
        return Done(require(findings), dn, (found.version if found else 0) + 1, taken_over=found is not None)

    def create(self, alias: Alias, place: str) -> Done:
        """Raises AliasRefused, DirectoryError, StoreError, NotAuthenticated."""
        findings, found = looks.before_creating(self._directory, alias, place, self._keys)
        require(findings)  # (2)
        action = "take-over" if found else "create"
        self._into_audit("cluster.asked", alias, {"action": action})  # (3)
        try:
            dn = self._disabled(alias, place, found)  # (4)
            version = self._established(alias, dn, made=found is None)
        except BastideError as error:
            self._record_failure(alias, action, error)
            raise
        with _done_all_the_same(alias):
            self._into_audit(
                "cluster.created", alias, {"dn": dn, "version": version, "taken_over": found is not None}
            )
        return Done(findings, dn, version, taken_over=found is not None, recorded=self._recorder is not None)

    def _disabled(self, alias: Alias, place: str, found: Holding | None) -> str:
        """(4)."""
        if found is None:
            return self._directory.create(alias, place)
        self._directory.adopt(found.dn, alias)
        return found.dn

    def _established(self, alias: Alias, dn: str, *, made: bool) -> int:
        """(5) to (9), undone by (10)."""
        try:
            version = self._set_key(alias, dn, self._must_find(alias).version + 1)
            self._directory.set_enabled(dn, enabled=True)  # (8)
            require(
                one
                for one in checks.account(alias, self._must_find(alias), self._now())
                if one.severity.is_error
            )
            self._prove(alias)  # (9)
        except BastideError as error:
            if left := self._left_after_undoing(alias, dn, made=made):
                raise DirectoryError(
                    f"{error.message}; and {'; and '.join(left)}",
                    remedy=f"delete or disable {dn} and remove the file by hand, then try again",
                ) from error
            raise
        return version

    def _left_after_undoing(self, alias: Alias, dn: str, *, made: bool) -> list[str]:
        """(10): what could not be undone."""
        left = []
        try:
            if made:
                self._directory.delete(dn)
            else:
                self._directory.set_enabled(dn, enabled=False)
        except DirectoryError as failed:
            left.append(f"{dn} is left behind as it is: {failed.message}")
        try:
            self._keys.drop(alias, cluster.versions(cluster.of_alias(self._keys.read(), alias)))
        except BastideError as failed:
            left.append(f"keys are left in {self._keys.path}: {failed.message}")
        return left

    # ------------------------------------------------------------------------------------------------------ rotating

    def plan_rotation(self, alias: Alias) -> Done:
        """(1): what would be done. Raises AliasRefused, DirectoryError."""
        findings, found = self._serving(alias)
        return Done(findings, found.dn, found.version + 1)

    def rotate(self, alias: Alias) -> Done:
        """Raises AliasRefused, DirectoryError, StoreError, NotAuthenticated."""
        findings, found = self._serving(alias)  # (1)
        self._into_audit("cluster.asked", alias, {"action": "rotate"})  # (2)
        try:
            version = self._set_key(alias, found.dn, found.version + 1)
            self._prove(alias)  # (6)
        except BastideError as error:
            self._record_failure(alias, "rotate", error)
            raise
        with _done_all_the_same(alias):
            self._into_audit("cluster.rotated", alias, {"dn": found.dn, "version": version})
        return Done(findings, found.dn, version, recorded=self._recorder is not None)

    def prune(self, alias: Alias, life: timedelta) -> Done:
        """Raises AliasRefused, Conflict if a ticket for an old key may still be open; DirectoryError, StoreError."""
        findings, found = self._serving(alias)
        if any(one.severity.is_problem for one in findings if one.key == "cluster.controllers"):
            raise AliasRefused(
                tuple(
                    checks.wrong(one.key, one.text, one.remedy, one.evidence)
                    if one.key == "cluster.controllers"
                    else one
                    for one in findings
                )
            )  # (1)
        if found.changed is None or self._now() < (since := cluster.needless_from(found.changed, life)):
            when = (
                "it is not known when"
                if found.changed is None
                else since.strftime("on %Y-%m-%d at %H:%M UTC")
            )
            raise Conflict(
                f"a ticket for an older key of {alias.fqdn} may still be open",
                remedy=f"prune {when} or later; --ticket-life says how long a ticket lives at most in this domain",
            )  # (2)
        gone = tuple(
            one for one in cluster.versions(cluster.of_alias(self._keys.read(), alias)) if one < found.version
        )
        if gone:
            self._keys.drop(alias, gone)  # (3)
            self._into_audit("cluster.pruned", alias, {"versions": list(gone), "keytab": self._keys.path})
        return Done(findings, found.dn, found.version, recorded=bool(gone and self._recorder), pruned=gone)

    def _serving(self, alias: Alias) -> tuple[tuple[Finding, ...], Holding]:
        """The account, its names, the controllers and the file, without an error. Raises AliasRefused."""
        findings, found = looks.in_directory(self._directory, alias, self._now())
        version = found.version if found else 0
        said = require([*findings, *looks.keytabs(alias, [self._keys], version)])
        if found is None:
            raise AliasRefused(findings)
        return said, found

    # -------------------------------------------------------------------------------------------------------- shared

    def _set_key(self, alias: Alias, dn: str, expected: int) -> int:
        """The keys into the file, the password into the directory, and the version that it got there."""
        password = self._random.password(cluster.PASSWORD_LENGTH)
        self._keys.add(alias, password, expected)  # creating (5), rotating (3)
        try:
            self._directory.set_password(dn, password)  # creating (6), rotating (4)
        except DirectoryUnavailable as error:
            raise DirectoryUnavailable(
                f"{error.message}; nobody knows whether the new password was taken, so its keys stay in {self._keys.path}",
                remedy="`bastide cluster status` tells: if the directory has the file's newest version, give the file to all nodes; else rotate again",
            ) from error  # rotating (7)
        except BastideError:
            self._keys.drop(alias, [expected])  # rotating (7)
            raise
        version = self._must_find(alias).version  # creating (7), rotating (5)
        if version != expected:
            self._keys.add(alias, password, version)
            self._keys.drop(alias, [expected])
        return version

    def _prove(self, alias: Alias) -> None:
        """Another controller may sell the ticket, and learn of the key a little later."""
        for left in reversed(range(_TRIES)):
            try:
                self._proof.accepted(alias, self._keys)
            except BastideError:
                if not left:
                    raise
                self._wait(_PAUSE)
            else:
                return

    def _must_find(self, alias: Alias) -> Holding:
        found = self._directory.find(alias)
        if found is None:
            raise DirectoryError(
                f"{alias.account} was written and cannot be found",
                remedy="somebody else deleted it, or the account that runs this may not read there",
            )
        return found

    def _record_failure(self, alias: Alias, action: str, error: BastideError) -> None:
        """That it was asked for is on record already; why it failed is what the person must hear, whether or not the database still answers."""
        with suppress(StoreError, DirectoryError):
            self._into_audit("cluster.failed", alias, {"action": action, "error": error.code})

    def _into_audit(self, kind: str, alias: Alias, data: dict[str, object]) -> None:
        """Raises StoreError: what cannot be recorded where there is an audit is not done."""
        if self._recorder is None:
            return
        who = self._directory.caller()
        self._recorder.write(
            Event(kind, self._now(), who.sid, who.name, "", alias.fqdn, "", {**data, "via": "kerberos"})
        )


@contextmanager
def _done_all_the_same(alias: Alias) -> Iterator[None]:
    """A database that went away after the directory was written must not look like a change that was not made."""
    try:
        yield
    except StoreError as error:
        raise type(error)(
            f"it was done, and its end could not be recorded: {error.message}",
            remedy=f"mend the database, and note down that {alias.fqdn} has a new key; `bastide cluster status` shows it",
        ) from error
