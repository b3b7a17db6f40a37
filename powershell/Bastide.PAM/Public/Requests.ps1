function Get-PAMRoleForRequest {
    <#
    .SYNOPSIS
    Gets the roles that you may ask for.
    .PARAMETER Filter
    Clauses over the properties: Property -eq 'value', joined by -and.
    .PARAMETER DisplayName
    Of this name; * and ? stand for anything.
    .PARAMETER Active
    Only roles that you can ask for now. The property WhyNot says why another one cannot be asked for.
    .EXAMPLE
    Get-PAMRoleForRequest | Where-Object { $_.DisplayName -eq 'CorpAdmins' }

    The role CorpAdmins, if you are a candidate of it.
    #>
    [CmdletBinding(DefaultParameterSetName = 'FilterSet')]
    [OutputType('Bastide.PAM.PAMRoleForRequest')]
    param(
        [Parameter(ParameterSetName = 'FilterSet', Position = 1)]
        [string] $Filter,

        [Parameter(ParameterSetName = 'DisplayNameSet', Position = 1)]
        [string] $DisplayName,

        [Parameter(Position = 2)]
        [switch] $Active
    )
    process {
        try {
            $clauses = @(if ($Filter) { ConvertFrom-BastideFilter -Filter $Filter })
            $answer = Invoke-BastideApi -Method GET -Path '/offers'
            $roles = foreach ($one in $answer.items) {
                ConvertTo-PAMRoleForRequest -Answer $one
            }
            $roles | Where-Object {
                (Test-BastideMatch -Value $_.DisplayName -Typed $DisplayName) -and (-not $_.WhyNot -or -not $Active)
            } | Select-BastideMatch -Clauses $clauses
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function New-PAMRequest {
    <#
    .SYNOPSIS
    Asks for a role, for yourself.
    .DESCRIPTION
    Access is there when RequestStatus is Active, and not before: Get-PAMRequestForReview shows it. Where the role needs a second factor
    and no code is given, you are asked for one; where nobody can be asked, the request waits in PendingMFA for Confirm-PAMRequest.
    .PARAMETER Role
    From Get-PAMRoleForRequest or Get-PAMRole.
    .PARAMETER RoleDisplayName
    The role's name.
    .PARAMETER Justification
    Why. Roles may want it.
    .PARAMETER RequestedTTL
    For how long, as TimeSpan or as a number of seconds. Default: the usual time of the role.
    .PARAMETER RequestedTime
    When access is to start. Default: now.
    .PARAMETER Ticket
    The number of the change or incident. Roles may want it.
    .PARAMETER Code
    The code of your authenticator.
    .EXAMPLE
    $r = Get-PAMRoleForRequest | Where-Object { $_.DisplayName -eq 'CorpAdmins' }; New-PAMRequest -Role $r

    Asks for the role CorpAdmins.
    .EXAMPLE
    New-PAMRequest -RoleDisplayName CorpAdmins -Justification 'INC-42' -RequestedTTL 900

    Asks for a quarter of an hour.
    #>
    [CmdletBinding(SupportsShouldProcess = $true, DefaultParameterSetName = 'Role as PAMRole')]
    [OutputType('Bastide.PAM.PAMRequest')]
    param(
        [Parameter(ParameterSetName = 'Role as PAMRole', Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMRoleForRequest')]
        [PSObject] $Role,

        [Parameter(ParameterSetName = 'Role as Display Name', Position = 1, ValueFromPipeline = $true, ValueFromPipelineByPropertyName = $true)]
        [string] $RoleDisplayName,

        [Parameter(Position = 2)]
        [string] $Justification,

        # The alias is for scripts that were written after an article that has it so.
        [Parameter(Position = 3)]
        [Alias('TTL')]
        [TimeSpan] $RequestedTTL,

        [DateTime] $RequestedTime,

        [string] $Ticket,

        [System.Security.SecureString] $Code
    )
    process {
        try {
            $name = $RoleDisplayName
            $body = @{ role = $name; justification = $Justification; ticket = $Ticket }
            if ($null -ne $Role) {
                $name = $Role.DisplayName
                $body.role = $Role.RoleId
            }
            if (-not $body.role) {
                throw (New-BastideProblem -Message 'no role was given' -Remedy 'give -Role from Get-PAMRoleForRequest, or -RoleDisplayName')
            }
            if ($PSBoundParameters.ContainsKey('RequestedTTL')) {
                $body.ttl_seconds = ConvertTo-BastideSeconds -Span $RequestedTTL
            }
            if ($PSBoundParameters.ContainsKey('RequestedTime')) {
                $body.start_at = ConvertTo-BastideMoment -Time $RequestedTime
            }
            if ($PSCmdlet.ShouldProcess($name, 'Ask for a role')) {
                $made = Invoke-BastideApi -Method POST -Path '/requests' -Body $body -Code $Code
                if ($made.state -eq 'PendingMFA') {
                    $made = Confirm-BastideRequest -Made $made
                }
                ConvertTo-PAMRequest -Answer $made
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Confirm-PAMRequest {
    <#
    .SYNOPSIS
    Shows your second factor for a request of yours that waits for it. MIM telephoned instead, and has no such cmdlet.
    .PARAMETER Request
    From New-PAMRequest or Get-PAMRequestForReview.
    .PARAMETER Code
    The code of your authenticator. You are asked for it if it is left out.
    .EXAMPLE
    Get-PAMRequestForReview -Pending | Confirm-PAMRequest

    Asks for the code, and shows it to the server.
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    [OutputType('Bastide.PAM.PAMRequest')]
    param(
        [Parameter(Mandatory = $true, Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMRequest')]
        [PSObject] $Request,

        [Parameter(Mandatory = $true)]
        [System.Security.SecureString] $Code
    )
    process {
        try {
            if ($PSCmdlet.ShouldProcess("$($Request.RoleName) ($($Request.RequestId))", 'Show the second factor')) {
                ConvertTo-PAMRequest -Answer (Invoke-BastideApi -Method POST -Path '/requests/{request_id}/mfa' -Key $Request.RequestId -Code $Code)
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Get-PAMRequestForReview {
    <#
    .SYNOPSIS
    Gets your own requests, newest first.
    .PARAMETER Active
    Those that are active. Several of these switches: what fits any of them; none: all.
    .PARAMETER Expired
    Those that ended by time.
    .PARAMETER Rejected
    Those that an approver rejected.
    .PARAMETER Pending
    Those that wait for a code or for approval.
    .PARAMETER Closed
    Those that were ended early, withdrawn, or failed.
    .PARAMETER All
    All.
    .PARAMETER Filter
    Clauses over the properties: Property -eq 'value', joined by -and.
    .EXAMPLE
    Get-PAMRequestForReview -Active | Select-Object 'RoleName', 'ExpirationTime', 'TrueEnd'

    What you hold, and when access really ends.
    #>
    [CmdletBinding()]
    [OutputType('Bastide.PAM.PAMRequest')]
    param(
        [Parameter(Position = 2)]
        [switch] $Active,

        [Parameter(Position = 3)]
        [switch] $Expired,

        [Parameter(Position = 4)]
        [switch] $Rejected,

        [Parameter(Position = 5)]
        [switch] $Pending,

        [Parameter(Position = 7)]
        [switch] $Closed,

        [Parameter(Position = 8)]
        [switch] $All,

        [Parameter(Position = 9)]
        [string] $Filter
    )
    process {
        try {
            $clauses = @(if ($Filter) { ConvertFrom-BastideFilter -Filter $Filter })
            $wanted = Get-BastideStates -Said $PSBoundParameters -All ([bool] $All)
            Get-BastidePage -Path '/requests' |
                Where-Object { $wanted.Count -eq 0 -or $_.state -in $wanted } |
                ForEach-Object { ConvertTo-PAMRequest -Answer $_ } |
                Select-BastideMatch -Clauses $clauses
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Close-PAMRequest {
    <#
    .SYNOPSIS
    Ends your access now, or withdraws a request that is not active yet.
    .DESCRIPTION
    It is over when RequestStatus says so: Closing is not Closed, and tickets live on until TrueEnd.
    .PARAMETER Request
    From New-PAMRequest or Get-PAMRequestForReview.
    .PARAMETER Role
    All your open requests for this role, from Get-PAMRoleForRequest or Get-PAMRole.
    .PARAMETER RoleDisplayName
    All your open requests for the role of this name.
    .EXAMPLE
    Get-PAMRequestForReview -Active | Close-PAMRequest

    Ends everything that you hold.
    #>
    [CmdletBinding(SupportsShouldProcess = $true, DefaultParameterSetName = 'Role as PAMRole')]
    param(
        [Parameter(ParameterSetName = 'Request as PAMRequest', Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMRequest')]
        [PSObject] $Request,

        [Parameter(ParameterSetName = 'Role as PAMRole', Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMRoleForRequest')]
        [PSObject] $Role,

        [Parameter(ParameterSetName = 'Role as Display Name', Position = 1, ValueFromPipeline = $true)]
        [string] $RoleDisplayName
    )
    process {
        try {
            foreach ($id in @(Get-BastideOpenRequests -Request $Request -Role $Role -Name $RoleDisplayName)) {
                if ($PSCmdlet.ShouldProcess($id, 'End a request')) {
                    $null = Invoke-BastideApi -Method POST -Path '/requests/{request_id}/close' -Key $id -Body @{ reason = '' }
                }
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}
