@{
    RootModule           = 'Bastide.PAM.psm1'
    ModuleVersion        = '0.1.0'
    GUID                 = '42b612d6-290c-41ec-bdb4-d63d3fe67b84'
    Author               = 'The Bastide authors'
    Copyright            = 'Apache-2.0'
    Description          = 'The PAM cmdlets of Microsoft Identity Manager, for Bastide.'
    PowerShellVersion    = '5.1'
    CompatiblePSEditions = @('Desktop', 'Core')
    TypesToProcess       = @('Bastide.PAM.types.ps1xml')
    FunctionsToExport    = @(
        'Close-PAMRequest'
        'Close-PAMRequestForControl'
        'Confirm-PAMRequest'
        'Connect-PAMServer'
        'Disconnect-PAMServer'
        'Get-PAMGroup'
        'Get-PAMRequest'
        'Get-PAMRequestForReview'
        'Get-PAMRequestToApprove'
        'Get-PAMRole'
        'Get-PAMRoleForRequest'
        'Get-PAMUser'
        'New-PAMGroup'
        'New-PAMRequest'
        'New-PAMRole'
        'New-PAMSession'
        'New-PAMUser'
        'Remove-PAMGroup'
        'Remove-PAMRole'
        'Remove-PAMUser'
        'Set-PAMRequestToApprove'
        'Set-PAMRole'
        'Test-PAMDomainConfiguration'
        'Test-PAMTrust'
    )
    CmdletsToExport      = @()
    VariablesToExport    = @()
    AliasesToExport      = @()
    PrivateData          = @{
        PSData = @{
            Tags = @('PAM', 'PIM', 'ActiveDirectory', 'MIM', 'Bastide')
        }
    }
}
