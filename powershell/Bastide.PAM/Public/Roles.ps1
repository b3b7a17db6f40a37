function New-PAMRole {
    <#
    .SYNOPSIS
    Makes a role.
    .DESCRIPTION
    A rule that MIM has no parameter for has Bastide's default, but that no justification is wanted: bastide role edit changes it. Where
    MIM's default is the weaker one, Bastide's holds: a second factor is needed unless you say -MFAEnabled:$false, and an approver who
    is a candidate approves nothing by asking unless you say -DisableAutoApprovalIfOwner:$false.
    .PARAMETER DisplayName
    The role's name.
    .PARAMETER Privileges
    What it gives: from Get-PAMGroup, or names of PAM groups.
    .PARAMETER Approvers
    Who may approve: from Get-PAMUser, or FOREST\name of any user or group. It goes with -ApprovalEnabled.
    .PARAMETER Candidates
    Who may ask: from Get-PAMUser, or FOREST\name of any user or group.
    .PARAMETER TTL
    The usual and the longest time, as TimeSpan or as a number of seconds. Default: an hour, and eight at the longest.
    .PARAMETER AvailableFrom
    From this time of day on access may start. It goes with -AvailabilityWindowEnabled.
    .PARAMETER AvailableTo
    Until this time of day. Earlier than -AvailableFrom: the window runs over midnight.
    .PARAMETER MFAEnabled
    A second factor is needed. That is so without it, too.
    .PARAMETER ApprovalEnabled
    One of -Approvers must approve.
    .PARAMETER AvailabilityWindowEnabled
    Access may start in the window only.
    .PARAMETER Description
    Text.
    .PARAMETER Session
    A session of New-PAMSession. Default: that of Connect-PAMServer.
    .PARAMETER DisableAutoApprovalIfOwner
    An approver who asks needs another approver. That is so without it, too.
    .PARAMETER AvailabilityTimeZone
    The zone of the window, as the IANA names it.
    .EXAMPLE
    New-PAMRole -DisplayName CorpAdmins -Privileges (Get-PAMGroup CorpAdmins) -Candidates (Get-PAMUser -SourceAccountName jen) -TTL 600

    A role for ten minutes.
    .EXAMPLE
    New-PAMRole Backup -Privileges PAM-Backup -Candidates CORP\Operators -ApprovalEnabled -Approvers 'PRIV\grace', 'PRIV\heidi'

    A role for the members of a group, after the approval of one of two.
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    [OutputType('Bastide.PAM.PAMRole')]
    param(
        [Parameter(Mandatory = $true, Position = 1, ValueFromPipelineByPropertyName = $true)]
        [string] $DisplayName,

        [Parameter(Position = 2)]
        [PSObject[]] $Privileges,

        [Parameter(Position = 3)]
        [PSObject[]] $Approvers,

        [Parameter(Position = 4)]
        [PSObject[]] $Candidates,

        [Parameter(Position = 5)]
        [TimeSpan] $TTL,

        [Parameter(Position = 6)]
        [DateTime] $AvailableFrom,

        [Parameter(Position = 7)]
        [DateTime] $AvailableTo,

        [Parameter(Position = 8)]
        [switch] $MFAEnabled,

        [Parameter(Position = 9)]
        [switch] $ApprovalEnabled,

        [Parameter(Position = 10)]
        [switch] $AvailabilityWindowEnabled,

        [Parameter(Position = 11, ValueFromPipelineByPropertyName = $true)]
        [string] $Description,

        [Parameter(Position = 12)]
        [PSTypeName('Bastide.PAM.PAMSession')]
        [PSObject] $Session,

        [switch] $DisableAutoApprovalIfOwner,

        [string] $AvailabilityTimeZone
    )
    process {
        try {
            $said = $PSBoundParameters
            Assert-BastideRoleParameters -Said $said -Approval ([bool] $ApprovalEnabled) -Window ([bool] $AvailabilityWindowEnabled)
            $body = @{
                name                = $DisplayName
                description         = $Description
                privileges          = [string[]] @(Get-BastideGroupNames -Given $Privileges)
                candidates          = [string[]] @(Get-BastideSubjectNames -Given $Candidates)
                mfa                 = -not $said.ContainsKey('MFAEnabled') -or [bool] $MFAEnabled
                justification       = $false
                owner_auto_approval = $said.ContainsKey('DisableAutoApprovalIfOwner') -and -not $DisableAutoApprovalIfOwner
            }
            if ($said.ContainsKey('TTL')) {
                # Five minutes is the shortest that Bastide gives a role by itself.
                Set-BastideTtl -Rules $body -Span $TTL -Minimum 300
            }
            if ($ApprovalEnabled) {
                $body.stages = [object[]] @(Get-BastideStage -Approvers $Approvers)
            }
            if ($AvailabilityWindowEnabled) {
                $body.window = Get-BastideWindow -Said $said
            }
            if ($PSCmdlet.ShouldProcess($DisplayName, 'Make a role')) {
                $made = Invoke-BastideApi -Method POST -Path '/roles' -Body $body -Session $Session
                Write-BastideProposal -Answer $made
                $known = Get-BastideDirectory -Session $Session
                ConvertTo-PAMRole -Answer $made -Users $known.Users -Groups $known.Groups
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Get-PAMRole {
    <#
    .SYNOPSIS
    Gets roles, with all their rules.
    .PARAMETER DisplayName
    Of this name; * and ? stand for anything.
    .PARAMETER Session
    A session of New-PAMSession. Default: that of Connect-PAMServer.
    .PARAMETER Active
    Only roles that are switched on.
    .PARAMETER Filter
    Clauses over the properties: Property -eq 'value', joined by -and.
    .EXAMPLE
    Get-PAMRole | Select-Object 'DisplayName', 'TTL', 'AvailableFrom', 'AvailableTo'

    All roles. TTL is the longest that may be asked for, in seconds.
    #>
    [CmdletBinding()]
    [OutputType('Bastide.PAM.PAMRole')]
    param(
        [Parameter(Position = 1)]
        [string] $DisplayName,

        [Parameter(Position = 2)]
        [PSTypeName('Bastide.PAM.PAMSession')]
        [PSObject] $Session,

        [Parameter(Position = 3)]
        [switch] $Active,

        [Parameter(Position = 4)]
        [string] $Filter
    )
    process {
        try {
            $clauses = @(if ($Filter) { ConvertFrom-BastideFilter -Filter $Filter })
            $answer = Invoke-BastideApi -Method GET -Path '/roles' -Session $Session
            $known = Get-BastideDirectory -Session $Session
            $roles = foreach ($one in $answer.items) {
                ConvertTo-PAMRole -Answer $one -Users $known.Users -Groups $known.Groups
            }
            $roles | Where-Object {
                (Test-BastideMatch -Value $_.DisplayName -Typed $DisplayName) -and ($_.Active -or -not $Active)
            } | Select-BastideMatch -Clauses $clauses
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Set-PAMRole {
    <#
    .SYNOPSIS
    Changes rules of a role; what is not said stays.
    .DESCRIPTION
    Refused if somebody else changed the role since it was read. Requests that were made before keep what was approved.
    .PARAMETER Role
    From Get-PAMRole.
    .PARAMETER TTL
    The usual and the longest time, as TimeSpan or as a number of seconds.
    .PARAMETER AvailableFrom
    From this time of day on access may start.
    .PARAMETER AvailableTo
    Until this time of day.
    .PARAMETER MFAEnabled
    Whether a second factor is needed.
    .PARAMETER ApprovalEnabled
    Whether somebody must approve. To switch it on takes -Approvers.
    .PARAMETER AvailabilityWindowEnabled
    Whether access may start in a window only. False takes the window away.
    .PARAMETER DisplayName
    A new name.
    .PARAMETER Description
    Text.
    .PARAMETER Candidates
    Who may ask: from Get-PAMUser, or FOREST\name of any user or group. They take the place of those before.
    .PARAMETER Privileges
    What it gives: from Get-PAMGroup, or names of PAM groups. They take the place of those before.
    .PARAMETER Approvers
    Who may approve: from Get-PAMUser, or FOREST\name. One stage with them takes the place of all stages.
    .PARAMETER Session
    A session of New-PAMSession. Default: that of Connect-PAMServer.
    .PARAMETER DisableAutoApprovalIfOwner
    False: an approver who asks counts as one approval.
    .PARAMETER AvailabilityTimeZone
    The zone of the window, as the IANA names it.
    .EXAMPLE
    Set-PAMRole -Role (Get-PAMRole -DisplayName R) -MFAEnabled 1

    From now on the role R needs a second factor.
    .EXAMPLE
    $r = Get-PAMRole IT; Set-PAMRole $r -Candidates ($r.Candidates + (Get-PAMUser -SourceAccountName jen))

    One more may ask for the role.
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    [OutputType('Bastide.PAM.PAMRole')]
    param(
        [Parameter(Mandatory = $true, Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMRole')]
        [PSObject] $Role,

        [Parameter(Position = 2)]
        [TimeSpan] $TTL,

        [Parameter(Position = 3)]
        [DateTime] $AvailableFrom,

        [Parameter(Position = 4)]
        [DateTime] $AvailableTo,

        [Parameter(Position = 5)]
        [bool] $MFAEnabled,

        [Parameter(Position = 6)]
        [bool] $ApprovalEnabled,

        [Parameter(Position = 7)]
        [bool] $AvailabilityWindowEnabled,

        [Parameter(Position = 8)]
        [string] $DisplayName,

        [Parameter(Position = 9)]
        [string] $Description,

        [Parameter(Position = 10)]
        [PSObject[]] $Candidates,

        [Parameter(Position = 11)]
        [PSObject[]] $Privileges,

        [Parameter(Position = 12)]
        [PSObject[]] $Approvers,

        [Parameter(Position = 13)]
        [PSTypeName('Bastide.PAM.PAMSession')]
        [PSObject] $Session,

        [bool] $DisableAutoApprovalIfOwner,

        [string] $AvailabilityTimeZone
    )
    process {
        try {
            $said = $PSBoundParameters
            $read = Invoke-BastideApi -Method GET -Path '/roles/{name}' -Key $Role.RoleId -Session $Session
            $body = ConvertTo-BastideRules -Role $read
            # That of the object that was given: what somebody else changed since is not overwritten. 0 would mean any.
            if ($Role.Version -ne $read.version) {
                throw (New-BastideProblem -Code 'conflict' -Message "role $($read.name) was changed since you read it" -Remedy 'read it again with Get-PAMRole, then change it')
            }
            Edit-BastideRules -Rules $body -Said $said
            Edit-BastideGates -Rules $body -Said $said -Before $read
            if ($PSCmdlet.ShouldProcess($read.name, 'Change a role')) {
                $made = Invoke-BastideApi -Method PUT -Path '/roles/{name}' -Key $read.id -Body $body -Session $Session
                Write-BastideProposal -Answer $made
                $known = Get-BastideDirectory -Session $Session
                ConvertTo-PAMRole -Answer $made -Users $known.Users -Groups $known.Groups
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Remove-PAMRole {
    <#
    .SYNOPSIS
    Removes a role.
    .DESCRIPTION
    Refused while a request for it is open; Close-PAMRequestForControl -Role ends those.
    .PARAMETER Role
    From Get-PAMRole.
    .PARAMETER Session
    A session of New-PAMSession. Default: that of Connect-PAMServer.
    .PARAMETER Force
    Without asking.
    .EXAMPLE
    Get-PAMRole -DisplayName Old | Remove-PAMRole

    Asks, and removes the role Old.
    #>
    [CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'High')]
    param(
        [Parameter(Mandatory = $true, Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMRole')]
        [PSObject] $Role,

        [Parameter(Position = 2)]
        [PSTypeName('Bastide.PAM.PAMSession')]
        [PSObject] $Session,

        [switch] $Force
    )
    process {
        try {
            if ($Force -and -not $PSBoundParameters.ContainsKey('Confirm')) {
                $ConfirmPreference = 'None'
            }
            if ($PSCmdlet.ShouldProcess($Role.DisplayName, 'Remove a role')) {
                Write-BastideProposal -Answer (Invoke-BastideApi -Method DELETE -Path '/roles/{name}' -Key $Role.RoleId -Session $Session)
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}
