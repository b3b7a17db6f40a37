# A prompt's strict mode would reach in here, and what an answer leaves out is meant to read as nothing.
Set-StrictMode -Off

# Windows PowerShell does not load it by itself.
Add-Type -AssemblyName System.Net.Http

# Id of a session to its client: clients hold tokens, and no object that a person can print holds a client.
$script:Connections = @{}
# The session of Connect-PAMServer.
$script:Current = $null

# By name: a file that somebody puts beside them is not run.
$parts = @(
    'Private/Problems', 'Private/Values', 'Private/Filter', 'Private/Connection', 'Private/Objects', 'Private/Rules',
    'Private/Requests', 'Public/Connection', 'Public/Directory', 'Public/Users', 'Public/Groups', 'Public/Roles',
    'Public/Requests', 'Public/Approvals', 'Public/Control'
)
foreach ($part in $parts) {
    . (Join-Path -Path $PSScriptRoot -ChildPath "$part.ps1")
}

$ExecutionContext.SessionState.Module.OnRemove = {
    foreach ($id in @($script:Connections.Keys)) {
        Close-BastideConnection -Id $id
    }
}
