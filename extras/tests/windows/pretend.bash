# shellcheck shell=bash
# For files of tests that have the scripts run on Linux as if it were Windows: only what asks Windows something is replaced.

load helper

setup_file() {
    build_programs cc task-messenger-manager task-messenger-worker
}

# An archive of both components, and a Windows on which nothing is installed.
pretend_windows() {
    need_powershell
    make_archive "$BATS_TEST_TMPDIR/an archive" manager worker
    export TEST_PROGRAMS=$BATS_TEST_TMPDIR/programs/TaskMessenger TEST_DATA=$BATS_TEST_TMPDIR/data/TaskMessenger
    export TEST_SERVICES="" TEST_IS_USER=""
    export STAND_IN=$BATS_TEST_TMPDIR/answers TMPDIR=$BATS_TEST_TMPDIR/scratch
    mkdir -p "$BATS_TEST_TMPDIR/programs" "$STAND_IN" "$TMPDIR"
    cat >>"$ARCHIVE/scripts/lib/windows.ps1" <<'END'
function Test-Windows { $true }
function Assert-Architecture { }
function Test-Administrator { -not $env:TEST_IS_USER }
function Get-ProgramsDirectory { $env:TEST_PROGRAMS }
function Get-DataDirectory { $env:TEST_DATA }
function Get-Service {
    [CmdletBinding()]
    param([string]$Name)
    if ($env:TEST_SERVICES) {
        $env:TEST_SERVICES.Split(' ') | Where-Object { $_ -like $Name } | ForEach-Object { [PSCustomObject]@{ Name = $_ } }
    }
}
END
}

# script NAME [ARGUMENTS...]
script() {
    run "$PWSH" -NoProfile -NonInteractive -File "$ARCHIVE/scripts/$1.ps1" "${@:2}"
}

# Puts the archive where the programs of a component are installed.
install_archive() {
    mkdir -p "$TEST_PROGRAMS"
    cp -r "$ARCHIVE" "$TEST_PROGRAMS/$1"
}

# Whether nothing was left where temporary files go, but for PowerShell's own.
nothing_left() {
    [ -z "$(find "$TMPDIR" -mindepth 1 -name 'task-messenger*')" ]
}
