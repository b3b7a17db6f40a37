"""The keys of an issuer, from a real HTTPS server: the rules of oidc/keys.py, one by one."""

import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from bastide.config import Config, Keys, Oidc, Priv, Rights
from bastide.domain.errors import IssuerUnavailable
from bastide.domain.health import Severity
from bastide.health.checks import configuration
from bastide.oidc import keys as subject
from bastide.oidc.keys import PAUSE, IssuerKeys
from bastide.wiring.issuer import issued_tokens
from tests.support.certificates import issue
from tests.support.health import looking_at
from tests.support.issuer import Issuer, issuing, served_with
from tests.support.world import TestClock

LIFE = timedelta(hours=1)
DOCUMENT, KEYS = "/tenant/.well-known/openid-configuration", "/tenant/keys"


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    with issuing(tmp_path) as found:
        yield found


@pytest.fixture
def clock() -> TestClock:
    return TestClock()


def trust(ca: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(ca))


@pytest.fixture
def keys(issuer: Issuer, clock: TestClock) -> IssuerKeys:
    return IssuerKeys(issuer.url, trust(issuer.ca), life=LIFE, monotonic=clock.monotonic)


def test_keys_are_fetched_once_and_kept(issuer: Issuer, keys: IssuerKeys) -> None:
    for _ in range(3):
        assert keys.get("one") is not None
    assert issuer.asked == [DOCUMENT, KEYS]


# ------------------------------------------------------------------------------------------------------------- the line


def test_1_an_issuer_whose_certificate_is_not_the_authorities_is_not_believed(
    issuer: Issuer, clock: TestClock, tmp_path: Path
) -> None:
    other = issue(tmp_path, "other", "other-ca").certificate
    for context in (trust(other), ssl.create_default_context()):
        stranger = IssuerKeys(issuer.url, context, life=LIFE, monotonic=clock.monotonic)
        with pytest.raises(IssuerUnavailable, match="cannot be had"):
            stranger.get("one")
    assert issuer.asked == []


def test_1_the_name_in_the_certificate_counts(issuer: Issuer, clock: TestClock) -> None:
    by_address = issuer.url.replace("localhost", "127.0.0.1")
    with pytest.raises(IssuerUnavailable):
        IssuerKeys(by_address, trust(issuer.ca), life=LIFE, monotonic=clock.monotonic).get("one")
    assert issuer.asked == []


def test_1_no_redirect_is_followed(issuer: Issuer, keys: IssuerKeys) -> None:
    issuer.say(DOCUMENT, issuer.document(), status=302, headers={"Location": f"{issuer.url}/elsewhere"})
    issuer.say("/tenant/elsewhere", issuer.document())
    with pytest.raises(IssuerUnavailable):
        keys.get("one")
    assert issuer.asked == [DOCUMENT]


def test_1_the_proxy_of_the_environment_is_not_asked(
    keys: IssuerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert keys.get("one") is not None


def test_1_the_settings_name_the_authorities(issuer: Issuer, clock: TestClock) -> None:
    """As the server is put together, with TLS 1.2 at least."""
    settings = Oidc(
        issuer=issuer.url,
        audience="a",
        applications=["b"],
        claim="sub",
        account="sid",
        ca_file=str(issuer.ca),
    )
    made = issued_tokens(settings, clock)._keys
    assert made.get("one") is not None
    assert made._trust.minimum_version is ssl.TLSVersion.TLSv1_2


# -------------------------------------------------------------------------------------------------------- what it says


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://other.example", "jwks_uri": "URL/keys"},
        {"issuer": "URL/", "jwks_uri": "URL/keys"},
        {"issuer": "URL", "jwks_uri": "http://localhost/keys"},
        {"issuer": "URL", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "URL", "jwks_uri": "https://[broken"},
        {"issuer": "URL", "jwks_uri": 7},
        {"issuer": "URL"},
        [],
        "text",
    ],
    ids=str,
)
def test_2_a_document_that_does_not_fit_is_not_believed(
    issuer: Issuer, keys: IssuerKeys, document: Any
) -> None:
    if isinstance(document, dict):
        document = {
            name: value.replace("URL", issuer.url) if isinstance(value, str) else value
            for name, value in document.items()
        }
    issuer.say(DOCUMENT, document)
    with pytest.raises(IssuerUnavailable):
        keys.get("one")
    assert KEYS not in issuer.asked


@pytest.mark.parametrize("path", [DOCUMENT, KEYS])
@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 200), (b"", 200), (b"x" * 300_000, 200), (b"{}", 500), (b"{}", 404), (b"[" * 100_000, 200), (b"\xff", 200)],
    ids=["broken", "empty", "long", "500", "404", "deep", "no text"],
)  # fmt: skip
def test_3_an_answer_that_cannot_be_used_is_none(
    issuer: Issuer, keys: IssuerKeys, path: str, body: bytes, status: int
) -> None:
    issuer.say(path, {}, status=status)
    issuer.answers[path].body = body
    with pytest.raises(IssuerUnavailable):
        keys.get("one")


