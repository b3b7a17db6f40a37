"""The contract of targets, for files. A file has no accounts of its own, so one check does not fit: nobody is missing there."""

import gc
from pathlib import Path

import pytest

from bastide.domain.management_agents import CsId, CsObject, MaId
from bastide.targets.conformance import CHECKS, Subject
from tests.support.target_files import Kinds, agent, registry, ssha512_fits


def _object(anchor: str) -> CsObject:
    return CsObject(
        id=CsId(anchor), ma=MaId("ma"), anchor=anchor, dn=f"uid={anchor}", type="user", attributes={}
    )


@pytest.mark.parametrize("kind", Kinds)
@pytest.mark.parametrize("check", [name for name in CHECKS if name != "results-come-in-order"])
def test_contract(kind: Kinds, check: str, tmp_path: Path) -> None:
    given = {
        "path": str(tmp_path / "in"),
        "anchor": "id",
        **kind.settings,
        "export": {"path": str(tmp_path / "out"), "scheme": "ssha512", **kind.export},
    }

    def signs_in(password: str) -> bool:
        given_back = {**given, "path": str(tmp_path / "out")}
        (tmp_path / "copy").write_bytes((tmp_path / "out").read_bytes().replace(b"export_password", b"hash"))
        given_back["path"] = str(tmp_path / "copy")
        del given_back["export"]
        if kind is Kinds.FIXED_WIDTH:
            given_back["columns"] = [
                {**one, "name": one["name"].replace("export_password", "hash")}
                for one in kind.export["columns"]
            ]
        pages = registry().connector(agent(kind.kind, given_back), "").read(b"")
        kept = next(one.attributes["hash"][0] for page in pages for one in page.objects if one.anchor == "1")
        return ssha512_fits(kept, password)

    subject = Subject(
        make=lambda: registry().target(agent(kind.kind, given), ""),
        account=_object("1"),
        absent=_object("2"),
        signs_in=signs_in,
    )
    gc.collect()  # what other tests have left to be closed would be counted
    CHECKS[check](subject)
