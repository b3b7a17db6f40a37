"""The table [passwords] of the settings, built as in production: real key, vault in a file, real log."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pysequoia import Cert, encrypt

from bastide.audit.event_log import LOGGER, ProcessEventLog
from bastide.config import Config, ConfigError, Corp, Keys, Passwords, Priv, Rights, SourceDomain
from bastide.domain.errors import DirectoryDenied, NotAuthorized, NotFound, StoreUnavailable
from bastide.domain.passwords import Receipt
from bastide.store.keys import AeadSealer, SystemRandom
from bastide.store.openpgp import PRIVATE, PUBLIC, generate_openpgp, read_certificate
from tests.support.sync_world import SyncWorld
from tests.support.world import TestClock

pytest.importorskip("ldap", reason="the extra `ad` is not installed")
pytest.importorskip("gssapi", reason="the extra `ad` is not installed")

SEALER = AeadSealer([bytes(range(11, 43))])
SECRET = "Grüße 🐟 pass"


def settings(folder: Path, **changes: Any) -> Passwords:
    fields: dict[str, Any] = {
        "vault": f"sqlite:///{folder / 'vault.db'}",
        "openpgp": [str(folder / PRIVATE)],
        "keytab": str(folder / "pcnsclnt.keytab"),
    }
    return Passwords(**{**fields, **changes})


def build(folder: Path, world: SyncWorld, **changes: Any):  # type: ignore[no-untyped-def]  # noqa: ANN201
    from bastide.wiring.synchronization import password_adapters

    return password_adapters(
        settings(folder, **changes),
        store=world.store,
        sealer=SEALER,
        random=SystemRandom(),
        clock=TestClock(),
        domains={},
    )


def test_a_password_goes_all_the_way(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    generate_openpgp(tmp_path)
    world = SyncWorld(enabled=False)
    world.ready("alice")
    adapters = build(tmp_path, world, event_level=3)
    world.adapters = replace(adapters, threads=1)
    world.passwords, world.sealer = world.assemble(), SEALER
    world.passwords.switchboard.enable(world.dave)
    world.runner = world.new_runner()
    certificate = Cert.from_bytes(read_certificate(tmp_path / PUBLIC))
    sealed = encrypt(SECRET.encode("utf-16-le"), [certificate], armor=False)
    with caplog.at_level(logging.INFO, logger=LOGGER):
        assert world.tell("alice", SECRET, secret=sealed).receipt is Receipt.STAGED
        world.work()
    assert world.password("alice", "crm") == SECRET
    assert {record.event["id"] for record in caplog.records if hasattr(record, "event")} == {6902, 6903, 6907}
    assert SECRET not in caplog.text
    assert not adapters.vault.references()
    assert isinstance(adapters.events, ProcessEventLog)
    with pytest.raises(NotFound):
        list(adapters.dates.since("nowhere.test", world.clock.now()))
    adapters.vault.close()
    world.close()


def test_settings_that_cannot_be(tmp_path: Path) -> None:
    world = SyncWorld()
    with pytest.raises(ConfigError, match="names no key"):
        build(tmp_path, world, openpgp=[])
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        build(tmp_path, world)
    generate_openpgp(tmp_path)
    with pytest.raises(ConfigError, match=r"passwords\.vault"):
        build(tmp_path, world, vault="sqlite:///vault.db")
    world.close()


def test_controllers_of_named_domains_are_looked_up_in_their_own_and_others_are_refused(
    tmp_path: Path,
) -> None:
    from bastide.directory.channel import AdControllerRegister
    from bastide.wiring.production import _domains

    sales = SourceDomain(domain="Sales.Test", controllers=["127.0.0.1"])
    config = Config(
        keys=Keys(master="/m", signing="/s"),
        priv=Priv(
            domain="priv.test",
            principal="svc@PRIV.TEST",
            keytab="/k",
            users_container="U",
            groups_container="G",
        ),
        corp=Corp(domain="corp.test"),
        rights=Rights(administrators=[], auditors=[], approvers=[]),
        passwords=settings(tmp_path, source_domains=[sales]),
    )
    domains = _domains(config, TestClock())
    assert set(domains) == {"priv.test", "corp.test", "sales.test"}
    register = AdControllerRegister(domains)
    with pytest.raises(DirectoryDenied, match=r"keytab /k of svc@PRIV\.TEST"):
        register.require_controller("sales.test", "DC1$", 1000)
    with pytest.raises(NotAuthorized, match="nothing is known") as unknown:
        register.require_controller("other.test", "DC1$", 1000)
    assert "[[passwords.source_domains]]" in unknown.value.remedy
