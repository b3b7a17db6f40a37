"""A destination of alerts: the program behind TLS and its twin take or refuse alike; and nothing of others can forge a message."""

import json
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bastide.audit.export import SYSLOG_LIMIT
from bastide.audit.siem import MemoryOutlet, SyslogOutlet, cef, ocsf
from bastide.audit.syslog import SyslogSender
from bastide.config import ConfigError
from bastide.domain.alerts import CATALOGUE, Alert, Sighting, Stage, made
from bastide.services.alerts.ports import Outlet, Parcel
from bastide.services.notifications.ports import Fate
from tests.support.build import NOW
from tests.support.certificates import issue

HOSTILE = 'x=1|y\\ z"\r\nCEF:0|evil|evil|1|1|forged|10|\u2028\u202e<10>1 - - - - - -'
ID = "6f9c1a52-6c1e-4f0e-9f64-0b6a5d0d5d11"


def alert(text: str = "why", title: str = "The kill switch was used", name: str = "alice") -> Alert:
    found = Sighting(
        key="k", title=title, text=text, at=NOW, subject="S-1-5-21-1", subject_name=name, record=7
    )
    return made(CATALOGUE[2], found, ID, NOW + timedelta(seconds=1))


def parcel(stage: Stage = Stage.RAISED, **changes: str) -> Parcel:
    return Parcel(alert(**changes), stage)


# --------------------------------------------------------------------------------------------------------------- formats


def test_cef_as_a_siem_reads_it() -> None:
    line = cef(parcel(), "0.1.0")
    assert line.startswith("CEF:0|Bastide|Bastide|0.1.0|kill-switch|The kill switch was used|8|")
    extension = line.split("|", 7)[7]
    assert f"externalId={ID}-raised " in extension
    assert " suid=S-1-5-21-1 suser=alice msg=why cs1Label=rule cs1=kill-switch " in extension
    assert "cs4" not in extension


def _read(line: str) -> tuple[list[str], dict[str, str]]:
    """As a reader of CEF does: a header of seven fields, then pairs; a backslash takes its meaning from the next character."""
    header, rest = re.fullmatch(r"((?:(?:\\.|[^\\|])*\|){7})(.*)", line, re.DOTALL).groups()  # type: ignore[union-attr]
    pairs = re.findall(r"(\w+)=((?:\\.|[^\\=])*?)(?= \w+=|$)", rest)
    assert " ".join(f"{name}={value}" for name, value in pairs) == rest
    return header.split("|"), dict(pairs)


@given(st.text(max_size=60), st.text(max_size=60))
def test_nothing_of_others_ends_a_field_a_header_or_a_line_of_cef(text: str, name: str) -> None:
    line = cef(parcel(text=text + HOSTILE, title=text + HOSTILE, name=name + HOSTILE), "1")
    assert len(line.splitlines()) == 1
    _, plain = _read(cef(parcel(), "1"))
    _, fields = _read(line)
    assert list(fields) == list(plain)
    assert (fields["externalId"], fields["cs1"], fields["cn1"]) == (f"{ID}-raised", "kill-switch", "7")


@pytest.mark.parametrize(
    ("stage", "activity", "status"),
    [(Stage.RAISED, 1, 1), (Stage.ESCALATED, 2, 1), (Stage.ACKNOWLEDGED, 2, 2), (Stage.OVER, 3, 4)],
)
def test_ocsf_is_a_detection_finding(stage: Stage, activity: int, status: int) -> None:
    said = json.loads(ocsf(parcel(stage, text=HOSTILE), "0.1.0"))
    assert (said["class_uid"], said["category_uid"], said["type_uid"]) == (2004, 2, 200400 + activity)
    assert (said["activity_id"], said["status_id"], said["severity_id"]) == (activity, status, 4)
    assert said["metadata"] == {
        "version": "1.3.0",
        "uid": f"{ID}-{stage.value}",
        "product": {"name": "Bastide", "vendor_name": "Bastide", "version": "0.1.0"},
    }
    assert said["finding_info"]["uid"] == ID
    assert said["time"] == int(NOW.timestamp() * 1000)


