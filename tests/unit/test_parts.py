"""What is there only where the settings have its table: each way in says the same where it is missing, and names a table and a page that there are."""

from pathlib import Path

import pytest

from bastide.config import Config
from bastide.domain.errors import Conflict, NotFound
from bastide.http import parts
from bastide.http.parts import needed, shown
from tests.support.api import ApiWorld

pytest_plugins = ["tests.support.api"]
HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
ROUTES = {
    "alerts": "/alerts",
    "intake": "/privileged-changes",
    "monitoring": "/monitoring",
    "notifications": "/notification-channels",
    "passwords": "/passwords",
    "reset": "/resets",
}


@pytest.mark.parametrize("table", sorted(parts._PARTS))
def test_what_is_missing_is_a_table_with_a_page(table: str) -> None:
    assert table in Config.__struct_fields__
    with pytest.raises(Conflict) as refused:
        needed(None, table)
    assert f"[{table}]" in refused.value.remedy
    (page,) = [word for word in refused.value.remedy.split() if word.startswith("docs/")]
    assert (HOW_TO.parent.parent / page).is_file()
    with pytest.raises(NotFound) as hidden:
        shown(None, table)
    assert hidden.value.message == refused.value.message
    assert needed(table, table) == shown(table, table) == table


@pytest.mark.parametrize(("table", "path"), ROUTES.items())
def test_a_call_to_what_is_not_set_up_says_which_table(api: ApiWorld, table: str, path: str) -> None:
    answer = api.caller("dave").get(path)
    assert answer.status_code == 409, answer.text
    assert f"[{table}]" in answer.json()["remedy"]
