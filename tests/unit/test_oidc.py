"""Tokens of an OIDC issuer, through the whole application and a real HTTPS issuer: the steps of oidc/tokens.py, one by one."""

import base64
import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from litestar.testing import TestClient

from bastide.authn import SPAN, UNNAMED
from bastide.domain.errors import NotAuthenticated
from bastide.domain.people import Forest
from bastide.oidc.tokens import ALGORITHMS
from bastide.services.ports import AuditQuery
from bastide.web import create_app
from tests.support.api import Caller
from tests.support.graph import DIRECTORY, body, call, error, listed, submit
from tests.support.issuer import APPLICATION, AUDIENCE, IssuedWorld, Issuer, Key, issuing, served_with

Changes = dict[str, Any]


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with issuing(tmp_path_factory.mktemp("issuer")) as found:
        yield found


@pytest.fixture
def world(issuer: Issuer) -> Iterator[IssuedWorld]:
    with served_with(issuer) as found:
        yield found


def whoami(caller: Caller) -> httpx.Response:
    return caller.get("/whoami")


def refused(world: IssuedWorld, token: str, cause: str) -> None:
    """With the answer that every refusal has; the audit has the cause, and nothing has the token."""
    answer = whoami(world.bearer(token))
    assert answer.status_code == 401, answer.text
    assert answer.json()["detail"] == "the sign-in was not accepted"
    assert cause in world.causes()[-1]
    for part in token.split("."):
        assert not part or part not in answer.text + "".join(world.causes())


def test_a_token_signs_in_the_account_that_it_names(world: IssuedWorld) -> None:
    answer = whoami(world.bearer(world.issuer.sign(world.claims())))
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert (said["name"], said["via"], said["rights"]) == ("CORP\\alice", "oidc", ["use"])


def test_it_is_a_way_into_every_dialect(world: IssuedWorld) -> None:
    alice = world.bearer(world.issuer.sign(world.claims()))
    assert [one["displayName"] for one in listed(alice, f"{DIRECTORY}/roleDefinitions")] == [
        "Approved",
        "File administrators",
    ]
    assert alice.send("GET", "/api/pamresources/pamroles").status_code == 200
    made = submit(alice, code=True, **body(world, alice))
    assert made.status_code == 201, made.text
    without = submit(alice, code=False, **body(world, alice))
    assert '["MfaRule"]' in error(without)[2]


# ------------------------------------------------------------------------------------------------------- (1) to (4)


@pytest.mark.parametrize(
    "token",
    ["a.b.c", "..", ".", "a.b", "a.b.c.d.e", "e30.e30.e30", "\x00.\x00.\x00", "x" * 20_000 + ".a.b"],
    ids=lambda one: one[:12],
)
def test_1_what_is_no_token_is_refused(world: IssuedWorld, token: str) -> None:
    answer = whoami(world.bearer(token))
    assert answer.status_code == 401
    assert "the token" in world.causes()[-1]


@pytest.mark.parametrize(
    "header", ["[]", '"x"', "1", "null", "", "{", "\u00ff", "[" * 5000, '{"alg": ["RS256"]}', '{"alg": {}}']
)
@pytest.mark.parametrize("payload", ["{}", "[]", "x"])
def test_1_whatever_stands_in_it_is_refused_and_no_defect(
    world: IssuedWorld, header: str, payload: str
) -> None:
    parts = (base64.urlsafe_b64encode(one.encode()).rstrip(b"=").decode() for one in (header, payload))
    answer = whoami(world.bearer(".".join(parts) + ".AAAA"))
    assert (answer.status_code, answer.json()["code"]) == (401, "not-authenticated")


@pytest.mark.parametrize(
    "payload", [b"[]", b'"x"', b"7", b"null", b"", b"{", b"\xff", b"[" * 9000, b'{"exp": NaN}']
)
def test_1_what_the_issuer_signed_may_be_odd_too(world: IssuedWorld, payload: bytes) -> None:
    registry = jws.JWSRegistry(algorithms=["RS256"])
    token = jws.serialize_compact(
        {"alg": "RS256", "kid": "one"}, payload, world.issuer.keys["one"], registry=registry
    )
    answer = whoami(world.bearer(token))
    assert (answer.status_code, answer.json()["code"]) == (401, "not-authenticated")


def unsigned(claims: Changes, **header: Any) -> str:
    parts = (json.dumps(one).encode() for one in ({"kid": "one", **header}, claims))
    return ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in parts) + "."


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, "HS256", "hs256", "RS1", "dir"])
def test_2_an_algorithm_that_is_not_on_the_list_is_refused(world: IssuedWorld, algorithm: str | None) -> None:
    refused(world, unsigned(world.claims(), alg=algorithm), "algorithm")


