"""Whom the help desk reaches (domain/help_desk.py); the numbers are those of its docstring."""

from typing import Any

import pytest

from bastide.domain.help_desk import Member, Standing, why_above
from bastide.domain.ids import Sid

DOMAIN = "S-1-5-21-7-7-7"
HANNA, BOARD = Sid(f"{DOMAIN}-1200"), Sid(f"{DOMAIN}-2000")


def person(*groups: str, rid: int = 1300, protected: bool = False, **more: Any) -> Standing:
    sid = Sid(f"{DOMAIN}-{rid}")
    member = Member(sid, frozenset(map(Sid, groups)), protected)
    return Standing(**{"sids": frozenset({sid}), "members": (member,), **more})


@pytest.mark.parametrize(
    ("standing", "why"),
    [
        (person(rid=1200), "yourself"),  # (1)
        (person(pam_user=True), "a PAM user"),  # (2)
        (person(emergency=True), "an emergency account"),
        (person(own=True), "Bastide itself uses"),
        (person(rid=500), "built-in"),  # (3)
        (person(protected=True), "AdminSDHolder"),
        (person(f"{DOMAIN}-512"), "privileged group"),
        (person("S-1-5-32-544"), "privileged group"),
        (person(BOARD), "gives rights here"),  # (4)
        (person(unknown=("CN=x",)), "nobody could say which groups CN=x"),  # (5)
        (Standing(sids=frozenset()), "no account in a domain"),
        (person(f"{DOMAIN}-513"), ""),
    ],
)
def test_1_to_5_who_is_out_of_reach(standing: Standing, why: str) -> None:
    found = why_above({HANNA}, standing, {BOARD})
    assert (why in found) if why else not found
