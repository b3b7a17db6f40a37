"""What every target must do, as checks that anybody can run against one of his own:

    python -m bastide.targets.conformance my_module:MyPlugin --settings settings.json --account ANCHOR

The account must be one made for this: it gets many passwords. As a library: `for name, check in CHECKS.items(): check(subject)`, in a pytest
parametrization for example; tests/contract/test_targets.py runs the same checks against every target that comes with Bastide.
"""

import argparse
import base64
import getpass
import io
import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from bastide.clock import SystemClock
from bastide.domain.errors import BastideError, TargetUnavailable
from bastide.domain.management_agents import CsId, CsObject, MaId
from bastide.domain.passwords import Code, Proof
from bastide.services.passwords.ports import Attended, Look, NewPassword, PasswordTarget, Result, Security
from bastide.targets.kinds import Kind, Opening, read_settings
from bastide.targets.plugins import kind_of_class
from bastide.targets.registry import kind

ORDINARY = "Correct-Horse-Battery-1"
OTHER = "Another-Horse-Battery-2"
WRONG = "Never-Was-Its-Password-3"
#: Passwords that broke somebody's connector. Each would satisfy a usual complexity rule, so that it is the spelling that is judged.
HOSTILE: Mapping[str, str] = {
    "quotes": "Aa1-\"double\" 'single' `back` ''twice''",
    "carriage return and newline": "Aa1-first\r\nInjected: second\n\nthird",
    "NUL": "Aa1-before-the-nul\x00after-it",
    "leading dash": "--Aa1-password=x -rf",
    "leading and trailing space": "  Aa1 between spaces  ",
    "emoji": "Aa1-\U0001f3f0\U0001f469\u200d\U0001f680-castle",
    "accents": "Aa1-Zo\u00eb-M\u00fcller-\u0141ukasz-\u00df",
    "both ways of writing one letter": "Aa1-\u00e9-e\u0301-\ufb01",
    "256 characters": "Aa1-" + "x" * 252,
    "73 bytes and one more": "Aa1-" + "y" * 69 + "!",
    "SQL": "Aa1'); DROP TABLE people;-- \\'\\",
    "shell": "Aa1-$(touch /tmp/x) `id` ${IFS} | ; & > %s %n $1",
    "LDAP": "Aa1-*)(uid=*))(|(uid=\\2a,dc=x",
    "JSON and XML": 'Aa1-","password":"x"}]}<!--&lt;]]>',
    "control characters": "Aa1-\x01\x07\x1b[31m\x7f-bell",
    "ways to the left": "Aa1-\u202eelttil\u2066-\ufeff",
}


class Violation(AssertionError):
    """The target does not keep to the interface. The message holds no password."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tested. `make` gives a target that is not open yet; `absent` is an object that the system does not have.

    `signs_in`: whether the account gets in with a password, found out in another way than by the target; None: the target is asked.
    `lock`: signs in wrongly until the account is locked; None: that is not tried.
    """

    make: Callable[[], PasswordTarget]
    account: CsObject
    absent: CsObject
    signs_in: Callable[[str], bool] | None = None
    lock: Callable[[], None] | None = None


def it_opens_and_closes(subject: Subject) -> None:
    """Twice over, and says each time how secure it is."""
    for _ in range(2):
        with subject.make() as target:
            _require(isinstance(target.security(), Security), "security() gave no Security")


def closed_means_closed(subject: Subject) -> None:
    """Nothing is set through a target that is not open."""
    target = subject.make()
    with target:
        pass
    try:
        target.set([NewPassword(subject.account, ORDINARY)])
    except TargetUnavailable:
        return
    raise Violation("a closed target did not raise TargetUnavailable")


def it_sets_a_password(subject: Subject) -> None:
    """Another one opens nothing. The one before is not asked for: AD takes it for an hour more (OldPasswordAllowedPeriod)."""
    with subject.make() as target:
        for password in (OTHER, ORDINARY):
            _succeeds(_set(target, subject.account, password))
            _opens(subject, target, password, must=True)
            _opens(subject, target, WRONG, must=False)
        _succeeds(_set(target, subject.account, ORDINARY))


def setting_it_again_does_no_harm(subject: Subject) -> None:
    """Work is repeated after a crash: a set is a desired state."""
    for _ in range(2):
        with subject.make() as target:
            for _ in range(2):
                _succeeds(_set(target, subject.account, ORDINARY))
            _opens(subject, target, ORDINARY, must=True)


