function Get-PAMRequestToApprove {
    <#
    .SYNOPSIS
    Gets the requests that wait for your decision, oldest first.
    .EXAMPLE
    Get-PAMRequestToApprove | Format-Table 'RoleName', 'Requestor', 'Justification', 'RequestedTime', 'RequestedTTL'

    Who asks for what, why, and for how many seconds.
    #>
    [CmdletBinding()]
    [OutputType('Bastide.PAM.PAMRequestToApprove')]
    param()
    process {
        try {
            $answer = Invoke-BastideApi -Method GET -Path '/approvals'
            foreach ($one in $answer.items) {
                ConvertTo-PAMRequestToApprove -Answer $one
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Set-PAMRequestToApprove {
    <#
    .SYNOPSIS
    Approves or rejects a request.
    .DESCRIPTION
    Needs a fresh second factor: a code with each call, or a session that was shown one. Without one you are asked. A role whose
    approvals are signed with a security key is approved in the portal.
    .PARAMETER Request
    From Get-PAMRequestToApprove.
    .PARAMETER Approve
    Approves.
    .PARAMETER Reject
    Rejects: one rejection ends the request.
    .PARAMETER Reason
    Why; it is in the audit, and the person who asked sees it.
    .PARAMETER Code
    The code of your authenticator.
    .EXAMPLE
    foreach ($q in Get-PAMRequestToApprove) { Set-PAMRequestToApprove -Request $q -Approve }

    Approves all that waits.
    .EXAMPLE
    Get-PAMRequestToApprove | Where-Object Requestor -eq priv.bob | Set-PAMRequestToApprove -Reject -Reason 'not today'

    Rejects what priv.bob asked for.
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    param(
        [Parameter(Mandatory = $true, Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMRequestToApprove')]
        [PSObject] $Request,

        [Parameter(Mandatory = $true, Position = 2, ParameterSetName = 'Approve Request')]
        [switch] $Approve,

        [Parameter(Mandatory = $true, Position = 3, ParameterSetName = 'Reject Request')]
        [switch] $Reject,

        [string] $Reason,

        [System.Security.SecureString] $Code
    )
    process {
        try {
            # -Approve:$false decides nothing, least of all the opposite.
            if (-not $Approve -and -not $Reject) {
                throw (New-BastideProblem -Message 'neither -Approve nor -Reject was given' -Remedy 'give one of them')
            }
            $body = @{ decision = 'approve'; reason = $Reason }
            if ($Reject) {
                $body.decision = 'reject'
            }
            if ($Reject -and -not $Reason) {
                # MIM asks for none, and Bastide takes no rejection without one.
                $body.reason = 'rejected (Set-PAMRequestToApprove)'
            }
            if ($PSCmdlet.ShouldProcess("$($Request.RoleName) for $($Request.Requestor)", $body.decision)) {
                $null = Invoke-BastideApi -Method POST -Path '/approvals/{request_id}' -Key $Request.ApprovalObjectID -Body $body -Code $Code
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}