def test_2_the_public_key_is_no_secret_to_sign_with(world: IssuedWorld) -> None:
    """RFC 8725 2.1: RS256 made into HS256, with what everybody can read as the secret."""
    public = world.issuer.keys["one"].as_pem(private=False)  # type: ignore[union-attr]
    for secret in (public, public.strip(), json.dumps(world.issuer.listed()[0]).encode()):
        token = world.issuer.sign(
            world.claims(), alg="HS256", key=OctKey.import_key(base64.b64encode(secret))
        )
        refused(world, token, "algorithm")


@pytest.mark.parametrize("header", [{"typ": "logout+jwt"}, {"typ": "secevent+jwt"}])
def test_2_a_token_of_another_type_is_refused(world: IssuedWorld, header: Changes) -> None:
    refused(world, world.issuer.sign(world.claims(), **header), "type")


@pytest.mark.parametrize(
    "header", [{"typ": "at+jwt"}, {"typ": "application/at+jwt"}, {"typ": None}, {"typ": "jwt"}]
)
def test_2_the_types_of_tokens_for_access_are_taken(world: IssuedWorld, header: Changes) -> None:
    assert whoami(world.bearer(world.issuer.sign(world.claims(), **header))).status_code == 200


def test_2_what_must_be_understood_is_not(world: IssuedWorld) -> None:
    token = unsigned(world.claims(), alg="RS256", crit=["b64"], b64=True)
    refused(world, token, "not known")


def test_3_a_key_that_the_header_brings_along_is_not_looked_at(world: IssuedWorld) -> None:
    mine = RSAKey.generate_key(2048, {"kid": "mine"})
    elsewhere = {"jku": f"{world.issuer.url}/other", "x5u": f"{world.issuer.url}/other"}
    world.issuer.say("/tenant/other", {"keys": [mine.as_dict(private=False)]})
    asked = len(world.issuer.asked)
    for more in ({}, {"jwk": mine.as_dict(private=False)}, elsewhere):
        refused(world, world.issuer.sign(world.claims(), kid="mine", key=mine, **more), "is not the issuer's")
    assert "/tenant/other" not in world.issuer.asked[asked:]
    refused(world, world.issuer.sign(world.claims(), key=mine), "signature")


@pytest.mark.parametrize("kid", [None, 7, ["one"]])
def test_3_a_token_names_its_key(world: IssuedWorld, kid: Any) -> None:
    refused(world, unsigned(world.claims(), alg="RS256", kid=kid), "names no key")


def test_4_a_claim_that_was_changed_is_refused(world: IssuedWorld) -> None:
    header, _, signature = world.issuer.sign(world.claims()).split(".")
    other = base64.urlsafe_b64encode(json.dumps(world.claims("bob")).encode()).rstrip(b"=").decode()
    refused(world, f"{header}.{other}.{signature}", "signature")
    refused(world, f"{header}.{other}.", "signature")


def test_4_every_algorithm_on_the_list_works_with_its_kind_of_key_only(issuer: Issuer) -> None:
    kinds: dict[str, Key] = {
        "RS": RSAKey.generate_key(2048, {"kid": "RS"}),
        "ES256": ECKey.generate_key("P-256", {"kid": "ES256"}),
        "ES384": ECKey.generate_key("P-384", {"kid": "ES384"}),
        "ES512": ECKey.generate_key("P-521", {"kid": "ES512"}),
        "Ed25519": OKPKey.generate_key("Ed25519", {"kid": "Ed25519"}),
    }
    before = dict(issuer.keys)
    issuer.keys |= kinds
    try:
        with served_with(issuer) as world:
            for algorithm in ALGORITHMS:
                kid = algorithm if algorithm in kinds else "RS"
                token = issuer.sign(world.claims(), kid=kid, alg=algorithm)
                assert whoami(world.bearer(token)).status_code == 200, algorithm
            for algorithm, kid in (
                ("ES256", "ES384"),
                ("RS256", "ES256"),
                ("Ed25519", "ES256"),
                ("ES256", "RS"),
            ):
                refused(world, unsigned(world.claims(), alg=algorithm, kid=kid) + "AAAA", "signature")
    finally:
        issuer.keys = before