@pytest.mark.parametrize("listed", [{}, {"keys": {}}, {"keys": "one"}, {"keys": None}])
def test_3_a_list_of_keys_that_is_none(issuer: Issuer, keys: IssuerKeys, listed: Any) -> None:
    issuer.say(KEYS, listed)
    with pytest.raises(IssuerUnavailable):
        keys.get("one")


def test_3_an_issuer_that_is_slow_is_not_waited_for(
    issuer: Issuer, keys: IssuerKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "_TIMEOUT", httpx.Timeout(0.2))
    issuer.say(DOCUMENT, issuer.document(), seconds=1.0)
    with pytest.raises(IssuerUnavailable):
        keys.get("one")


def test_3_all_of_an_answer_has_a_time(issuer: Issuer, clock: TestClock) -> None:
    """Byte by byte would never be silent for long."""
    ticks = iter(range(0, 10_000, 6))
    keys = IssuerKeys(issuer.url, trust(issuer.ca), life=LIFE, monotonic=lambda: float(next(ticks)))
    issuer.say(DOCUMENT, {**issuer.document(), "more": "x" * 200_000})
    with pytest.raises(IssuerUnavailable):
        keys.get("one")


# ---------------------------------------------------------------------------------------------------------- how long


def test_4_a_key_that_was_taken_away_stops_to_count(
    issuer: Issuer, keys: IssuerKeys, clock: TestClock
) -> None:
    assert keys.get("one") is not None
    issuer.keys = {"two": RSAKey.generate_key(2048, {"kid": "two"})}
    assert keys.get("one") is not None
    clock.move(hours=1)
    assert keys.get("one") is None
    assert keys.get("two") is not None


def test_4_keys_are_fetched_anew_before_they_stop_to_count(
    issuer: Issuer, keys: IssuerKeys, clock: TestClock
) -> None:
    assert keys.get("one") is not None
    clock.move(minutes=44)
    assert keys.get("one") is not None
    assert len(issuer.asked) == 2
    clock.move(minutes=2)
    assert keys.get("one") is not None
    assert len(issuer.asked) == 4


def test_4_an_issuer_that_is_away_is_missed_in_the_end(
    issuer: Issuer, keys: IssuerKeys, clock: TestClock
) -> None:
    assert keys.get("one") is not None
    issuer.say(DOCUMENT, {}, status=503)
    clock.move(minutes=59)
    assert keys.get("one") is not None
    clock.move(minutes=1)
    with pytest.raises(IssuerUnavailable):
        keys.get("one")
    del issuer.answers[DOCUMENT]
    clock.move(minutes=1)
    assert keys.get("one") is not None


def test_5_a_new_key_is_found_at_once(issuer: Issuer, keys: IssuerKeys, clock: TestClock) -> None:
    assert keys.get("one") is not None
    issuer.keys["two"] = ECKey.generate_key("P-256", {"kid": "two"})
    clock.move(minutes=1)
    assert keys.get("two") is not None


def test_5_names_that_were_made_up_make_it_ask_once_a_minute(
    issuer: Issuer, keys: IssuerKeys, clock: TestClock
) -> None:
    for number in range(50):
        assert keys.get(f"made-up-{number}") is None
    assert len(issuer.asked) == 2
    clock.move(seconds=PAUSE.total_seconds())
    for number in range(50):
        assert keys.get(f"made-up-{number}") is None
    assert len(issuer.asked) == 4


def test_5_so_does_an_issuer_that_is_away(issuer: Issuer, keys: IssuerKeys, clock: TestClock) -> None:
    issuer.say(DOCUMENT, {}, status=500)
    for _ in range(10):
        with pytest.raises(IssuerUnavailable):
            keys.get("one")
    assert issuer.asked == [DOCUMENT]
    clock.move(seconds=PAUSE.total_seconds())
    with pytest.raises(IssuerUnavailable):
        keys.get("one")
    assert issuer.asked == [DOCUMENT] * 2


def test_5_one_call_asks_and_the_others_do_not_wait(
    issuer: Issuer, keys: IssuerKeys, clock: TestClock
) -> None:
    assert keys.get("one") is not None
    clock.move(minutes=50)
    issuer.say(DOCUMENT, issuer.document(), seconds=1.0)
    begun = threading.Event()
    real = keys._ask

    def ask() -> Any:
        begun.set()
        return real()

    keys._ask = ask  # type: ignore[method-assign]
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(keys.get, "one")
        assert begun.wait(5)
        assert keys.get("one") is not None
        assert not first.done(), "the other one was not waited for"
        assert first.result() is not None
    assert issuer.asked == [DOCUMENT, KEYS] * 2


def test_5_whoever_looked_while_another_one_asked_does_not_ask_again(
    issuer: Issuer, keys: IssuerKeys, clock: TestClock
) -> None:
    """Between `may I ask` and asking another call begins and ends."""
    assert keys.get("one") is not None
    clock.move(minutes=2)
    real, told = keys._may_ask, iter([True])

    def may_ask() -> bool:
        allowed = real()
        if next(told, False):
            keys.get("made up")
        return allowed

    keys._may_ask = may_ask  # type: ignore[method-assign]
    keys.get("unknown")
    assert issuer.asked == [DOCUMENT, KEYS] * 2


