"""smb.conf, made anew at each start: a snapshot may belong to a lab of another name, with other paths."""

from collections.abc import Mapping

from bastide_lab import capture
from bastide_lab.plan import CORP, RESOLVER, Host, Site
from bastide_lab.scene import FORESTS

# The services that a lab needs: no nbt, no wrepl, and no dnsupdate (the recipe calls what that would run, once).
SERVICES = "s3fs, rpc, ldap, cldap, kdc, drepl, winbindd, kcc, dns"

#: What a controller writes of changes, beside its logs.
AUDIT = "audit.json"

Section = dict[str, object]


def write(site: Site, host: Host) -> None:
    """The host's smb.conf: a controller's, or that of a machine where only the client programs run."""
    sections = _controller(site, host) if host.is_controller else {"global": _client(site, host)}
    site.smb_conf(host).write_text(_render(sections))


def _render(sections: Mapping[str, Section]) -> str:
    return "".join(
        f"[{name}]\n" + "".join(f"\t{key} = {value}\n" for key, value in settings.items())
        for name, settings in sections.items()
    )


def _client(site: Site, host: Host) -> Section:
    directory = site.directory(host)
    places = ("lock directory", "state directory", "cache directory", "private dir", "pid directory")
    return {
        "realm": host.realm.kerberos,
        "workgroup": host.realm.netbios,
        **dict.fromkeys(places, directory),
        "log file": site.log(host) / "log.%m",
    }


def _controller(site: Site, host: Host) -> dict[str, Section]:
    data = site.data(host)
    sysvol = data / "state" / "sysvol"
    shares = {"sysvol": sysvol, "netlogon": sysvol / host.realm.dns / "scripts"}
    if host.realm is CORP:
        shares |= {share.name: data / "shares" / share.name for share in FORESTS[CORP.key].shares}
    sections: dict[str, Section] = {"global": _controller_settings(site, host)}
    return sections | {name: {"path": path, "read only": "no"} for name, path in shares.items()}


def _controller_settings(site: Site, host: Host) -> Section:
    data = site.data(host)
    settings: Section = {
        "netbios name": host.name,
        "realm": host.realm.kerberos,
        "workgroup": host.realm.netbios,
        "server role": "active directory domain controller",
        "ad dc functional level": "2016",
        "server services": SERVICES,
        "interfaces": "lo eth0",
        "bind interfaces only": "yes",
        "disable netbios": "yes",
        "smb ports": "445",
        "binddns dir": data / "bind-dns",
        "cache directory": data / "cache",
        "lock directory": data,
        "state directory": data / "state",
        "private dir": data / "private",
        "pid directory": site.run(host),
        "ncalrpc dir": site.run(host) / "ncalrpc",
        "logging": "file",
        "log file": site.log(host) / "log.%m",
        # As a controller whose changes somebody watches: JSON lines of groups, passwords and sign-ins, for the intake of events.
        "log level": f"0 dsdb_group_json_audit:5@{site.log(host) / AUDIT} dsdb_password_json_audit:5@{site.log(host) / AUDIT}"
        f" auth_json_audit:3@{site.log(host) / AUDIT}",
        "disable spoolss": "yes",
        "load printers": "no",
        "dreplsrv:notify_interval": "1",
        "dreplsrv:periodic_startup_interval": "5",
        # A snapshot must not wake up to a machine password that its partner does not know.
        "machine password timeout": "0",
        "prefork children": "2",
        # The PCNS classes are added as on a real domain: by an administrator, over LDAP.
        "dsdb:schema update allowed": "yes",
    }
    if host.realm is CORP:
        # Only CORP looks outwards: servers that forward to each other loop on every unknown name, 3 s each.
        settings["dns forwarder"] = RESOLVER
    return settings | capture.settings(site, host)