@given(st.text(max_size=100))
def test_ocsf_is_one_line_whatever_was_chosen(text: str) -> None:
    line = ocsf(parcel(text=text + HOSTILE, name=text), "1")
    assert len(line.splitlines()) == 1
    assert json.loads(line)["class_uid"] == 2004


# ------------------------------------------------------------------------------------------------------------ transport


class Receiver:
    """A syslog receiver over TLS. What it got is in `got`."""

    def __init__(self, folder: Path) -> None:
        pair = issue(folder, "siem", "localhost")
        self.ca = pair.certificate
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pair.certificate, pair.key)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._context = context
        self.port = self._listening.getsockname()[1]
        self.got = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listening.accept()
                with self._context.wrap_socket(plain, server_side=True) as channel:
                    while piece := channel.recv(65536):
                        self.got += piece
            except OSError:
                if self._listening.fileno() < 0:
                    return

    def messages(self) -> list[bytes]:
        """Octet counting (RFC 6587, 3.4.1)."""
        found, rest = [], self.got
        while rest:
            length, _, rest = rest.partition(b" ")
            found.append(rest[: int(length)])
            rest = rest[int(length) :]
        return found

    def close(self) -> None:
        """Nobody listens there any more."""
        if self._listening.fileno() >= 0:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with closing(Receiver(tmp_path)) as one:
        yield one


def outlet_to(receiver: Receiver, form: str = "cef") -> SyslogOutlet:
    sender = SyslogSender(f"tls://localhost:{receiver.port}", ca=str(receiver.ca), timeout=10)
    return SyslogOutlet("siem", sender, form=form, version="1", host="node 1\n")


Make = Callable[[], tuple[Outlet, Callable[[], list[str]], Callable[[], None]]]


@pytest.fixture(params=["real", "twin"])
def both(request: pytest.FixtureRequest, receiver: Receiver) -> Make:
    """The destination, the ids that it took, and what makes it take nothing."""

    def make() -> tuple[Outlet, Callable[[], list[str]], Callable[[], None]]:
        if request.param == "twin":
            twin = MemoryOutlet("siem")
            return twin, lambda: [one.id for one in twin.taken], lambda: setattr(twin, "down", "refused")
        ids = re.compile(rb"externalId=(\S+)")
        return (
            outlet_to(receiver),
            lambda: [found.decode() for one in receiver.messages() for found in ids.findall(one)],
            receiver.close,
        )

    return make


def test_all_are_taken_in_their_order_or_none_is(both: Make) -> None:
    outlet, taken, break_it = both()
    parcels = [parcel(), parcel(Stage.OVER)]
    assert [one.fate for one in outlet.send(parcels)] == [Fate.TAKEN, Fate.TAKEN]
    assert taken() == [one.id for one in parcels]
    break_it()
    refused = outlet.send(parcels)
    assert [one.fate for one in refused] == [Fate.REFUSED, Fate.REFUSED]
    assert all(one.problem for one in refused)
    assert outlet.people is False


@pytest.mark.parametrize("form", ["cef", "ocsf"])
def test_a_message_is_rfc_5424_and_never_too_long(receiver: Receiver, form: str) -> None:
    long = parcel(text="\U0001f511" * 600, title="\\|" * 300, name="\u202e" * 256)
    assert outlet_to(receiver, form).send([parcel(), long])[0].fate is Fate.TAKEN
    first, second = receiver.messages()
    assert re.match(rb"<107>1 2026-11-21T09:00:00\.000000Z node\?1\? bastide - alert - (CEF:0\||\{)", first)
    assert len(second) <= SYSLOG_LIMIT


def test_a_certificate_that_nobody_vouches_for_gets_nothing(receiver: Receiver) -> None:
    sender = SyslogSender(f"tls://localhost:{receiver.port}", timeout=10)
    (refused,) = SyslogOutlet("siem", sender, form="ocsf", version="1").send([parcel()])
    assert (refused.fate, receiver.got) == (Fate.REFUSED, b"")
    assert "certificate verify failed" in refused.problem


def test_an_authority_that_cannot_be_read_names_its_setting(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"alerts\.destinations\.syslog_ca: .*nowhere"):
        SyslogSender("tls://siem:6514", ca=f"{tmp_path}/nowhere", setting="alerts.destinations.syslog")