# ------------------------------------------------------------------------------------------------------- (5) to (7)


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"iss": "https://localhost/other"}, "iss"),
        ({"iss": None}, "iss"),
        ({"iss": ["URL"]}, "iss"),
        ({"aud": "api://other"}, "aud"),
        ({"aud": ["api://other", "api://another"]}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": None}, "aud"),
        ({"aud": f"{AUDIENCE}/"}, "aud"),
        ({"aud": 7}, "aud"),
    ],
)
def test_5_a_token_of_another_issuer_or_for_another_is_refused(
    world: IssuedWorld, changes: Changes, cause: str
) -> None:
    refused(world, world.issuer.sign(world.claims(**changes)), cause)


def test_5_the_issuer_is_its_own_to_the_letter(world: IssuedWorld) -> None:
    for other in (f"{world.issuer.url}/", world.issuer.url.upper(), world.issuer.url.removesuffix("t")):
        refused(world, world.issuer.sign(world.claims(iss=other)), "iss")


def test_5_one_of_several_audiences_is_enough(world: IssuedWorld) -> None:
    token = world.issuer.sign(world.claims(aud=["api://other", AUDIENCE]))
    assert whoami(world.bearer(token)).status_code == 200


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({"exp": -59}, True),
        ({"exp": -61}, False),
        ({"nbf": 59}, True),
        ({"nbf": 61}, False),
        ({"iat": 59}, True),
        ({"iat": 61}, False),
    ],
)
def test_6_clocks_may_differ_by_a_minute(world: IssuedWorld, changes: dict[str, int], fits: bool) -> None:
    now = int(world.clock.now().timestamp())
    said: Changes = {name: now + by for name, by in changes.items()}
    token = world.issuer.sign(world.claims(**said))
    if fits:
        assert whoami(world.bearer(token)).status_code == 200
    else:
        refused(world, token, next(iter(changes)))


@pytest.mark.parametrize(
    "changes",
    [{"exp": None}, {"iat": None}, {"exp": "tomorrow"}, {"nbf": "yesterday"}, {"exp": True}],
    ids=str,
)
def test_6_a_token_says_until_when(world: IssuedWorld, changes: Changes) -> None:
    refused(world, world.issuer.sign(world.claims(**changes)), next(iter(changes)))


def test_6_a_token_ends(world: IssuedWorld) -> None:
    token = world.issuer.sign(world.claims())
    world.clock.move(minutes=59)
    assert whoami(world.bearer(token)).status_code == 200
    world.clock.move(minutes=3)
    refused(world, token, "exp")


@pytest.mark.parametrize(
    "changes",
    [
        {"azp": "another"},
        {"azp": None},
        {"azp": [APPLICATION]},
        {"azp": None, "client_id": "another"},
        {"client_id": "another"},
        {"appid": "another"},
    ],
    ids=str,
)
def test_7_an_application_that_is_not_on_the_list_acts_for_nobody(
    world: IssuedWorld, changes: Changes
) -> None:
    refused(world, world.issuer.sign(world.claims(**changes)), "application")


@pytest.mark.parametrize("name", ["azp", "client_id", "appid"])
def test_7_the_application_is_named_in_one_of_three_ways(world: IssuedWorld, name: str) -> None:
    said: Changes = {"azp": None, name: APPLICATION}
    token = world.issuer.sign(world.claims(**said))
    assert whoami(world.bearer(token)).status_code == 200


# -------------------------------------------------------------------------------------------------- the account: step 8


@pytest.mark.parametrize(
    "value",
    [None, "", "alice", "CORP\\alice", "S-1-5-21-9-9-9-9", "S-1-nothing", 7, ["x"], {"a": 1}, "S-1-5\n", "S-1-" + "5" * 400],
    ids=str,
)  # fmt: skip
def test_8_the_claim_names_an_account_in_its_form(world: IssuedWorld, value: Any) -> None:
    refused(world, world.issuer.sign(world.claims(onprem_sid=value)), "account")


@pytest.mark.parametrize(
    ("account", "claim", "value"),
    [("upn", "upn", None), ("name", "unique_name", "alice"), ("name", "unique_name", "ALICE"), ("sid", "onprem_sid", None)],
)  # fmt: skip
def test_8_an_account_is_named_by_sid_upn_or_name(
    issuer: Issuer, account: str, claim: str, value: str | None
) -> None:
    with served_with(issuer, account=account, claim=claim) as world:
        claims = world.claims()
        token = issuer.sign({**claims, claim: value or claims[claim]})
        assert whoami(world.bearer(token)).json()["name"] == "CORP\\alice"


@pytest.mark.parametrize(
    ("account", "value"),
    [("upn", "alice"), ("name", "alice@corp.bastide.test"), ("name", "CORP\\alice"), ("upn", "a\\alice@corp.bastide.test")],
)  # fmt: skip
def test_8_an_account_is_not_named_in_another_way(issuer: Issuer, account: str, value: str) -> None:
    with served_with(issuer, account=account, claim="n") as world:
        refused(world, issuer.sign(world.claims(n=value)), "account")


