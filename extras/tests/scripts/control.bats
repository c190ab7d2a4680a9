#!/usr/bin/env bats
# The control script: exit codes, the screen, refusals.

load helper

# A manager is installed once; tests have copies of that.
setup_file() {
    build_archives 0.1.0
    make_root "$BATS_FILE_TMPDIR"
    "$BATS_FILE_TMPDIR/task-messenger-manager-v0.1.0/scripts/install_service_linux.sh" manager >/dev/null
}

setup() {
    copy_root "$BATS_FILE_TMPDIR/root"
    control=$ROOT/opt/task-messenger/scripts/service_control.sh
    manager=task-messenger-manager.service
}

teardown() {
    [ -z "${server:-}" ] || kill "$server"
}

property() {
    mkdir -p "$ROOT/control/units"
    printf '%s' "$3" >"$ROOT/control/units/$1.$2"
}

@test "command lines that make no sense" {
    misused "what is to be done" "$control"
    misused "'dance' is not known" "$control" dance
    misused "one at a time" "$control" start stop
    misused "one service at a time" "$control" start manager worker
    misused "is no name of a worker" "$control" status worker@A_b
    misused "are for logs" "$control" status -f
    misused "--since wants a time" "$control" logs --since
}

@test "status: 0 running, 3 stopped, 4 not installed, of several the worst" {
    run "$control" status manager
    echo "$output"
    [ "$status" = 3 ]
    run "$control" status worker
    [ "$status" = 4 ]
    run "$control" status worker@a
    [ "$status" = 4 ]
    "$ROOT/stubs/systemctl" start "$manager"
    run "$control" status
    echo "$output"
    [ "$status" = 0 ]
    install_worker --instance a
    run "$control" status all
    echo "$output"
    [ "$status" = 3 ]
    [[ $output == *"worker@a"* ]]
}

@test "a worker that was removed is none, whatever it left behind" {
    install_worker >/dev/null
    "$ARCHIVE/scripts/install_service_linux.sh" worker --instance a >/dev/null
    run "$control" status worker@a
    [ "$status" = 3 ]
    "$ARCHIVE/scripts/uninstall_service_linux.sh" worker --instance a
    [ -f "$ROOT/etc/task-messenger/config-worker-a.json" ]
    run "$control" status worker@a
    echo "$output"
    [ "$status" = 4 ]
    forget_calls
    run "$control" start
    [ "$status" = 0 ]
    run ! grep worker@a "$ROOT/control/calls"
}

@test "a worker that was added by hand, as with packages, is one when it is enabled or runs" {
    install_worker >/dev/null
    : >"$ROOT/etc/task-messenger/config-worker-a.json"
    run "$control" status worker@a
    [ "$status" = 4 ]
    "$ROOT/stubs/systemctl" enable task-messenger-worker@a.service
    run "$control" status worker@a
    [ "$status" = 3 ]
    "$ROOT/stubs/systemctl" disable task-messenger-worker@a.service
    "$ROOT/stubs/systemctl" start task-messenger-worker@a.service
    run "$control" status worker@a
    [ "$status" = 0 ]
}

@test "status shows one screen without colour where there is no terminal" {
    "$ROOT/stubs/systemctl" start "$manager"
    property "$manager" StatusText "12 workers, 3,401 queued, 87 running"
    property "$manager" NRestarts 2
    run "$control" status manager
    echo "$output"
    [[ $output == *"manager  running"* ]]
    [[ $output == *"12 workers, 3,401 queued, 87 running"* ]]
    [[ $output == *0.1.0* && $output == *"it said why"* ]]
    [[ $output != *$'\033'* ]]
    [ "${#lines[@]}" -le 12 ]
}

@test "colour on a terminal, unless NO_COLOR is set" {
    export TERM=xterm
    run script -qec "$control status manager" /dev/null
    [[ $output == *$'\033'* ]]
    NO_COLOR=1 run script -qec "$control status manager" /dev/null
    [[ $output != *$'\033'* ]]
}

# Without curl, bash asks; a PATH of links hides it.
hide_curl() {
    local file
    mkdir "$ROOT/tools"
    for file in /usr/bin/* /bin/*; do
        [[ ${file##*/} = curl ]] || ln -sf "$file" "$ROOT/tools/"
    done
    PATH=$ROOT/stubs:$ROOT/tools
}

