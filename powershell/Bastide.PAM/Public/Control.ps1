function Get-PAMRequest {
    <#
    .SYNOPSIS
    Gets everybody's requests, newest first: for administrators and auditors.
    .PARAMETER User
    From Get-PAMUser, one or several. Without it: of everybody.
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
    .PARAMETER Extended
    With votes, missing approvals, reason, ticket, and what enforces the end.
    .PARAMETER CreatedFrom
    Made then or later.
    .EXAMPLE
    Get-PAMRequest -User (Get-PAMUser -SourceAccountName alice) -Active

    What alice holds now.
    .EXAMPLE
    Get-PAMRequest -CreatedFrom (Get-Date).AddDays(-1) | Select-Object 'CreatedTime', 'ExpirationTime', 'Status', 'RoleDisplayName'

    The requests of a day, by the names that scripts for MIM use.
    #>
    [CmdletBinding(DefaultParameterSetName = 'Basic')]
    [OutputType('Bastide.PAM.PAMRequest')]
    param(
        [Parameter(Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMUser')]
        [PSObject[]] $User,

        [Parameter(ParameterSetName = 'Basic', Position = 2)]
        [switch] $Active,

        [Parameter(ParameterSetName = 'Basic', Position = 3)]
        [switch] $Expired,

        [Parameter(ParameterSetName = 'Basic', Position = 4)]
        [switch] $Rejected,

        [Parameter(ParameterSetName = 'Basic', Position = 5)]
        [switch] $Pending,

        [Parameter(ParameterSetName = 'Basic', Position = 6)]
        [switch] $Closed,

        [Parameter(ParameterSetName = 'Basic', Position = 7)]
        [switch] $All,

        [Parameter(Position = 8)]
        [string] $Filter,

        [Parameter(Mandatory = $true, ParameterSetName = 'Extended', Position = 9)]
        [switch] $Extended,

        [DateTime] $CreatedFrom
    )
    process {
        try {
            $clauses = @(if ($Filter) { ConvertFrom-BastideFilter -Filter $Filter })
            $wanted = Get-BastideStates -Said $PSBoundParameters -All ([bool] $All)
            # A pipeline that brings nobody asks for nobody.
            $people = @(foreach ($one in $User) { Get-BastideUserId -User $one })
            if ($null -eq $User -and -not $MyInvocation.ExpectingInput) {
                $people = @('')
            }
            $since = [DateTime]::MinValue
            if ($PSBoundParameters.ContainsKey('CreatedFrom')) {
                $since = $CreatedFrom
            }
            if ($since.Kind -eq 'Utc') {
                $since = $since.ToLocalTime()
            }
            foreach ($person in $people) {
                Get-BastidePage -Path '/admin/requests' -User $person -Since $since |
                    Where-Object { $wanted.Count -eq 0 -or $_.state -in $wanted } |
                    ForEach-Object { ConvertTo-PAMRequest -Answer $_ -Extended ([bool] $Extended) } |
                    Where-Object { $_.CreationTime -ge $since } |
                    Select-BastideMatch -Clauses $clauses
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Close-PAMRequestForControl {
    <#
    .SYNOPSIS
    The kill switch: ends other people's requests.
    .DESCRIPTION
    Ends what is active and withdraws what is not, at once. Tickets that were bought before live on until each request's TrueEnd.
    .PARAMETER Request
    From Get-PAMRequest.
    .PARAMETER Role
    All open requests for this role, from Get-PAMRole.
    .PARAMETER User
    All open requests of this person, from Get-PAMUser.
    .PARAMETER All
    All open requests of everybody.
    .PARAMETER Force
    Without asking.
    .PARAMETER Reason
    Why, for the audit.
    .EXAMPLE
    Close-PAMRequestForControl -User (Get-PAMUser -SourceAccountName alice) -Reason 'her laptop was stolen'

    Asks, and ends all that alice holds.
    .EXAMPLE
    Close-PAMRequestForControl -All -Force -Reason 'incident 7'

    Ends everything.
    #>
    [CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'High')]
    [OutputType('Bastide.PAM.PAMRequest')]
    param(
        [Parameter(Mandatory = $true, ParameterSetName = 'Request', Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMRequest')]
        [PSObject] $Request,

        [Parameter(Mandatory = $true, ParameterSetName = 'Role', Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMRole')]
        [PSObject] $Role,

        [Parameter(Mandatory = $true, ParameterSetName = 'User', Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMUser')]
        [PSObject] $User,

        [Parameter(Mandatory = $true, ParameterSetName = 'All')]
        [switch] $All,

        [switch] $Force,

        [string] $Reason = 'ended (Close-PAMRequestForControl)'
    )
    process {
        try {
            $body = @{ reason = $Reason; request = ''; role = ''; user = ''; all = $false }
            switch ($PSCmdlet.ParameterSetName) {
                'Request' { $body.request = $Request.RequestId; $what = "request $($Request.RequestId)" }
                'Role' { $body.role = $Role.RoleId; $what = "all open requests for $($Role.DisplayName)" }
                'User' { $body.user = Get-BastideUserId -User $User; $what = "all open requests of $($User.PrivDisplayName)" }
                'All' { $body.all = [bool] $All; $what = 'all open requests of everybody' }
            }
            if ($Force -and -not $PSBoundParameters.ContainsKey('Confirm')) {
                $ConfirmPreference = 'None'
            }
            if ($PSCmdlet.ShouldProcess($what, 'Kill')) {
                $answer = Invoke-BastideApi -Method POST -Path '/kill' -Body $body
                foreach ($one in $answer.items) {
                    ConvertTo-PAMRequest -Answer $one
                }
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}
