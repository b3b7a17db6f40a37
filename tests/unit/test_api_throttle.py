"""Guessing of passwords is slowed down per account, per address and per pair of them; behind a proxy the address is the caller's."""

import asyncio
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bastide.cli.server import behind_proxies
from bastide.config import Config, ConfigError, load
from bastide.http import throttle
from bastide.http.problems import TooManyAttempts
from bastide.http.throttle import ATTEMPTS, PER_ACCOUNT, PER_ADDRESS, SPAN, Throttle, subscriber
from tests.support.api import ApiWorld
from tests.support.world import TestClock

pytest_plugins = ["tests.support.api"]


class Wrong(Exception):
    """The password was."""


class Guesser:
    """Tries accounts from addresses."""

    def __init__(self) -> None:
        self.clock = TestClock()
        self.throttle = Throttle(self.clock.now)

    def fail(self, account: str, address: str, times: int = 1) -> None:
        for _ in range(times):
            with suppress(Wrong), self.throttle.attempt(account, address):
                raise Wrong

    def succeed(self, account: str, address: str) -> None:
        with self.throttle.attempt(account, address):
            pass


@pytest.fixture
def guesser() -> Guesser:
    return Guesser()


def test_a_pair_is_held_up_after_five_and_for_a_quarter_of_an_hour(guesser: Guesser) -> None:  # (1)
    guesser.fail("CORP\\alice", "192.0.2.1", ATTEMPTS)
    with pytest.raises(TooManyAttempts, match="to this account from this address"):
        guesser.fail(" corp\\ALICE", "192.0.2.1")
    guesser.succeed("CORP\\alice", "192.0.2.2")
    guesser.succeed("CORP\\bob", "192.0.2.1")
    guesser.clock.move(seconds=SPAN.total_seconds())
    guesser.succeed("CORP\\alice", "192.0.2.1")


def test_many_addresses_do_not_help(guesser: Guesser) -> None:  # (2)
    for number in range(PER_ACCOUNT):
        guesser.fail("CORP\\alice", f"192.0.2.{number}")
    with pytest.raises(TooManyAttempts, match=r"sign-ins to this account$"):
        guesser.fail("CORP\\alice", "198.51.100.1")
    guesser.succeed("CORP\\bob", "198.51.100.1")


def test_nobody_is_locked_out_from_elsewhere_where_they_signed_in_before(guesser: Guesser) -> None:  # (2)
    guesser.succeed("CORP\\alice", "198.51.100.1")
    for number in range(PER_ACCOUNT):
        guesser.fail("CORP\\alice", f"192.0.2.{number}")
    guesser.fail("CORP\\alice", "198.51.100.1", ATTEMPTS - 1)
    guesser.succeed("CORP\\alice", "198.51.100.1")
    with pytest.raises(TooManyAttempts, match=r"to this account$"):
        guesser.succeed("CORP\\alice", "198.51.100.2")


def test_one_password_on_many_accounts_is_held_up(guesser: Guesser) -> None:  # (3)
    for number in range(PER_ADDRESS):
        guesser.fail(f"CORP\\user{number}", "192.0.2.1")
    with pytest.raises(TooManyAttempts, match=r"sign-ins from this address$"):
        guesser.fail("CORP\\one-more", "192.0.2.1")
    guesser.succeed("CORP\\one-more", "192.0.2.2")


def test_an_account_of_the_guessers_own_does_not_clean_the_address(guesser: Guesser) -> None:  # (3)
    for number in range(PER_ADDRESS - 1):
        guesser.fail(f"CORP\\user{number}", "192.0.2.1")
        guesser.succeed("CORP\\mallory", "192.0.2.1")
    guesser.fail("CORP\\user-last", "192.0.2.1")
    with pytest.raises(TooManyAttempts, match=r"from this address$"):
        guesser.succeed("CORP\\mallory", "192.0.2.1")


def test_a_success_takes_its_own_failures_back(guesser: Guesser) -> None:
    for _ in range(PER_ADDRESS):
        guesser.fail("CORP\\alice", "192.0.2.1", ATTEMPTS - 1)
        guesser.succeed("CORP\\alice", "192.0.2.1")


