# Between the values of PowerShell and those of the API: whole seconds, RFC 3339, HH:MM, DNS names.

function ConvertTo-BastideSeconds {
    # Whole seconds. A bare number arrives as a TimeSpan of so many ticks (-TTL 600), and no role lasts for less than a second:
    # what is shorter was a number of seconds.
    param([TimeSpan] $Span)
    if ([Math]::Abs($Span.TotalSeconds) -lt 1) {
        return $Span.Ticks
    }
    [long] [Math]::Round($Span.TotalSeconds)
}

function ConvertTo-BastideMoment {
    # RFC 3339 in UTC. A time without a zone is one of this computer's zone.
    param([DateTime] $Time)
    $Time.ToUniversalTime().ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", [Globalization.CultureInfo]::InvariantCulture)
}

function ConvertFrom-BastideMoment {
    # This computer's time, or nothing. PowerShell 6 to 7.4 has read the JSON text as a time already.
    param([PSObject] $Value)
    if ($null -eq $Value) {
        return
    }
    if ($Value -is [DateTime]) {
        return $Value.ToLocalTime()
    }
    [DateTimeOffset]::Parse([string] $Value, [Globalization.CultureInfo]::InvariantCulture).LocalDateTime
}

function ConvertTo-BastideClock {
    # HH:MM. Of a DateTime only the time of day is used, as in MIM.
    param([DateTime] $Time)
    $Time.ToString("HH':'mm", [Globalization.CultureInfo]::InvariantCulture)
}

function ConvertFrom-BastideClock {
    # HH:MM on the first of all days, as MIM shows a time of day.
    param([string] $Clock)
    $hours, $minutes = $Clock -split ':'
    [DateTime]::MinValue.AddHours([int] $hours).AddMinutes([int] $minutes)
}

function Get-BastideDomain {
    # DNS name of the domain that a distinguished name lies in; empty for an object that is only planned.
    param([string] $Dn)
    @([regex]::Matches($Dn, '(?i)(?:^|,)DC=([^,]+)') | ForEach-Object { $_.Groups[1].Value }) -join '.'
}

function Test-BastideDomain {
    # Whether a typed domain is this one: its DNS name, the first label of it, or CORP.
    param(
        [string] $Typed,

        [string] $Domain
    )
    $Typed -eq 'CORP' -or ($Domain -and $Typed -in @($Domain, ($Domain -split '\.')[0]))
}

function Test-BastideMatch {
    # Whether a value is what was typed, * and ? included. Nothing typed: it is.
    param(
        [string] $Value,

        [string] $Typed
    )
    -not $Typed -or $Value -eq $Typed -or $Value -like $Typed
}
