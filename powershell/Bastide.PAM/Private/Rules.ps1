# From roles and parameters to the body that the API takes for a role.

# Fields of a role that are shown and cannot be sent. All others are carried over when a role is changed, known here or not:
# a rule that was forgotten would be set back to its default.
$script:ShownOnly = @('id', 'created_at', 'dry_run', 'changes', 'proposal')

function Get-BastideDirectory {
    # The PAM users and groups that roles refer to.
    param([PSObject] $Session)
    @{
        Users  = [PSObject[]] @((Invoke-BastideApi -Method GET -Path '/pam-users' -Session $Session).items)
        Groups = [PSObject[]] @((Invoke-BastideApi -Method GET -Path '/pam-groups' -Session $Session).items)
    }
}

function ConvertTo-BastideRules {
    # The body that would leave a role as it is.
    param([PSObject] $Role)
    $rules = [ordered]@{}
    foreach ($field in $Role.PSObject.Properties) {
        if ($field.Name -notin $script:ShownOnly) {
            $rules[$field.Name] = $field.Value
        }
    }
    $rules['privileges'] = [string[]] @($Role.privileges | ForEach-Object { $_.id })
    $rules['candidates'] = [string[]] @($Role.candidates | ForEach-Object { $_.name })
    $rules['stages'] = [object[]] @(
        foreach ($stage in $Role.stages) {
            @{ name = $stage.name; approvers = [string[]] @($stage.approvers | ForEach-Object { $_.name }); needed = $stage.needed }
        }
    )
    $rules
}

function Write-BastideProposal {
    # With four eyes nothing was changed yet, and that must not look like success.
    param([PSObject] $Answer)
    if ($Answer.proposal) {
        Write-Warning -Message "nothing was changed: it waits for a second administrator, as proposal $($Answer.proposal)"
    }
}

function Get-BastideSubjectNames {
    # What was given as candidates or approvers: PAMUser objects, or FOREST\name.
    param([PSObject[]] $Given)
    foreach ($one in $Given) {
        if ($one.PSObject.TypeNames -contains 'Bastide.PAM.PAMUser') {
            $one.Subject
        }
        else {
            [string] $one
        }
    }
}

function Get-BastideGroupNames {
    # What was given as privileges: PAMGroup objects, or names.
    param([PSObject[]] $Given)
    foreach ($one in $Given) {
        if ($one.PSObject.TypeNames -contains 'Bastide.PAM.PAMGroup') {
            $one.PrivGroupResourceId
        }
        else {
            [string] $one
        }
    }
}

function Get-BastideStage {
    # Approval as MIM has it: one stage, and one approver is enough.
    param([PSObject[]] $Approvers)
    @{ name = 'owners'; approvers = [string[]] @(Get-BastideSubjectNames -Given $Approvers); needed = 1 }
}

function Get-BastideWindow {
    # The times of Said, or else of the window that there is, on its days or on all. A time of day means nothing without a zone.
    param(
        [System.Collections.IDictionary] $Said,

        [PSObject] $Before
    )
    $window = @{ days = [int[]] @(0, 1, 2, 3, 4, 5, 6); opens = $Before.opens; closes = $Before.closes; zone = $Before.zone }
    if ($null -ne $Before) {
        $window.days = [int[]] @($Before.days)
    }
    if ($Said.ContainsKey('AvailableFrom')) {
        $window.opens = ConvertTo-BastideClock -Time $Said['AvailableFrom']
    }
    if ($Said.ContainsKey('AvailableTo')) {
        $window.closes = ConvertTo-BastideClock -Time $Said['AvailableTo']
    }
    if ($Said.ContainsKey('AvailabilityTimeZone')) {
        $window.zone = $Said['AvailabilityTimeZone']
    }
    if (-not $window.opens -or -not $window.closes -or -not $window.zone) {
        throw (New-BastideProblem -Message 'an availability window has a beginning, an end and a time zone' -Remedy 'give -AvailableFrom, -AvailableTo and -AvailabilityTimeZone, as Europe/Berlin')
    }
    $window
}

function Set-BastideTtl {
    # MIM has one length for a role: it is the usual and the longest, and never shorter than the shortest.
    param(
        [System.Collections.IDictionary] $Rules,

        [TimeSpan] $Span,

        [long] $Minimum
    )
    $seconds = ConvertTo-BastideSeconds -Span $Span
    $Rules['ttl'] = @{ default = $seconds; minimum = [Math]::Min($Minimum, $seconds); maximum = $seconds }
}

