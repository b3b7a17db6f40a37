function New-PAMGroup {
    <#
    .SYNOPSIS
    Prepares a group: a PRIV group that carries the rights of a CORP group.
    .DESCRIPTION
    The server is asked first which group it would take; where that one is not of -SourceDomain, nothing is made. What the server warns
    of, standing members for example, is written as warnings.
    .PARAMETER SourceGroupName
    The group's account name in CORP.
    .PARAMETER SourceDomain
    The CORP domain: its DNS name, the first label of it, or CORP.
    .PARAMETER Carrier
    How the rights are carried. Default: foreign-principal.
    .PARAMETER Session
    A session of New-PAMSession. Default: that of Connect-PAMServer.
    .EXAMPLE
    New-PAMGroup -SourceGroupName CorpAdmins -SourceDomain corp.example.com

    Makes the PRIV group for CorpAdmins.
    #>
    [CmdletBinding(SupportsShouldProcess = $true)]
    [OutputType('Bastide.PAM.PAMGroup')]
    param(
        [Parameter(Mandatory = $true, Position = 1, ValueFromPipelineByPropertyName = $true)]
        [string] $SourceGroupName,

        [Parameter(Mandatory = $true, Position = 2, ValueFromPipelineByPropertyName = $true)]
        [string] $SourceDomain,

        [ValidateSet('foreign-principal', 'shadow-principal', 'direct')]
        [string] $Carrier = 'foreign-principal',

        [Parameter(Position = 7)]
        [PSTypeName('Bastide.PAM.PAMSession')]
        [PSObject] $Session
    )
    process {
        try {
            $body = @{ corp = $SourceGroupName; carrier = $Carrier }
            $plan = Invoke-BastideApi -Method POST -Path '/pam-groups' -Query @{ dry_run = 'true' } -Body $body -Session $Session
            Assert-BastideSource -Planned $plan -Domain $SourceDomain
            if (-not $PSCmdlet.ShouldProcess("$($plan.priv.dn) for $($plan.corp.dn)", 'Prepare a group')) {
                return
            }
            # By SID: the group that was looked at.
            $body.corp = $plan.corp.sid
            $made = ConvertTo-PAMGroup -Answer (Invoke-BastideApi -Method POST -Path '/pam-groups' -Body $body -Session $Session)
            foreach ($one in $made.Findings) {
                Write-Warning -Message (Format-BastideFinding -Finding $one)
            }
            $made
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Get-PAMGroup {
    <#
    .SYNOPSIS
    Gets PAM groups.
    .PARAMETER SourceAccountName
    Of this account name in CORP; * and ? stand for anything, here and below.
    .PARAMETER PrivAccountName
    Of this account name in PRIV.
    .PARAMETER PrivDisplayName
    Of this name as PAM group.
    .PARAMETER Filter
    Clauses over the properties: Property -eq 'value', joined by -and.
    .PARAMETER Session
    A session of New-PAMSession. Default: that of Connect-PAMServer.
    .EXAMPLE
    Get-PAMGroup -SourceAccountName CorpAdmins

    The PAM group of CorpAdmins.
    #>
    [CmdletBinding()]
    [OutputType('Bastide.PAM.PAMGroup')]
    param(
        [Parameter(Position = 1)]
        [string] $SourceAccountName,

        [Parameter(Position = 2)]
        [string] $PrivAccountName,

        [Parameter(Position = 3)]
        [string] $PrivDisplayName,

        [Parameter(Position = 4)]
        [string] $Filter,

        [Parameter(Position = 5)]
        [PSTypeName('Bastide.PAM.PAMSession')]
        [PSObject] $Session
    )
    process {
        try {
            $clauses = @(if ($Filter) { ConvertFrom-BastideFilter -Filter $Filter })
            $answer = Invoke-BastideApi -Method GET -Path '/pam-groups' -Session $Session
            $groups = foreach ($one in $answer.items) {
                ConvertTo-PAMGroup -Answer $one
            }
            $groups | Where-Object {
                (Test-BastideMatch -Value $_.SourceAccountName -Typed $SourceAccountName) -and
                (Test-BastideMatch -Value $_.PrivAccountName -Typed $PrivAccountName) -and
                (Test-BastideMatch -Value $_.PrivDisplayName -Typed $PrivDisplayName)
            } | Select-BastideMatch -Clauses $clauses
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Remove-PAMGroup {
    <#
    .SYNOPSIS
    Forgets a PAM group. The PRIV group stays.
    .DESCRIPTION
    Refused while a role gives it or an open request uses it.
    .PARAMETER Group
    From Get-PAMGroup.
    .PARAMETER Session
    A session of New-PAMSession. Default: that of Connect-PAMServer.
    .PARAMETER Force
    Without asking.
    .EXAMPLE
    Get-PAMGroup -SourceAccountName CorpAdmins | Remove-PAMGroup -Force

    Forgets the PAM group of CorpAdmins.
    #>
    [CmdletBinding(SupportsShouldProcess = $true, ConfirmImpact = 'High')]
    param(
        [Parameter(Mandatory = $true, Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMGroup')]
        [PSObject] $Group,

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
            if ($PSCmdlet.ShouldProcess($Group.PrivDisplayName, 'Forget a PAM group')) {
                $null = Invoke-BastideApi -Method DELETE -Path '/pam-groups/{name}' -Key $Group.PrivGroupResourceId -Session $Session
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}
