# -Filter: `Property -eq 'value'`, joined by -and, over what a cmdlet gives. It is read, and never run.

# One clause; a quote in a text is written twice.
$script:Clause = @'
\G\s*(?<name>[A-Za-z]\w*)\s+-(?<operator>eq|ne|like|notlike|gt|ge|lt|le)\s+(?:'(?<text>(?:[^']|'')*)'|(?<bare>[^\s']+))\s*(?<more>-and\b|$)
'@.Trim()

function ConvertFrom-BastideFilter {
    # The clauses of a filter.
    param([string] $Filter)
    $place = 0
    $pattern = New-Object -TypeName regex -ArgumentList $script:Clause, 'IgnoreCase'
    do {
        $found = $pattern.Match($Filter, $place)
        if (-not $found.Success) {
            throw (New-BastideProblem -Code 'filter' -Message "-Filter cannot be read from: $($Filter.Substring($place))" -Remedy "write Property -eq 'value'; -and joins several, and there are eq, ne, like, notlike, gt, ge, lt, le")
        }
        $value = $found.Groups['bare'].Value
        if ($found.Groups['text'].Success) {
            $value = $found.Groups['text'].Value.Replace("''", "'")
        }
        @{ Name = $found.Groups['name'].Value; Operator = $found.Groups['operator'].Value; Value = $value }
        $place = $found.Index + $found.Length
    } while ($found.Groups['more'].Length -gt 0)
}

function Test-BastideClause {
    # Whether an object fits one clause.
    param(
        [PSObject] $Object,

        [System.Collections.IDictionary] $Clause
    )
    if ($null -eq $Object.PSObject.Properties[$Clause.Name]) {
        throw (New-BastideProblem -Code 'filter' -Message "-Filter: there is no property $($Clause.Name)" -Remedy 'Get-Member shows those there are')
    }
    $value = $Object.($Clause.Name)
    switch ($Clause.Operator) {
        'eq' { return $value -eq $Clause.Value }
        'ne' { return $value -ne $Clause.Value }
        'like' { return $value -like $Clause.Value }
        'notlike' { return $value -notlike $Clause.Value }
        'gt' { return $value -gt $Clause.Value }
        'ge' { return $value -ge $Clause.Value }
        'lt' { return $value -lt $Clause.Value }
        'le' { return $value -le $Clause.Value }
    }
}

filter Select-BastideMatch {
    # The objects of the pipeline that fit all clauses; without any, all.
    param([object[]] $Clauses)
    foreach ($clause in $Clauses) {
        if (-not (Test-BastideClause -Object $_ -Clause $clause)) {
            return
        }
    }
    $_
}
