"""The table [notifications] as the service has it: real clock, real threads, a database in a file, apprise, and a webhook over TLS."""

import time
from pathlib import Path

import pytest

from bastide.config import (
    Config,
    Database,
    Keys,
    Priv,
    Rights,
    Server,
)
from bastide.domain.audit import Event
from bastide.sections import NotificationChannel, Notifications
from bastide.store import keys, migrations
from tests.support.notification_servers import TOKEN, Webhook, tls, webhook

pytest.importorskip("ldap", reason="the extra `ad` is not installed")
pytest.importorskip("gssapi", reason="the extra `ad` is not installed")


def config(folder: Path, hook: Webhook, ca: Path) -> Config:
    keys.generate_key_files(folder)
    address = folder / "address"
    address.write_text(f"jsons://localhost:{hook.port}/{TOKEN}\n")
    address.chmod(0o600)
    url = f"sqlite:///{folder / 'bastide.db'}"
    migrations.upgrade(url)
    return Config(
        server=Server(url="https://bastide.priv.test:8443", node="node-1"),
        database=Database(url=url),
        keys=Keys(master=str(folder / "master.key"), signing=str(folder / "signing.key")),
        priv=Priv(
            domain="priv.test",
            principal="svc@PRIV.TEST",
            keytab=str(folder / "nowhere.keytab"),
            controllers=["dc.invalid"],
            users_container="OU=U",
            groups_container="OU=G",
        ),
        rights=Rights(administrators=[], auditors=[], approvers=[]),
        notifications=Notifications(
            ca=str(ca), channels=[NotificationChannel(name="chat", url=str(address), events=["kill-switch"])]
        ),
    )


def test_what_is_committed_is_told_within_seconds(tmp_path: Path) -> None:
    from bastide.cli.server import _working
    from bastide.wiring.production import build

    context, ca = tls(tmp_path)
    with webhook(context) as hook:
        settings = config(tmp_path, hook, ca)
        services = build(settings)
        with _working(settings, services, start=True):
            with services.store.write() as uow:
                data = {"what": "all", "reason": "incident 42", "requests": 3}
                now = services.clock.now()
                uow.audit.append(Event("kill-switch", now, "S-1-5-21-2-2-2-500", "PRIV\\dave", data=data))
                uow.commit()
            until = time.monotonic() + 60
            while time.monotonic() < until:
                with services.store.read() as uow:
                    sent = uow.audit.last("notification.sent", "chat")
                if sent is not None:
                    break
                time.sleep(0.1)
        assert sent is not None
        ((path, headers, body),) = hook.calls
        assert path == f"/{TOKEN}"
        assert len(headers["X-Bastide-Notification"]) == 32
        assert body["title"] == "Bastide: Kill switch used: all"
        assert "incident 42" in body["message"]
        assert "https://bastide.priv.test:8443/" in body["message"]
        with services.store.read() as uow:
            assert [row["kind"] for row in uow.work.listing() if str(row["kind"]).startswith("notify")] == [
                "notify"
            ]
        services.store.close()  # type: ignore[attr-defined]
