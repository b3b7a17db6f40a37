function Test-PAMTrust {
    <#
    .SYNOPSIS
    Tests the trust between CORP and PRIV; changes nothing.
    .DESCRIPTION
    The server looks at both sides with its own accounts, so no credentials are given. What it found that is not as it should be is
    written as warnings, each with its remedy.
    .PARAMETER SourceForest
    CORP: the server knows one such forest.
    .OUTPUTS
    True if nothing found is an error.
    .EXAMPLE
    Test-PAMTrust -SourceForest CORP

    Tests the trust as both sides show it.
    #>
    [CmdletBinding()]
    [OutputType([bool])]
    param(
        [Parameter(Mandatory = $true, Position = 1)]
        [ValidateSet('CORP')]
        [string] $SourceForest
    )
    process {
        try {
            Write-Verbose -Message "Testing the trust with $SourceForest"
            $answer = Invoke-BastideApi -Method POST -Path '/directory/trust-tests'
            $wrong = @($answer.items | Where-Object { $_.severity -ne 'ok' })
            foreach ($one in $wrong) {
                Write-Warning -Message (Format-BastideFinding -Finding $one)
            }
            @($wrong | Where-Object { $_.severity -eq 'error' }).Count -eq 0
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Test-PAMDomainConfiguration {
    <#
    .SYNOPSIS
    Tests a domain: DNS, ports, sign-in, clocks, capabilities and rights. Changes nothing.
    .DESCRIPTION
    The server tests with its own accounts, so no credentials are given.
    .PARAMETER SourceDomain
    CORP or PRIV.
    .OUTPUTS
    One line of text for each finding.
    .EXAMPLE
    Test-PAMDomainConfiguration -SourceDomain CORP

    Says what was found in CORP.
    #>
    [CmdletBinding()]
    [OutputType([string])]
    param(
        [Parameter(Mandatory = $true, Position = 1)]
        [ValidateSet('CORP', 'PRIV')]
        [string] $SourceDomain
    )
    process {
        try {
            $answer = Invoke-BastideApi -Method POST -Path '/directory/domain-tests' -Query @{ forest = $SourceDomain.ToLowerInvariant() }
            foreach ($one in $answer.items) {
                Format-BastideFinding -Finding $one
            }
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}
