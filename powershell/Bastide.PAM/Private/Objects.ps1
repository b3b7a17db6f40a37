# From the answers of the API to objects with the property names of MIM. What MIM has and the API has not is left out.

function Get-BastideSubject {
    # FOREST\name of a PAM user, as role candidates and approvers are named. The CORP account: the PRIV one is expired between grants,
    # and who cannot sign in does not count as an approver. With one forest only, its name is PRIV.
    param([PSObject] $Answer)
    $corp = Get-BastideDomain -Dn $Answer.corp.dn
    $priv = Get-BastideDomain -Dn $Answer.priv.dn
    if ($corp -eq $priv -or $corp -like "*.$priv") {
        return "PRIV\$($Answer.corp.name)"
    }
    "CORP\$($Answer.corp.name)"
}

function ConvertTo-PAMUser {
    # Subject: the name by which a role knows the person, where it is not the usual one.
    param(
        [PSObject] $Answer,

        [string] $Subject
    )
    if (-not $Subject) {
        $Subject = Get-BastideSubject -Answer $Answer
    }
    [PSCustomObject]@{
        PSTypeName           = 'Bastide.PAM.PAMUser'
        SourceAccountName    = $Answer.corp.name
        SourceDisplayName    = $Answer.corp.name
        SourceAccountSID     = $Answer.corp.sid
        SourceDomain         = Get-BastideDomain -Dn $Answer.corp.dn
        SourceUserResourceId = $Answer.corp.guid
        PrivAccountName      = $Answer.priv.name
        PrivDisplayName      = $Answer.name
        PrivAccountSID       = $Answer.priv.sid
        PrivAccountActive    = $Answer.enabled
        PrivUserResourceId   = $Answer.id
        PrivOnly             = $false
        Subject              = $Subject
        TicketCap            = $Answer.ticket_cap
        KeptAlive            = $Answer.kept_alive
        Adopted              = $Answer.adopted
        CreationTime         = ConvertFrom-BastideMoment -Value $Answer.created_at
    }
}

function ConvertTo-PAMSubject {
    # A candidate or approver of a role: the PAM user, if it is one; else the account or group, with what is known of it.
    param(
        [PSObject] $Answer,

        [PSObject[]] $Users
    )
    $user = @($Users | Where-Object { $Answer.sid -in @($_.corp.sid, $_.priv.sid) })
    if ($user.Count -gt 0) {
        return ConvertTo-PAMUser -Answer $user[0] -Subject $Answer.name
    }
    [PSCustomObject]@{
        PSTypeName        = 'Bastide.PAM.PAMUser'
        SourceAccountName = ($Answer.name -split '\\')[-1]
        SourceDisplayName = $Answer.name
        SourceAccountSID  = $Answer.sid
        PrivDisplayName   = $Answer.name
        Subject           = $Answer.name
        IsGroup           = $Answer.is_group
    }
}

function ConvertTo-PAMGroup {
    # Findings are in the answer to preparing the group only.
    param([PSObject] $Answer)
    [PSCustomObject]@{
        PSTypeName          = 'Bastide.PAM.PAMGroup'
        SourceAccountName   = $Answer.corp.name
        SourceDomain        = Get-BastideDomain -Dn $Answer.corp.dn
        SourceAccountSID    = $Answer.corp.sid
        PrivAccountName     = $Answer.priv.name
        PrivDisplayName     = $Answer.name
        PrivAccountSID      = $Answer.priv.sid
        PrivGroupResourceId = $Answer.id
        PrivOnly            = $false
        Active              = $Answer.enabled
        Carrier             = $Answer.carrier
        Scope               = $Answer.scope
        Link                = $Answer.link
        Adopted             = $Answer.adopted
        CreationTime        = ConvertFrom-BastideMoment -Value $Answer.created_at
        Findings            = [PSObject[]] @($Answer.findings | Where-Object { $null -ne $_ })
    }
}

function ConvertTo-PAMRole {
    # TTL is the longest that may be asked for, in seconds, as in MIM's REST API. Proposal: in the answer to a change that waits for a second
    # administrator; the object shows what is proposed.
    param(
        [PSObject] $Answer,

        [PSObject[]] $Users,

        [PSObject[]] $Groups
    )
    $approvers = @($Answer.stages | ForEach-Object { $_.approvers } | Where-Object { $null -ne $_ })
    $privileges = foreach ($one in $Answer.privileges) {
        $known = @($Groups | Where-Object { $_.id -eq $one.id })
        if ($known.Count -gt 0) {
            ConvertTo-PAMGroup -Answer $known[0]
        }
        else {
            [PSCustomObject]@{ PSTypeName = 'Bastide.PAM.PAMGroup'; PrivDisplayName = $one.name; PrivGroupResourceId = $one.id }
        }
    }
    $role = [PSCustomObject]@{
        PSTypeName                 = 'Bastide.PAM.PAMRole'
        RoleId                     = $Answer.id
        DisplayName                = $Answer.name
        Description                = $Answer.description
        TTL                        = $Answer.ttl.maximum
        DefaultTTL                 = $Answer.ttl.default
        MinimumTTL                 = $Answer.ttl.minimum
        AvailableFrom              = ConvertFrom-BastideClock -Clock "$($Answer.window.opens)"
        AvailableTo                = ConvertFrom-BastideClock -Clock "$($Answer.window.closes)"
        AvailabilityWindowEnabled  = $null -ne $Answer.window
        AvailabilityTimeZone       = $Answer.window.zone
        MFAEnabled                 = $Answer.mfa
        ApprovalEnabled            = @($Answer.stages).Count -gt 0
        DisableAutoApprovalIfOwner = -not $Answer.owner_auto_approval
        Approvers                  = [PSObject[]] @($approvers | ForEach-Object { ConvertTo-PAMSubject -Answer $_ -Users $Users })
        Candidates                 = [PSObject[]] @($Answer.candidates | ForEach-Object { ConvertTo-PAMSubject -Answer $_ -Users $Users })
        Privileges                 = [PSObject[]] @($privileges)
        Active                     = $Answer.enabled
        Version                    = $Answer.version
        Proposal                   = $Answer.proposal
        CreationTime               = ConvertFrom-BastideMoment -Value $Answer.created_at
    }
    # What asks for a role takes both kinds.
    $role.PSObject.TypeNames.Insert(1, 'Bastide.PAM.PAMRoleForRequest')
    $role
}

