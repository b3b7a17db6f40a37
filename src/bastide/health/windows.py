"""A preview: a Windows failover cluster, asked over PowerShell remoting ([MS-PSRP]) with the caller's Kerberos ticket. It was never tried on Windows.

(1) Kerberos alone, and messages sealed by it: no password, no NTLM, nothing in clear.
(2) What is asked is written here, whole; nothing that a person typed becomes part of a script. Nothing of the cluster is changed; Get-ClusterLog writes its file into a folder of its
    own for a moment.
(3) The walk ends at the first error, as of every other host (health/diagnose.py).
"""

import importlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from bastide.domain import failover
from bastide.domain.errors import TargetDenied, TargetUnavailable
from bastide.domain.failover import Question
from bastide.domain.health import Finding
from bastide.health.checks import names
from bastide.health.diagnose import Step
from bastide.health.look import bad, good
from bastide.health.world import Network

if TYPE_CHECKING:
    from pypsrp.wsman import WSMan

#: WinRM over HTTP. Messages are sealed by Kerberos all the same: (1).
WINRM = 5985
#: What nodes and their administrators reach each other by: RPC, SMB, the Cluster service (which talks UDP on the same number), WinRM.
_PORTS = MappingProxyType({135: "RPC", 445: "SMB", 3343: "cluster", WINRM: "WinRM"})
_JSON = "| ConvertTo-Json -Depth 3 -Compress"
#: (2)
SCRIPTS: Mapping[Question, str] = MappingProxyType(
    {
        Question.SERVICES: "Get-Service ClusSvc, Winmgmt -ErrorAction SilentlyContinue | Select-Object Name, "
        f"@{{n='Status';e={{\"$($_.Status)\"}}}}, @{{n='StartType';e={{\"$($_.StartType)\"}}}} {_JSON}",
        Question.WMI: rf"Get-CimInstance -Namespace root/MSCluster -ClassName MSCluster_ResourceGroup | Select-Object Name {_JSON}",
        Question.NODES: f"Get-ClusterNode | Select-Object Name, @{{n='State';e={{\"$($_.State)\"}}}} {_JSON}",
        Question.NAMES: """
Get-ClusterResource | Where-Object { "$($_.ResourceType)" -eq 'Network Name' } | ForEach-Object {
  $said = @{}
  $_ | Get-ClusterParameter | ForEach-Object { $said[$_.Name] = $_.Value }
  $account = $null; $enabled = $null
  if ($said['ObjectGUID']) {
    $found = [ADSI]"LDAP://<GUID=$($said['ObjectGUID'])>"
    if ($found.distinguishedName) {
      $account = "$($found.distinguishedName)"
      $enabled = -not ([int]"$($found.userAccountControl)" -band 2)
    }
  }
  [pscustomobject]@{ Name = $_.Name; State = "$($_.State)"; StatusKerberos = $said['StatusKerberos']; StatusDNS = $said['StatusDNS']
    Account = $account; Enabled = $enabled }
} """
        + _JSON,
        Question.GROUPS: "Get-ClusterGroup | Select-Object Name, @{n='State';e={\"$($_.State)\"}}, "
        f"@{{n='OwnerNode';e={{\"$($_.OwnerNode)\"}}}} {_JSON}",
        Question.RESOURCES: "Get-ClusterResource | Select-Object Name, @{n='State';e={\"$($_.State)\"}}, "
        "@{n='OwnerGroup';e={\"$($_.OwnerGroup)\"}}, @{n='ResourceType';e={\"$($_.ResourceType)\"}} " + _JSON,
        Question.EVENTS: "Get-WinEvent -FilterHashtable @{LogName='System';ProviderName='Microsoft-Windows-FailoverClustering';"
        "StartTime=(Get-Date).AddDays(-1)} -MaxEvents 500 -ErrorAction SilentlyContinue | Select-Object Id, Level, "
        "@{n='At';e={$_.TimeCreated.ToUniversalTime().ToString('o')}}, @{n='Node';e={$_.MachineName}}, "
        f'@{{n=\'Message\';e={{("$($_.Message)" -split "`n")[0]}}}} {_JSON}',
        Question.LOG: """
$folder = Join-Path $env:TEMP ([guid]::NewGuid())
New-Item -ItemType Directory $folder | Out-Null
try {
  Get-ClusterLog -Node $env:COMPUTERNAME -TimeSpan 15 -Destination $folder | Out-Null
  Get-ChildItem $folder -Filter *.log | Get-Content -Tail 200 | ForEach-Object { [pscustomobject]@{ Line = "$_" } } """
        + _JSON
        + """
} finally { Remove-Item -Recurse -Force $folder }""",
    }
)


