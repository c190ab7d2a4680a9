<#
.SYNOPSIS
Makes what TaskMessenger is delivered as for Windows, on Windows.

.DESCRIPTION
Builds the programs (Rust and a C compiler of Visual Studio's build tools are needed, and Python for the licences) and packs
them, by the list of contents in extras\distribution\contents-windows, as
dist\task-messenger-COMPONENT-vVERSION-windows-x64.zip with a .sha256 of it. The programs need nothing but Windows itself.

Where scripts are not allowed to run, as on Windows for clients, say first, in each PowerShell anew:
Set-ExecutionPolicy -Scope Process Bypass -Force

On Linux, `extras/scripts/build_distribution.sh --target windows` makes the same from the same list, with another compiler.

The variable SOURCE_DATE_EPOCH is the time of all files; without it, it is that of the last commit. Exit codes: 0 done; 1 failed.

.PARAMETER Component
manager, worker, or all.

.PARAMETER NoService
Leave out what is needed to run as a service.

.PARAMETER Out
Where to put it all: dist of the checkout, if nothing else is said.

.PARAMETER BinDir
Take the programs in this directory instead of building them.

.EXAMPLE
.\extras\scripts\build_distribution.ps1
Both archives, in dist.

.EXAMPLE
.\extras\scripts\build_distribution.ps1 -Component worker -NoService -Out D:\archives
Only the worker's, without what makes it a service.

.EXAMPLE
.\extras\scripts\build_distribution.ps1 -BinDir .\target\distribution\x86_64-pc-windows-msvc\release
With the programs that this script has built before. Others mostly need what Windows doesn't bring, or have paths of the machine
that they were built on, and are refused.
#>
#Requires -Version 5.1
[CmdletBinding()]
param(
    [ValidateSet('manager', 'worker', 'all')]
    [string]$Component = 'all',

    [switch]$NoService,

    [ValidateNotNullOrEmpty()]
    [string]$Out,

    [ValidateNotNullOrEmpty()]
    [string]$BinDir
)

Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'

$Checkout = Split-Path -Parent (Split-Path -Parent $PSScriptRoot)

. (Join-Path $PSScriptRoot 'lib/windows.ps1')
. (Join-Path $Checkout 'extras/distribution/lib/programs.ps1')

$Target = 'x86_64-pc-windows-msvc'
$Text = New-Object -TypeName Text.UTF8Encoding -ArgumentList $false

# The list's lines, each as an object; a * is expanded.
function Read-Contents {
    $list = Join-Path $Checkout 'extras/distribution/contents-windows'
    $number = 0
    foreach ($line in [IO.File]::ReadAllLines($list)) {
        $number++
        if ($line -match '\A\s*(#|\z)') {
            continue
        }
        $columns = $line.Trim() -split '\s+'
        if ($columns.Length -ne 5) {
            Stop-Failed "${list}:${number}: there must be five columns"
        }
        $component, $when, $kind, $source, $place = $columns
        if ($component -cnotin 'manager', 'worker', 'both' -or $when -cnotin 'always', 'service' -or
            $kind -cnotin 'program', 'generated', 'printed', 'file') {
            Stop-Failed "${list}:${number}: not understood: $line"
        }
        if ($place -notmatch '\A[A-Za-z0-9][A-Za-z0-9._/-]*\z' -or $place -match '\.\.') {
            Stop-Failed "${list}:${number}: no place in an archive: $place"
        }
        if ($source -notmatch '\*') {
            New-Entry $component $when $kind $source $place
            continue
        }
        $files = @(Get-ChildItem -Path (Join-Path $Checkout $source) -File)
        if ($files.Count -eq 0) {
            Stop-Failed "${list}:${number}: there is no $source"
        }
        foreach ($file in $files) {
            New-Entry $component $when $kind ((Split-Path -Parent $source) + '/' + $file.Name) ($place + $file.Name)
        }
    }
}

function New-Entry {
    param([string]$Component, [string]$When, [string]$Kind, [string]$Source, [string]$Place)
    New-Object -TypeName PSObject -Property @{
        Component = $Component; When = $When; Kind = $Kind; Source = $Source; Place = $Place
    }
}

function Select-Entry {
    param($Entries, [string]$Of)
    $Entries | Where-Object { $_.Component -in $Of, 'both' -and ($_.When -eq 'always' -or -not $NoService) }
}

function Assert-Source {
    param($Entries)
    $missing = @($Entries | Where-Object { $_.Kind -in 'file', 'printed' } | ForEach-Object { $_.Source } | Sort-Object -Unique |
            Where-Object { -not (Test-Path -LiteralPath (Join-Path $Checkout $_) -PathType Leaf) })
    if ($missing.Count -gt 0) {
        Stop-Failed "the list of contents names what is not there: $($missing -join ', ')"
    }
}

function Find-Tool {
    param([string]$Name, [string]$Why)
    $tool = Get-Command -Name $Name -CommandType Application -ErrorAction Ignore | Select-Object -First 1
    if (-not $tool) {
        Stop-Failed "$Name is needed $Why, and not here"
    }
    $tool.Path
}

# Windows has an alias of this name that only opens its Store.
function Find-Python {
    foreach ($tool in @(Get-Command -Name 'python' -CommandType Application -All -ErrorAction Ignore)) {
        try {
            $answer = @(Invoke-Program -Path $tool.Path -Arguments @('--version') -Quiet)
        }
        catch {
            # Not even started: for some accounts the alias can't be.
            continue
        }
        if ($ProgramCode -eq 0 -and "$answer" -match '\APython 3\.') {
            return $tool.Path
        }
    }
    Stop-Failed 'python is needed for the licences, and no Python 3 answers to that name (the alias of the Store is none)'
}

# Runs a tool that writes to the screen by itself, and must succeed. -Environment: what it gets differently; nothing takes a
# variable away. Not by the environment of this process: from PowerShell, what .NET takes for "take it away" arrives as an empty text.
function Start-Tool {
    param([string]$Path, [string[]]$Arguments, [hashtable]$Environment)
    $start = New-Object -TypeName Diagnostics.ProcessStartInfo
    $start.FileName = $Path
    $start.Arguments = ($Arguments | ForEach-Object { ConvertTo-Argument $_ }) -join ' '
    $start.UseShellExecute = $false
    $start.WorkingDirectory = $Checkout
    foreach ($name in $Environment.Keys) {
        $start.EnvironmentVariables.Remove($name)
        if ($null -ne $Environment[$name]) {
            $start.EnvironmentVariables.Add($name, $Environment[$name])
        }
    }
    $process = [Diagnostics.Process]::Start($start)
    $process.WaitForExit()
    if ($process.ExitCode -ne 0) {
        Stop-Failed "this failed: $Path $($start.Arguments)"
    }
}

# What a program prints; it must print something, and succeed. In the checkout, which says which Rust is meant.
function Get-Printed {
    param([string]$Path, [string[]]$Arguments)
    $lines = @(Invoke-Program -Path $Path -Arguments $Arguments -Directory $Checkout)
    if ($ProgramCode -ne 0 -or $lines.Count -eq 0) {
        Stop-Failed "this failed, or printed nothing: $Path $($Arguments -join ' ')"
    }
    $lines
}

# Where cargo builds what is delivered.
function Get-BuildDirectory {
    $directory = Join-Path $Checkout 'target'
    if ($env:CARGO_TARGET_DIR) {
        $directory = Resolve-File $env:CARGO_TARGET_DIR
    }
    Join-Path $directory 'distribution'
}

# Builds all programs, always all, because features of common dependencies come from all of them; where they are then.
function Build-Program {
    $cargo = Find-Tool 'cargo' 'to build the programs'
    $rustc = Find-Tool 'rustc' 'to build the programs'
    $sysroot = Get-Printed $rustc @('--print', 'sysroot')
    $commit = (Get-Printed $rustc @('-vV') | Where-Object { $_ -match '\Acommit-hash: ' }) -replace '\Acommit-hash: '
    $directory = Get-BuildDirectory
    # The C runtime goes into the programs: a fresh Windows has none of the compiler's. And no path of the builder does; of two
    # that fit, the compiler takes the last.
    $flags = @('-Ctarget-feature=+crt-static', "--remap-path-prefix=$sysroot=/usr/src/rust",
        "--remap-path-prefix=$(Join-Path $sysroot 'lib/rustlib/src/rust')=/rustc/$commit",
        "--remap-path-prefix=$(Get-HomeOf 'cargo')=/usr/src/cargo", "--remap-path-prefix=$Checkout=/usr/src/task-messenger",
        "--remap-path-prefix=$directory=/usr/src/task-messenger/target")
    # Of an environment that says otherwise, nothing counts. What is stripped would be in a file beside the program, with its path.
    Start-Tool $cargo @('build', '--release', '--locked', '--target', $Target,
        '-p', 'task-messenger-cli', '-p', 'task-messenger-manager', '-p', 'task-messenger-worker') -Environment @{
        CARGO_TARGET_DIR = $directory; CARGO_ENCODED_RUSTFLAGS = $flags -join [char]31; CARGO_INCREMENTAL = '0'
        CARGO_PROFILE_RELEASE_DEBUG = 'none'; CARGO_PROFILE_RELEASE_STRIP = 'debuginfo'; RUSTFLAGS = $null
    }
    Join-Path $directory (Join-Path $Target 'release')
}

# The version that all programs have, and the source if it was built.
function Get-Version {
    param($Entries, [string]$Bin)
    $version = ''
    if (-not $BinDir) {
        $toml = [IO.File]::ReadAllText((Join-Path $Checkout 'Cargo.toml'))
        if ($toml -notmatch '(?ms)^\[workspace\.package\].*?^version *= *"([^"]+)"') {
            Stop-Failed 'Cargo.toml says no version'
        }
        $version = $Matches[1]
    }
    $foreign = @(Get-BuilderPath $Checkout (Get-BuildDirectory))
    foreach ($name in ($Entries | Where-Object { $_.Kind -eq 'program' } | ForEach-Object { $_.Source } | Sort-Object -Unique)) {
        $program = Join-Path $Bin "$name.exe"
        Assert-Program $program $foreign
        $its = @(Get-Printed $program @('--version'))[0] -replace '\A.* '
        if ($its -notmatch '\A[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?\z') {
            Stop-Failed "$name has a strange version: $its"
        }
        if ($version -and $its -ne $version) {
            Stop-Failed "$name has version $its, not $version as the source or the others"
        }
        $version = $its
    }
    $version
}

function Get-Time {
    $seconds = $env:SOURCE_DATE_EPOCH
    if (-not $seconds) {
        $git = Find-Tool 'git' 'to tell the time of the last commit (or say it in SOURCE_DATE_EPOCH)'
        $seconds = Get-Printed $git @('-C', $Checkout, 'log', '-1', '--format=%ct')
    }
    if ("$seconds" -notmatch '\A[0-9]+\z') {
        Stop-Failed "SOURCE_DATE_EPOCH is no number of seconds: $seconds"
    }
    [DateTimeOffset]::FromUnixTimeSeconds([long]"$seconds")
}

# The bytes of an entry.
function Read-Entry {
    param($Entry, [string]$Bin)
    switch ($Entry.Kind) {
        'program' { return , [IO.File]::ReadAllBytes((Join-Path $Bin "$($Entry.Source).exe")) }
        'file' { return , [IO.File]::ReadAllBytes((Join-Path $Checkout $Entry.Source)) }
        'generated' {
            $program, $what = $Entry.Source -split ':'
            $lines = Get-Printed (Join-Path $Bin "$program.exe") @('generate', $what)
        }
        'printed' {
            if (-not $Printed.ContainsKey($Entry.Source)) {
                # Without this, Python prints in the system's old code page.
                $script:Printed[$Entry.Source] = Get-Printed $Python @('-X', 'utf8', (Join-Path $Checkout $Entry.Source), '--target', $Target)
            }
            $lines = $Printed[$Entry.Source]
        }
    }
    , $Text.GetBytes(($lines -join "`n") + "`n")
}

# Packs an archive; its path is the output.
function New-Archive {
    param([string]$Of, $Entries, [string]$Bin, [string]$Version, [DateTimeOffset]$Time, [string]$Directory)
    $name = "task-messenger-$Of-v$Version-windows-x64"
    $files = New-Object -TypeName 'Collections.Generic.SortedDictionary[string,byte[]]' -ArgumentList ([StringComparer]::Ordinal)
    foreach ($entry in (Select-Entry $Entries $Of)) {
        if ($files.ContainsKey($entry.Place)) {
            Stop-Failed "two entries of the list for $($entry.Place) in the archive of the $Of"
        }
        $files.Add($entry.Place, (Read-Entry $entry $Bin))
    }
    $sums = foreach ($place in $files.Keys) {
        "$(Get-Sha256 $files[$place])  $place"
    }
    $files.Add('CONTENTS', $Text.GetBytes(($sums -join "`n") + "`n"))
    $packed = New-Object -TypeName IO.MemoryStream
    $archive = New-Object -TypeName IO.Compression.ZipArchive -ArgumentList $packed, ([IO.Compression.ZipArchiveMode]::Create), $true
    foreach ($place in $files.Keys) {
        # Names as the format wants them; Compress-Archive of 5.1 writes backslashes.
        $item = $archive.CreateEntry("$name/$place", [IO.Compression.CompressionLevel]::Optimal)
        $item.LastWriteTime = $Time
        $stream = $item.Open()
        $stream.Write($files[$place], 0, $files[$place].Length)
        $stream.Dispose()
    }
    $archive.Dispose()
    Save-File (Join-Path $Directory "$name.zip") $packed.ToArray()
    Save-File (Join-Path $Directory "$name.zip.sha256") $Text.GetBytes("$(Get-Sha256 $packed.ToArray())  $name.zip`n")
}

# Puts a finished file where it is wanted, never half of it under its name.
function Save-File {
    param([string]$Path, [byte[]]$Bytes)
    $part = "$Path.part"
    [IO.File]::WriteAllBytes($part, $Bytes)
    if (Test-Path -LiteralPath $Path) {
        [IO.File]::Delete($Path)
    }
    [IO.File]::Move($part, $Path)
    $Path
}

function Build-Distribution {
    $components = @($Component.ToLowerInvariant())
    if ($components[0] -eq 'all') {
        $components = 'manager', 'worker'
    }
    $directory = Join-Path $Checkout 'dist'
    if ($Out) {
        $directory = Resolve-File $Out
    }
    $entries = @(Read-Contents)
    $wanted = @($components | ForEach-Object { Select-Entry $entries $_ })
    # Before minutes of building.
    Assert-Source $wanted
    if ($wanted | Where-Object { $_.Kind -eq 'printed' }) {
        $script:Python = Find-Python
    }
    $time = Get-Time
    if ($BinDir) {
        $bin = Resolve-File $BinDir
    }
    else {
        $bin = Build-Program
    }
    $version = Get-Version $wanted $bin
    $null = [IO.Directory]::CreateDirectory($directory)
    Add-Type -AssemblyName System.IO.Compression
    foreach ($of in $components) {
        New-Archive -Of $of -Entries $entries -Bin $bin -Version $version -Time $time -Directory $directory
    }
}

$Printed = @{}
$Python = ''
try {
    Assert-Windows 'extras/scripts/build_distribution.sh all --target windows'
    Build-Distribution
}
catch {
    Exit-Failed $_
}
exit 0
