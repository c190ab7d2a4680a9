# What the scripts for Windows share. For Windows PowerShell 5.1 and PowerShell 7 alike, so nothing that only one of them has;
# and ASCII only, because 5.1 reads files without a byte order mark in the system's old code page.

$UsageError = 64            # the command line makes no sense
$Running = 0
$Stopped = 3
$NotInstalled = 4

# The one that was called; a function's own $MyInvocation is of the function.
$ScriptName = 'TaskMessenger'
if ($MyInvocation.ScriptName) {
    $ScriptName = Split-Path -Leaf $MyInvocation.ScriptName
}

# To standard error as it is: Write-Error would wrap it in a position and a stack.
function Write-Failure {
    param([string]$Text)
    $Host.UI.WriteErrorLine("${ScriptName}: $Text")
}

# What ends a script is thrown and not an `exit`: where that happens inside something whose output is being collected, PowerShell
# would print what was collected so far.
$FailureCode = 1

function Stop-Failed {
    param([string]$Text, [int]$Code = 1)
    $script:FailureCode = $Code
    throw $Text
}

function Stop-Misused {
    param([string]$Text)
    Stop-Failed -Text $Text -Code $UsageError
}

# What each script does with what was thrown.
function Exit-Failed {
    param([Management.Automation.ErrorRecord]$Thrown)
    Write-Failure $Thrown.Exception.Message
    if ($FailureCode -eq $UsageError) {
        Write-Failure "``Get-Help $ScriptName -Full`` shows how it is used"
    }
    exit $FailureCode
}

# The automatic variables that say so are not in 5.1.
function Test-Windows {
    [Environment]::OSVersion.Platform -eq [PlatformID]::Win32NT
}

# Not from the environment, which whoever started this could have set.
function Get-ProgramsDirectory {
    Join-Path ([Environment]::GetFolderPath('ProgramFiles')) 'TaskMessenger'
}

function Get-DataDirectory {
    Join-Path ([Environment]::GetFolderPath('CommonApplicationData')) 'TaskMessenger'
}

function Assert-Windows {
    param([string]$Instead)
    if (-not (Test-Windows)) {
        Stop-Failed "this is for Windows. On Linux: $Instead"
    }
}

# The programs are for x64. Windows 11 on ARM64 runs them too, as it runs everything for x64.
function Assert-Architecture {
    $machine = $env:PROCESSOR_ARCHITEW6432
    if (-not $machine) {
        $machine = $env:PROCESSOR_ARCHITECTURE
    }
    if ($machine -eq 'ARM64') {
        if ([Environment]::OSVersion.Version.Build -lt 22000) {
            Stop-Failed 'the programs are for x64, which Windows on ARM64 runs only from Windows 11 on'
        }
    }
    elseif ($machine -ne 'AMD64') {
        Stop-Failed "the programs are for 64-bit Windows on x64, and this is $machine"
    }
    if (-not [Environment]::Is64BitProcess) {
        Stop-Failed ('this is a 32-bit PowerShell, which sees other directories than the services do. Start the 64-bit one: ' +
            '%SystemRoot%\Sysnative\WindowsPowerShell\v1.0\powershell.exe')
    }
}

