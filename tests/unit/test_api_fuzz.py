"""Schemathesis over the API's own description: whatever comes, no answer is a 500, and every refusal is a problem."""

from typing import Any, cast

import hypothesis
import schemathesis
from hypothesis import HealthCheck, Phase, settings, strategies
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig

from bastide.web import create_app
from tests.support.api import Caller, served

EXAMPLES = 8
BOUNDS = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def test_no_input_gives_a_500() -> None:
    """Each operation, as each kind of person, with good and bad values."""
    with served() as api:
        document = api.anonymous().get("/openapi.json").json()
        schema = schemathesis.openapi.from_dict(document, config=SchemathesisConfig())
        people = [api.caller("dave"), api.caller("frank"), api.caller("grace"), api.corp_caller("alice")]
        answers: list[int] = []
        for result in schema.get_all_operations():
            operation = cast("Any", result).ok()

            good, bad = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)

            @hypothesis.given(case=good | bad, who=strategies.sampled_from(people))
            @BOUNDS
            def check(case: Any, who: Caller) -> None:
                answers.append(_send(api.client, case, who.headers))

            check()
    assert set(answers) >= {200, 404, 422}
    assert len(answers) > 250


def _send(client: Any, case: Any, headers: dict[str, str]) -> int:
    sent = case.as_transport_kwargs(base_url="http://testserver.local", headers=headers)
    sent.pop("cookies", None)
    if isinstance(sent.get("data"), bytes | str):
        sent["content"] = sent.pop("data")
    answer = client.request(**sent)
    assert answer.status_code not in {500, 502}, (case.method, case.path, sent, answer.text)
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/problem+json", (case.path, answer.text)
        assert answer.json()["status"] == answer.status_code
    return int(answer.status_code)


def test_the_application_starts_the_same_twice() -> None:
    """What is fuzzed is what is served."""
    with served() as api:
        first, second = (create_app(api.services).openapi_schema.to_schema() for _ in range(2))
        assert first == second
