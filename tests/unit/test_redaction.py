"""No secret in a log: what has the shape of one is taken out of every record, and of a foreign error nothing is said but its type and place."""

import base64
import json
import logging
import re
import string
import subprocess
import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastide.domain.errors import StoreUnavailable
from bastide.domain.redaction import HIDDEN, redact, stack, without_values
from bastide.domain.sync_events import EVENTS
from bastide.journal.lines import JsonLines

#: No plain word: "password" stands in the lines themselves.
PLAIN = st.text(
    alphabet=string.ascii_letters + string.digits + "!#$%&()*+-./<=>?@[]^_|~äß", min_size=8, max_size=40
).filter(lambda one: any(sign not in string.ascii_letters + "_" for sign in one))
#: In front of what a person typed, as libraries and configurations write it.
NAMES = (
    "password",
    "Password",
    "unicodePwd",
    "passwd",
    "client_secret",
    "api_key",
    "token",
    "PASSPHRASE",
    "otp",
)
SHAPES: dict[str, Callable[[str], str]] = {
    "named": lambda secret: f"bind failed: password={quoted(secret)} for alice",
    "JSON": lambda secret: json.dumps({"account": "alice", "new_password": secret}),
    "repr of a dict": lambda secret: repr({"account": "alice", "client_secret": secret}),
    "URL": lambda secret: f"postgresql://bastide:{quoted_url(secret)}@db1/bastide does not answer",
    "basic": lambda secret: f"Authorization: Basic {base64.b64encode(f'alice:{secret}'.encode()).decode()}",
    "bearer": lambda secret: f"Authorization: Bearer {secret.encode().hex()}",
    "PEM": lambda secret: (
        f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(secret.encode() * 3).decode()}\n-----END PRIVATE KEY-----"
    ),
    "cut PEM": lambda secret: (
        f"-----BEGIN EC PRIVATE KEY-----\n{base64.b64encode(secret.encode() * 3).decode()}"
    ),
    "token": lambda secret: f"session {secret.encode().hex().ljust(64, '0')[:64]} ended",
}


def quoted(secret: str) -> str:
    return json.dumps(secret, ensure_ascii=False)


def quoted_url(secret: str) -> str:
    from urllib.parse import quote

    return quote(secret, safe="")


def forms(shape: str, secret: str) -> list[str]:
    """What of it must not be seen."""
    raw = secret.encode()
    return {
        "URL": [quoted_url(secret)],
        "basic": [base64.b64encode(b"alice:" + raw).decode()],
        "bearer": [raw.hex()],
        "PEM": [base64.b64encode(raw * 3).decode()],
        "cut PEM": [base64.b64encode(raw * 3).decode()],
        "token": [raw.hex().ljust(64, "0")[:64]],
        "JSON": [json.dumps(secret)[1:-1]],
        "repr of a dict": [repr(secret)[1:-1]],
    }.get(shape, [quoted(secret)[1:-1]])


@pytest.mark.parametrize("shape", SHAPES)
@given(secret=PLAIN)
def test_what_has_the_shape_of_a_secret_never_comes_out(shape: str, secret: str) -> None:
    said = SHAPES[shape](secret)
    assert any(form in said for form in forms(shape, secret)), "it was there"
    kept = redact(said)
    assert not [form for form in forms(shape, secret) if form in kept], kept
    assert HIDDEN in kept
    assert redact(kept) == kept


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("sign", ["=", ": ", " = ", '": "', "': '"])
def test_a_word_for_a_secret_hides_what_follows(name: str, sign: str) -> None:
    assert "Sesame-4711" not in redact(f"the {name}{sign}Sesame-4711 is wrong")


@pytest.mark.parametrize(
    "text",
    [
        "POST '/api/v1/requests/6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11/close' 200 'PRIV\\\\dave' 0.012 s",
        "the group S-1-5-21-1004336348-1177238915-682003330-512 gives no right",
        "CN=alice,OU=Users,OU=PAM,DC=priv,DC=example,DC=com is not there",
        "/opt/bastide/lib/python3.11/site-packages/bastide/services/passwords/deliver.py:255",
        "account S-1-5-21-1-2-3-1105 run account ok 0.001234 s",
        "another process serves as node 'bastide-1': two must not share a name",
        "no database password is needed",
    ],
)
def test_what_says_something_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("password=Ses,ame;4)7]1}1 for alice", f"password={HIDDEN} for alice"),
        ("postgresql://bastide:p@ss/word@db1/bastide is down", f"postgresql://{HIDDEN}@db1/bastide is down"),
        ("db1,postgresql://bastide:Sesame@db2", f"db1,postgresql://{HIDDEN}@db2"),
        ("{'unicodePwd': [b'\"Sesame 4711\"']}", f"{{'unicodePwd': {HIDDEN}]}}"),
        ("password=b'Sesame 4711'", f"password={HIDDEN}"),
        ("Key (token)=(Sesame-4711) already exists.", f"Key (token)={HIDDEN} already exists."),
        ("userPassword:: U2VzYW1l", f"userPassword:: {HIDDEN}"),
        ("{'password_1': 'Sesame 4711'}", f"{{'password_1': {HIDDEN}}}"),
        ("Authorization: Basic YTpi", f"Authorization: {HIDDEN}"),
        ("Set-Cookie: session=Sesame-4711; Path=/", f"Set-Cookie: {HIDDEN}"),
        ("session WG5RWoO8j5jwBAdmON-lK0JCRhaY6UBRKKLAXAYIu2k ended", f"session {HIDDEN} ended"),
    ],
)
def test_as_libraries_and_headers_write_it(said: str, kept: str) -> None:
    assert redact(said) == kept
    assert redact(kept) == kept


