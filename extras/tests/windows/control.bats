#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031 # tests are subshells
# The control script, with everything that asks Windows something replaced: exit codes, the screen, logs.

load pretend

setup() {
    pretend_windows
    export TZ=UTC TEST_SERVICES="TaskMessengerManager"
}

teardown() {
    [ -z "${follower:-}" ] || kill "$follower" || true
}

# state CODE KEY VALUE...: what `service status --json` answers, over what a running manager answers.
state() {
    answer service-status "$1" "$(python3 - "${@:2}" <<'END'
import json, sys
state = {"service": "TaskMessengerManager", "component": "manager", "instance": None, "installed": True, "mode": "nssm",
    "state": "running", "since": "2026-11-28T10:00:00Z", "pid": 123, "exit_code": None, "startup_type": "delayed-automatic",
    "account": "NT SERVICE\\TaskMessengerManager", "version": "1.2.3", "ready": True, "says": "12 workers, 3,401 queued",
    "last_error": None, "logs": []}
for name, value in zip(sys.argv[1::2], sys.argv[2::2]):
    state[name] = json.loads(value)
print(json.dumps(state, ensure_ascii=False))
END
)"
}

@test "command lines that make no sense" {
    script service_control status -Follow
    expect 64 "-Follow is for logs"
    script service_control status -Component manager -Instance a
    expect 64 "-Instance is for workers"
    script service_control status -Instance A
    expect 64 "-Instance wants"
    script service_control stop -Component worker -Instance ""
    expect 1 "Cannot validate argument on parameter 'Instance'"
}

@test "status: 0 running, 3 stopped, 4 not installed, of several the worst" {
    state 0
    script service_control status
    expect 0 "manager running, since 2026-11-28 10:00:00"
    script service_control status -Component worker
    expect 4 "worker is not installed here (installed: manager)"
    script service_control status -Component worker -Instance a
    expect 4 "worker@a is not installed here"
    state 3 state '"stopped"' pid null
    script service_control status -Component manager
    expect 3 "manager stopped"
    TEST_SERVICES="" script service_control status
    expect 4 "no service of TaskMessenger is installed here"
    TEST_SERVICES="TaskMessengerWorker" script service_control status -Component manager
    expect 4 "manager is not installed here (installed: worker)"
}

@test "all asks each service, and a name alone means that worker" {
    state 0
    TEST_SERVICES="TaskMessengerWorker-b TaskMessengerManager TaskMessengerWorker-a" script service_control status
    expect 0 "worker@a running" "worker@b running"
    [ "$(said)" = "call task-messenger-manager service status --json \
call task-messenger-worker service status --json --instance a \
call task-messenger-worker service status --json --instance b" ]
    rm "$STAND_IN/calls"
    TEST_SERVICES="TaskMessengerWorker-b TaskMessengerManager" script service_control status -Instance b
    [ "$(said)" = "call task-messenger-worker service status --json --instance b" ]
}

