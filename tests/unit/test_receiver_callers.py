"""Who is admitted: callers.py, step by step."""

from dataclasses import replace
from typing import Any

import pytest

from bastide.domain.errors import NotAuthorized
from bastide.services.passwords.callers import Caller, Callers
from tests.support.receiver import DC, Book, numbers

pytest_plugins = ["tests.support.receiver"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"principal": "alice@CORP.EXAMPLE.COM"},  # (1)
        {"principal": "host/dc1.corp.example.com@CORP.EXAMPLE.COM"},
        {"principal": "a@b$@CORP.EXAMPLE.COM"},
        {"key_realm": "PRIV.EXAMPLE.COM"},  # (2)
        {"realm": "PRIV.EXAMPLE.COM"},
        {"primary_group": 515},  # (3) a member server
        {"primary_group": 521},  # a read-only controller
        {"rid": 1001},  # (4) another account under a controller's name
        {"principal": "SRV1$@CORP.EXAMPLE.COM"},
    ],
)
def test_only_a_controller_is_admitted(book: Book, wrong: dict[str, Any]) -> None:
    with pytest.raises(NotAuthorized):
        Callers(register=book, events=book).admit(replace(DC, **wrong))
    assert numbers(book) == [6914]


def test_a_controller_is_admitted_for_one_domain(book: Book) -> None:
    caller = Callers(register=book, events=book).admit(DC)
    assert caller == Caller("corp.example.com", "DC1$", "dc1.corp.example.com")
    Callers.require_own(caller, "CORP.Example.com")
    with pytest.raises(NotAuthorized):  # (5)
        Callers.require_own(caller, "example.com")
