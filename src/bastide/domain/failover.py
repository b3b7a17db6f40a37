"""A Windows failover cluster as its own cmdlets show it: what they said, read from JSON, and what is wrong with it.

The order is that of Microsoft's run-book for nodes that cannot be reached: the service, WMI, the nodes, the account of the cluster's name, groups and resources, events, the log.
What the cmdlets say is from their documentation; none of this was tried on Windows.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType

from bastide.domain.errors import BadSource
from bastide.domain.health import Finding, Severity

Row = Mapping[str, object]


class Question(StrEnum):
    """In the order in which they are asked."""

    SERVICES = "services"
    WMI = "wmi"
    NODES = "nodes"
    NAMES = "names"
    GROUPS = "groups"
    RESOURCES = "resources"
    EVENTS = "events"
    LOG = "log"


#: What every row of an answer has.
_FIELDS: Mapping[Question, tuple[str, ...]] = MappingProxyType(
    {
        Question.SERVICES: ("Name", "Status", "StartType"),
        Question.WMI: ("Name",),
        Question.NODES: ("Name", "State"),
        Question.NAMES: ("Name", "State", "StatusKerberos", "StatusDNS", "Account", "Enabled"),
        Question.GROUPS: ("Name", "State", "OwnerNode"),
        Question.RESOURCES: ("Name", "State", "OwnerGroup", "ResourceType"),
        Question.EVENTS: ("Id", "Level", "At", "Node", "Message"),
        Question.LOG: ("Line",),
    }
)
#: Numbers of the source Microsoft-Windows-FailoverClustering, what they mean and what to do.
_EVENTS: Mapping[int, tuple[str, str]] = MappingProxyType(
    {
        1069: ("a resource failed", "look at that resource and what it depends on: Get-ClusterResource"),
        1135: ("a node was taken out of the active members", "look at the network between the nodes: UDP 3343, both ways"),
        1146: ("the process that hosts resources ended", "the log says which resource was called last; update what hosts it"),
        1177: ("quorum was lost", "bring nodes and the witness back: Get-ClusterQuorum says which there are"),
        1194: (
            "the account of a network name could not be made",
            "give the cluster's own account Create Computer Objects and Read All Properties on the OU, or pre-stage the account, disabled",
        ),
        1196: ("a network name is not registered in DNS", "let the cluster's account write that record, or make it by hand"),
        1205: ("a group is not wholly online", "look at the resource of it that failed first"),
        1207: (
            "the account of a network name could not be updated",
            "see that it is enabled, and repair it: Failover Cluster Manager, Repair Active Directory Object",
        ),
        1564: ("the file share witness cannot be reached", "see that the share is there and the cluster's account may write to it"),
        1672: ("a node is in quarantine", "find out why it dropped out, then Start-ClusterNode -ClearQuarantine"),
    }
)  # fmt: skip
_NEEDED = {"ClusSvc": "the Cluster service", "Winmgmt": "Windows Management Instrumentation"}
_SHOWN = 5
_LONGEST = 300


def rows_of(question: Question, text: str) -> tuple[Row, ...]:
    """What ConvertTo-Json made of an answer: an array, or one object, or nothing. Raises BadSource."""
    if not text.strip():
        return ()
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        raise _unreadable(question, "it is not JSON") from None
    rows = said if isinstance(said, list) else [said]
    for row in rows:
        if not isinstance(row, dict):
            raise _unreadable(question, "it is no list of objects")
        if missing := [name for name in _FIELDS[question] if name not in row]:
            raise _unreadable(question, f"it lacks {', '.join(missing)}")
    return tuple(rows)


def judge(question: Question, rows: Sequence[Row]) -> Finding:
    """What is wrong with it, if anything."""
    return _JUDGES[question](rows)


def _unreadable(question: Question, why: str) -> BadSource:
    return BadSource(
        f"the answer to {question.value} cannot be read: {why}",
        remedy="this was written after Microsoft's documentation and never tried on Windows: report the answer as a defect",
    )


def _text(row: Row, name: str) -> str:
    return str(row[name])[:_LONGEST]


def _services(rows: Sequence[Row]) -> Finding:
    seen = {_text(row, "Name").lower(): row for row in rows}
    for name, what in _NEEDED.items():
        row = seen.get(name.lower())
        if row is None:
            return _bad(
                "services",
                f"{what} ({name}) is not installed",
                "install the feature: Install-WindowsFeature Failover-Clustering",
            )
        if _text(row, "Status") != "Running":
            return _bad(
                "services",
                f"{what} ({name}) is {_text(row, 'Status')}",
                f"Start-Service {name}; the System log says why it stopped",
            )
        if _text(row, "StartType") != "Automatic":
            return _bad(
                "services",
                f"{what} ({name}) runs, and is not started with the machine",
                f"Set-Service {name} -StartupType Automatic",
                severity=Severity.WARNING,
            )
    return _good("services", "the Cluster service and WMI run, and start with the machine")


def _wmi(rows: Sequence[Row]) -> Finding:
    if not rows:
        return _bad(
            "wmi",
            r"WMI answers, and root\MSCluster shows no group",
            "see that the Cluster service runs; a repository that is broken is the last thing to suspect: winmgmt /verifyrepository",
        )
    return _good("wmi", rf"root\MSCluster answers with {len(rows)} groups")


def _nodes(rows: Sequence[Row]) -> Finding:
    if not rows:
        return _bad("nodes", "the cluster names no node", "run Get-ClusterNode there: every cluster has one")
    down = [f"{_text(row, 'Name')}: {_text(row, 'State')}" for row in rows if _text(row, "State") != "Up"]
    up = len(rows) - len(down)
    if not down:
        return _good("nodes", f"all {up} nodes are up")
    paused = all(one.endswith(": Paused") for one in down)
    return _bad(
        "nodes",
        f"{len(down)} of {len(rows)} nodes are not up",
        "Resume-ClusterNode ends a pause"
        if paused
        else "begin on that node: its Cluster service, its network to the others (UDP 3343)",
        _list(down),
        severity=Severity.ERROR if up * 2 <= len(rows) else Severity.WARNING,
    )


def _names(rows: Sequence[Row]) -> Finding:
    for row in rows:
        name = _text(row, "Name")
        if not row["Account"]:
            return _bad(
                "names",
                f"{name} has no account in the directory",
                "restore it from the Recycle Bin, or repair it: Failover Cluster Manager, Repair Active Directory Object",
            )
        if row["Enabled"] is False:
            return _bad(
                "names",
                f"the account of {name} is disabled",
                "enable it, then bring the name online",
                _text(row, "Account"),
            )
        for field, what in (("StatusKerberos", "Kerberos"), ("StatusDNS", "DNS")):
            if row[field] not in (0, "0", None):
                return _bad(
                    "names",
                    f"{what} of {name} has status {_text(row, field)}",
                    "`net helpmsg` says what the number means; events 1194, 1196 and 1207 say more",
                    _text(row, "Account"),
                )
        if _text(row, "State") != "Online":
            return _bad(
                "names",
                f"{name} is {_text(row, 'State')}",
                "Start-ClusterResource brings it online, or says why not",
            )
    return _good("names", f"{len(rows)} network names are online, with accounts that are enabled")


def _groups(rows: Sequence[Row]) -> Finding:
    if not rows:
        return _bad(
            "groups", "the cluster names no group", "run Get-ClusterGroup there: every cluster has one"
        )
    # The group of storage that nothing uses is offline by nature.
    off = [
        row for row in rows if _text(row, "State") != "Online" and _text(row, "Name") != "Available Storage"
    ]
    said = [f"{_text(row, 'Name')}: {_text(row, 'State')} on {_text(row, 'OwnerNode')}" for row in off]
    if not said:
        return _good("groups", f"all {len(rows)} groups are online")
    return _bad(
        "groups",
        f"{len(said)} groups are not online",
        "the next step shows the resource; Start-ClusterGroup tries again",
        _list(said),
        severity=Severity.WARNING,
    )


def _resources(rows: Sequence[Row]) -> Finding:
    failed = [row for row in rows if _text(row, "State") == "Failed"]
    if not failed:
        return _good("resources", f"none of {len(rows)} resources has failed")
    said = [
        f"{_text(row, 'Name')} ({_text(row, 'ResourceType')}) of {_text(row, 'OwnerGroup')}" for row in failed
    ]
    return _bad(
        "resources",
        f"{len(failed)} resources have failed",
        "look at event 1069 and the log for the first of them",
        _list(said),
    )


def _events(rows: Sequence[Row]) -> Finding:
    counted = Counter(int(str(row["Id"])) for row in rows if str(row["Id"]).isdecimal())
    known = [number for number in _EVENTS if counted[number]]
    if not known:
        return _good(
            "events", f"none of the {len(_EVENTS)} event ids that are known here was written in the last day"
        )
    worst = max(known, key=lambda number: counted[number])
    meaning, remedy = _EVENTS[worst]
    newest = max(_text(row, "At") for row in rows if str(row["Id"]) == str(worst))
    return _bad(
        "events",
        f"event {worst}, {counted[worst]} times in the last day: {meaning}",
        remedy,
        f"newest {newest}; {_list([f'{number}: {counted[number]}' for number in known])}",
        severity=Severity.WARNING,
    )


def _log(rows: Sequence[Row]) -> Finding:
    if not rows:
        return _bad(
            "log",
            "the cluster log of the last quarter of an hour is empty",
            "run Get-ClusterLog there",
            severity=Severity.WARNING,
        )
    bad = [line for row in rows if " ERR " in (line := _text(row, "Line"))]
    if not bad:
        return _good("log", f"no error in the last {len(rows)} lines of the cluster log")
    return _bad(
        "log",
        f"{len(bad)} errors in the last {len(rows)} lines of the cluster log",
        "read what stands before the first: Get-ClusterLog -UseLocalTime",
        bad[0],
        severity=Severity.WARNING,
    )


_JUDGES = MappingProxyType(
    {
        Question.SERVICES: _services,
        Question.WMI: _wmi,
        Question.NODES: _nodes,
        Question.NAMES: _names,
        Question.GROUPS: _groups,
        Question.RESOURCES: _resources,
        Question.EVENTS: _events,
        Question.LOG: _log,
    }
)


def _good(key: str, text: str) -> Finding:
    return Finding(key, Severity.OK, text)


def _bad(
    key: str, text: str, remedy: str, evidence: str = "", *, severity: Severity = Severity.ERROR
) -> Finding:
    return Finding(key, severity, text, evidence, remedy)


def _list(said: Sequence[str]) -> str:
    more = len(said) - _SHOWN
    return "; ".join([*said[:_SHOWN], *([f"and {more} more"] if more > 0 else [])])