def test_8_a_name_that_the_directory_finds_by_another_attribute_is_refused(issuer: Issuer) -> None:
    """An account whose UPN's first half is another's name, or the other way round."""
    with served_with(issuer, account="upn", claim="n") as world:
        refused(world, issuer.sign(world.claims(n="alice@CORP")), "account")


def test_8_an_issuer_of_one_forest_names_nobody_of_the_other(issuer: Issuer) -> None:
    """Whoever owns CORP must not own Bastide."""
    with served_with(issuer) as world:
        dave = str(world.sign_in("dave").sid)
        refused(world, issuer.sign(world.claims(onprem_sid=dave)), "account")
    with served_with(issuer, forest="priv") as world:
        assert whoami(world.bearer(issuer.sign(world.claims("dave")))).json()["name"] == "PRIV\\dave"
        alice = str(world.sign_in("alice", Forest.CORP).sid)
        refused(world, issuer.sign(world.claims("dave", onprem_sid=alice)), "account")


def test_8_an_account_that_is_closed_signs_in_nobody(world: IssuedWorld) -> None:
    token = world.issuer.sign(world.claims())
    assert whoami(world.bearer(token)).status_code == 200
    account = world.corp.account(world.sign_in("alice", Forest.CORP).sid)
    world.corp.change(replace(account, person=replace(account.person, enabled=False)), None)
    refused(world, token, "disabled")


def test_8_groups_and_roles_in_a_token_give_nothing(issuer: Issuer) -> None:
    with served_with(issuer, forest="priv") as world:
        teams = [str(team.ref.sid) for team in world.teams.values()]
        token = issuer.sign(
            world.claims("heidi", groups=teams, roles=["administer"], wids=teams, scp="administer")
        )
        heidi = world.bearer(token, "heidi")
        said = whoami(heidi).json()
        assert (said["rights"], said["rights_with_code"]) == (["use"], ["approve"])
        assert heidi.get("/roles", code=True).status_code == 403


# -------------------------------------------------------------------------------------------- the second factor: step 9


def test_9_what_the_issuer_says_of_a_second_factor_counts_if_the_settings_say_so(issuer: Issuer) -> None:
    with served_with(issuer) as world:
        alice = world.bearer(issuer.sign(world.claims(amr=["pwd", "mfa"])))
        assert '["MfaRule"]' in error(submit(alice, code=False, **body(world, alice)))[2]
    with served_with(issuer, second_factor=["acr=high", "amr=mfa"]) as world:
        good: list[Changes] = [{"amr": ["pwd", "mfa"]}, {"amr": "mfa"}, {"acr": "high"}]
        for more in good:
            alice = world.bearer(issuer.sign(world.claims(**more)))
            assert submit(alice, code=False, **body(world, alice)).status_code == 201
        others: list[Changes] = [{"amr": ["pwd"]}, {"amr": ["MFA"]}, {"acr": "mfa"}, {"amr": {"mfa": 1}}, {}]
        for more in others:
            alice = world.bearer(issuer.sign(world.claims(**more)))
            assert '["MfaRule"]' in error(submit(alice, code=False, **body(world, alice)))[2]


@pytest.mark.parametrize(
    "auth_time",
    [None, -400, 120, "now", True, 1.5, -(10**18)],
    ids=["none", "old", "to come", "text", "bool", "float", "before time"],
)
def test_9_a_second_factor_has_its_own_time(issuer: Issuer, auth_time: Any) -> None:
    """When the token was made says nothing about it: it may have been renewed for days."""
    with served_with(issuer, second_factor=["amr=mfa"]) as world:
        now = int(world.clock.now().timestamp())
        at = now + auth_time if type(auth_time) is int else auth_time
        alice = world.bearer(issuer.sign(world.claims(amr=["mfa"], auth_time=at)))
        assert '["MfaRule"]' in error(submit(alice, code=False, **body(world, alice)))[2]


def test_9_rights_beyond_asking_take_a_second_factor(issuer: Issuer) -> None:
    with served_with(issuer, forest="priv", second_factor=["amr=mfa"]) as world:
        now = int(world.clock.now().timestamp())
        plain = world.bearer(issuer.sign(world.claims("dave")), "dave")
        assert plain.get("/roles").json()["code"] == "mfa-refused"
        assert plain.get("/roles", code=True).status_code == 200
        now = int(world.clock.now().timestamp())
        proved = issuer.sign(world.claims("dave", amr=["mfa"], auth_time=now - 60))
        assert world.bearer(proved).get("/roles").status_code == 200
        old = issuer.sign(world.claims("dave", amr=["mfa"], auth_time=now - 16 * 60))
        assert world.bearer(old).get("/roles").json()["code"] == "mfa-refused"


