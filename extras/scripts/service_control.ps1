<#
.SYNOPSIS
Controls TaskMessenger's services on this machine.

.DESCRIPTION
  start, stop, restart   a stop lets running tasks finish, within `shutdown.grace`
  reload                 load the configuration anew; it is checked first, and a wrong one is refused
  status                 one screen: state, since when, connection, version, account, the last error
  logs                   the newest 100 lines of each log file

Without -Component, all that are installed are meant. start, stop, restart and reload need an administrator; status doesn't.

Where scripts are not allowed to run, as on Windows for clients, say first, in each PowerShell anew:
Set-ExecutionPolicy -Scope Process Bypass -Force

status is in colour on a screen, unless the variable NO_COLOR is set.

Exit codes: 0 it runs, or it is done; 1 it failed; 3 it is stopped; 4 it is not installed; 64 wrong command line (1 where
PowerShell itself refuses it). For several services the worst.

.PARAMETER Verb
What is to be done.

.PARAMETER Component
manager, worker (the one without a name), or all.

.PARAMETER Instance
The worker of this name.

.PARAMETER Follow
For logs: go on with what is logged from now on, until Ctrl-C.

.EXAMPLE
.\service_control.ps1 status
How everything is that is installed here.

.EXAMPLE
.\service_control.ps1 restart -Component worker -Instance gpu
One of several workers.

.EXAMPLE
.\service_control.ps1 reload -Component manager
After its configuration was changed.

.EXAMPLE
.\service_control.ps1 logs -Component worker -Follow
What a worker logs, now and from now on.

.LINK
install_service_windows.ps1
#>
#Requires -Version 5.1
[CmdletBinding()]
param(
    [Parameter(Mandatory, Position = 0)]
    [ValidateSet('start', 'stop', 'restart', 'reload', 'status', 'logs')]
    [string]$Verb,

    [ValidateSet('manager', 'worker', 'all')]
    [string]$Component = 'all',

    [ValidateNotNullOrEmpty()]
    [string]$Instance,

    [switch]$Follow
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

. (Join-Path $PSScriptRoot 'lib/windows.ps1')
. (Join-Path $PSScriptRoot 'lib/control.ps1')

function Assert-CommandLine {
    Assert-Instance -Component $Component -Instance $Instance
    if ($Follow -and $Verb -ne 'logs') {
        Stop-Misused '-Follow is for logs'
    }
}

# The services that are meant; ends with 4 if there is none.
function Get-Target {
    $installed = @(Get-InstalledTarget)
    if ($Component -eq 'all') {
        if ($installed.Count -eq 0) {
            Stop-Failed 'no service of TaskMessenger is installed here' -Code $NotInstalled
        }
        return $installed
    }
    $wanted = New-Target -Component $Component -Instance $Instance
    if ($installed.Count -eq 0 -or $wanted.Service -notin $installed.Service) {
        $others = ($installed | ForEach-Object { $_.Key }) -join ' '
        if (-not $others) {
            $others = 'nothing'
        }
        Stop-Failed "$($wanted.Key) is not installed here (installed: $others)" -Code $NotInstalled
    }
    $wanted
}

function Get-Program {
    param($Target)
    $program = Find-Program $Target.Component
    if (-not $program) {
        Stop-Failed "$($Target.Service) is installed and its program is not: $(Get-ProgramInstalled $Target.Component) is missing"
    }
    $program
}

# The manager is there before its workers, and after them: they report to it when they stop.
function Switch-Service {
    param($Targets)
    if ($Verb -eq 'stop') {
        [Array]::Reverse($Targets)
    }
    foreach ($target in $Targets) {
        $arguments = @('service', $Verb)
        if ($Verb -eq 'reload') {
            $arguments = @('reload')
        }
        Invoke-Program -Path (Get-Program $target) -Arguments ($arguments + @(Get-InstanceArgument $target))
        Add-Code $ProgramCode
    }
}

function Show-Status {
    param($Targets)
    foreach ($target in $Targets) {
        $state = Read-State -Program (Get-Program $target) -Target $target
        Add-Code $ProgramCode
        if ($state) {
            Format-Service -Target $target -State $state
        }
        else {
            Write-Failure "$($target.Key): $ProgramComplaint"
        }
    }
}

function Show-AllLogs {
    param($Targets)
    $paths = @()
    foreach ($target in $Targets) {
        $state = Read-State -Program (Get-Program $target) -Target $target
        if ($state) {
            $paths += @(Get-Field $state 'logs')
        }
        else {
            Add-Code $ProgramCode
            Write-Failure "$($target.Key): $ProgramComplaint"
        }
    }
    Show-Log -Paths $paths -Follow:$Follow
}

$Paints = Test-Colour $MyInvocation.Line
try {
    $Verb = $Verb.ToLowerInvariant()
    $Component = $Component.ToLowerInvariant()
    if ($Instance -and -not $PSBoundParameters.ContainsKey('Component')) {
        $Component = 'worker'
    }
    Assert-Windows 'scripts/service_control.sh'
    Assert-CommandLine
    $targets = @(Get-Target)
    switch ($Verb) {
        'status' { Show-Status $targets }
        'logs' { Show-AllLogs $targets }
        default {
            Assert-Administrator "to $Verb a service"
            Switch-Service $targets
        }
    }
}
catch {
    Exit-Failed $_
}
exit $Worst