def results_come_in_order(subject: Subject) -> None:
    """One for each, and an account that is missing stops no other."""
    order = [subject.absent, subject.account, subject.absent, subject.account]
    with subject.make() as target:
        results = target.set([NewPassword(one, ORDINARY) for one in order])
        _require(list(target.set([])) == [], "an empty batch gave results")
    wanted = [Code.OBJECT_MISSING, Code.SUCCESS, Code.OBJECT_MISSING, Code.SUCCESS]
    _require([one.code for one in results] == wanted, f"results were {[one.code.value for one in results]}")


def hostile_passwords_arrive_whole_or_are_refused(subject: Subject) -> None:
    """Each is taken as it is, or refused for good as a matter of policy: never cut, never changed, never run."""
    with subject.make() as target:
        for name, password in HOSTILE.items():
            _succeeds(_set(target, subject.account, ORDINARY, unlock=True))
            done = _set(target, subject.account, password)
            _require(
                done.code in {Code.SUCCESS, Code.POLICY},
                f"{name}: {done.code.value} ({_shown(done, password)})",
            )
            taken = done.code is Code.SUCCESS
            _opens(subject, target, password if taken else ORDINARY, must=True, name=name)
            for other in _spoiled(password) if subject.signs_in else ():
                _opens(subject, target, other, must=False, name=f"{name}, spoiled")
        _succeeds(_set(target, subject.account, ORDINARY, unlock=True))


def nothing_without_a_password(subject: Subject) -> None:
    """An empty password and half a character are refused."""
    with subject.make() as target:
        for password in ("", "Aa1-\ud83d-half"):
            done = _set(target, subject.account, password)
            _require(done.code is Code.POLICY, f"{len(password)} characters: {done.code.value}, not a policy")


def nothing_is_said(subject: Subject) -> None:
    """No log, output, detail, repr, argument list or environment holds the password."""
    canary = "Canary-7f3a9c-Aa1-Kestrel"
    with _heard() as heard, _watched(canary) as seen, subject.make() as target:
        new = NewPassword(subject.account, canary)
        results = [*target.set([new]), *target.set([NewPassword(subject.absent, canary)])]
        results.append(target.change(subject.account, canary, canary + "-next"))
        results.append(target.change(subject.account, WRONG, canary))
        heard.write(repr(target) + repr(new) + repr(results))
        _set(target, subject.account, ORDINARY, unlock=True)
    text = heard.getvalue()
    for name, spelling in _spellings(canary).items():
        _require(spelling not in text, f"the password was said, in {name}")
    _require(not seen, f"the password was in {', '.join(sorted(seen))}")


def change_needs_the_old_one(subject: Subject) -> None:
    """A wrong old password changes nothing. Who cannot change says so for good."""
    with subject.make() as target:
        _succeeds(_set(target, subject.account, ORDINARY, unlock=True))
        refused = target.change(subject.account, WRONG, OTHER)
        _require(refused.code is not Code.SUCCESS, "a wrong old password was accepted")
        _succeeds(_set(target, subject.account, ORDINARY, unlock=True))
        done = target.change(subject.account, ORDINARY, OTHER)
        _require(
            done.code in {Code.SUCCESS, Code.SET_UNSUPPORTED, Code.POLICY},
            f"the right old password gave {done.code.value}",
        )
        _opens(subject, target, OTHER if done.code is Code.SUCCESS else ORDINARY, must=True)
        _succeeds(_set(target, subject.account, ORDINARY, unlock=True))


def proofs_are_honest(subject: Subject) -> None:
    """Who can prove a password proves the right one only; after a failed sign-in it may decline, and never calls the right one wrong."""
    with subject.make() as target:
        _succeeds(_set(target, subject.account, ORDINARY, unlock=True))
        right = target.verify(subject.account, ORDINARY)
        wrong = target.verify(subject.account, WRONG)
        again = target.verify(subject.account, ORDINARY)
        absent = target.verify(subject.absent, ORDINARY)
        _succeeds(_set(target, subject.account, ORDINARY, unlock=True))
    _require(right in {Proof.PROVED, Proof.NOT_TRIED}, f"the right password was {right.value}")
    _require(wrong in {Proof.NOT_PROVED, Proof.NOT_TRIED}, f"a wrong password was {wrong.value}")
    _require(
        again in {Proof.PROVED, Proof.NOT_TRIED}, f"the right password was {again.value} after a wrong one"
    )
    _require(absent in {Proof.NOT_PROVED, Proof.NOT_TRIED}, f"a missing account was {absent.value}")