@test "the screen: one line for each thing that is known, without colour where there is no screen" {
    state 0 says '"12 Arbeiter, 3.401 wartend: Größe"' last_error '"2026-11-28 09:59 disk full"'
    script service_control status
    expect 0
    [ "$output" = "manager  running, since 2026-11-28 10:00:00
  now         12 Arbeiter, 3.401 wartend: Größe
  ready       yes
  version     1.2.3
  process     123
  kept by     NSSM
  at boot     delayed-automatic
  account     NT SERVICE\\TaskMessengerManager
  last error  2026-11-28 09:59 disk full" ]
}

@test "the screen: every state in words" {
    state 0 ready false mode '"native"'
    script service_control status
    expect 0 "manager running, not ready" "ready no" "kept by Windows itself (native)"
    state 3 state '"crash-looping"'
    script service_control status
    expect 3 "crash-looping, tried again after growing waits"
    state 3 state '"crash-looping"' next_try "\"$(date -u -d '1 minute' +%FT%TZ)\""
    script service_control status
    expect 3
    [[ $output =~ crash-looping,\ next\ try\ in\ [3-6][0-9]\ s\ at\ the\ latest ]]
    state 3 state '"stopped"' exit_code 78 last_error '"line 3: slots"'
    script service_control status
    expect 3 "stopped, with exit code 78" "cause exit code 78: the same start can't succeed" "last error line 3: slots"
    state 3 state '"stopping"'
    script service_control status
    expect 3 "stopping (running tasks may finish)"
    state 3 state '"starting"' since null
    script service_control status
    expect 3 "manager starting"
    state 3 state '"odd"'
    script service_control status
    expect 3 "in the state 'odd'"
}

@test "the screen of a program that says less" {
    answer service-status 0 '{"state":"running"}'
    script service_control status
    expect 0
    [ "$output" = "manager  running" ]
}

@test "a program that fails, or answers something else" {
    answer service-status 1 "" $'the store is damaged\n'
    script service_control status
    expect 1 "manager: the store is damaged"
    answer service-status 0 'fine'
    script service_control status
    expect 1 "manager: it does not answer in JSON: fine"
    rm -r "${ARCHIVE:?}/bin"
    script service_control status
    expect 1 "TaskMessengerManager is installed and its program is not"
}

@test "colour on a screen, unless NO_COLOR is set" {
    state 0
    local command="'$PWSH' -NoProfile -NonInteractive -File '$ARCHIVE/scripts/service_control.ps1' status"
    export TERM=xterm
    run command script -qec "$command" /dev/null
    [[ $output == *$'\033[32;1mrunning\033[0m'* ]]
    run command script -qec "'$PWSH' -NoProfile -NonInteractive -Command '& \"$ARCHIVE/scripts/service_control.ps1\" status | Select-Object -First 9'" /dev/null
    [[ $output == *running* && $output != *$'\033[32'* ]]
    NO_COLOR=1 run command script -qec "$command" /dev/null
    [[ $output == *running* && $output != *$'\033[32'* ]]
}

@test "start, stop, restart and reload: the manager first, and last to stop" {
    export TEST_SERVICES="TaskMessengerManager TaskMessengerWorker"
    for verb in start Restart reload stop; do
        script service_control "$verb"
        expect 0
    done
    [ "$(said)" = "call task-messenger-manager service start call task-messenger-worker service start \
call task-messenger-manager service restart call task-messenger-worker service restart \
call task-messenger-manager reload call task-messenger-worker reload \
call task-messenger-worker service stop call task-messenger-manager service stop" ]
}

@test "what fails is passed on, and the others are done all the same" {
    export TEST_SERVICES="TaskMessengerManager TaskMessengerWorker"
    answer service-start 1 "" "it ended with 78"
    script service_control start
    expect 1 "it ended with 78"
    [ "$(calls | grep -c call)" = 2 ]
    answer reload 3 "" "it does not run"
    script service_control reload -Component worker
    expect 3 "it does not run"
}

@test "what the programs end with becomes one of the codes that are documented" {
    local code
    for code in 0 3 4 64; do
        answer service-start "$code"
        script service_control start
        expect "$code"
    done
    for code in 1 2 70 78 255; do
        answer service-start "$code" "" "no such key"
        answer reload "$code" "" "no such key"
        answer service-status "$code" "" "no such key"
        script service_control start
        expect 1 "no such key"
        script service_control reload
        expect 1 "no such key"
        script service_control status
        expect 1 "manager: no such key"
        script service_control logs
        expect 1 "manager: no such key"
    done
    # Of a failure and a stopped service the worse.
    answer service-start 78
    echo "exit 3" | cat <(echo "#!/bin/sh") - >"$ARCHIVE/bin/task-messenger-worker.exe"
    TEST_SERVICES="TaskMessengerManager TaskMessengerWorker" script service_control start
    expect 3
}

@test "changing needs an administrator, looking doesn't" {
    export TEST_IS_USER=1
    state 0
    for verb in start stop restart reload; do
        script service_control "$verb"
        expect 1 "to $verb a service needs an administrator"
    done
    [ ! -e "$STAND_IN/calls" ]
    script service_control status
    expect 0
    script service_control logs
    expect 0
}

@test "the installed program is asked, not the one beside the script" {
    install_archive manager
    rm "$ARCHIVE/bin/task-messenger-manager.exe"
    state 0
    script service_control status
    expect 0 running
}

@test "logs: the newest 100 lines of each file that the program names" {
    seq -f 'line %g of Größe' 250 >"$BATS_TEST_TMPDIR/a.log"
    printf 'panic\r\nat the disk\r\n' >"$BATS_TEST_TMPDIR/b.log"
    state 3 state '"stopped"' logs "[\"$BATS_TEST_TMPDIR/a.log\",\"$BATS_TEST_TMPDIR/none.log\",\"$BATS_TEST_TMPDIR/b.log\"]"
    script service_control logs
    expect 0
    [ "$output" = "--- $BATS_TEST_TMPDIR/a.log
$(seq -f 'line %g of Größe' 151 250)
--- $BATS_TEST_TMPDIR/b.log
panic
at the disk" ]
}

@test "logs: of a large file the end" {
    seq -f 'line %07g of a log' 300000 >"$BATS_TEST_TMPDIR/a.log"
    state 0 logs "[\"$BATS_TEST_TMPDIR/a.log\"]"
    script service_control logs
    expect 0
    [ "$output" = "--- $BATS_TEST_TMPDIR/a.log
$(seq -f 'line %07g of a log' 299901 300000)" ]
}

@test "logs that can't be read: the others are shown, and it has failed; nothing is followed that isn't there" {
    echo "line 1" >"$BATS_TEST_TMPDIR/b.log"
    # Reading a directory is refused, to everybody.
    state 0 logs "[\"$BATS_TEST_TMPDIR\",\"$BATS_TEST_TMPDIR/b.log\"]"
    script service_control logs
    expect 1 "$BATS_TEST_TMPDIR can't be read: try as an administrator" "b.log line 1"
    state 0 logs "[\"$BATS_TEST_TMPDIR\"]"
    run timeout 30 "$PWSH" -NoProfile -NonInteractive -File "$ARCHIVE/scripts/service_control.ps1" logs -Follow
    expect 1 "can't be read"
    answer service-status 1 "" "the store is damaged"
    run timeout 30 "$PWSH" -NoProfile -NonInteractive -File "$ARCHIVE/scripts/service_control.ps1" logs -Follow
    expect 1 "the store is damaged"
}

@test "logs -Follow: on across rotations, no line lost or twice" {
    local log=$BATS_TEST_TMPDIR/a.log number
    echo "line 1" >"$log"
    state 0 logs "[\"$log\",\"$BATS_TEST_TMPDIR/late.log\"]"
    "$PWSH" -NoProfile -NonInteractive -File "$ARCHIVE/scripts/service_control.ps1" logs -Follow >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
    follower=$!
    wait_until grep -qs "line 1" "$BATS_TEST_TMPDIR/out"
    # Renamed, and a new one of other lengths; then written in the old one a last time by a writer that had it open.
    for number in 2 3 4; do
        exec 4>>"$log"
        mv "$log" "$log.$number"
        printf 'line %s, long\n' "$number" >&4
        exec 4>&-
        printf 'new %s' "$number" >"$log"
        wait_until grep -q "line $number, long" "$BATS_TEST_TMPDIR/out"
        printf ', its end\n' >>"$log"
        wait_until grep -q "new $number, its end" "$BATS_TEST_TMPDIR/out"
    done
    # Emptied in place.
    : >"$log"
    read -rt 1 <> <(:) || true
    echo "line 5" >>"$log"
    echo "it starts" >"$BATS_TEST_TMPDIR/late.log"
    wait_until grep -q "line 5" "$BATS_TEST_TMPDIR/out"
    wait_until grep -q "it starts" "$BATS_TEST_TMPDIR/out"
    echo "line 6" >>"$log"
    wait_until grep -q "line 6" "$BATS_TEST_TMPDIR/out"
    cat "$BATS_TEST_TMPDIR/out"
    [ "$(cat "$BATS_TEST_TMPDIR/out")" = "--- $log
line 1
line 2, long
new 2, its end
line 3, long
new 3, its end
line 4, long
new 4, its end
line 5
--- $BATS_TEST_TMPDIR/late.log
it starts
--- $log
line 6" ]
}