@pytest.mark.parametrize(
    "word", ["a.", "a://", "a:", "://", "://:", 'pwd="', "eyJaaaaaaaa.", "-----BEGIN ", "0"]
)
def test_a_long_word_is_read_in_one_go(word: str) -> None:
    """A pattern that goes back and forth over it would take minutes, with the log held."""
    said = word * (400_000 // len(word))
    for text in (said, f"{said}://", f"://{said}"):
        assert len(redact(text)) <= len(text)


def line(name: str, level: int, message: str, *arguments: object, **more: object) -> str:
    record = logging.LogRecord(name, level, __file__, 1, message, arguments, None)
    record.__dict__.update(more)
    return JsonLines().format(record)


def fail(secret: str) -> None:
    try:
        str({"": ""}[secret])
    except KeyError as inner:
        raise RuntimeError(f"cannot use {secret}") from inner


def refuse() -> None:
    raise StoreUnavailable("the database cannot be reached: password=Sesame-4711")


@given(secret=PLAIN)
def test_a_foreign_error_says_its_type_and_place_and_no_word(secret: str) -> None:
    """Whatever it quotes, however deep: no shape is needed."""
    try:
        fail(secret)
    except RuntimeError as error:
        error.add_note(secret)
        said = line("bastide.workers.runner", logging.ERROR, "unexpected", exc_info=sys.exc_info())
        assert "cannot use" not in stack(error)
    kept = json.loads(said)
    assert kept["traceback"].startswith("RuntimeError at ")
    assert "KeyError at " in kept["traceback"]
    place = r"\S+/test_redaction\.py:\d+"
    assert re.fullmatch(f"RuntimeError at {place} > {place} <- KeyError at {place}", kept["traceback"])


@given(secret=PLAIN)
def test_a_foreign_library_says_nothing_that_it_quotes(secret: str) -> None:
    for message, arguments in (
        (f"cannot parse {secret!r}", ()),
        (f'cannot parse "{secret}"', ()),
        ("Future exception was never retrieved: %r", (secret,)),
    ):
        said = line("asyncio", logging.ERROR, message, *arguments)
        assert json.dumps(secret)[1:-1] not in json.loads(said)["message"]


def test_our_own_errors_say_their_words() -> None:
    try:
        refuse()
    except StoreUnavailable:
        said = line("bastide.x", logging.ERROR, "no heartbeat", exc_info=sys.exc_info())
    assert "the database cannot be reached" in said
    assert "Sesame-4711" not in said


@pytest.mark.parametrize("number", sorted(EVENTS))
def test_a_numbered_event_passes_the_same_door(number: int) -> None:
    fields = {"number": number, "Target DN": "CN=a", "said": "pwd=Sesame-4711", "count": 3}
    kept = json.loads(line("bastide.events", logging.ERROR, "%s", number, event=fields))
    assert kept["event"]["count"] == 3
    assert kept["event"]["Target DN"] == "CN=a"
    assert "Sesame-4711" not in json.dumps(kept)


def test_names_of_threads_and_steps_of_traces_too() -> None:
    said = line(
        "bastide.trace",
        15,
        "x",
        trace={"step": "a", "subject": "token=Sesame-4711"},
        threadName="secret=Sesame-4711",
    )
    assert "Sesame-4711" not in said
    assert json.loads(said)["level"] == "verbose"


def test_a_record_that_cannot_be_written_is_said_without_its_values() -> None:
    said = json.loads(line("bastide.x", logging.ERROR, "%d of them", "Sesame-4711"))
    assert said["message"] == "%d of them (TypeError)"


def test_nor_one_whose_message_cannot_be_said() -> None:
    class Mute:
        def __str__(self) -> str:
            raise ValueError("Sesame-4711")

    record = logging.LogRecord("bastide.x", logging.ERROR, __file__, 1, Mute(), (), None)
    assert json.loads(JsonLines().format(record))["message"] == "Mute (ValueError)"


def test_standard_error_never_has_a_record_raw() -> None:
    """As logging prints one itself that could not be written: with its values."""
    code = (
        "import io, logging, sys\n"
        "from bastide.cli import logs\n"
        "logs.to_stderr()\n"
        "class Full(io.StringIO):\n"
        "    def write(self, text): raise OSError('no space')\n"
        "logging.getLogger().handlers[0].setStream(Full())\n"
        "logging.getLogger('bastide.x').error('%s', 'Sesame-4711')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


def test_half_a_character_loses_no_record() -> None:
    said = line("bastide.x", logging.ERROR, "%s is not there", "/srv/caf\udce9")
    assert json.loads(said.encode())["message"] == "/srv/caf? is not there"


def test_an_error_that_is_its_own_cause_ends() -> None:
    error = RuntimeError()
    error.__cause__ = error
    assert stack(error) == "RuntimeError at "


def test_values_of_others_are_what_stands_in_quotation_marks() -> None:
    assert without_values("cannot read 'a' of \"b\"") == f"cannot read {HIDDEN} of {HIDDEN}"
