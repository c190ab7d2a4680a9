# shellcheck shell=bash
# What is to be seen of the services: which there are, and how they are.

# The keys of all services that are installed, from archives and packages alike: the manager first.
installed_keys() {
    local key unit names=()
    for key in manager worker; do
        unit=$(unit_of "$key")
        [ "$(property "$unit" LoadState)" != not-found ] && printf '%s\n' "$key"
    done
    mapfile -t names < <({
        compgen -G "$ROOT$CONFIGURATION/config-worker-*.json" | sed -n 's/.*\/config-worker-\(.*\)\.json$/\1/p'
        ctl list-units --all --plain --no-legend 'task-messenger-worker@*.service' |
            sed -n 's/^[^t]*task-messenger-worker@\([^ ]*\)\.service .*/\1/p'
        ctl list-unit-files --plain --no-legend 'task-messenger-worker@*.service' |
            sed -n 's/^task-messenger-worker@\([^ ]\+\)\.service .*/\1/p'
    } | sort -u)
    for key in "${names[@]}"; do
        if is_instance_name "$key" && is_another_worker "worker@$key"; then
            printf 'worker@%s\n' "$key"
        fi
    done
}

# Another worker is one that the installer made, or that was added to a package's: it is enabled, or it runs. A configuration
# alone may be what is left of a removal.
is_another_worker() {
    local unit
    unit=$(unit_of "$1")
    [ "$(property "$unit" LoadState)" != not-found ] || return 1
    [ ! -f "$ROOT$MANIFESTS/$1" ] || return 0
    case $(ctl is-enabled "$unit" 2>/dev/null) in
        enabled | enabled-runtime) return 0 ;;
    esac
    [ "$(property "$unit" ActiveState)" != inactive ]
}

# paint COLOUR TEXT. What it prints is mostly caught in a variable first, so whether there is a terminal is asked once.
PAINTS=0
! wants_colour || PAINTS=1
paint() {
    if [ "$PAINTS" = 1 ]; then
        printf '\033[%sm%s\033[0m' "$1" "$2"
    else
        printf '%s' "$2"
    fi
}

# The program that a unit starts.
program_of() {
    ctl show --property ExecStart -- "$1" | sed -n 's/^ExecStart={ path=\([^ ;]*\) .*/\1/p' | head -n 1
}

# field NAME VALUE: a line of the screen, if there is something to say.
field() {
    [ -z "$2" ] || printf '  %-11s %s\n' "$1" "$2"
}

# Shows one service; 0 if it runs, 3 if it doesn't.
show() {
    local key=$1 unit program state sub since restarts result code text status=3
    unit=$(unit_of "$key")
    program=$(program_of "$unit")
    state=$(property "$unit" ActiveState)
    sub=$(property "$unit" SubState)
    since=$(property "$unit" StateChangeTimestamp)
    restarts=$(property "$unit" NRestarts)
    result=$(property "$unit" Result)
    code=$(property "$unit" ExecMainStatus)
    text=$(property "$unit" StatusText)
    case $state in
        active) status=0 text_of_state=$(paint '32;1' running) ;;
        reloading | refreshing) status=0 text_of_state=$(paint '32;1' 'running (it reloads)') ;;
        activating)
            text_of_state=$(paint '33;1' starting)
            [ "$sub" != auto-restart ] || text_of_state=$(paint '31;1' 'crashed, is started again in a few seconds')
            ;;
        deactivating) text_of_state=$(paint '33;1' 'stopping (running tasks may finish)') ;;
        failed) text_of_state=$(paint '31;1' "failed ($result)") ;;
        *) text_of_state=$(paint '33' stopped) ;;
    esac
    printf '%s  %s%s\n' "$(paint 1 "$key")" "$text_of_state" "${since:+, since $since}"
    [ "$status" = 0 ] || [ "$code" != 78 ] || field cause "exit code 78: the same start can't succeed; the last error says what to do"
    [ "$status" != 0 ] || field now "$text"
    field restarts "$restarts$([ "$restarts" = 0 ] || printf ' since it was started by hand')"
    field version "$(version_of_program "$program")$(is_replaced "$unit" && printf ' (the program was replaced: restart it)')"
    field at-boot "$(ctl is-enabled "$unit" 2>/dev/null || true)"
    [ "$status" != 0 ] || show_what_it_answers "$key" "$program"
    field last-error "$(last_error "$unit")"
    return "$status"
}