def who_waits_gets_an_answer(subject: Subject) -> None:
    """Where the target answers people who wait: each account gets its answer, the password stays, and one that is missing is not called unlocked.
    A system that keeps no lock says so, and shows none.
    """
    with subject.make() as target:
        if not isinstance(target, Attended):
            return
        _succeeds(_set(target, subject.account, ORDINARY, unlock=True))
        there, missing = target.unlock([subject.account, subject.absent])
        shown, nothing = target.look([subject.account, subject.absent])
        _require(nothing == Look(), "something was said of a missing account")
        if there.code is Code.SET_UNSUPPORTED:
            _require(bool(there.detail), "it takes no lock away, and does not say why")
            _require(missing.code is not Code.SUCCESS, "a missing account was unlocked")
            _require(shown.locked is None, "it takes no lock away, and shows one")
        else:
            _succeeds(there)
            _require(missing.code is Code.OBJECT_MISSING, f"a missing account was {missing.code.value}")
            _require(shown.locked is not True, "an account that was unlocked is shown as locked")
        _opens(subject, target, ORDINARY, must=True)


def a_lock_is_seen_and_taken_away(subject: Subject) -> None:
    """Where the account can be locked by failed sign-ins: it is shown, taken away without touching the password, and to do so twice does no harm."""
    with subject.make() as target:
        if subject.lock is None or not isinstance(target, Attended):
            return
        _succeeds(_set(target, subject.account, ORDINARY, unlock=True))
        (before,) = target.look([subject.account])
        subject.lock()
        (locked,) = target.look([subject.account])
        for _ in range(2):
            (done,) = target.unlock([subject.account])
            _succeeds(done)
        (after,) = target.look([subject.account])
        _require(
            (before.locked, locked.locked, after.locked) == (False, True, False),
            f"before, locked and unlocked it was shown as {before.locked}, {locked.locked}, {after.locked}",
        )
        _require(after.set_at == before.set_at, "the password was set again")
        _opens(subject, target, ORDINARY, must=True)


def nothing_is_left_open(subject: Subject) -> None:
    """No descriptor and no thread outlives the target."""
    with subject.make() as target:
        _succeeds(_set(target, subject.account, ORDINARY))
    # Twice: what else happens in the process may open something meanwhile, but what a target loses it loses again.
    for again in (True, False):
        before = _held()
        for _ in range(5):
            with subject.make() as target:
                _succeeds(_set(target, subject.account, ORDINARY))
        after = _held()
        if after <= before:
            return
        _require(again, f"descriptors and threads: {before} before, {after} after five openings")


CHECKS: Mapping[str, Callable[[Subject], None]] = {
    check.__name__.replace("_", "-"): check
    for check in (
        it_opens_and_closes,
        closed_means_closed,
        it_sets_a_password,
        setting_it_again_does_no_harm,
        results_come_in_order,
        hostile_passwords_arrive_whole_or_are_refused,
        nothing_without_a_password,
        nothing_is_said,
        change_needs_the_old_one,
        proofs_are_honest,
        who_waits_gets_an_answer,
        a_lock_is_seen_and_taken_away,
        nothing_is_left_open,
    )
}


# -------------------------------------------------------------------------------------------------------------- helpers


def _require(held: bool, what: str) -> None:
    if not held:
        raise Violation(what)


def _set(target: PasswordTarget, account: CsObject, password: str, *, unlock: bool = False) -> Result:
    results = target.set([NewPassword(account, password, unlock=unlock)])
    _require(len(results) == 1, f"one password gave {len(results)} results")
    return results[0]


def _succeeds(done: Result) -> None:
    _require(done.code is Code.SUCCESS, f"an ordinary password gave {done.code.value}: {done.detail}")


def _opens(subject: Subject, target: PasswordTarget, password: str, *, must: bool, name: str = "") -> None:
    """Ask the system. The target itself is asked for the right password only: a wrong one could lock the account."""
    if subject.signs_in is not None:
        got = subject.signs_in(password)
        _require(
            got is must, f"{name or 'sign-in'}: {'it does not open' if must else 'it opens'} the account"
        )
    elif must:
        proof = target.verify(subject.account, password)
        _require(
            proof is not Proof.NOT_PROVED, f"{name or 'sign-in'}: it was taken and does not open the account"
        )


def _spoiled(password: str) -> Iterator[str]:
    """What careless software makes of it, where that is something else and no empty password."""
    seen = {password, ""}
    made = (
        password.partition("\x00")[0],
        password.partition("\r")[0],
        password.partition("\n")[0],
        password.strip(),
        password.encode()[:72].decode(errors="ignore"),
        password[:128],
        password.encode("ascii", "ignore").decode(),
        password.replace("\r\n", "\n"),
    )
    for one in made:
        if one not in seen:
            seen.add(one)
            yield one


