# What is to be seen of the services: how they are, and what they log. Needs windows.ps1.

# Escape sequences are for a screen only: one that knows them, and nothing between it and us. What PowerShell itself redirects can
# only be seen in the line that called the script.
function Test-Colour {
    param([string]$Line)
    -not $env:NO_COLOR -and -not [Console]::IsOutputRedirected -and $Line -notmatch '[|>=]' -and $Host.UI.SupportsVirtualTerminal
}

$Paints = $false

# What the script ends with: of several services the worst. A program has more codes than are promised for the script: any other
# failure is 1.
$Worst = 0

function Add-Code {
    param([int]$Code)
    if ($Code -notin $Running, $Stopped, $NotInstalled, $UsageError) {
        $Code = 1
    }
    $script:Worst = [Math]::Max($Worst, $Code)
}

function Format-Colour {
    param([string]$Colour, [string]$Text)
    if ($Paints) {
        $escape = [char]27
        return "$escape[${Colour}m$Text$escape[0m"
    }
    $Text
}

# A member of what was JSON, or nothing: a program of another version may say less.
function Get-Field {
    param($Object, [string]$Name)
    $property = $Object.PSObject.Properties[$Name]
    if ($property) {
        $property.Value
    }
}

# PowerShell 7 makes times of texts that look like one, 5.1 doesn't.
function ConvertTo-Time {
    param($Value)
    if ($Value -is [DateTime]) {
        return $Value
    }
    [DateTime]::Parse($Value, [Globalization.CultureInfo]::InvariantCulture, [Globalization.DateTimeStyles]::RoundtripKind)
}

function Format-Time {
    param($Value)
    (ConvertTo-Time $Value).ToLocalTime().ToString('yyyy-MM-dd HH:mm:ss', [Globalization.CultureInfo]::InvariantCulture)
}

# Only the longest wait of NSSM is known.
function Format-Wait {
    param($Until)
    $seconds = [int][Math]::Ceiling(((ConvertTo-Time $Until).ToUniversalTime() - [DateTime]::UtcNow).TotalSeconds)
    if ($seconds -le 0) {
        return 'now'
    }
    "in $seconds s at the latest"
}

# Asks the program how its service is: what it answers, or nothing, and then $ProgramCode and $ProgramComplaint say why.
function Read-State {
    param([string]$Program, $Target)
    $arguments = @('service', 'status', '--json') + @(Get-InstanceArgument $Target)
    $answer = @(Invoke-Program -Path $Program -Arguments $arguments -Quiet) -join "`n"
    if ($ProgramCode -notin $Running, $Stopped, $NotInstalled) {
        return
    }
    try {
        $answer | ConvertFrom-Json
    }
    catch {
        $script:ProgramCode = 1
        $script:ProgramComplaint = "it does not answer in JSON: $answer"
    }
}

function Format-State {
    param($State)
    $code = Get-Field $State 'exit_code'
    switch (Get-Field $State 'state') {
        'running' {
            if ((Get-Field $State 'ready') -eq $false) {
                return Format-Colour '33;1' 'running, not ready'
            }
            return Format-Colour '32;1' 'running'
        }
        'starting' { return Format-Colour '33;1' 'starting' }
        'stopping' { return Format-Colour '33;1' 'stopping (running tasks may finish)' }
        'crash-looping' {
            $next = Get-Field $State 'next_try'
            if ($next) {
                return Format-Colour '31;1' "crash-looping, next try $(Format-Wait $next)"
            }
            return Format-Colour '31;1' 'crash-looping, tried again after growing waits'
        }
        'stopped' {
            if ($code) {
                return Format-Colour '31;1' "stopped, with exit code $code"
            }
            return Format-Colour '33' 'stopped'
        }
        default { return "in the state '$_'" }
    }
}

function Format-Field {
    param([string]$Name, $Value)
    if ($null -ne $Value -and "$Value" -ne '') {
        '  {0,-11} {1}' -f $Name, "$Value"
    }
}

# The screen of one service.
function Format-Service {
    param($Target, $State)
    $since = Get-Field $State 'since'
    $line = "$(Format-Colour '1' $Target.Key)  $(Format-State $State)"
    if ($since) {
        $line += ", since $(Format-Time $since)"
    }
    $line
    if ((Get-Field $State 'exit_code') -eq 78 -and (Get-Field $State 'state') -ne 'running') {
        Format-Field 'cause' "exit code 78: the same start can't succeed; the last error says what to do"
    }
    Format-Field 'now' (Get-Field $State 'says')
    switch (Get-Field $State 'ready') {
        $true { Format-Field 'ready' 'yes' }
        $false { Format-Field 'ready' (Format-Colour '31;1' 'no') }
    }
    Format-Field 'version' (Get-Field $State 'version')
    Format-Field 'process' (Get-Field $State 'pid')
    $mode = @{ nssm = 'NSSM'; native = 'Windows itself (native)' }["$(Get-Field $State 'mode')"]
    Format-Field 'kept by' $mode
    Format-Field 'at boot' (Get-Field $State 'startup_type')
    Format-Field 'account' (Get-Field $State 'account')
    Format-Field 'last error' (Get-Field $State 'last_error')
}

