#!/usr/bin/env bash
# Every day's control of TaskMessenger's services on this machine. See --help.
set -euo pipefail

SCRIPT_DIRECTORY=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
for library in common places systemd configuration control; do
    # shellcheck source=/dev/null
    . "$SCRIPT_DIRECTORY/lib/$library.sh"
done

VERB="" WANTED="" FOLLOW=0 SINCE=""
KEYS=()             # of the services that are meant
RUNNING=0 STOPPED=3 NOT_INSTALLED=4

usage() {
    cat <<END
Controls TaskMessenger's services on this machine.

Usage: $PROGRAM start|stop|restart|reload|status|logs [manager|worker|worker@NAME|all] [OPTIONS]

  start, stop, restart   a stop lets running tasks finish, within \`shutdown.grace\`
  reload                 load the configuration anew; it is checked first, and a wrong one is refused
  status                 one screen: state, since when, version, connection, slots, queue, the last error
  logs                   the newest 100 lines, of the journal and of a log file if one is configured

Without a service, all that are installed are meant.

  -f, --follow           go on with what is logged from now on
  --since WHEN           from then on, as journalctl takes it: "10 min ago", -1h, "2026-11-28 10:00"
  --user                 the services of your own instead of the machine's
  --help                 this

Examples:
  $PROGRAM status
  sudo $PROGRAM restart worker@gpu
  sudo $PROGRAM reload manager
  $PROGRAM logs worker -f --since "1 hour ago"

Exit codes: 0 it runs, or it is done; 1 it failed; 3 it is stopped; 4 it is not installed; 64 wrong command line.
For several services the worst.
END
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --help | -h) usage; exit 0 ;;
            --user) MODE=user ;;
            -f | --follow) FOLLOW=1 ;;
            --since)
                [ $# -ge 2 ] && [ -n "$2" ] || refuse_usage "--since wants a time, such as \"10 min ago\""
                SINCE=$2
                shift
                ;;
            --since=?*) SINCE=${1#*=} ;;
            start | stop | restart | reload | status | logs)
                [ -z "$VERB" ] || refuse_usage "one at a time: $VERB or $1"
                VERB=$1
                ;;
            manager | worker | worker@* | all)
                [ -z "$WANTED" ] || refuse_usage "one service at a time, or all"
                [[ $1 != worker@* ]] || is_instance_name "${1#worker@}" ||
                    refuse_usage "'${1#worker@}' is no name of a worker: a-z, 0-9 and -, at most 32"
                WANTED=$1
                ;;
            *) refuse_usage "'$1' is not known" ;;
        esac
        shift
    done
    [ -n "$VERB" ] || refuse_usage "what is to be done: start, stop, restart, reload, status or logs?"
    if [ "$VERB" != logs ] && { [ "$FOLLOW" = 1 ] || [ -n "$SINCE" ]; }; then
        refuse_usage "-f and --since are for logs"
    fi
}

# Sets KEYS; ends with 4 if there is nothing.
choose() {
    local found=()
    mapfile -t found < <(installed_keys)
    case ${WANTED:-all} in
        all)
            KEYS=("${found[@]}")
            if [ ${#KEYS[@]} = 0 ]; then
                warn "no service of TaskMessenger is installed here"
                exit "$NOT_INSTALLED"
            fi
            ;;
        *)
            KEYS=("$WANTED")
            if ! [[ " ${found[*]} " == *" $WANTED "* ]]; then
                warn "$WANTED is not installed here (installed: ${found[*]:-nothing})"
                exit "$NOT_INSTALLED"
            fi
            ;;
    esac
}

# The manager is there before its workers, and after them: they report to it when they stop.
change() {
    local keys=("${KEYS[@]}") key unit worst=0 at
    if [ "$VERB" = stop ]; then
        keys=()
        for ((at = ${#KEYS[@]} - 1; at >= 0; at--)); do
            keys+=("${KEYS[at]}")
        done
    fi
    [ "$MODE" = user ] || is_root || die "this needs root: sudo $PROGRAM $VERB ${WANTED:-all}"
    for key in "${keys[@]}"; do
        unit=$(unit_of "$key")
        if [ "$VERB" = reload ] && [ "$(property "$unit" ActiveState)" != active ]; then
            warn "$key does not run, so there is nothing to reload"
            [ "$worst" -ge "$STOPPED" ] || worst=$STOPPED
            continue
        fi
        if ctl "$VERB" "$unit"; then
            say "$key: $(past_of "$VERB")"
        else
            warn "$key: $VERB failed. Its last lines:"
            last_lines "$unit" | sed 's/^/    /' >&2
            [ "$worst" -ge 1 ] || worst=1
        fi
    done
    return "$worst"
}

past_of() {
    case $1 in
        stop) printf stopped ;;
        *) printf '%sed' "$1" ;;
    esac
}

status() {
    local key worst=$RUNNING code
    for key in "${KEYS[@]}"; do
        code=0
        show "$key" || code=$?
        [ "$code" -le "$worst" ] || worst=$code
    done
    return "$worst"
}

logs() {
    local options=(--no-pager --quiet) key file files=() following=() begin
    for key in "${KEYS[@]}"; do
        if [ "$MODE" = user ]; then
            options+=(--user-unit "$(unit_of "$key")")
        else
            options+=(--unit "$(unit_of "$key")")
        fi
        file=$(log_file_of "$key")
        [ -z "$file" ] || files+=("$file")
    done
    if [ -n "$SINCE" ]; then
        begin=$(moment "$SINCE")
        options+=(--since "$SINCE")
    else
        options+=(--lines 100)
    fi
    if [ "$FOLLOW" = 1 ]; then
        for file in "${files[@]}"; do
            tail -n 100 -F -- "$file" &
            following+=($!)
        done
        # shellcheck disable=SC2064 # those of now
        [ ${#following[@]} = 0 ] || trap "kill ${following[*]} 2>/dev/null || true" EXIT
        journalctl "${options[@]}" --follow
        return
    fi
    journalctl "${options[@]}"
    for file in "${files[@]}"; do
        say "--- $file"
        if [ -n "$SINCE" ]; then
            since "$begin" "$file"
        else
            tail -n 100 -- "$file"
        fi || warn "$file can't be read: try sudo"
    done
}

# moment WHEN: a time, in the words that journalctl takes, as log files have it: in UTC.
moment() {
    local seconds
    # Not date, to which -1h is something else, or nothing.
    seconds=$(systemd-analyze timestamp -- "$1" 2>/dev/null | sed -n 's/^ *UNIX seconds: @\([0-9]*\).*/\1/p')
    [ -n "$seconds" ] || refuse_usage "--since: '$1' is no time; see \`man systemd.time\`, such as \"10 min ago\""
    date -u -d "@$seconds" +%Y-%m-%dT%H:%M:%S
}

# The lines of a log file from a time on, in UTC; what has no time of its own belongs to the line before.
since() {
    awk -v begin="$1" '
        match($0, /[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9]/) {
            shown = substr($0, RSTART, RLENGTH) >= begin
        }
        shown' "$2"
}

main() {
    parse "$@"
    take_test_root
    set_places ""
    [ -d "$ROOT/run/systemd/system" ] || die "this machine was not started by systemd"
    choose
    case $VERB in
        status) status ;;
        logs) logs ;;
        *) change ;;
    esac
}

main "$@"