function Assert-BastideSource {
    # The person or group that the server would take is of the domain that was named.
    param(
        [PSObject] $Planned,

        [string] $Domain
    )
    $found = Get-BastideDomain -Dn $Planned.corp.dn
    if (-not (Test-BastideDomain -Typed $Domain -Domain $found)) {
        throw (New-BastideProblem -Code 'not-found' -Message "the server finds $($Planned.corp.name) in $found, not in $Domain" -Remedy "give -SourceDomain $found if that is meant")
    }
}

function Assert-BastideRoleParameters {
    # What would be left out without a word is refused: MIM keeps approvers and times that are not in force, Bastide has no place for them.
    param(
        [System.Collections.IDictionary] $Said,

        [bool] $Approval,

        [bool] $Window
    )
    if ($Approval -ne $Said.ContainsKey('Approvers')) {
        throw (New-BastideProblem -Message '-ApprovalEnabled and -Approvers go together' -Remedy 'give both, or none')
    }
    $times = @('AvailableFrom', 'AvailableTo', 'AvailabilityTimeZone' | Where-Object { $Said.ContainsKey($_) })
    if (-not $Window -and $times.Count -gt 0) {
        throw (New-BastideProblem -Message "-$($times[0]) is kept with -AvailabilityWindowEnabled only" -Remedy 'give -AvailabilityWindowEnabled, or leave the times out')
    }
}

function Edit-BastideRules {
    # Into the body: what was said of name, text, people, groups, length and second factor.
    param(
        [System.Collections.IDictionary] $Rules,

        [System.Collections.IDictionary] $Said
    )
    switch ($Said.Keys) {
        'DisplayName' { $Rules['name'] = $Said[$_] }
        'Description' { $Rules['description'] = $Said[$_] }
        'MFAEnabled' { $Rules['mfa'] = $Said[$_] }
        'Candidates' { $Rules['candidates'] = [string[]] @(Get-BastideSubjectNames -Given $Said[$_]) }
        'Privileges' { $Rules['privileges'] = [string[]] @(Get-BastideGroupNames -Given $Said[$_]) }
        'DisableAutoApprovalIfOwner' { $Rules['owner_auto_approval'] = -not $Said[$_] }
        'TTL' { Set-BastideTtl -Rules $Rules -Span $Said[$_] -Minimum $Rules['ttl'].minimum }
    }
}

function Edit-BastideGates {
    # Into the body: what was said of approval and window. Before: the role as it was read.
    param(
        [System.Collections.IDictionary] $Rules,

        [System.Collections.IDictionary] $Said,

        [PSObject] $Before
    )
    $approval = @($Before.stages).Count -gt 0
    if ($Said.ContainsKey('ApprovalEnabled')) {
        $approval = $Said['ApprovalEnabled']
    }
    if ($Said.ContainsKey('Approvers')) {
        $Rules['stages'] = [object[]] @(Get-BastideStage -Approvers $Said['Approvers'])
    }
    if (-not $approval) {
        $Rules['stages'] = [object[]] @()
    }
    $window = $null -ne $Before.window
    if ($Said.ContainsKey('AvailabilityWindowEnabled')) {
        $window = $Said['AvailabilityWindowEnabled']
    }
    Assert-BastideGates -Rules $Rules -Said $Said -Approval $approval -Window $window
    $Rules['window'] = $null
    if ($window) {
        $Rules['window'] = Get-BastideWindow -Said $Said -Before $Before.window
    }
}

function Assert-BastideGates {
    # As Assert-BastideRoleParameters, for a role that has approvers or a window already.
    param(
        [System.Collections.IDictionary] $Rules,

        [System.Collections.IDictionary] $Said,

        [bool] $Approval,

        [bool] $Window
    )
    if ($Approval -and $Rules['stages'].Count -eq 0) {
        throw (New-BastideProblem -Message 'approval needs somebody who approves' -Remedy 'give -Approvers')
    }
    if (-not $Approval -and $Said.ContainsKey('Approvers')) {
        throw (New-BastideProblem -Message '-Approvers are kept with -ApprovalEnabled only' -Remedy 'give -ApprovalEnabled $true, or leave the approvers out')
    }
    $times = @('AvailableFrom', 'AvailableTo', 'AvailabilityTimeZone' | Where-Object { $Said.ContainsKey($_) })
    if (-not $Window -and $times.Count -gt 0) {
        throw (New-BastideProblem -Message "-$($times[0]) is kept with -AvailabilityWindowEnabled only" -Remedy 'give -AvailabilityWindowEnabled $true, or leave the times out')
    }
}
