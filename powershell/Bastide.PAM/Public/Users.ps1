function New-PAMUser {
    <#
    .SYNOPSIS
    Prepares a person: a PRIV account that is expired between grants, tied to the CORP account.
    .DESCRIPTION
    The server is asked first whom it would take; where that person is not of -SourceDomain, nothing is made.
    .PARAMETER SourceDomain
    The CORP domain: its DNS name, the first label of it, or CORP.
    .PARAMETER SourceAccountName
    The person's account name in CORP.
    .PARAMETER PrivAccountName
    Name of the PRIV account. Default: the server's prefix and the CORP name.
    .PARAMETER PrivPassword
    The first password. Without it the account has one that nobody knows.
    .PARAMETER Adopt
    Takes the PRIV account -PrivAccountName, which is there already.
    .PARAMETER Session
    A session of New-PAMSession. Default: that of Connect-PAMServer.
    .EXAMPLE
    New-PAMUser -SourceDomain corp.example.com -SourceAccountName alice

    Makes priv.alice for alice.
    .EXAMPLE
    Import-Csv people.csv | New-PAMUser -WhatIf

    Shows what would be made for the columns SourceDomain and SourceAccountName of a table.
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    [OutputType('Bastide.PAM.PAMUser')]
    param(
        [Parameter(Mandatory = $true, Position = 1, ValueFromPipelineByPropertyName = $true)]
        [string] $SourceDomain,

        [Parameter(Mandatory = $true, Position = 2, ValueFromPipelineByPropertyName = $true)]
        [string] $SourceAccountName,

        [Parameter(Position = 3, ValueFromPipelineByPropertyName = $true)]
        [string] $PrivAccountName,

        [Parameter(Position = 4)]
        [System.Security.SecureString] $PrivPassword,

        [switch] $Adopt,

        [Parameter(Position = 8)]
        [PSTypeName('Bastide.PAM.PAMSession')]
        [PSObject] $Session
    )
    process {
        try {
            $body = @{ corp = $SourceAccountName; priv_name = $PrivAccountName; adopt = [bool] $Adopt }
            $plan = Invoke-BastideApi -Method POST -Path '/pam-users' -Query @{ dry_run = 'true' } -Body $body -Session $Session
            Assert-BastideSource -Planned $plan -Domain $SourceDomain
            if (-not $PSCmdlet.ShouldProcess("$($plan.priv.dn) for $($plan.corp.dn)", 'Prepare a person')) {
                return
            }
            # By SID: the person that was looked at.
            $body.corp = $plan.corp.sid
            $made = Invoke-BastideApi -Method POST -Path '/pam-users' -Body $body -Session $Session
            ConvertTo-PAMUser -Answer $made
            if ($null -ne $PrivPassword) {
                $secret = @{ password = (New-Object -TypeName System.Management.Automation.PSCredential -ArgumentList 'new', $PrivPassword).GetNetworkCredential().Password }
                $null = Invoke-BastideApi -Method POST -Path '/pam-users/{name}/password' -Key $made.id -Body $secret -Session $Session
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Get-PAMUser {
    <#
    .SYNOPSIS
    Gets PAM users.
    .PARAMETER SourceDisplayName
    Of this name in CORP; * and ? stand for anything, here and below.
    .PARAMETER SourceDomain
    Of this CORP domain: its DNS name, the first label of it, or CORP.
    .PARAMETER SourceAccountName
    Of this account name in CORP.
    .PARAMETER PrivDisplayName
    Of this name as PAM user.
    .PARAMETER Session
    A session of New-PAMSession. Default: that of Connect-PAMServer.
    .PARAMETER Filter
    Clauses over the properties: Property -eq 'value', joined by -and.
    .EXAMPLE
    Get-PAMUser -SourceAccountName alice

    The PAM user of alice.
    #>
    [CmdletBinding()]
    [OutputType('Bastide.PAM.PAMUser')]
    param(
        [Parameter(Position = 1)]
        [string] $SourceDisplayName,

        [Parameter(Position = 2)]
        [string] $SourceDomain,

        [Parameter(Position = 3)]
        [string] $SourceAccountName,

        [Parameter(Position = 4)]
        [string] $PrivDisplayName,

        [Parameter(Position = 5)]
        [PSTypeName('Bastide.PAM.PAMSession')]
        [PSObject] $Session,

        [Parameter(Position = 6)]
        [string] $Filter
    )
    process {
        try {
            $clauses = @(if ($Filter) { ConvertFrom-BastideFilter -Filter $Filter })
            $answer = Invoke-BastideApi -Method GET -Path '/pam-users' -Session $Session
            $users = foreach ($one in $answer.items) {
                ConvertTo-PAMUser -Answer $one
            }
            $users | Where-Object {
                (Test-BastideMatch -Value $_.SourceDisplayName -Typed $SourceDisplayName) -and
                (Test-BastideMatch -Value $_.SourceAccountName -Typed $SourceAccountName) -and
                (Test-BastideMatch -Value $_.PrivDisplayName -Typed $PrivDisplayName) -and
                (-not $SourceDomain -or (Test-BastideDomain -Typed $SourceDomain -Domain $_.SourceDomain))
            } | Select-BastideMatch -Clauses $clauses
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Remove-PAMUser {
    <#
    .SYNOPSIS
    Forgets a PAM user. The PRIV account stays.
    .DESCRIPTION
    Refused while a role names the person or a request is open.
    .PARAMETER User
    From Get-PAMUser.
    .PARAMETER Session
    A session of New-PAMSession. Default: that of Connect-PAMServer.
    .PARAMETER Force
    Without asking.
    .EXAMPLE
    Get-PAMUser -SourceAccountName alice | Remove-PAMUser

    Asks, and forgets the PAM user of alice.
    #>
    [CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'High')]
    param(
        [Parameter(Mandatory = $true, Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMUser')]
        [PSObject] $User,

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
            if ($PSCmdlet.ShouldProcess($User.PrivDisplayName, 'Forget a PAM user')) {
                $null = Invoke-BastideApi -Method DELETE -Path '/pam-users/{name}' -Key $User.PrivUserResourceId -Session $Session
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}