# A log that can be renamed, replaced and removed by the one that writes it while it is read here. Nothing if there is none.
function Open-File {
    param([string]$Path)
    $share = [IO.FileShare]::ReadWrite -bor [IO.FileShare]::Delete
    try {
        [IO.File]::Open($Path, [IO.FileMode]::Open, [IO.FileAccess]::Read, $share)
    }
    catch [IO.FileNotFoundException], [IO.DirectoryNotFoundException] {
        return
    }
}

function New-Reader {
    param([string]$Path, [IO.Stream]$Stream)
    New-Object -TypeName PSObject -Property @{
        Path   = $Path
        Stream = $Stream
        Reader = New-Object -TypeName IO.StreamReader -ArgumentList $Stream, ([Text.Encoding]::UTF8)
        # The beginning of a line whose end isn't written yet.
        Rest   = ''
    }
}

# The lines that were written since the last time.
function Read-Line {
    param($Log)
    $lines = ($Log.Rest + $Log.Reader.ReadToEnd()).Split([char]10)
    $Log.Rest = $lines[-1]
    for ($at = 0; $at -lt $lines.Length - 1; $at++) {
        $lines[$at].TrimEnd([char]13)
    }
}

# Begins to read a log at its newest lines. Of a large one only the end is looked at.
function Open-Log {
    param([string]$Path, [int]$Lines)
    $stream = Open-File $Path
    if (-not $stream) {
        return New-Object -TypeName PSObject -Property @{ Path = $Path; Stream = $null; Reader = $null; Rest = ''; Newest = @() }
    }
    $skipped = [Math]::Max(0, $stream.Length - 1MB)
    $null = $stream.Seek($skipped, [IO.SeekOrigin]::Begin)
    $log = New-Reader -Path $Path -Stream $stream
    $all = @(Read-Line $log)
    if ($skipped) {
        # It begins in the middle of a line.
        $all = @($all | Select-Object -Skip 1)
    }
    $log | Add-Member -MemberType NoteProperty -Name Newest -Value @($all | Select-Object -Last $Lines)
    $log
}

# Whether the log's path is another file by now, or was emptied. If it is the same one, it can't be shorter than what was read of
# it, nor longer than the open file is afterwards. (Times of creation say nothing: Windows gives a new file that of its
# predecessor.)
function Test-Rotated {
    param($Log)
    $now = Open-File $Log.Path
    if (-not $now) {
        return $false
    }
    $length = $now.Length
    $now.Dispose()
    $length -lt $Log.Stream.Position -or $length -gt $Log.Stream.Length
}

# What is new in a log, in whichever file it is.
function Read-New {
    param($Log)
    if ($Log.Stream) {
        Read-Line $Log
        if (-not (Test-Rotated $Log)) {
            return
        }
        # What came between reading and looking.
        Read-Line $Log
        if ($Log.Rest) {
            $Log.Rest
        }
        $Log.Reader.Dispose()
        $Log.Stream = $null
        $Log.Rest = ''
    }
    $stream = Open-File $Log.Path
    if ($stream) {
        $next = New-Reader -Path $Log.Path -Stream $stream
        $Log.Stream = $next.Stream
        $Log.Reader = $next.Reader
        Read-Line $Log
    }
}

# The newest lines of logs, and with -Follow what comes, until Ctrl-C.
function Show-Log {
    param([string[]]$Paths, [switch]$Follow, [int]$Lines = 100)
    $logs = @()
    $last = ''
    try {
        foreach ($path in $Paths) {
            try {
                $log = Open-Log -Path $path -Lines $Lines
            }
            catch [UnauthorizedAccessException] {
                Write-Failure "$path can't be read: try as an administrator"
                Add-Code 1
                continue
            }
            $logs += $log
            if ($log.Newest.Count -gt 0) {
                "--- $path"
                $log.Newest
                $last = $path
            }
        }
        while ($Follow -and $logs.Count -gt 0) {
            Start-Sleep -Milliseconds 500
            foreach ($log in $logs) {
                $new = @(Read-New $log)
                if ($new.Count -gt 0) {
                    if ($last -ne $log.Path) {
                        "--- $($log.Path)"
                        $last = $log.Path
                    }
                    $new
                }
            }
        }
    }
    finally {
        foreach ($log in $logs) {
            if ($log.Reader) {
                $log.Reader.Dispose()
            }
        }
    }
}