def test_what_is_remembered_is_bounded(guesser: Guesser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "_KEPT", 10)
    for number in range(100):
        guesser.fail(f"CORP\\user{number}", f"192.0.2.{number}")
        guesser.succeed(f"CORP\\user{number}", f"198.51.100.{number}")
    assert all(len(kept) <= 10 for kept in guesser.throttle._failures.values())
    assert len(guesser.throttle._welcome) <= 10


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("[2001:db8:1:2::5]:4711", "2001:db8:1:2::/64"),
    ],
)
def test_who_counts_as_one_caller(address: str, counted: str) -> None:
    assert subscriber(address) == counted


# -------------------------------------------------------------------------------------------------------------- the API


def sign_in(api: ApiWorld, account: str, password: str) -> tuple[int, str]:
    answer = api.anonymous().post("/sessions", {"account": account, "password": password})
    return answer.status_code, answer.json().get("code", "")


def test_the_api_answers_429_when_one_address_tries_everybody(api: ApiWorld) -> None:
    for number in range(PER_ADDRESS):
        assert sign_in(api, f"CORP\\user{number}", "Winter2026!") == (401, "not-authenticated")
    assert sign_in(api, "CORP\\alice", "alice-corp-pw") == (429, "too-many-attempts")
    api.clock.move(seconds=SPAN.total_seconds())
    assert sign_in(api, "CORP\\alice", "alice-corp-pw")[0] == 201


# -------------------------------------------------------------------------------------------------------------- proxies


def seen_by(trusted: list[str], peer: str, *forwarded: str) -> str:
    """The address that the application behind gets to see."""
    seen: list[str] = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["client"][0])

    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope = {"type": "http", "client": (peer, 4711), "headers": headers, "scheme": "http"}
    asyncio.run(behind_proxies(app, trusted)(scope, None, None))
    return seen[0]


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "address"),
    [
        ([], "192.0.2.9", ("198.51.100.1",), "192.0.2.9"),
        (["192.0.2.9"], "192.0.2.9", ("198.51.100.1",), "198.51.100.1"),
        (["192.0.2.0/24"], "192.0.2.9", ("198.51.100.1",), "198.51.100.1"),
        (["192.0.2.9"], "192.0.2.9", (), "192.0.2.9"),
        (["192.0.2.9"], "203.0.113.7", ("198.51.100.1",), "203.0.113.7"),
        # What the caller made up stands left of what the proxy saw.
        (["192.0.2.9"], "192.0.2.9", ("10.9.9.9, 198.51.100.1",), "198.51.100.1"),
        (["192.0.2.9"], "192.0.2.9", ("10.9.9.9", "198.51.100.1"), "198.51.100.1"),
        (["192.0.2.9", "192.0.2.10"], "192.0.2.9", ("198.51.100.1, 192.0.2.10",), "198.51.100.1"),
    ],
)
def test_only_a_proxy_that_is_named_is_believed(
    trusted: list[str], peer: str, forwarded: tuple[str, ...], address: str
) -> None:
    assert seen_by(trusted, peer, *forwarded) == address


def test_without_the_setting_nothing_is_put_in_front() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        raise AssertionError

    assert behind_proxies(app, []) is app


SETTINGS = """
server = {{ trusted_proxies = {proxies} }}
keys = {{ master = "m", signing = "s" }}
priv = {{ domain = "d", principal = "p", keytab = "k", users_container = "u", groups_container = "g" }}
rights = {{ administrators = [], auditors = [], approvers = [] }}
"""


def settings(tmp_path: Path, proxies: list[str]) -> Config:
    file = tmp_path / "bastide.toml"
    file.write_text(SETTINGS.format(proxies=msgspec.json.encode(proxies).decode()))
    return load(file)


def test_proxies_are_addresses_or_networks(tmp_path: Path) -> None:
    good = ["192.0.2.9", "10.0.0.0/8", "2001:db8::1", "2001:db8::/48"]
    assert settings(tmp_path, good).server.trusted_proxies == good


@pytest.mark.parametrize(
    "wrong", ["*", "", "proxy.example", "10.0.0.1/8", "0.0.0.0/0", "::/0", "10.0.0.0/33"]
)
def test_a_mistyped_proxy_is_no_proxy(tmp_path: Path, wrong: str) -> None:
    """Whoever is believed may say any address: a name can change hands, and everybody is nobody."""
    with pytest.raises(ConfigError, match="trusted_proxies"):
        settings(tmp_path, [wrong])


def test_the_span_is_what_the_answer_says() -> None:
    assert timedelta(seconds=900) == SPAN