version_of_program() {
    [ -z "$1" ] || run_program "$1" --version 2>/dev/null | sed 's/^[^ ]* //'
}

# Whether the process is of a program that isn't there any more. Only its owner and root can see that.
is_replaced() {
    local pid
    pid=$(property "$1" MainPID)
    [ "${pid:-0}" != 0 ] && [[ $(readlink -- "/proc/$pid/exe" 2>/dev/null) == *' (deleted)' ]]
}

# What the daemon itself says over HTTP, where it listens on this machine. That needs no token.
show_what_it_answers() {
    local key=$1 address answer metrics file
    file=$(configuration_of "$key")
    if [ ! -r "$ROOT$file" ]; then
        field ready "unknown: $file can't be read, which says where to ask (try sudo)"
        return
    fi
    address=$(http_of "$key" "$2")
    [ -n "$address" ] || return 0
    if ! answer=$(http_get "$address" /readyz) || [ -z "$answer" ]; then
        field ready "unknown: nothing answers on $address"
        return
    fi
    case $answer in
        '{"ok":true'*) field ready yes ;;
        *) field ready "$(paint '31;1' no): $(troubles <<<"$answer")" ;;
    esac
    metrics=$(http_get "$address" /metrics) || return 0
    if [ "$key" = manager ]; then
        field queue "$(figure tasks '{state="queued"}') queued, $(figure tasks '{state="running"}') running, $(figure tasks '{state="failed"}') failed for good"
        field workers "$(figure sessions '{role="worker"}') connected, $(figure workers_enrolled) enrolled"
        field slots "$(figure slots_used) of $(figure slots) used"
    else
        field connected "$([ "$(figure worker_connected)" = 1 ] && printf yes || printf no)"
        field slots "$(figure worker_slots_used) of $(figure worker_slots) used"
        field outbox "$(figure worker_outbox_tasks) outcomes that the manager has not taken"
    fi
}

# figure NAME [LABELS]: a whole number of the metrics.
figure() {
    awk -v name="task_messenger_$1${2:-}" '$1 == name { printf "%d", $2; found = 1; exit } END { if (!found) printf "?" }' <<<"$metrics"
}

# Where a service answers HTTP, if that is on this machine's own address.
http_of() {
    local address file
    file=$(configuration_of "$1")
    address=$(setting "$2" "$ROOT$file" http.listen | tr -d '"')
    [[ ! $address =~ ^(127\.0\.0\.1|\[::1\]):[0-9]+$ ]] || printf '%s' "$address"
}

# http_get ADDRESS:PORT PATH: the answer's body, whatever its status.
http_get() {
    local host=${1%:*}
    if command -v curl >/dev/null; then
        # No proxy knows this machine as we do.
        curl --silent --noproxy '*' --max-time 3 "http://$1$2" 2>/dev/null
        return
    fi
    host=${host#[}
    # shellcheck disable=SC2016 # it is the inner shell that expands them
    timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n" "$2" >&3 && cat <&3' \
        "${host%]}" "${1##*:}" "$2" 2>/dev/null | tr -d '\r' | sed '1,/^$/d'
}

# What is required and not so, from what /readyz says.
troubles() {
    local found
    found=$(grep -oE '"ok":false,"required":true,"since":"[^"]*","detail":"[^"]*"' | sed -E 's/.*"detail":"([^"]*)"/\1/' |
        paste -s -d ';')
    printf '%s' "${found:-/readyz says why}"
}

# Without the right to read the journal there is none to be seen.
last_error() {
    # What it said itself, not what systemd says of it, which stands above.
    local field=_SYSTEMD_UNIT
    [ "$MODE" = system ] || field=_SYSTEMD_USER_UNIT
    journalctl --quiet --no-pager --output short-iso --priority err --lines 1 "$field=$1" 2>/dev/null |
        sed -e 's/^\([^ ]*\) [^ ]* [^ ]*: /\1 /' | cut -c 1-300 || true
}

# The log file of a service, if it has one that can be found out.
log_file_of() {
    local program file
    program=$(program_of "$(unit_of "$1")")
    [ -n "$program" ] || return 0
    file=$(setting "$program" "$ROOT$(configuration_of "$1")" log.file | tr -d '"')
    [[ $file != /* ]] || printf '%s' "$file"
}
