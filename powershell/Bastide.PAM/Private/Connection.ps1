# The API as the cmdlets see it: one call, one answer, or one problem.
#
# (1) The address is https and nothing but a host and a port. Certificates are checked, always: what makes Windows PowerShell accept
#     any certificate in this process is refused.
# (2) Who calls: a Kerberos ticket with each call, or a session that is opened with a password and ended with the module.
# (3) A code is asked for only when the server wants one and none was given, once, and without echo.
# (4) Password, code and token are in method arguments, headers and bodies, and never an argument of a command, which Windows may log;
#     nor in an address, a message or an object that is handed out.

$script:CodeHeader = 'Bastide-Code'

function Get-BastideAddress {
    # (1): https://host:port.
    param([string] $Server)
    $text = $Server
    if ($text -notmatch '://') {
        $text = "https://$text"
    }
    $address = $null
    $read = [Uri]::TryCreate($text, [UriKind]::Absolute, [ref] $address)
    $whole = $read -and $address.Scheme -eq 'https' -and $address.Host
    if (-not $whole -or $address.UserInfo -or $address.PathAndQuery -ne '/' -or $address.Fragment) {
        # Not repeated: people write passwords into addresses.
        throw (New-BastideProblem -Message 'this is no address of a server' -Remedy 'write https://bastide.priv.example.com:8443')
    }
    $address.GetLeftPart([UriPartial]::Authority)
}

