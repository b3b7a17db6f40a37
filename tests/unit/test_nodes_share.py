"""What a person began on one node goes on at another: sessions, forms, security keys' challenges, second factors. Two applications over one database."""

from tests.support.authenticator import Authenticator
from tests.support.nodes import Cluster
from tests.support.portal import role_form, signed_in

pytest_plugins = ["tests.support.nodes"]
SIGN_IN = {"account": "PRIV\\grace", "password": "grace-priv-pw"}


def test_a_session_of_one_node_is_one_of_the_other(cluster: Cluster) -> None:
    a, b = cluster.node("a"), cluster.node("b")
    token = a.client.post("/api/v1/sessions", json=SIGN_IN).json()["token"]
    mine = {"Authorization": f"Bearer {token}"}
    assert b.client.get("/api/v1/whoami", headers=mine).json()["name"] == "PRIV\\grace"
    code = {**mine, "Bastide-Code": cluster.world.code("grace")}
    assert a.client.get("/api/v1/whoami", headers=code).status_code == 200
    assert b.client.get("/api/v1/whoami", headers=mine).json()["mfa"]["method"] == "totp", (
        "its second factor too"
    )
    assert b.client.get("/api/v1/whoami", headers=code).status_code == 403, (
        "a code is good once, for all nodes"
    )
    assert b.client.delete("/api/v1/sessions/current", headers=mine).status_code == 204
    assert a.client.get("/api/v1/whoami", headers=mine).status_code == 401


def test_a_form_of_one_node_is_taken_by_the_other(cluster: Cluster) -> None:
    """The browser goes on with its cookie, and the token of a form is made from the session alone."""
    a, b = cluster.node("a"), cluster.node("b")
    cluster.turn_to(a)
    browser = signed_in(cluster.world, "CORP\\alice")
    form = role_form(browser, "File administrators")
    cluster.turn_to(b)
    page = browser.send(form, justification="patch the server", code=cluster.world.code("alice"))
    assert page.status == 200
    assert "patch the server" in page.text
    cluster.turn_to(a)
    assert len(cluster.world.corp_caller("alice").get("/requests").json()["items"]) == 1


def test_a_challenge_of_one_node_is_answered_at_the_other_and_once(cluster: Cluster) -> None:
    a, b = cluster.node("a"), cluster.node("b")
    grace, device = cluster.world.sign_in("grace"), Authenticator()
    asked = a.services.security_keys.ask_to_register(grace, "session")
    b.services.security_keys.register(grace, "session", "blue key", device.make(asked))
    asked = b.services.security_keys.ask_to_prove(grace, "session")
    answer = device.use(asked)
    assert a.services.security_keys.prove(grace, "session", answer).method == "webauthn"