# --------------------------------------------------------------------------------------------------------- which keys


def test_6_only_keys_for_signatures_count(issuer: Issuer, keys: IssuerKeys) -> None:
    good = RSAKey.generate_key(2048, {"kid": "x"}).as_dict(private=False)
    with pytest.warns(SecurityWarning):
        weak = RSAKey.generate_key(1024)
    listed = [
        {**good, "kid": "plain"},
        {**good, "kid": "sig", "use": "sig", "key_ops": ["verify"]},
        {**OKPKey.generate_key("Ed25519").as_dict(private=False), "kid": "ed"},
        {**good, "kid": "enc", "use": "enc"},
        {**good, "kid": "ops", "key_ops": ["encrypt"]},
        {**good, "kid": "odd ops", "key_ops": "verify"},
        {**good, "kid": 7},
        {**good, "kid": None},
        {**good, "kid": "broken", "n": "!"},
        {**good, "kid": "empty", "n": ""},
        {**weak.as_dict(private=False), "kid": "weak"},
        {**OctKey.generate_key(256).as_dict(private=True), "kid": "secret"},
        {**RSAKey.generate_key(2048).as_dict(private=True), "kid": "private"},
        {**ECKey.generate_key("secp256k1").as_dict(private=False), "kid": "curve"},
        {**OKPKey.generate_key("X25519").as_dict(private=False), "kid": "exchange"},
        {"kid": "nothing"},
        {"kid": "odd", "kty": ["RSA"]},
        "text",
        None,
    ]
    issuer.say(KEYS, {"keys": listed})
    assert keys.get("plain") is not None
    assert set(keys._kept.keys) == {"plain", "sig", "ed"}


# ------------------------------------------------------------------------------------------------------- as people see it


def configured(issuer: Issuer, /, **changes: Any) -> Config:
    usual: dict[str, Any] = {
        "issuer": issuer.url,
        "audience": "a",
        "applications": ["b"],
        "claim": "c",
        "account": "sid",
    }
    oidc = Oidc(**{**usual, "ca_file": str(issuer.ca), **changes})
    priv = Priv(domain="d", principal="p", keytab="k", users_container="u", groups_container="g")
    rights = Rights(administrators=[], auditors=[], approvers=[])
    return Config(keys=Keys(master="/m", signing="/s"), priv=priv, rights=rights, oidc=oidc)


def test_the_check_of_the_settings_asks_the_issuer(issuer: Issuer, tmp_path: Path) -> None:
    (check,) = configuration.issuer(looking_at(configured(issuer)))
    assert (check.severity, check.text) == (Severity.OK, "1 keys for signatures")
    other = issue(tmp_path, "other", "other-ca").certificate
    for changes in (
        {"ca_file": str(other)},
        {"ca_file": str(tmp_path / "nothing")},
        {"issuer": f"{issuer.url}/x"},
    ):
        (check,) = configuration.issuer(looking_at(configured(issuer, **changes)))
        assert not check.ok
        assert check.remedy == "check oidc.issuer and oidc.ca_file"
    issuer.say(KEYS, {"keys": []})
    (check,) = configuration.issuer(looking_at(configured(issuer)))
    assert "no key" in check.text
    assert (
        list(configuration.issuer(looking_at(msgspec.structs.replace(configured(issuer), oidc=None)))) == []
    )


def test_without_an_issuer_its_libraries_are_not_loaded(tmp_path: Path) -> None:
    """They are memory of every server."""
    code = "import sys, bastide.web, bastide.wiring; sys.exit(any(one in sys.modules for one in ('joserfc', 'bastide.oidc')))"
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False, cwd=tmp_path).returncode == 0


def test_without_keys_nobody_signs_in_and_the_answer_says_why(issuer: Issuer) -> None:
    issuer.say(DOCUMENT, {}, status=500)
    with served_with(issuer) as world:
        token = issuer.sign(world.claims())
        answer = world.bearer(token).get("/whoami")
        assert (answer.status_code, answer.json()["code"]) == (503, "issuer-unavailable")
        assert answer.headers["retry-after"] == "5"
        graph = world.bearer(token).send("GET", "/v1.0/me")
        assert (graph.status_code, graph.json()["error"]["code"]) == (503, "ServiceUnavailable")
        issuer.answers.clear()
        world.clock.move(minutes=1)
        assert world.bearer(token).get("/whoami").status_code == 200


def test_a_key_that_is_new_signs_in(issuer: Issuer) -> None:
    with served_with(issuer) as world:
        assert world.bearer(issuer.sign(world.claims())).get("/whoami").status_code == 200
        issuer.keys = {"next": ECKey.generate_key("P-256", {"kid": "next"})}
        world.clock.move(minutes=1)
        token = issuer.sign(world.claims(), kid="next", alg="ES256")
        assert world.bearer(token).get("/whoami").status_code == 200