# ------------------------------------------------------------------------------------------------------------- the rest


def test_without_an_issuer_every_token_is_refused(issuer: Issuer) -> None:
    with served_with(issuer) as world:
        token = issuer.sign(world.claims())
        world.services.authn._tokens = None
        refused(world, token, "no issuer is configured")


def test_a_token_is_no_session(world: IssuedWorld) -> None:
    """It ends when it ends; there is nothing to keep a second factor in, and nothing to end."""
    alice = world.bearer(world.issuer.sign(world.claims()))
    assert whoami(alice).json()["mfa"] is None
    assert call(alice, "GET", "me", code=True).status_code == 200
    assert whoami(alice).json()["mfa"] is None
    assert alice.delete("/sessions/current").status_code == 409


def test_no_token_and_no_claim_is_in_the_log(world: IssuedWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    claims = world.claims(canary="canary-in-a-claim")
    tokens = [
        world.issuer.sign(claims),
        world.issuer.sign({**claims, "aud": "canary-in-the-audience"}),
        world.issuer.sign({**claims, "onprem_sid": "S-1-canary"}),
        unsigned(claims, alg="none"),
        unsigned(claims, alg="RS256") + "AAAA",
    ]
    for token in tokens:
        whoami(world.bearer(token))
        call(world.bearer(token), "GET", "me")
    said = caplog.text + "".join(world.causes())
    assert "canary" not in said
    for token in tokens:
        assert not any(part in said for part in token.split(".") if len(part) > 8)


def test_the_portal_takes_no_token_from_a_cookie(world: IssuedWorld) -> None:
    token = world.issuer.sign(world.claims())
    answer = world.client.get("/", headers={"Cookie": f"__Host-bastide={token}"}, follow_redirects=False)
    assert answer.status_code == 401


def test_a_good_token_is_named_in_the_access_log_by_its_account(
    world: IssuedWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "bastide.http.access")
    whoami(world.bearer(world.issuer.sign(world.claims())))
    assert "CORP\\\\alice" in caplog.text


def test_a_refusal_says_that_tokens_are_taken(world: IssuedWorld, issuer: Issuer) -> None:
    """RFC 6750 3, in a field of its own after Negotiate: Firefox before 97 read one scheme of each field."""
    for path in ("/api/v1/whoami", "/v1.0/me", "/api/pamresources/pamroles", "/"):
        answer = world.anonymous().send("GET", path)
        assert answer.status_code == 401
        assert answer.headers.get_list("www-authenticate") == ["Negotiate", 'Bearer realm="Bastide"']
    for token in ("a.b.c", "0" * 64):
        offered = whoami(world.bearer(token)).headers.get_list("www-authenticate")
        assert offered == ["Negotiate", 'Bearer realm="Bastide", error="invalid_token"']
    good = whoami(world.corp_caller("alice"))
    assert [one.partition(" ")[0] for one in good.headers.get_list("www-authenticate")] == ["Negotiate"]
    world.services.authn._tokens = None
    with TestClient(create_app(world.services)) as plain:
        assert plain.get("/api/v1/whoami").headers.get_list("www-authenticate") == ["Negotiate"]


def test_junk_does_not_fill_the_audit(world: IssuedWorld, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever reaches the port may send it, and a record stays for ever. What is not on record is counted."""
    for n in range(UNNAMED + 20):
        assert whoami(world.bearer(f"{n}.b.c")).status_code == 401
    junk = Caller(world, {"Authorization": f"Negotiate {base64.b64encode(b'junk').decode()}"})
    assert whoami(junk).status_code == 401
    assert len(world.causes()) == UNNAMED
    assert caplog.text.count("refused sign-ins that name nobody") == 1
    assert whoami(world.bearer(world.issuer.sign(world.claims()))).status_code == 200
    with pytest.raises(NotAuthenticated):
        world.services.authn.password("CORP\\alice", "wrong")
    assert len(world.causes()) == UNNAMED + 1, "who has a name is on record"
    world.clock.moment += SPAN
    whoami(world.bearer("x.y.z"))
    with world.store.read() as uow:
        last = list(uow.audit.read(AuditQuery(kind="session.refused", limit=0)))[-1]
    assert json.loads(last.data)["before"] == 21