function ConvertTo-PAMRoleForRequest {
    # WhyNot: why the role cannot be asked for now; empty: it can.
    param([PSObject] $Answer)
    [PSCustomObject]@{
        PSTypeName      = 'Bastide.PAM.PAMRoleForRequest'
        RoleId          = $Answer.id
        DisplayName     = $Answer.name
        Description     = $Answer.description
        TTL             = $Answer.ttl.maximum
        DefaultTTL      = $Answer.ttl.default
        MFAEnabled      = $Answer.mfa
        ApprovalEnabled = $Answer.needs_approval
        Justification   = $Answer.justification
        TicketPattern   = $Answer.ticket_pattern
        Window          = $Answer.window
        WhyNot          = $Answer.why_not
    }
}

function ConvertTo-PAMRequest {
    # ExpirationTime: the end of the grant, once it is active. TrueEnd: access is really over, with the last ticket.
    param(
        [PSObject] $Answer,

        [bool] $Extended
    )
    $end = $null
    if ($null -ne $Answer.active_from) {
        $end = @($Answer.closed_at, $Answer.ends_at) | Where-Object { $null -ne $_ } | Select-Object -First 1
    }
    $start = @($Answer.start_at, $Answer.created_at) | Where-Object { $null -ne $_ } | Select-Object -First 1
    $request = [PSCustomObject]@{
        PSTypeName     = 'Bastide.PAM.PAMRequest'
        RequestId      = $Answer.id
        RoleId         = $Answer.role_id
        RoleName       = $Answer.role
        Requestor      = $Answer.user
        RequestStatus  = $Answer.state
        Justification  = $Answer.justification
        CreationTime   = ConvertFrom-BastideMoment -Value $Answer.created_at
        RequestedTime  = ConvertFrom-BastideMoment -Value $start
        RequestedTTL   = $Answer.ttl_seconds
        ExpirationTime = ConvertFrom-BastideMoment -Value $end
        TrueEnd        = ConvertFrom-BastideMoment -Value $Answer.true_end
    }
    if ($Extended) {
        $more = @{
            ActiveFrom   = ConvertFrom-BastideMoment -Value $Answer.active_from
            ExtendTo     = ConvertFrom-BastideMoment -Value $Answer.extend_to
            DirectoryEnd = ConvertFrom-BastideMoment -Value $Answer.directory_end
            PendingUntil = ConvertFrom-BastideMoment -Value $Answer.pending_until
            Enforcer     = $Answer.enforcer
            Ticket       = $Answer.ticket
            Reason       = $Answer.reason
            Votes        = [PSObject[]] @($Answer.votes | Where-Object { $null -ne $_ })
            Missing      = $Answer.missing
        }
        Add-Member -InputObject $request -NotePropertyMembers $more
    }
    $request
}

function ConvertTo-PAMRequestToApprove {
    # Missing: stage to the approvals that it still needs.
    param([PSObject] $Answer)
    $start = @($Answer.start_at, $Answer.created_at) | Where-Object { $null -ne $_ } | Select-Object -First 1
    [PSCustomObject]@{
        PSTypeName       = 'Bastide.PAM.PAMRequestToApprove'
        RoleName         = $Answer.role
        Requestor        = $Answer.user
        Justification    = $Answer.justification
        RequestedTTL     = $Answer.ttl_seconds
        RequestedTime    = ConvertFrom-BastideMoment -Value $start
        CreationTime     = ConvertFrom-BastideMoment -Value $Answer.created_at
        FIMRequestID     = $Answer.id
        ApprovalObjectID = $Answer.id
        Ticket           = $Answer.ticket
        PendingUntil     = ConvertFrom-BastideMoment -Value $Answer.pending_until
        Missing          = $Answer.missing
    }
}

function Format-BastideFinding {
    # One line: how bad, what, what was seen, what can be done.
    param([PSObject] $Finding)
    $seen = @($Finding.evidence, $Finding.remedy | Where-Object { $_ }) -join '; '
    @("$($Finding.severity): $($Finding.text)", $seen | Where-Object { $_ }) -join ' - '
}