@test "status shows what the daemon answers over HTTP, with and without curl" {
    python3 "$BATS_TEST_DIRNAME/answers.py" "$ROOT/control/http" 3>&- 2>/dev/null &
    server=$!
    wait_until test -s "$ROOT/control/http"
    "$ROOT/stubs/systemctl" start "$manager"
    # A proxy, of which nobody on this machine has to be asked.
    export http_proxy=http://127.0.0.1:9 ALL_PROXY=http://127.0.0.1:9
    for way in with without; do
        [ $way = with ] || hide_curl
        run "$control" status manager
        echo "$output"
        [ "$status" = 0 ]
        [[ $output == *"no: 1 MiB free"* && $output != *"it works"* ]]
        [[ $output == *"3401 queued, 87 running"* ]]
        [[ $output == *"87 of 96 used"* && $output == *"12 connected"* ]]
    done
}

@test "status guesses nothing of a configuration that it can't read" {
    "$ROOT/stubs/systemctl" start "$manager"
    property "$manager" StatusText "12 workers, 3,401 queued, 87 running"
    # To root there is no other that can't be read.
    rm "$ROOT/etc/task-messenger/config-manager.json"
    run "$control" status manager
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"12 workers, 3,401 queued, 87 running"* ]]
    [[ $output == *"/etc/task-messenger/config-manager.json can't be read"*sudo* && $output != *127.0.0.1* ]]
}

@test "start, stop, restart and reload do what they say, the manager first and last" {
    install_worker >/dev/null
    forget_calls
    run "$control" start
    echo "$output"
    [ "$status" = 0 ]
    run "$control" reload
    [ "$status" = 0 ]
    run "$control" stop all
    [ "$status" = 0 ]
    [ "$(calls | sed 's/task-messenger-//; s/.service//')" = "start manager
start worker
reload manager
reload worker
stop worker
stop manager" ]
    run "$control" reload manager
    [ "$status" = 3 ]
}

@test "what fails says so, with the last lines" {
    : >"$ROOT/control/fails-start"
    run "$control" start manager
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"it said why"* ]]
}

@test "changing needs root, looking doesn't" {
    echo 1000 >"$ROOT/control/uid"
    run "$control" stop manager
    [ "$status" = 1 ]
    [[ $output == *"sudo"* ]]
    run "$control" status manager
    [ "$status" = 3 ]
    run "$control" logs manager
    [ "$status" = 0 ]
}

@test "logs come from the journal, and from a log file that is configured" {
    run "$control" logs manager --since "1 hour ago"
    [ "$status" = 0 ]
    grep -q -- "--unit $manager --since 1 hour ago" "$ROOT/control/programs"
    echo "2026-11-28T10:00:00Z a line of the file" >"$ROOT/var/log/manager.log"
    echo "$ROOT/var/log/manager.log" >"$ROOT/control/log-file"
    run "$control" logs manager
    echo "$output"
    [[ $output == *"a line of the file"* ]]
    echo "2026-11-28T12:00:00Z a later line" >>"$ROOT/var/log/manager.log"
    run "$control" logs manager --since "2026-11-28 11:00 UTC"
    [[ $output == *"a later line"* && $output != *"a line of the file"* ]]
}

@test "logs --since takes times as journalctl does, for log files too" {
    file=$ROOT/var/log/manager.log
    echo "$file" >"$ROOT/control/log-file"
    printf '%s\n' "2020-02-28T10:00:00Z long ago" "$(date -u -d '30 min ago' +%FT%TZ) just now" >"$file"
    # The file's times are in UTC, and who asks lives elsewhere.
    export TZ=Asia/Tokyo
    for since in "2020-02-28 18:59:59" -1h "45 min ago"; do
        run "$control" logs manager --since "$since"
        echo "$output"
        [ "$status" = 0 ]
        [[ $output == *"just now"* ]]
    done
    [[ $output != *"long ago"* ]]
    run "$control" logs manager --since=-1h
    [[ $output == *"just now"* && $output != *"long ago"* ]]
    run "$control" logs manager --since "2020-02-28 18:59:59"
    [[ $output == *"long ago"* ]]
    run "$control" logs manager --since "2020-02-28 19:00:01"
    [[ $output == *"just now"* && $output != *"long ago"* ]]
    misused "'when it broke' is no time" "$control" logs manager --since "when it broke"
}

@test "it works through its link" {
    mkdir -p "$BATS_TEST_TMPDIR/links"
    ln -s "$control" "$BATS_TEST_TMPDIR/links/task-messenger-service"
    run "$BATS_TEST_TMPDIR/links/task-messenger-service" --help
    [ "$status" = 0 ]
    [[ $output == *"task-messenger-service status"* ]]
}
