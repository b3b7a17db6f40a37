"""Controllers that keep a copy of each new password, encrypted to somebody's OpenPGP certificate: `password hash gpg key ids` of smb.conf(5).

Samba finds the public key in GnuPG's home. That is a directory of the host here (GNUPGHOME, `process.environment`), so that no lab touches root's own.
"""

import subprocess
from itertools import pairwise

from bastide_lab.errors import LabError
from bastide_lab.plan import Host, Site
from bastide_lab.process import run

_IDS = "key-ids"


def enable(site: Site, host: Host, certificate: bytes) -> list[str]:
    """Put the certificate's keys into the host's key ring in the place of those that were there. Gives their fingerprints."""
    home = site.gnupg(host)
    home.mkdir(mode=0o700, exist_ok=True)
    for old in home.glob("pubring.kbx*"):
        old.unlink()
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    done = subprocess.run([*gpg, "--import"], input=certificate, capture_output=True, check=False)
    if done.returncode:
        raise LabError(f"gpg does not take the certificate: {done.stderr.decode(errors='replace').strip()}")
    ids = _fingerprints(run([*gpg, "--with-colons", "--list-keys"]))
    (home / _IDS).write_text(" ".join(ids))
    return ids


def settings(site: Site, host: Host) -> dict[str, object]:
    """What smb.conf says of it; nothing before `enable`."""
    ids = site.gnupg(host) / _IDS
    return {"password hash gpg key ids": ids.read_text()} if ids.exists() else {}


def _fingerprints(listed: str) -> list[str]:
    """Of the primary keys: an `fpr` record follows its `pub` (GnuPG's doc/DETAILS)."""
    rows = [line.split(":") for line in listed.splitlines()]
    return [after[9] for row, after in pairwise(rows) if row[0] == "pub" and after[0] == "fpr"]
