"""One contract for everything that takes passwords: the twin in memory, plug-ins, programs, and real systems on the lab.

The checks are those that a third party runs against a target of its own (bastide.targets.conformance). A further system is a further name in
LOCAL or ON_LAB, and a way to a Subject.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bastide.targets.conformance import CHECKS, Subject
from bastide_lab.lab import Lab
from tests.support.inside import inside
from tests.support.target_systems import (
    Slapd,
    directory_389,
    memory_subject,
    plugin_subject,
    process_subject,
    samba,
)

pytest_plugins = ["tests.support.lab"]

LOCAL: dict[str, Callable[[Path], Subject]] = {
    "memory": lambda _: memory_subject(),
    "plugin": lambda _: plugin_subject(),
    "process": process_subject,
}


def _slapd(lab: Lab, _folder: Path, _stack: ExitStack) -> Subject:
    return Slapd(lab, lab.start_target("slapd")).subject()


def _389_ds(lab: Lab, _folder: Path, _stack: ExitStack) -> Subject:
    return directory_389(lab).subject()


def _samba(lab: Lab, folder: Path, stack: ExitStack) -> Subject:
    return stack.enter_context(samba(lab, folder)).subject()


def _samba_kerberos(lab: Lab, folder: Path, stack: ExitStack) -> Subject:
    system = stack.enter_context(samba(lab, folder))
    return system.subject(system.kerberos())


#: The subject is made, and used, inside of the server's namespace. What it must give back goes onto the stack.
ON_LAB: dict[str, Callable[[Lab, Path, ExitStack], Subject]] = {
    "slapd": _slapd,
    "389-ds": _389_ds,
    "samba": _samba,
    "samba-kerberos": _samba_kerberos,
}


@pytest.fixture(
    scope="module",
    params=[*LOCAL, *(pytest.param(name, marks=pytest.mark.lab) for name in ON_LAB)],
)
def subject(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Subject]:
    folder = tmp_path_factory.mktemp("target")
    if request.param in LOCAL:
        yield LOCAL[request.param](folder)
        return
    lab: Lab = request.getfixturevalue("lab")
    with inside(lab.namespace("bastide")), ExitStack() as stack:
        yield ON_LAB[request.param](lab, folder, stack)


@pytest.mark.parametrize("check", CHECKS)
def test_contract(subject: Subject, check: str) -> None:
    gc.collect()  # what other tests have left to be closed would be counted here
    CHECKS[check](subject)
