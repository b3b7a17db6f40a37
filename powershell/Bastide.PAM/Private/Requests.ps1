# What several cmdlets do with requests.

function Confirm-BastideRequest {
    # Asks for the code that a new request waits for. Whatever becomes of it, the request is there: the problem names it.
    param([PSObject] $Made)
    $left = "the request $($Made.id) waits for a code: Get-PAMRequestForReview -Pending | Confirm-PAMRequest, or Close-PAMRequest"
    if (-not (Test-BastideAsking)) {
        Write-Warning -Message $left
        return $Made
    }
    try {
        Invoke-BastideApi -Method POST -Path '/requests/{request_id}/mfa' -Key $Made.id
    }
    catch {
        throw (New-BastideProblem -Code 'mfa-refused' -Message $_.Exception.Message -Remedy $left -Target $Made.id)
    }
}

function Get-BastideOpenRequests {
    # Ids: of the request, or of all one's own requests for a role that can be ended.
    param(
        [PSObject] $Request,

        [PSObject] $Role,

        [string] $Name
    )
    if ($null -ne $Request) {
        return $Request.RequestId
    }
    $what = $Name
    if ($null -ne $Role) {
        $what = $Role.DisplayName
    }
    if (-not $what) {
        throw (New-BastideProblem -Message 'no request and no role was given' -Remedy 'give -Request from Get-PAMRequestForReview, -Role or -RoleDisplayName')
    }
    $open = @(
        Get-BastidePage -Path '/requests' |
            Where-Object { $_.role_id -eq $Role.RoleId -or ($null -eq $Role -and $_.role -eq $Name) } |
            Where-Object { $_.state -in @('PendingMFA', 'PendingApproval', 'Scheduled', 'Processing', 'Active') }
    )
    if ($open.Count -eq 0) {
        throw (New-BastideProblem -Code 'conflict' -Message "you have no open request for $what" -Remedy 'Get-PAMRequestForReview shows yours')
    }
    $open | ForEach-Object { $_.id }
}

function Get-BastideStates {
    # The states that the switches of a cmdlet mean; none: all.
    param(
        [System.Collections.IDictionary] $Said,

        [bool] $All
    )
    $states = @{
        Active   = @('Active')
        Expired  = @('Expired')
        Rejected = @('Rejected')
        Pending  = @('PendingMFA', 'PendingApproval')
        Closed   = @('Closed', 'Cancelled', 'Failed')
    }
    if (-not $All) {
        [string[]] @($states.Keys | Where-Object { $Said.ContainsKey($_) -and $Said[$_] } | ForEach-Object { $states[$_] })
    }
}

function Get-BastideUserId {
    # Of a PAM user. A candidate that is a group has none, and no id would mean everybody.
    param([PSObject] $User)
    if (-not $User.PrivUserResourceId) {
        throw (New-BastideProblem -Code 'not-found' -Message "$($User.Subject) is no PAM user" -Remedy 'take one from Get-PAMUser' -Target $User)
    }
    $User.PrivUserResourceId
}