function Assert-BastideCertificateCheck {
    # (1): .NET Framework has one switch for the whole process, and old scripts turn it off.
    if ($PSVersionTable.PSEdition -ne 'Desktop') {
        return
    }
    $policy = [Net.ServicePointManager]::CertificatePolicy
    $foreign = $null -ne $policy -and $policy.GetType().Assembly -ne [Net.ServicePointManager].Assembly
    if ($foreign -or $null -ne [Net.ServicePointManager]::ServerCertificateValidationCallback) {
        throw (New-BastideProblem -Code 'certificate' -Message 'this process does not check certificates as Windows does: something has replaced the check' -Remedy 'start a new PowerShell, without the script that sets ServicePointManager')
    }
    # Nothing is set where the system decides (0); older settings lack TLS 1.2.
    if ([int] [Net.ServicePointManager]::SecurityProtocol -ne 0) {
        [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
    }
}

function New-BastideClient {
    # No redirects, no cookies and no proxy: what is meant for the server goes to the server.
    param([bool] $Ticket)
    Assert-BastideCertificateCheck
    $handler = New-Object -TypeName System.Net.Http.HttpClientHandler
    $handler.AllowAutoRedirect = $false
    $handler.UseCookies = $false
    $handler.UseProxy = $false
    $handler.UseDefaultCredentials = $Ticket
    $client = New-Object -TypeName System.Net.Http.HttpClient -ArgumentList $handler
    $client.Timeout = [TimeSpan]::FromSeconds(100)
    $client.DefaultRequestHeaders.ExpectContinue = $false
    $client.DefaultRequestHeaders.Accept.ParseAdd('application/json')
    $client.DefaultRequestHeaders.UserAgent.ParseAdd('Bastide.PAM')
    $client
}

function New-BastideConnection {
    # (2). Gives a PAMSession: what may be shown of it. Code: with a password only; the session holds the proof for five minutes.
    param(
        [string] $Server,

        [PSCredential] $Credential,

        [System.Security.SecureString] $Code
    )
    $connection = @{
        Server  = Get-BastideAddress -Server $Server
        Client  = New-BastideClient -Ticket ($null -eq $Credential)
        Session = $false
    }
    try {
        if ($null -eq $Credential) {
            $me = Invoke-BastideApi -Method GET -Path '/whoami' -Connection $connection
        }
        else {
            $body = @{ account = $Credential.UserName; password = $Credential.GetNetworkCredential().Password; code = '' }
            if ($null -ne $Code) {
                $body.code = Get-BastideCode -Code $Code
            }
            $made = Invoke-BastideApi -Method POST -Path '/sessions' -Body $body -Connection $connection -NoCode
            $body.Clear()
            $bearer = [System.Net.Http.Headers.AuthenticationHeaderValue]::new('Bearer', $made.token)
            $connection.Client.DefaultRequestHeaders.Authorization = $bearer
            $connection.Session = $true
            $me = $made.actor
        }
    }
    catch {
        $connection.Client.Dispose()
        throw
    }
    $id = [Guid]::NewGuid().ToString()
    $script:Connections[$id] = $connection
    [PSCustomObject]@{
        PSTypeName = 'Bastide.PAM.PAMSession'
        Id         = $id
        Server     = $connection.Server
        Account    = $me.name
        Rights     = [string[]] @($me.rights)
        PAMUser    = $me.pam_user
    }
}

function Close-BastideConnection {
    # Ends the server's session too; one that the server does not end now, it ends by time.
    param([string] $Id)
    $connection = $script:Connections[$Id]
    $script:Connections.Remove($Id)
    if ($null -ne $script:Current -and $script:Current.Id -eq $Id) {
        $script:Current = $null
    }
    try {
        if ($connection.Session) {
            $null = Invoke-BastideApi -Method DELETE -Path '/sessions/current' -Connection $connection -NoCode
        }
    }
    catch {
        Write-Verbose -Message "The session at $($connection.Server) was not ended: $_"
    }
    finally {
        $connection.Client.Dispose()
    }
}

function Get-BastideConnection {
    # Of a PAMSession, or of Connect-PAMServer.
    param([PSObject] $Session)
    $wanted = $Session
    if ($null -eq $wanted) {
        $wanted = $script:Current
    }
    if ($null -eq $wanted) {
        throw (New-BastideProblem -Code 'unavailable' -Message 'no server was named' -Remedy 'Connect-PAMServer -Server https://bastide.priv.example.com:8443')
    }
    if (-not $script:Connections.ContainsKey($wanted.Id)) {
        throw (New-BastideProblem -Code 'unavailable' -Message "the session at $($wanted.Server) is closed" -Remedy 'New-PAMSession opens another')
    }
    $script:Connections[$wanted.Id]
}

function Get-BastideCode {
    # The text of a code, for a header or a body only (4).
    param([System.Security.SecureString] $Code)
    $text = (New-Object -TypeName System.Management.Automation.PSCredential -ArgumentList 'code', $Code).GetNetworkCredential().Password
    if ($text -notmatch '\A[0-9A-Za-z -]{1,64}\z') {
        throw (New-BastideProblem -Code 'mfa-refused' -Message 'a code is digits, or letters, digits and hyphens' -Remedy 'give the code that your authenticator shows')
    }
    $text
}

function Test-BastideAsking {
    # Whether somebody is there who can be asked.
    $silent = @([Environment]::GetCommandLineArgs() | Where-Object { $_ -like '-noni*' })
    [Environment]::UserInteractive -and $silent.Count -eq 0
}

function Invoke-BastideApi {
    # One call of the native API. Path: as OpenAPI has it; Key takes the place of the one name in braces. NoCode: a code is never asked for.
    # Gives the answer, or throws a problem.
    param(
        [Parameter(Mandatory = $true)]
        [string] $Method,

        [Parameter(Mandatory = $true)]
        [string] $Path,

        [string] $Key,

        [System.Collections.IDictionary] $Body,

        [System.Collections.IDictionary] $Query = @{},

        [System.Security.SecureString] $Code,

        [PSObject] $Session,

        [System.Collections.IDictionary] $Connection,

        [switch] $NoCode
    )
    if ($null -eq $Connection) {
        $Connection = Get-BastideConnection -Session $Session
    }
    $address = Join-BastideAddress -Server $Connection.Server -Path $Path -Key $Key -Query $Query
    $answer = Send-BastideRequest -Client $Connection.Client -Method $Method -Address $address -Body $Body -Code $Code
    $wanted = $answer.Status -ge 400 -and $answer.Data.code -eq 'mfa-refused' -and $null -eq $Code -and -not $NoCode
    if ($wanted -and (Test-BastideAsking)) {
        $typed = Read-Host -Prompt 'Code from your authenticator' -AsSecureString
        $answer = Send-BastideRequest -Client $Connection.Client -Method $Method -Address $address -Body $Body -Code $typed
    }
    if ($answer.Status -ge 300) {
        throw (ConvertTo-BastideProblem -Answer $answer -Server $Connection.Server)
    }
    $answer.Data
}

function Get-BastidePage {
    # Every page of a listing of requests, newest first, as it comes; none that is older than Since throughout.
    param(
        [Parameter(Mandatory = $true)]
        [string] $Path,

        [string] $User,

        [DateTime] $Since = [DateTime]::MinValue
    )
    $before = ''
    do {
        $page = Invoke-BastideApi -Method GET -Path $Path -Query @{ limit = 500; before = $before; user = $User }
        $page.items
        $before = $page.next_before
    } while ($before -and (ConvertFrom-BastideMoment -Value (@($page.items)[-1].created_at)) -ge $Since)
}

function Join-BastideAddress {
    # Names and values are escaped; a parameter that is empty is left out.
    param(
        [string] $Server,

        [string] $Path,

        [string] $Key,

        [System.Collections.IDictionary] $Query
    )
    $place = $Path
    if ($Path -match '\{[a-z_]+\}') {
        if (-not $Key) {
            throw (New-BastideProblem -Message 'this object has no id' -Remedy 'take it from the Get cmdlet again')
        }
        $place = $Path.Replace($Matches[0], [Uri]::EscapeDataString($Key))
    }
    $said = @($Query.Keys | Where-Object { "$($Query[$_])" } | ForEach-Object { "$_=" + [Uri]::EscapeDataString([string] $Query[$_]) })
    $mark = ''
    if ($said.Count -gt 0) {
        $mark = '?'
    }
    "$Server/api/v1$place$mark" + ($said -join '&')
}

function Send-BastideRequest {
    # One request. Gives status and what was read of the body.
    param(
        [System.Net.Http.HttpClient] $Client,

        [string] $Method,

        [string] $Address,

        [System.Collections.IDictionary] $Body,

        [System.Security.SecureString] $Code
    )
    $request = [System.Net.Http.HttpRequestMessage]::new([System.Net.Http.HttpMethod]::new($Method), $Address)
    try {
        if ($null -ne $Code) {
            $request.Headers.Add($script:CodeHeader, (Get-BastideCode -Code $Code))
        }
        if ($null -ne $Body) {
            $request.Content = [System.Net.Http.StringContent]::new((ConvertTo-Json -InputObject $Body -Depth 10 -Compress), [Text.Encoding]::UTF8, 'application/json')
        }
        $response = Wait-BastideTask -Task ($Client.SendAsync($request)) -Address $Address
        try {
            $text = Wait-BastideTask -Task ($response.Content.ReadAsStringAsync()) -Address $Address
            @{ Status = [int] $response.StatusCode; Data = ConvertFrom-BastideJson -Text $text }
        }
        finally {
            $response.Dispose()
        }
    }
    finally {
        $request.Dispose()
    }
}

function Wait-BastideTask {
    # The result of a task; what went wrong on the way becomes a problem.
    param(
        [System.Threading.Tasks.Task] $Task,

        [string] $Address
    )
    try {
        $Task.GetAwaiter().GetResult()
    }
    catch {
        $server = ([Uri] $Address).GetLeftPart([UriPartial]::Authority)
        $causes = @(for ($one = $_.Exception; $null -ne $one; $one = $one.InnerException) { $one })
        $untrusted = @($causes | Where-Object { $_ -is [System.Security.Authentication.AuthenticationException] })
        if ($untrusted.Count -gt 0) {
            throw (New-BastideProblem -Code 'certificate' -Message "the certificate of $server is not trusted: $($untrusted[0].Message)" -Remedy 'have this computer trust the authority that signed it, and call the server by a name in it')
        }
        if (@($causes | Where-Object { $_ -is [System.OperationCanceledException] }).Count -gt 0) {
            throw (New-BastideProblem -Code 'unavailable' -Message "$server did not finish its answer in time" -Remedy 'look whether it was done before you try again: Get-PAMRequestForReview, Get-PAMRequest')
        }
        throw (New-BastideProblem -Code 'unavailable' -Message "$server does not answer: $($causes[-1].Message)" -Remedy 'check the address, the network, and that bastide.service runs')
    }
}

function ConvertFrom-BastideJson {
    # Objects; nothing, where there was no JSON. Times stay text where PowerShell can leave them so.
    param([string] $Text)
    if (-not $Text) {
        return
    }
    $options = @{}
    if ((Get-Command -Name ConvertFrom-Json).Parameters.ContainsKey('DateKind')) {
        $options['DateKind'] = 'String'
    }
    try {
        ConvertFrom-Json -InputObject $Text -ErrorAction Stop @options
    }
    catch [ArgumentException] {
        Write-Verbose -Message 'The answer is no JSON.'
    }
}

function ConvertTo-BastideProblem {
    # Of an answer in RFC 9457, or of a status without one: what stands between may answer in its own way.
    param(
        [System.Collections.IDictionary] $Answer,

        [string] $Server
    )
    $said = $Answer.Data
    if ($null -eq $said -or -not $said.detail) {
        return New-BastideProblem -Code 'unavailable' -Message "$Server answered $($Answer.Status), and not as Bastide does" -Remedy 'check that the address is that of Bastide'
    }
    $message = $said.detail
    if ($said.field -and -not $message.StartsWith($said.field)) {
        $message = "$($said.field): $message"
    }
    if ($said.incident) {
        $message = "$message (incident $($said.incident))"
    }
    New-BastideProblem -Code $said.code -Message $message -Remedy $said.remedy
}
