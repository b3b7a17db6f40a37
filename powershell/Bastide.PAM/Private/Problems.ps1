# A refusal is one ErrorRecord: what is wrong, and in ErrorDetails.RecommendedAction what a person can do.

# Codes of docs/reference/errors.md to the categories of PowerShell. What is not here is InvalidOperation: the server said no.
$script:Categories = @{
    'invalid-input'         = 'InvalidArgument'
    'malformed'             = 'InvalidArgument'
    'not-found'             = 'ObjectNotFound'
    'ambiguous'             = 'InvalidArgument'
    'not-authorized'        = 'PermissionDenied'
    'not-authenticated'     = 'AuthenticationError'
    'mfa-refused'           = 'AuthenticationError'
    'too-many-attempts'     = 'LimitsExceeded'
    'capability-missing'    = 'NotImplemented'
    'directory-unavailable' = 'ResourceUnavailable'
    'store-busy'            = 'ResourceBusy'
    'store-unavailable'     = 'ResourceUnavailable'
    'unavailable'           = 'ConnectionError'
    'certificate'           = 'SecurityError'
    'filter'                = 'InvalidArgument'
    'usage'                 = 'InvalidArgument'
}

function New-BastideProblem {
    # An ErrorRecord to throw. Code: one of docs/reference/errors.md, or of the table above.
    param(
        [Parameter(Mandatory = $true)]
        [string] $Message,

        [string] $Remedy = '',

        [string] $Code = 'usage',

        [PSObject] $Target
    )
    $category = 'InvalidOperation'
    if ($script:Categories.ContainsKey($Code)) {
        $category = $script:Categories[$Code]
    }
    $shown = $Message
    # Windows PowerShell prints no RecommendedAction; later ones do.
    if ($Remedy -and $PSVersionTable.PSEdition -eq 'Desktop') {
        $shown = "$Message; $Remedy"
    }
    $exception = New-Object -TypeName System.InvalidOperationException -ArgumentList $shown
    $record = New-Object -TypeName System.Management.Automation.ErrorRecord -ArgumentList $exception, "Bastide.$Code", $category, $Target
    $record.ErrorDetails = New-Object -TypeName System.Management.Automation.ErrorDetails -ArgumentList $shown
    $record.ErrorDetails.RecommendedAction = $Remedy
    $record
}

function Stop-BastideCall {
    # Ends a cmdlet with a problem. In a pipeline it ends this object only: one refusal must not keep the others from being done.
    param(
        [Parameter(Mandatory = $true)]
        [System.Management.Automation.PSCmdlet] $Cmdlet,

        [Parameter(Mandatory = $true)]
        [System.Management.Automation.ErrorRecord] $Problem
    )
    if ($Cmdlet.MyInvocation.ExpectingInput) {
        $Cmdlet.WriteError($Problem)
    }
    else {
        $Cmdlet.ThrowTerminatingError($Problem)
    }
}
