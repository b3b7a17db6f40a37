"""A file server of its own on the host `targets`: in no domain, with one account, and as old or careless as a test wants it."""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bastide_lab.lab import Lab
from bastide_lab.plan import TARGETS
from bastide_lab.ready import answers

SHARE = "plain"
URL = f"smb://{TARGETS.fqdn}/{SHARE}"
#: A user of this machine; the account has its name.
ACCOUNT = "daemon"
_SETTINGS = """\
[global]
server role = standalone server
disable netbios = yes
smb ports = 445
load printers = no
disable spoolss = yes
private dir = {folder}
lock directory = {folder}
state directory = {folder}
cache directory = {folder}
pid directory = {folder}
ncalrpc dir = {folder}/ncalrpc
logging = file
log file = {folder}/log
rpc start on demand helpers = no
{more}
[{share}]
path = {folder}/share
read only = no
guest ok = yes
"""


@contextmanager
def serving(lab: Lab, password: str, *more: str) -> Iterator[Path]:
    """The folder that its share shows; `more`: lines of smb.conf."""
    # Not pytest's folder: its account could not go through it.
    with TemporaryDirectory(prefix="bastide-smbd-", dir="/tmp") as made:
        folder = Path(made)
        folder.chmod(0o755)
        shown = folder / "share"
        shown.mkdir()
        shown.chmod(0o777)
        with _running(lab, folder, password, more):
            yield shown


@contextmanager
def _running(lab: Lab, folder: Path, password: str, more: Sequence[str]) -> Iterator[None]:
    settings = folder / "smb.conf"
    settings.write_text(_SETTINGS.format(folder=folder, more="\n".join(more), share=SHARE))
    lab.exec(
        TARGETS.name,
        ["pdbedit", "-s", settings, "-a", "-t", "-u", ACCOUNT],
        input=f"{password}\n{password}\n",
        check=True,
    )
    # In a session of its own: at its end it ends its whole process group.
    server = lab.popen(
        TARGETS.name, ["smbd", "-F", "--no-process-group", "-s", settings], start_new_session=True
    )
    try:
        while server.poll() is None and not answers(TARGETS.address, 445):
            pass
        assert server.poll() is None, (folder / "log").read_text()
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()