class Asked(Protocol):
    """A node of the cluster."""

    def ask(self, question: Question) -> str:
        """What it says, as JSON. Raises TargetUnavailable, TargetDenied."""


class RecordedNode:
    """The twin: answers that were written down. What was not is not known there, as a cmdlet that is missing."""

    def __init__(self, answers: Mapping[Question, str]) -> None:
        self._answers = answers

    def ask(self, question: Question) -> str:
        """As it was written down."""
        if question not in self._answers:
            raise TargetUnavailable(f"{question.value}: the command failed there", remedy=_RIGHTS)
        return self._answers[question]


#: How often a command that runs is looked at, and for how many seconds each time: WMI that hangs answers nothing, for ever.
_LOOKS, _LOOK = 24, 5
_HANGS = "log on to that node and run it there; what hangs is mostly WMI (Winmgmt) or the Cluster service"
_RIGHTS = "it needs a local administrator of the node, with Read on the cluster: Grant-ClusterAccess"


class PsrpNode:
    """A session for each question: (1)."""

    def __init__(self, host: str) -> None:
        """Raises ImportError without the extra `windows`."""
        importlib.import_module("pypsrp.wsman")
        self._host = host

    def _connect(self) -> "WSMan":
        from pypsrp.wsman import WSMan  # noqa: PLC0415  # an extra

        return WSMan(
            self._host,
            port=WINRM,
            ssl=False,
            auth="kerberos",
            encryption="always",
            negotiate_delegate=False,
            no_proxy=True,
        )

    def ask(self, question: Question) -> str:
        """What it says, as JSON. Raises TargetUnavailable, TargetDenied."""
        from pypsrp.complex_objects import PSInvocationState  # noqa: PLC0415  # an extra
        from pypsrp.exceptions import AuthenticationError, WinRMError  # noqa: PLC0415
        from pypsrp.powershell import PowerShell, RunspacePool  # noqa: PLC0415
        from requests.exceptions import RequestException  # noqa: PLC0415
        from spnego.exceptions import SpnegoError  # noqa: PLC0415

        try:
            with self._connect() as wsman, RunspacePool(wsman) as pool:
                shell = PowerShell(pool)
                shell.add_script(SCRIPTS[question])
                shell.begin_invoke()
                for _ in range(_LOOKS):
                    if shell.state != PSInvocationState.RUNNING:
                        break
                    shell.poll_invoke(timeout=_LOOK)
                else:
                    raise TargetUnavailable(
                        f"{question.value}: the command does not end there", remedy=_HANGS
                    )
                said, failed = shell.output, shell.had_errors
        except (AuthenticationError, SpnegoError):
            raise TargetDenied(
                f"{self._host} does not let this ticket in",
                remedy=f"`kinit` as an administrator of the cluster; {_RIGHTS}",
            ) from None
        except (WinRMError, RequestException, OSError) as error:
            raise TargetUnavailable(
                f"{self._host} does not answer over WinRM ({type(error).__name__})",
                remedy="Enable-PSRemoting on the node, and let TCP 5985 through from here",
            ) from None
        text = "".join(str(one) for one in said)
        if failed and not text:
            raise TargetUnavailable(f"{question.value}: the command failed there", remedy=_RIGHTS)
        return text


def steps(network: Network, host: str, node: Asked) -> tuple[Step, ...]:
    """Name, ports, then each question: (3)."""
    return (
        Step("name", lambda: names.asked(network, host, [host])),
        Step("ports", lambda: _ports(network, host)),
        *(Step(question.value, _asking(node, question)) for question in Question),
    )


def _asking(node: Asked, question: Question) -> Callable[[], Finding]:
    return lambda: failover.judge(question, failover.rows_of(question, node.ask(question)))


def _ports(network: Network, host: str) -> Finding:
    """WinRM must answer; of the others a refusal is told."""
    found = {f"{port} ({what})": network.knock(host, port) for port, what in _PORTS.items()}
    shut = [f"{port}: {why}" for port, why in found.items() if why]
    if network.knock(host, WINRM):
        remedy = "Enable-PSRemoting on the node; between refused and timed out lies the firewall"
        return bad(host, f"WinRM of {host} cannot be reached from here", remedy, "; ".join(shut))
    return good(
        host, f"{len(found) - len(shut)} of {len(found)} ports can be reached from here", "; ".join(shut)
    )
