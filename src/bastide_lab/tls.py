"""A certificate authority for one snapshot, and the certificates it signs: the server's and the controllers'.

The controllers get theirs before their first start: Samba would otherwise make an RSA key of 4096 bits for itself,
which takes seconds and which nothing could verify.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from bastide_lab.plan import BASTIDE2, BASTIDE3, DATABASES, HOSTS, SERVER_NAMES, Host, Site, server_names
from bastide_lab.process import run

DAYS = "3650"
CONFIGURATION = """\
[req]
distinguished_name = name
prompt = no
[name]
CN = {name}
[ca]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign,cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
[peer]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth,clientAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = {names}
"""


def create(directory: Path) -> None:
    """ca.crt, server.crt and server.key of the first server, and one pair each for the others, the controllers and the databases; every key has mode 0600."""
    directory.mkdir(parents=True, exist_ok=True)
    issue(directory, "ca", "ca", ["bastide-lab CA"])
    issue(directory, "server", "server", SERVER_NAMES)
    for host in HOSTS.values():
        if host.is_controller:
            issue(directory, host.name, "server", [host.fqdn, host.realm.dns])
    for host in (BASTIDE2, BASTIDE3):
        issue(directory, host.name, "server", server_names(host))
    for host in DATABASES:
        issue(directory, host.name, "peer", [host.fqdn])


def install(site: Site, host: Host) -> None:
    """Put a controller's certificate where Samba looks for it by default."""
    target = site.data(host) / "private" / "tls"
    target.mkdir(mode=0o700, exist_ok=True)
    for source, name in (
        ("ca.crt", "ca.pem"),
        (f"{host.name}.crt", "cert.pem"),
        (f"{host.name}.key", "key.pem"),
    ):
        shutil.copy(site.tls / source, target / name)
    (target / "key.pem").chmod(0o600)


def issue(directory: Path, stem: str, section: str, names: Sequence[str]) -> None:
    """STEM.crt and STEM.key in `directory`, signed by the ca.key there; section "ca" makes ca.key itself, "peer" one that also shows who calls."""
    configuration = directory / f"{stem}.cnf"
    alternatives = ",".join(f"DNS:{name}" for name in names)
    configuration.write_text(CONFIGURATION.format(name=names[0], names=alternatives))
    key = directory / f"{stem}.key"
    key.touch(mode=0o600)
    signer = [] if section == "ca" else ["-CA", directory / "ca.crt", "-CAkey", directory / "ca.key"]
    run(
        [
            "openssl",
            "req",
            "-x509",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-noenc",
            "-utf8",
        ]
        + ["-config", str(configuration), "-extensions", section, "-days", DAYS]
        + ["-keyout", str(key), "-out", str(directory / f"{stem}.crt")]
        + [str(part) for part in signer]
    )
    key.chmod(0o600)
    configuration.unlink()
