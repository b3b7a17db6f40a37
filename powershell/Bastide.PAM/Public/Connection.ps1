function Connect-PAMServer {
    <#
    .SYNOPSIS
    Names the Bastide server that the cmdlets call, and signs in.
    .DESCRIPTION
    Without -Credential your Kerberos ticket is used with each call, and nothing is kept. With -Credential a session is opened at the
    server; it ends with Disconnect-PAMServer, with the module, or by time. Certificates are always checked.
    .PARAMETER Server
    The address: https, host and port. What is left out is https and 443.
    .PARAMETER Credential
    Account and password. The account is written CORP\name or PRIV\name.
    .PARAMETER Code
    The code of your authenticator, for the session: it then holds a second factor for five minutes.
    .PARAMETER UseDefaultCredentials
    Kerberos. This is so without it, too.
    .EXAMPLE
    Connect-PAMServer -Server https://bastide.priv.example.com:8443

    Calls go to this server, each with your ticket.
    .EXAMPLE
    Connect-PAMServer -Server https://bastide.priv.example.com:8443 -Credential (Get-Credential CORP\alice) -Code (Read-Host Code -AsSecureString)

    Opens a session with password and code.
    #>
    [CmdletBinding(DefaultParameterSetName = 'Kerberos')]
    param(
        [Parameter(Mandatory = $true, Position = 1)]
        [string] $Server,

        [Parameter(Mandatory = $true, ParameterSetName = 'Password')]
        [PSCredential] $Credential,

        [Parameter(ParameterSetName = 'Password')]
        [System.Security.SecureString] $Code,

        [Parameter(ParameterSetName = 'Kerberos')]
        [switch] $UseDefaultCredentials
    )
    process {
        try {
            Write-Verbose -Message "Signing in by $($PSCmdlet.ParameterSetName)"
            $made = New-BastideConnection -Server $Server -Credential $Credential -Code $Code
            if ($null -ne $script:Current) {
                Close-BastideConnection -Id $script:Current.Id
            }
            $script:Current = $made
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function Disconnect-PAMServer {
    <#
    .SYNOPSIS
    Ends a session, or forgets the server of Connect-PAMServer.
    .PARAMETER Session
    A session of New-PAMSession. Default: that of Connect-PAMServer.
    .EXAMPLE
    Disconnect-PAMServer

    Signs out.
    #>
    [CmdletBinding()]
    param(
        [Parameter(Position = 1, ValueFromPipeline = $true)]
        [PSTypeName('Bastide.PAM.PAMSession')]
        [PSObject] $Session
    )
    process {
        try {
            $null = Get-BastideConnection -Session $Session
            $id = if ($null -ne $Session) { $Session.Id } else { $script:Current.Id }
            Close-BastideConnection -Id $id
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}

function New-PAMSession {
    <#
    .SYNOPSIS
    Opens a session beside that of Connect-PAMServer, for the parameter -Session.
    .DESCRIPTION
    Use it to administer under another account, or at another server, than the cmdlets without -Session.
    .PARAMETER Credentials
    Account and password; without it your Kerberos ticket.
    .PARAMETER Server
    The address. Default: that of Connect-PAMServer.
    .PARAMETER Code
    The code of your authenticator. It goes with -Credentials.
    .EXAMPLE
    $s = New-PAMSession -Credentials (Get-Credential PRIV\dave); Get-PAMRole -Session $s

    Lists the roles as another administrator.
    #>
    [CmdletBinding()]
    [OutputType('Bastide.PAM.PAMSession')]
    param(
        [Parameter(Position = 2)]
        [PSCredential] $Credentials,

        [string] $Server,

        [System.Security.SecureString] $Code
    )
    process {
        try {
            if ($null -ne $Code -and $null -eq $Credentials) {
                throw (New-BastideProblem -Message '-Code goes with -Credentials' -Remedy 'with a ticket, give the code to the cmdlet that needs it')
            }
            $address = $Server
            if (-not $address) {
                $address = (Get-BastideConnection).Server
            }
            New-BastideConnection -Server $address -Credential $Credentials -Code $Code
        }
        catch {
            Stop-BastideCall -Cmdlet $PSCmdlet -Problem $_
        }
    }
}
