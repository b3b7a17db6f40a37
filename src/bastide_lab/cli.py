"""bastide-lab: bring up, look at, use and take down a lab."""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence

from bastide_lab.errors import LabError
from bastide_lab.lab import Lab
from bastide_lab.plan import HOSTS

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    try:
        status: int = options.action(Lab(options.prefix), options)
    except LabError as error:
        print(f"bastide-lab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bastide-lab: interrupted", file=sys.stderr)
        return INTERRUPTED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bastide-lab", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--prefix", default="bastide", help="the lab's name; several labs live side by side")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    up = commands.add_parser(
        "up", parents=[common], help="bring the lab up, in seconds if it was provisioned before"
    )
    up.add_argument("--second-dc", action="store_true", help="with a second controller of PRIV, privdc2")
    up.add_argument(
        "--cluster",
        action="store_true",
        help="with three hosts of PostgreSQL (Patroni) and two more for servers",
    )
    up.add_argument("--shares", action="store_true", help="with two file servers (Samba with CTDB)")
    up.set_defaults(action=_up)

    down = commands.add_parser("down", parents=[common], help="leave nothing behind, also after a crash")
    down.set_defaults(action=_down)

    status = commands.add_parser("status", parents=[common], help="what stands and what runs")
    status.add_argument("--json", action="store_true", help="for programs")
    status.set_defaults(action=_status)

    execute = commands.add_parser(
        "exec", parents=[common], help="run a command on a host: exec HOST -- CMD..."
    )
    execute.add_argument("host", choices=list(HOSTS), metavar="HOST", help=", ".join(HOSTS))
    execute.add_argument("command", nargs="+", metavar="CMD")
    execute.set_defaults(action=_exec)
    return parser


def _up(lab: Lab, options: argparse.Namespace) -> int:
    started = time.monotonic()
    lab.up(second_dc=options.second_dc, cluster=options.cluster, shares=options.shares)
    print(f"lab {lab.prefix} is up ({time.monotonic() - started:.1f} s): {', '.join(lab.status()['hosts'])}")
    return 0


def _down(lab: Lab, _options: argparse.Namespace) -> int:
    lab.down()
    print(f"lab {lab.prefix} is down")
    return 0


def _status(lab: Lab, options: argparse.Namespace) -> int:
    """Exit code 0 if the lab is up, 3 (as for a stopped service, LSB) if it is not."""
    status = lab.status()
    if options.json:
        print(json.dumps(status, indent=1))
    else:
        print(f"lab {lab.prefix}: {'up' if status['up'] else 'down'}")
        for name, host in status["hosts"].items():
            samba = {True: "samba runs", False: "samba is stopped", None: ""}[host.get("running")]
            link = "" if host["linked"] else "cut off"
            primary = "primary database" if name == status["primary"] else ""
            print(f"  {name:8} {host['address']:12} {host['fqdn']:28} {samba}{primary} {link}".rstrip())
    return 0 if status["up"] else 3


def _exec(lab: Lab, options: argparse.Namespace) -> int:
    command, environment = lab.command(options.host, options.command)
    os.execvpe(command[0], command, environment)  # noqa: S606 - to become that command is the point


if __name__ == "__main__":
    raise SystemExit(main())