function Test-Administrator {
    $identity = [Security.Principal.WindowsIdentity]::GetCurrent()
    $principal = New-Object -TypeName Security.Principal.WindowsPrincipal -ArgumentList $identity
    $principal.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

function Assert-Administrator {
    param([string]$What)
    if (-not (Test-Administrator)) {
        Stop-Failed "$What needs an administrator: start PowerShell with 'Run as administrator'"
    }
}

function Test-InstanceName {
    param([string]$Name)
    $Name -cmatch '\A[a-z0-9][a-z0-9-]{0,31}\z'
}

# A name goes into names of files and services.
function Assert-Instance {
    param([string]$Component, [string]$Instance)
    if (-not $Instance) {
        return
    }
    if ($Component -ne 'worker') {
        Stop-Misused '-Instance is for workers: it needs -Component worker'
    }
    if (-not (Test-InstanceName $Instance)) {
        Stop-Misused "-Instance wants a-z, 0-9 and -, beginning with a letter or digit, at most 32: '$Instance'"
    }
}

# One service: what it is called here, and in Windows.
function New-Target {
    param([string]$Component, [string]$Instance)
    $target = @{ Component = $Component; Instance = $Instance; Key = $Component; Service = 'TaskMessengerManager' }
    if ($Component -eq 'worker') {
        $target.Service = 'TaskMessengerWorker'
    }
    if ($Instance) {
        $target.Key = "worker@$Instance"
        $target.Service = "TaskMessengerWorker-$Instance"
    }
    New-Object -TypeName PSObject -Property $target
}

# All that are installed, the manager first. Anybody may ask.
function Get-InstalledTarget {
    $names = @(Get-Service -Name 'TaskMessenger*' -ErrorAction Ignore | ForEach-Object { $_.Name } | Sort-Object)
    if ($names -contains 'TaskMessengerManager') {
        New-Target -Component 'manager'
    }
    if ($names -contains 'TaskMessengerWorker') {
        New-Target -Component 'worker'
    }
    foreach ($name in $names) {
        if ($name -match '\ATaskMessengerWorker-([a-z0-9][a-z0-9-]{0,31})\z') {
            New-Target -Component 'worker' -Instance $Matches[1].ToLowerInvariant()
        }
    }
}

# What the archive was unpacked to, or an installation's copy of it.
function Get-ArchiveDirectory {
    Split-Path -Parent (Split-Path -Parent $PSScriptRoot)
}

# The program beside the scripts: ..\bin in an unpacked archive and in an installation alike.
function Get-ProgramBeside {
    param([string]$Component)
    Join-Path (Get-ArchiveDirectory) (Join-Path 'bin' "task-messenger-$Component.exe")
}

function Get-ProgramInstalled {
    param([string]$Component)
    Join-Path (Join-Path (Get-ProgramsDirectory) $Component) (Join-Path 'bin' "task-messenger-$Component.exe")
}

# The installed program, else the one beside the script; nothing if there is neither.
function Find-Program {
    param([string]$Component)
    foreach ($path in (Get-ProgramInstalled $Component), (Get-ProgramBeside $Component)) {
        if (Test-Path -LiteralPath $path -PathType Leaf) {
            return $path
        }
    }
}

# An argument as the C runtime and Rust take a command line apart. PowerShell's own way of calling programs loses quotes and
# a backslash at the end in 5.1, and differs in 7. Backslashes count only in front of a quote, where each is doubled.
function ConvertTo-Argument {
    param([string]$Text)
    if ($Text -and $Text -notmatch '[\s"]') {
        return $Text
    }
    '"' + ($Text -replace '(\\*)"', '$1$1\"' -replace '(\\+)\z', '$1$1') + '"'
}

# Runs a program of ours to its end. Lines that it prints (in UTF-8, whatever the console has) are this function's output; those
# of its standard error go to ours, or with -Quiet to $ProgramComplaint. Its exit code is in $ProgramCode.
function Invoke-Program {
    param([string]$Path, [string[]]$Arguments, [switch]$Quiet, [string]$Directory = [Environment]::SystemDirectory)
    $script:ProgramCode = 1
    $script:ProgramComplaint = ''
    $start = New-Object -TypeName Diagnostics.ProcessStartInfo
    $start.FileName = $Path
    $start.Arguments = ($Arguments | ForEach-Object { ConvertTo-Argument $_ }) -join ' '
    $start.UseShellExecute = $false
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    $start.StandardOutputEncoding = New-Object -TypeName Text.UTF8Encoding -ArgumentList $false
    $start.StandardErrorEncoding = $start.StandardOutputEncoding
    # Not where the caller is, which may lie in what is going to be removed.
    $start.WorkingDirectory = $Directory
    try {
        $process = [Diagnostics.Process]::Start($start)
    }
    catch {
        Stop-Failed "$Path does not start: $($_.Exception.InnerException.Message)"
    }
    # Both at once: a program that waits for us to read the one would wait for ever while we wait for the other.
    $output = $process.StandardOutput.ReadLineAsync()
    $complaint = $process.StandardError.ReadLineAsync()
    $complaints = New-Object -TypeName Collections.Generic.List[string]
    while ($output -or $complaint) {
        [Threading.Tasks.Task[]]$pending = @($output, $complaint | Where-Object { $_ })
        # In short turns, so that Ctrl-C has an effect.
        if ([Threading.Tasks.Task]::WaitAny($pending, 500) -lt 0) {
            continue
        }
        if ($output -and $output.IsCompleted) {
            $line = $output.Result
            $output = $null
            if ($null -ne $line) {
                $line
                $output = $process.StandardOutput.ReadLineAsync()
            }
        }
        if ($complaint -and $complaint.IsCompleted) {
            $line = $complaint.Result
            $complaint = $null
            if ($null -ne $line) {
                $complaints.Add($line)
                if (-not $Quiet) {
                    $Host.UI.WriteErrorLine($line)
                }
                $complaint = $process.StandardError.ReadLineAsync()
            }
        }
    }
    $process.WaitForExit()
    $script:ProgramCode = $process.ExitCode
    $script:ProgramComplaint = $complaints -join ' '
    $process.Dispose()
}

function Get-InstanceArgument {
    param($Target)
    if ($Target.Instance) {
        '--instance'
        $Target.Instance
    }
}

# The whole path of a file that the caller named from where he is.
function Resolve-File {
    param([string]$Path)
    $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($Path)
}

function Get-Sha256 {
    param([byte[]]$Bytes)
    # What SHA256.Create() gives on older .NET Framework is refused where only certified code may be used.
    $algorithm = New-Object -TypeName Security.Cryptography.SHA256CryptoServiceProvider
    try {
        [BitConverter]::ToString($algorithm.ComputeHash($Bytes)).Replace('-', '').ToLowerInvariant()
    }
    finally {
        $algorithm.Dispose()
    }
}

# Makes a directory for a few files that are only needed while a script runs.
function New-Scratch {
    param([string]$Parent, [string]$Prefix)
    $scratch = Join-Path $Parent "$Prefix$([Guid]::NewGuid())"
    $null = [IO.Directory]::CreateDirectory($scratch)
    $scratch
}

# Removes what earlier runs could not, if it has lain there for so long: a run of now may be using it. Only where nobody but
# administrators writes: elsewhere somebody could have it remove other things.
function Remove-Leftover {
    param([string]$Parent, [string]$Prefix, [int]$Hours)
    $before = [DateTime]::UtcNow.AddHours(-$Hours)
    Get-ChildItem -LiteralPath $Parent -Filter "$Prefix*" -Directory -ErrorAction Ignore |
        Where-Object { $_.LastWriteTimeUtc -le $before } |
        ForEach-Object { $null = Clear-Scratch $_.FullName }
}

# Removes files and their directory, and nothing below; why that failed, or nothing.
function Clear-Scratch {
    param([string]$Path)
    try {
        foreach ($file in [IO.Directory]::GetFiles($Path)) {
            [IO.File]::Delete($file)
        }
        [IO.Directory]::Delete($Path)
    }
    catch {
        $_.Exception.Message
    }
}

# Never fails: it comes last, and what went before counts. Windows, or what looks for viruses, may hold a file for some seconds after
# its program has ended.
function Remove-Scratch {
    param([string]$Path, [int]$Seconds = 10)
    $end = [DateTime]::UtcNow.AddSeconds($Seconds)
    $why = Clear-Scratch $Path
    while ($why -and [DateTime]::UtcNow -lt $end) {
        Start-Sleep -Milliseconds 250
        $why = Clear-Scratch $Path
    }
    if ($why) {
        Write-Warning "$Path could not be removed: $why"
    }
}

# Never fails either.
function Remove-Empty {
    param([string]$Path)
    if ((Test-Path -LiteralPath $Path) -and -not (Get-ChildItem -LiteralPath $Path -Force -ErrorAction Ignore)) {
        try {
            [IO.Directory]::Delete($Path)
        }
        catch {
            Write-Warning "$Path is empty, and could not be removed: $($_.Exception.Message)"
        }
    }
}
