#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC1003,SC2016 # tests are subshells; a quote of PowerShell's is none of ours
# The scripts as on Windows: under Wine, with a stand-in for the programs, in paths with blanks and letters beyond ASCII. The real
# nssm.exe is what get_nssm finds; everything else needs none.

load helper

setup_file() {
    has_powershell_for_windows || return 0
    use_prefix
    build_programs x86_64-w64-mingw32-gcc task-messenger-manager task-messenger-worker
    # Makes the prefix. Its Wine has to be gone: services that are made while it goes are lost.
    windows_powershell -Command 'exit 0'
    timeout 60 wineserver -w 3>&- 4>&-
    # Wine ends, and begins anew with the next command, when no ordinary process is left.
    setsid nohup wine cmd /c "ping -n 100000 127.0.0.1 >nul" >/dev/null 2>&1 </dev/null 3>&- 4>&- &
    echo $! >"$BATS_FILE_TMPDIR/holder"
}

teardown_file() {
    [ -e "$BATS_FILE_TMPDIR/holder" ] || return 0
    end_prefix
    kill "$(cat "$BATS_FILE_TMPDIR/holder")" 2>/dev/null || true
}

setup() {
    need_powershell_for_windows
    PROGRAMS="$WINEPREFIX/drive_c/Program Files/TaskMessenger"
    make_archive "$BATS_TEST_TMPDIR/Größe und Maß" manager worker
    mkdir "$BATS_TEST_TMPDIR/answers"
    STAND_IN=$BATS_TEST_TMPDIR/answers
}

teardown() {
    [ -z "${PROGRAMS:-}" ] || rm -rf "$PROGRAMS"
}

# script NAME [ARGUMENTS...]
script() {
    local answers
    answers=$(windows "$STAND_IN")
    STAND_IN=$answers run windows_powershell -File "$(windows "$ARCHIVE/scripts/$1.ps1")" "${@:2}"
}

# script_after STATEMENTS NAME ARGUMENTS: the same, where something was set beforehand.
script_after() {
    local answers
    answers=$(windows "$STAND_IN")
    STAND_IN=$answers run windows_powershell -Command "$1; & '$(windows "$ARCHIVE/scripts/$2.ps1")' $3; exit \$LASTEXITCODE"
}

# wine_command COMMAND...: without a pipe, which services would inherit.
wine_command() {
    timeout 60 wine "$@" >"$BATS_TEST_TMPDIR/wine" 2>&1 </dev/null 3>&- 4>&-
}

create_service() {
    wine_command sc create "$1" binPath= 'C:\windows\system32\nothing.exe' start= demand
}

delete_service() {
    wine_command sc delete "$1"
}

installed() {
    mkdir -p "$PROGRAMS"
    cp -r "$ARCHIVE" "$PROGRAMS/$1"
}

