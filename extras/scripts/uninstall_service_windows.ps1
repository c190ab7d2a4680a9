<#
.SYNOPSIS
Removes TaskMessenger's services from this machine.

.DESCRIPTION
Stops and removes services, and the programs with the last service that needs them. Configuration, credentials, state and logs
stay, unless -Purge is given. As an administrator.

-Component worker is the worker without a name; all is everything that is installed. Nothing is asked: -DryRun shows beforehand
what would be removed.

Exit codes: 0 removed, or there was nothing to remove; 1 refused or failed; 64 wrong command line (1 where PowerShell
itself refuses it). For several services the worst.

.PARAMETER Component
What is to be removed: manager, worker or all.

.PARAMETER Instance
That worker, and not the one without a name.

.PARAMETER Purge
Remove also configuration, credentials, state (the queue and its results!) and logs. It can't be taken back.

.PARAMETER DryRun
Show each step, change nothing.

.EXAMPLE
& "$env:ProgramFiles\TaskMessenger\worker\scripts\uninstall_service_windows.ps1" -Component worker
The worker; its configuration and identity stay for the next installation.

.EXAMPLE
.\uninstall_service_windows.ps1 -Component worker -Instance gpu -Purge
One of several workers, with all that it had.

.EXAMPLE
.\uninstall_service_windows.ps1 -Component all -Purge -DryRun
Shows what is to be removed so that nothing is left.

.LINK
install_service_windows.ps1
#>
#Requires -Version 5.1
[CmdletBinding()]
param(
    [Parameter(Mandatory)]
    [ValidateSet('manager', 'worker', 'all')]
    [string]$Component,

    [ValidateNotNullOrEmpty()]
    [string]$Instance,

    [switch]$Purge,

    [switch]$DryRun
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

. (Join-Path $PSScriptRoot 'lib/windows.ps1')

# The names of workers that have left anything: a configuration, a new default beside it, state, or logs.
function Get-KeptName {
    $data = Get-DataDirectory
    foreach ($directory in $data, (Join-Path $data 'config'), (Join-Path $data 'logs')) {
        Get-ChildItem -LiteralPath $directory -ErrorAction Ignore |
            Where-Object { $_.Name -cmatch '\A(config-)?worker-([a-z0-9][a-z0-9-]{0,31})(\.json(\.new)?)?\z' } |
            ForEach-Object { $Matches[2] }
    }
}

# What is meant, workers first: they report to their manager when they stop.
function Get-Target {
    if ($Component -ne 'all') {
        return New-Target -Component $Component -Instance $Instance
    }
    $names = @(Get-InstalledTarget | Where-Object { $_.Instance } | ForEach-Object { $_.Instance })
    if ($Purge) {
        # Also what earlier removals have kept.
        $names += @(Get-KeptName)
    }
    foreach ($name in ($names | Sort-Object -Unique)) {
        New-Target -Component 'worker' -Instance $name
    }
    New-Target -Component 'worker'
    New-Target -Component 'manager'
}

# What a service that was removed has kept.
function Get-Left {
    param($Target)
    $name = $Target.Key.Replace('@', '-')
    foreach ($place in $name, "logs/$name", "config/config-$name.json", "config/config-$name.json.new") {
        $path = Join-Path (Get-DataDirectory) $place
        if (Test-Path -LiteralPath $path) {
            $path
        }
    }
}

# A directory that somebody is in can't be removed.
function Move-Away {
    $elsewhere = [IO.Path]::GetPathRoot([Environment]::SystemDirectory)
    if ($elsewhere) {
        Set-Location -LiteralPath $elsewhere
        [Environment]::CurrentDirectory = $elsewhere
    }
}

# Windows doesn't delete a program that runs, so what removes an installation must run from elsewhere; and from where only
# administrators can write, or somebody could put his own there.
function Remove-WithCopy {
    param([string]$Program, [string[]]$Arguments)
    $programs = Get-ProgramsDirectory
    $scratch = Join-Path $programs "uninstall-$([Guid]::NewGuid())"
    $bin = Join-Path $scratch 'bin'
    $copy = Join-Path $bin (Split-Path -Leaf $Program)
    $null = [IO.Directory]::CreateDirectory($bin)
    try {
        [IO.File]::Copy($Program, $copy)
        Invoke-Program -Path $copy -Arguments $Arguments
    }
    finally {
        [IO.Directory]::Delete($scratch, $true)
        if (-not [IO.Directory]::GetFileSystemEntries($programs)) {
            [IO.Directory]::Delete($programs)
        }
    }
}

function Remove-Target {
    param($Target)
    $script:ProgramCode = $NotInstalled
    $arguments = @('service', 'uninstall') + @(Get-InstanceArgument $Target)
    if ($Purge) {
        $arguments += '--purge'
    }
    if ($DryRun) {
        $arguments += '--dry-run'
    }
    $program = Find-Program $Target.Component
    if (-not $program) {
        if (Get-Service -Name $Target.Service -ErrorAction Ignore) {
            Stop-Failed ("$($Target.Service) is installed and its program is not. Run this script from an unpacked archive " +
                "of the $($Target.Component)")
        }
        $left = @(Get-Left $Target)
        if ($Purge -and $left.Count -gt 0) {
            Stop-Failed ("there is no program to remove $($left -join ', '). Run this script from an unpacked archive of the " +
                $Target.Component)
        }
        Write-Output "$($Target.Key) is not installed."
    }
    elseif (-not $DryRun -and $program -eq (Get-ProgramInstalled $Target.Component)) {
        Remove-WithCopy -Program $program -Arguments $arguments
    }
    else {
        Invoke-Program -Path $program -Arguments $arguments
    }
}

$worst = 0
try {
    $Component = $Component.ToLowerInvariant()
    Assert-Windows 'scripts/uninstall_service_linux.sh'
    Assert-Instance -Component $Component -Instance $Instance
    Assert-Architecture
    Assert-Administrator 'to remove a service'
    Move-Away
    foreach ($target in @(Get-Target)) {
        Remove-Target $target
        if ($ProgramCode -ne $NotInstalled) {
            $worst = [Math]::Max($worst, $ProgramCode)
        }
    }
}
catch {
    Exit-Failed $_
}
exit $worst
