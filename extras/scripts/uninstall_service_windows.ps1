<#
.SYNOPSIS
Removes TaskMessenger's services from this machine.

.DESCRIPTION
Stops and removes services, and the programs with the last service that needs them. Configuration, credentials, state and logs
stay, unless -Purge is given. As an administrator.

Where scripts are not allowed to run, as on Windows for clients, say first, in each PowerShell anew:
Set-ExecutionPolicy -Scope Process Bypass -Force

-Component worker is the worker without a name; all is everything that is installed. Nothing is asked: -DryRun shows beforehand
what would be removed.

Exit codes: 0 removed, or there was nothing to remove; 1 refused or failed; 64 wrong command line (1 where PowerShell
itself refuses it). For several services the worst.

.PARAMETER Component
What is to be removed: manager, worker or all.

.PARAMETER Instance
That worker, and not the one without a name.

.PARAMETER Purge
Remove also configuration, credentials, state (the queue and its results!) and logs. It can't be taken back. What an earlier
removal has kept goes too; if its component's program is gone with it, this script has to be run from that component's archive.

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

# What is meant, workers first: they report to their manager when they stop.
function Get-Target {
    if ($Component -ne 'all') {
        return New-Target -Component $Component -Instance $Instance
    }
    $names = @(Get-InstalledTarget | Where-Object { $_.Instance } | ForEach-Object { $_.Instance })
    if ($Purge) {
        $names += @(Get-KeptName)
    }
    foreach ($name in ($names | Sort-Object -Unique)) {
        New-Target -Component 'worker' -Instance $name
    }
    New-Target -Component 'worker'
    New-Target -Component 'manager'
}

# The names of workers of which earlier removals have kept something.
function Get-KeptName {
    $data = Get-DataDirectory
    $found = @(Get-ChildItem -LiteralPath (Join-Path $data 'config') -File -Filter 'config-worker-*' -ErrorAction Ignore)
    foreach ($directory in $data, (Join-Path $data 'logs')) {
        $found += @(Get-ChildItem -LiteralPath $directory -Directory -Filter 'worker-*' -ErrorAction Ignore)
    }
    foreach ($item in $found) {
        $name = ($item.Name -replace '\A(config-)?worker-' -replace '\.json(\.new)?\z').ToLowerInvariant()
        if (Test-InstanceName $name) {
            $name
        }
        else {
            Write-Warning "$($item.FullName) is left alone: no worker has such a name"
        }
    }
}

# What there is of a service's data.
function Get-Kept {
    param($Target)
    $name = $Target.Key.Replace('@', '-')
    $data = Get-DataDirectory
    foreach ($place in "config/config-$name.json", "config/config-$name.json.new", $name, "logs/$name") {
        $path = Join-Path $data $place
        if (Test-Path -LiteralPath $path) {
            $path
        }
    }
}

# The program that removes a component's services, or nothing if there is none. An installed one goes with the last service that
# needs it, and what comes after that needs it too; nor does Windows delete a program that runs. So it is copied beforehand: to
# where only administrators can write, or somebody could put his own there.
function Get-Remover {
    param([string]$Of)
    $program = Find-Program $Of
    if (-not $program -or $DryRun -or $program -ne (Get-ProgramInstalled $Of)) {
        return $program
    }
    if (-not $Scratch) {
        $script:Scratch = New-Scratch -Parent (Get-ProgramsDirectory) -Prefix $Prefix
    }
    $copy = Join-Path $Scratch (Split-Path -Leaf $program)
    [IO.File]::Copy($program, $copy)
    $copy
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
    $program = $Removers[$Target.Component]
    if ($program) {
        Invoke-Program -Path $program -Arguments $arguments
        return
    }
    $kept = @()
    if ($Purge) {
        $kept = @(Get-Kept $Target)
    }
    $archive = "Run this script from the unpacked archive of the $($Target.Component), task-messenger-$($Target.Component)-vVERSION-windows-x64"
    if (Get-Service -Name $Target.Service -ErrorAction Ignore) {
        Write-Failure "$($Target.Service) is installed and its program is not. $archive"
        $script:ProgramCode = 1
    }
    elseif ($kept.Count -gt 0) {
        Write-Failure "$($Target.Key) is not installed, and what it had is still there: $($kept -join ', '). $archive"
        $script:ProgramCode = 1
    }
    else {
        Write-Output "$($Target.Key) is not installed."
    }
}

function Remove-All {
    param($Targets)
    foreach ($of in @($Targets.Component | Sort-Object -Unique)) {
        $Removers[$of] = Get-Remover $of
    }
    foreach ($target in $Targets) {
        Remove-Target $target
        if ($ProgramCode -ne $NotInstalled) {
            $script:Worst = [Math]::Max($Worst, $ProgramCode)
        }
    }
}

# The same, and nothing of this script itself is left. A directory that somebody is in can't be removed, so the caller waits elsewhere:
# he and his process, which may be in two.
function Remove-ForGood {
    param($Targets)
    $location = (Get-Location).Path
    $process = [Environment]::CurrentDirectory
    $elsewhere = [IO.Path]::GetPathRoot((Get-ProgramsDirectory))
    try {
        Set-Location -LiteralPath $elsewhere
        [Environment]::CurrentDirectory = $elsewhere
        Remove-Leftover -Parent (Get-ProgramsDirectory) -Prefix $Prefix -Hours 1
        Remove-All $Targets
    }
    finally {
        if ($Scratch) {
            Remove-Scratch $Scratch
        }
        Remove-Empty (Get-ProgramsDirectory)
        if (Test-Path -LiteralPath $location) {
            Set-Location -LiteralPath $location
        }
        if ([IO.Directory]::Exists($process)) {
            [Environment]::CurrentDirectory = $process
        }
    }
}

$Prefix = 'uninstall-'
$Scratch = ''
$Removers = @{}
$Worst = 0
try {
    $Component = $Component.ToLowerInvariant()
    Assert-Windows 'scripts/uninstall_service_linux.sh'
    Assert-Instance -Component $Component -Instance $Instance
    Assert-Architecture
    Assert-Administrator 'to remove a service'
    $targets = @(Get-Target)
    if ($DryRun) {
        Remove-All $targets
    }
    else {
        Remove-ForGood $targets
    }
}
catch {
    Exit-Failed $_
}
exit $Worst