@test "the installer hands every argument to the program as it is" {
    mkdir "$BATS_TEST_TMPDIR/für das Token"
    echo tm1.secret >"$BATS_TEST_TMPDIR/für das Token/ein Token.txt"
    answer service-install 78 $'fertig: Größe, 12 Mio. Žluťoučký, 日本\n' $'Warnung: näher\n'
    script install_service_windows -Component worker -Instance gpu -StartupType DelayedAutomatic -Account '.\my "account"\' -Slots 4 \
        -JoinTokenFile "$(windows "$BATS_TEST_TMPDIR/für das Token/ein Token.txt")" -Native -DryRun
    expect 78 "fertig: Größe, 12 Mio. Žluťoučký, 日本" "Warnung: näher"
    [ "$(calls)" = "call task-messenger-worker
[service]
[install]
[--instance]
[gpu]
[--join-token-file]
[$(windows "$BATS_TEST_TMPDIR/für das Token/ein Token.txt")]
[--native]
[--account]
[.\\my \"account\"\\]
[--startup-type]
[delayed-automatic]
[--slots]
[4]
[--dry-run]" ]
}

@test "the installer refuses another architecture, a user, and an archive that lacks something" {
    script_after '$env:PROCESSOR_ARCHITECTURE = "x86"' install_service_windows "-Component manager -Native"
    expect 1 "the programs are for 64-bit Windows on x64, and this is x86"
    script_after '$env:PROCESSOR_ARCHITECTURE = "ARM64"' install_service_windows "-Component manager -Native"
    expect 1 "which Windows on ARM64 runs only from Windows 11 on"
    script_after '$env:PROCESSOR_ARCHITECTURE = "ARM64"' uninstall_service_windows "-Component manager"
    expect 1 "which Windows on ARM64 runs only from Windows 11 on"
    [ ! -e "$STAND_IN/calls" ]
    rm "$ARCHIVE/bin/task-messenger-manager.exe" "$ARCHIVE/share/windows-service/nssm.json"
    script install_service_windows -Component manager -Native
    expect 1 "task-messenger-manager.exe is missing"
    script install_service_windows -Component worker
    expect 1 "nssm.json is missing"
    # Wine has no user without an administrator's rights.
    echo 'function Test-Administrator { $false }' >>"$ARCHIVE/scripts/lib/windows.ps1"
    script install_service_windows -Component worker -Native
    expect 1 "needs an administrator"
    [ ! -e "$STAND_IN/calls" ]
}

@test "the real NSSM is known, and nothing else is" {
    NSSM=$("$BATS_TEST_DIRNAME/get_nssm") || skip "SKIPPED: no NSSM"
    mkdir "$BATS_TEST_TMPDIR/von Hand"
    cp "$NSSM" "$BATS_TEST_TMPDIR/von Hand/nssm.exe"
    script install_service_windows -Component manager -NssmPath "$(windows "$BATS_TEST_TMPDIR/von Hand/nssm.exe")"
    expect 0 "NSSM 2.24-101-g897c7ad, SHA-256 as expected"
    cmp "$STAND_IN/nssm" "$NSSM"
    cp "$NSSM" "$ARCHIVE/scripts/"
    script install_service_windows -Component manager
    expect 0 "as expected"
    [[ $(said) == *"--nssm $(windows "$ARCHIVE/scripts/nssm.exe")" ]]
    mkdir -p "$PROGRAMS/nssm"
    mv "$ARCHIVE/scripts/nssm.exe" "$PROGRAMS/nssm/"
    script install_service_windows -Component manager
    expect 0 "as expected"
    [[ $(said) == *'--nssm C:\Program Files\TaskMessenger\nssm\nssm.exe' ]]
}

@test "another NSSM is refused wherever it comes from, unless it is allowed" {
    local hash
    make_nssm "$BATS_TEST_TMPDIR/nssm"
    echo changed >>"$BATS_TEST_TMPDIR/nssm/nssm.exe"
    hash=$(sha256sum <"$BATS_TEST_TMPDIR/nssm/nssm.exe" | cut -d ' ' -f 1)
    script install_service_windows -Component manager -NssmPath "$(windows "$BATS_TEST_TMPDIR/nssm/nssm.exe")"
    expect 1 "is not NSSM 0.0-test: its SHA-256 is $hash"
    cp "$BATS_TEST_TMPDIR/nssm/nssm.exe" "$ARCHIVE/scripts/"
    script install_service_windows -Component manager
    expect 1 "is not NSSM 0.0-test: its SHA-256 is $hash"
    [ ! -e "$STAND_IN/calls" ]
    script install_service_windows -Component manager -AllowOtherNssm
    expect 0 "another NSSM than the one that was tested"
    [[ $(said) == *"--nssm $(windows "$ARCHIVE/scripts/nssm.exe") --nssm-sha256 $hash" ]]
}

@test "NSSM from its ZIP, of which nothing is left" {
    local answers
    make_nssm "$BATS_TEST_TMPDIR/nssm"
    script install_service_windows -Component manager -NssmPath "$(windows "$BATS_TEST_TMPDIR/nssm/nssm.zip")"
    expect 0
    cmp "$STAND_IN/nssm" "$BATS_TEST_TMPDIR/nssm/nssm.exe"
    [ -z "$(find "$WINEPREFIX/drive_c/users" -name 'task-messenger*')" ]
}

@test "control: exit codes and screens of the services that there are" {
    script service_control status
    expect 4 "no service of TaskMessenger is installed here"
    create_service TaskMessengerManager
    create_service TaskMessengerWorker-gpu
    installed manager
    installed worker
    answer service-status 3 '{"state":"crash-looping","since":"2026-11-28T10:00:00Z","last_error":"Platte voll: Größe 0","logs":[]}'
    script service_control status
    expect 3 "manager crash-looping, tried again after growing waits, since 2026-11-28" "worker@gpu crash-looping" "Platte voll: Größe 0"
    script service_control status -Component worker
    expect 4 "worker is not installed here (installed: manager worker@gpu)"
    script service_control restart
    expect 0
    [[ $(said) == *"call task-messenger-manager service restart call task-messenger-worker service restart --instance gpu" ]]
    script service_control stop
    [[ $(said) == *"call task-messenger-worker service stop --instance gpu call task-messenger-manager service stop" ]]
    delete_service TaskMessengerManager
    delete_service TaskMessengerWorker-gpu
    script service_control status
    expect 4
}

@test "control: logs in UTF-8, of files that somebody writes" {
    create_service TaskMessengerManager
    mkdir "$BATS_TEST_TMPDIR/Protokoll"
    seq -f 'Zeile %g: Größe' 150 >"$BATS_TEST_TMPDIR/Protokoll/ein log.txt"
    answer service-status 0 "{\"state\":\"running\",\"logs\":[\"$(windows "$BATS_TEST_TMPDIR/Protokoll/ein log.txt" | sed 's/\\/\\\\/g')\"]}"
    script service_control logs -Component manager
    delete_service TaskMessengerManager
    expect 0 "ein log.txt"
    [ "$(tail -n +2 <<<"$output" | tr -d '\r')" = "$(seq -f 'Zeile %g: Größe' 51 150)" ]
}

@test "an installed program is removed by a copy of it, of which nothing is left" {
    installed manager
    answer service-uninstall 0 "removed"
    # The directory is the program's to remove, and the stand-in doesn't.
    script uninstall_service_windows -Component manager -Purge
    expect 0 removed
    [ "$(said)" = "call task-messenger-manager service uninstall --purge" ]
    [ "$(ls "$PROGRAMS")" = manager ]
    script uninstall_service_windows -Component all -DryRun
    expect 0
}