def _shown(done: Result, password: str) -> str:
    return "the detail holds the password" if password in done.detail else done.detail


def _spellings(secret: str) -> Mapping[str, str]:
    utf16 = secret.encode("utf-16-le")
    return {
        "clear": secret,
        "base64": base64.b64encode(secret.encode()).decode().rstrip("="),
        "hexadecimal": secret.encode().hex(),
        "UTF-16 in base64": base64.b64encode(utf16).decode().rstrip("="),
        "UTF-16 in hexadecimal": utf16.hex(),
    }


@contextmanager
def _heard() -> Iterator[io.StringIO]:
    """All that is logged, at any level, and all that Python prints."""
    text = io.StringIO()
    handler = logging.StreamHandler(text)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.NOTSET)
    try:
        with redirect_stdout(text), redirect_stderr(text):
            yield text
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


@contextmanager
def _watched(secret: str) -> Iterator[set[str]]:
    """Every process that can be seen, again and again: which of them has the secret in its arguments or environment."""
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while True:
            last = done.is_set()
            seen.update(_exposed(secret.encode()))
            if last:
                return

    watcher = threading.Thread(target=watch, name="conformance")
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def _exposed(secret: bytes) -> Iterator[str]:
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found = secret in (process / name).read_bytes()
            except OSError:  # it has ended, or is somebody else's
                continue
            if found:
                yield f"/proc/PID/{name}"


def _held() -> int:
    return len(list(Path("/proc/self/fd").iterdir())) + threading.active_count()


# --------------------------------------------------------------------------------------------------------------- command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks; exit code 1 if one fails, 2 if there is nothing to test."""
    options = _parser().parse_args(arguments)
    try:
        subject = _subject(options)
    except (BastideError, OSError, ValueError, ImportError, AttributeError) as error:
        sys.stderr.write(f"conformance: {error}\n")
        return 2
    failed = 0
    for name, check in CHECKS.items():
        said = _outcome(check, subject)
        failed += bool(said)
        sys.stdout.write(f"{'FAILED' if said else 'ok    '} {name}{': ' + said if said else ''}\n")
    return 1 if failed else 0


def _outcome(check: Callable[[Subject], None], subject: Subject) -> str:
    """Empty if it holds. The text of a foreign error is left out: it could hold anything."""
    try:
        check(subject)
    except Violation as violation:
        return str(violation)
    except BastideError as error:
        return error.message
    except Exception as error:  # noqa: BLE001  # it is somebody else's code
        return f"it raised {type(error).__name__}"
    return ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bastide.targets.conformance", description=(__doc__ or "").partition(":")[0]
    )
    parser.add_argument("target", help="MODULE:CLASS of a plug-in, or the name of an installed kind")
    parser.add_argument("--settings", type=Path, help="a JSON file with the agent's settings")
    parser.add_argument("--account", required=True, help="anchor of an account made for this test")
    parser.add_argument(
        "--dn", default="", help="how the system addresses that account, if not by the anchor"
    )
    parser.add_argument(
        "--absent", default="00000000-0000-4000-8000-00000000dead", help="an anchor that nobody has"
    )
    parser.add_argument(
        "--no-secret",
        action="store_true",
        help="the system needs no secret; otherwise it is asked for, or read from standard input",
    )
    return parser


def _subject(options: argparse.Namespace) -> Subject:
    found = _kind(options.target)
    if found.target is None:
        raise ValueError(f"{options.target} sets no passwords")
    settings = read_settings(
        found.settings, json.loads(options.settings.read_text()) if options.settings else {}
    )
    found.check(settings)
    clock = SystemClock()
    opening = Opening(
        name="conformance",
        secret="" if options.no_secret else _secret(),
        now=clock.now,
        monotonic=clock.monotonic,
    )
    make = found.target
    account = CsObject(
        id=CsId("conformance"),
        ma=MaId("conformance"),
        anchor=options.account,
        dn=options.dn or options.account,
        type="user",
        attributes={},
    )
    absent = replace(account, id=CsId("absent"), anchor=options.absent, dn=options.absent)
    return Subject(make=lambda: make(settings, opening), account=account, absent=absent)


def _kind(name: str) -> Kind:
    module, colon, attribute = name.partition(":")
    if not colon:
        return kind(name)
    sys.path.insert(0, "")
    return kind_of_class(getattr(import_module(module), attribute), name)


def _secret() -> str:
    if sys.stdin.isatty():
        return getpass.getpass("Secret of the agent: ")
    return sys.stdin.readline().rstrip("\n")


if __name__ == "__main__":
    raise SystemExit(main())
