# What may be delivered of programs for Windows, as windows.sh and programs.sh see to it on Linux. Needs extras/scripts/lib/windows.ps1.

# Every byte as a character, so that a program can be searched as a text.
$Latin = [Text.Encoding]::GetEncoding(28591)

# Where cargo and rustup keep things: what a variable says, or a directory of the user's.
function Get-HomeOf {
    param([string]$Tool)
    $said = [Environment]::GetEnvironmentVariable("${Tool}_HOME".ToUpperInvariant())
    if ($said) {
        return $said
    }
    $user = $env:USERPROFILE
    if (-not $user) {
        $user = [Environment]::GetFolderPath('UserProfile')
    }
    Join-Path $user ".$Tool"
}

# What a path of the builder looks like: what was used here, and where cargo and rustup keep things by themselves. As a text
# somewhere in the file, so each is long enough to be nothing else.
function Get-BuilderPath {
    param([string]$Checkout, [string]$BuildDirectory)
    "$Checkout\crates\"
    "$Checkout\target\"
    "$BuildDirectory\"
    "$(Get-HomeOf 'cargo')\registry\"
    "$(Get-HomeOf 'rustup')\toolchains\"
    '\.cargo\registry\'
    '\.rustup\toolchains\'
}

# Refuses what must not be delivered. -Foreign: texts that must not be in it, whichever slashes they are written with.
function Assert-Program {
    param([string]$Path, [string[]]$Foreign)
    if (-not (Test-Path -LiteralPath $Path -PathType Leaf)) {
        Stop-Failed "there is no program $Path"
    }
    $program = [IO.File]::ReadAllBytes($Path)
    $header = Find-Header $program
    if ($header -lt 0) {
        Stop-Failed "$Path is no program for Windows on x64"
    }
    $libraries = @(Get-Library $program $header | Where-Object { $_ -match '\A(lib|vcruntime|msvcp)' })
    if ($libraries.Count -gt 0) {
        Stop-Failed "$Path needs what Windows does not bring: $($libraries -join ', ')"
    }
    $text = $Latin.GetString($program).Replace('/', '\')
    foreach ($place in $Foreign) {
        $written = $Latin.GetString([Text.Encoding]::UTF8.GetBytes($place.Replace('/', '\')))
        $at = $text.IndexOf($written, [StringComparison]::OrdinalIgnoreCase)
        if ($at -ge 0) {
            $end = [Math]::Min($text.Length - $at, $written.Length + 80)
            $found = $text.Substring($at, $end) -replace '[^ -~][\s\S]*'
            Stop-Failed "$Path has paths of the machine that it was built on, such as: $found. This script builds it without"
        }
    }
}

# Where its header begins: "PE", and 8664 for x64. -1 if that isn't there.
function Find-Header {
    param([byte[]]$Program)
    if ($Program.Length -lt 64) {
        return -1
    }
    $at = [BitConverter]::ToInt32($Program, 60)
    if ($at -le 0 -or $at + 264 -gt $Program.Length -or [BitConverter]::ToUInt32($Program, $at) -ne 0x4550 -or
        [BitConverter]::ToUInt16($Program, $at + 4) -ne 0x8664) {
        return -1
    }
    $at
}

# The names of the libraries that it is linked with. They are in a table of 20 bytes for each, up to one that has no name.
function Get-Library {
    param([byte[]]$Program, [int]$Header)
    $table = [BitConverter]::ToUInt32($Program, $Header + 144)
    if ($table -eq 0) {
        return
    }
    $at = Find-Place $Program $Header $table
    while ($true) {
        $name = [BitConverter]::ToUInt32($Program, $at + 12)
        if ($name -eq 0) {
            return
        }
        $begin = Find-Place $Program $Header $name
        $Latin.GetString($Program, $begin, [Array]::IndexOf($Program, [byte]0, $begin) - $begin)
        $at += 20
    }
}

# Where in the file something lies that has an address in memory. Each section has both, in 40 bytes behind the header.
function Find-Place {
    param([byte[]]$Program, [int]$Header, [uint32]$Address)
    $section = $Header + 24 + [BitConverter]::ToUInt16($Program, $Header + 20)
    for ($left = [BitConverter]::ToUInt16($Program, $Header + 6); $left -gt 0; $left--) {
        $begin = [BitConverter]::ToUInt32($Program, $section + 12)
        if ($Address -ge $begin -and $Address -lt $begin + [BitConverter]::ToUInt32($Program, $section + 16)) {
            return [int]($Address - $begin + [BitConverter]::ToUInt32($Program, $section + 20))
        }
        $section += 40
    }
    Stop-Failed 'a program names something that is not in it'
}
