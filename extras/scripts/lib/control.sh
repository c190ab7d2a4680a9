# shellcheck shell=bash
# What is to be seen of the services: which there are, and how they are.

# The keys of all services that are installed, from archives and packages alike: the manager first.
installed_keys() {
    local key unit names=()
    for key in manager worker; do
        unit=$(unit_of "$key")
        [ "$(property "$unit" LoadState)" != not-found ] && printf '%s\n' "$key"
    done
    # Another worker is one that has a configuration, is enabled, or runs.
    mapfile -t names < <({
        compgen -G "$ROOT$CONFIGURATION/config-worker-*.json" | sed -n 's/.*\/config-worker-\(.*\)\.json$/\1/p'
        ctl list-units --all --plain --no-legend 'task-messenger-worker@*.service' |
            sed -n 's/^[^t]*task-messenger-worker@\([^ ]*\)\.service .*/\1/p'
        ctl list-unit-files --plain --no-legend 'task-messenger-worker@*.service' |
            sed -n 's/^task-messenger-worker@\([^ ]\+\)\.service .*/\1/p'
    } | sort -u)
    for key in "${names[@]}"; do
        if is_instance_name "$key" && [ "$(property "$(unit_of "worker@$key")" LoadState)" != not-found ]; then
            printf 'worker@%s\n' "$key"
        fi
    done
}

# paint COLOUR TEXT
paint() {
    if wants_colour; then
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
    field ready "$([ "$status" != 0 ] || readiness "$key" "$program")"
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

# What /readyz says, where the configuration can be read and has it on the machine itself.
readiness() {
    local address answer
    command -v curl >/dev/null || return 0
    address=$(setting "$2" "$(configuration_of "$1")" http.listen | tr -d '"')
    [[ $address =~ ^(127\.0\.0\.1|\[::1\]):[0-9]+$ ]] || return 0
    answer=$(curl --silent --max-time 3 "http://$address/readyz" 2>/dev/null) || {
        printf 'unknown: nothing answers on %s' "$address"
        return 0
    }
    case $answer in
        '{"ok":true'*) printf 'yes' ;;
        *) printf 'no: http://%s/readyz says why' "$address" ;;
    esac
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
    file=$(setting "$program" "$(configuration_of "$1")" log.file | tr -d '"')
    [[ $file != /* ]] || printf '%s' "$file"
}
