"""Whose Kerberos ticket the command line came with, and which one the server wants: said in every refusal. With real GSS-API, and no KDC."""

import ctypes
from pathlib import Path

import pytest

from bastide.cli.ccselect import chosen_for
from bastide.cli.exits import Exit, Stop
from bastide.cli.ticket import Exchange, Whose
from tests.support.ccache import cache

HOST = "bastide.priv.test"
_CONFIGURATION = """
[libdefaults]
  default_realm = PRIV.TEST
  dns_lookup_kdc = false
  dns_lookup_realm = false
  dns_canonicalize_hostname = false
[domain_realm]
  .mapped.test = ELSEWHERE.TEST
"""


@pytest.fixture
def holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the ticket is put; there is none yet."""
    (tmp_path / "krb5.conf").write_text(_CONFIGURATION)
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/ccache")
    return tmp_path / "ccache"


def refused(host: str = HOST) -> Stop:
    with pytest.raises(Stop) as refusal:
        Exchange(host).step()
    assert refusal.value.status is Exit.NOT_SIGNED_IN
    return refusal.value


def test_a_ticket_of_the_wrong_realm_is_named_and_the_right_realm_too(holder: Path) -> None:
    holder.write_bytes(cache("eve@OTHER.TEST", ends=2**31 - 1))
    stop = refused()
    assert "that of eve@OTHER.TEST" in stop.message
    assert "`kinit PERSON@PRIV.TEST`" in stop.remedy


def test_without_a_ticket_the_realm_is_named(holder: Path) -> None:
    assert not holder.exists()
    stop = refused()
    assert f"no Kerberos ticket for HTTP/{HOST}" in stop.message
    assert "`kinit PERSON@PRIV.TEST`" in stop.remedy


def test_a_ticket_that_is_over_is_said_to_be_so(holder: Path) -> None:
    holder.write_bytes(cache("alice@PRIV.TEST", ends=2))
    stop = refused()
    assert stop.message == f"the ticket of alice@PRIV.TEST is not good for HTTP/{HOST}: Ticket expired"
    assert "`kinit alice@PRIV.TEST`" in stop.remedy


def test_a_ticket_of_another_realm_that_is_over_names_the_right_realm(holder: Path) -> None:
    holder.write_bytes(cache("eve@OTHER.TEST", ends=2))
    stop = refused()
    assert stop.message == f"no Kerberos ticket for HTTP/{HOST}: Ticket expired"
    assert "`kinit PERSON@PRIV.TEST`" in stop.remedy


def test_of_several_tickets_the_one_that_is_used_for_the_host_is_named(
    holder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default one is another. GSS-API takes the one that fits the server's realm, and here no KDC gives anything for it."""
    several = holder.parent / "several"
    several.mkdir(mode=0o700)
    (several / "tkt1").write_bytes(cache("eve@OTHER.TEST", ends=2**31 - 1))
    (several / "tkt2").write_bytes(cache("alice@PRIV.TEST", ends=2**31 - 1))
    (several / "primary").write_text("tkt1\n")
    monkeypatch.setenv("KRB5CCNAME", f"DIR:{several}")
    stop = refused()
    assert "the ticket of alice@PRIV.TEST is not good" in stop.message
    assert "`kinit alice@PRIV.TEST`" in stop.remedy
    assert Exchange("bastide.other.test").whose().principal == "eve@OTHER.TEST"
    assert "that of eve@OTHER.TEST" in refused("bastide.mapped.test").message


def test_without_mit_kerberos_the_default_ticket_is_named(
    holder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holder.write_bytes(cache("alice@PRIV.TEST", ends=2**31 - 1))

    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert chosen_for("HTTP", HOST) == ""
    assert Exchange(HOST).whose().principal == "alice@PRIV.TEST"


def test_a_ticket_of_the_right_realm_that_does_not_do_is_got_anew_by_its_holder(holder: Path) -> None:
    """Here, because no KDC is there."""
    holder.write_bytes(cache("alice@PRIV.TEST", ends=2**31 - 1))
    stop = refused()
    assert "the ticket of alice@PRIV.TEST is not good" in stop.message
    assert "Major" not in stop.message
    assert "`kinit alice@PRIV.TEST`" in stop.remedy


def test_the_realm_is_the_one_that_krb5_conf_names(holder: Path) -> None:
    holder.write_bytes(cache("eve@OTHER.TEST", ends=2**31 - 1))
    assert "`kinit PERSON@ELSEWHERE.TEST`" in refused("bastide.mapped.test").remedy
    assert Exchange("bastide.mapped.test").whose() == Whose(
        "eve@OTHER.TEST", "bastide.mapped.test", "ELSEWHERE.TEST"
    )


# ----------------------------------------------------------------------------------------------- refused by the server

OTHER = Whose("eve@OTHER.TEST", HOST, "PRIV.TEST")
OURS = Whose("alice@priv.test", HOST, "PRIV.TEST")
NOBODY = Whose("", HOST, "PRIV.TEST")


def test_a_refused_sign_in_says_whose_ticket_it_was() -> None:
    sent = Stop("the sign-in was not accepted", remedy="sign in", status=Exit.NOT_SIGNED_IN, raw="{}")
    stop = OTHER.refused(sent)
    assert stop.message == "the sign-in was not accepted: the ticket is that of eve@OTHER.TEST"
    assert "`kinit PERSON@PRIV.TEST`" in stop.remedy
    assert (stop.status, stop.raw) == (Exit.NOT_SIGNED_IN, "{}")
    assert OURS.refused(sent).remedy == "sign in"
    assert NOBODY.refused(sent).message == "the sign-in was not accepted"
    assert "`kinit PERSON@PRIV.TEST`" in NOBODY.refused(sent).remedy


def test_a_right_that_is_missing_names_the_ticket_and_anything_else_does_not() -> None:
    sent = Stop(
        "eve has not the right to administer", remedy="sign in with a PRIV account", code="not-authorized"
    )
    assert OTHER.refused(sent).remedy.endswith("; you came with the ticket of eve@OTHER.TEST")
    assert NOBODY.refused(sent).remedy == "sign in with a PRIV account"
    other = Stop("no", remedy="this", code="conflict")
    assert (OTHER.refused(other).message, OTHER.refused(other).remedy) == ("no", "this")


def test_a_ticket_of_the_other_forest_is_good_for_the_servers_name_there() -> None:
    said = Whose("alice@CORP.TEST", "bastide.priv.test", "PRIV.TEST").remedy
    assert "use the server's name in CORP.TEST, if it has one there" in said
    assert "--server https://bastide.corp.test:8443" in said
    assert "`kinit PERSON@PRIV.TEST`" in said
    assert "name in" not in Whose("", "bastide.priv.test", "PRIV.TEST").remedy
