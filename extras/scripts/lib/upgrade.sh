# shellcheck shell=bash
# What an upgrade does beyond an installation: the new program looks at what is kept before anything is replaced, and what
# ran runs again, with the new version or, if that isn't READY, with the old one.

CHECKER=""          # the new program, where it can be run
RAN=()              # units that ran before, of those that the new version concerns

# The client, the scripts and what else both components use are there once, so they must not go back to what is older than the
# other one: its upgrade brought them.
check_shared() {
    local other=manager here new
    [ "$COMPONENT" = worker ] || other=worker
    [ -n "$(installed_of "$other")" ] || return 0
    here=$(version_of "$ROOT$PREFIX/bin/task-messenger") || return 0
    new=$(version_of "${FILE_SOURCE[bin/task-messenger]}")
    ! is_older "$new" "$here" || die "version $new is older than the $here of what the $other and the $COMPONENT share here: take an archive of the $COMPONENT that is as new, or uninstall the $other first"
}

# is_older VERSION VERSION. What comes before a release, as 0.2.0-rc.1, is older than it; to sort that is a `~`.
is_older() {
    local one=${1/-/\~} two=${2/-/\~}
    [ "$one" != "$two" ] && [ "$(printf '%s\n' "$one" "$two" | sort -V | head -n 1)" = "$one" ]
}

# Has the new program check each kept configuration, and what is kept beside it.
check_upgrade() {
    local name=task-messenger-$COMPONENT key output file
    CHECKER=${FILE_SOURCE[bin/$name]}
    if cmp -s -- "$CHECKER" "$ROOT$PREFIX/bin/$name"; then
        return
    fi
    for key in "${KEYS[@]}"; do
        file=$(configuration_of "$key")
        [ -e "$ROOT$file" ] || continue
        output=$(check_configuration "$CHECKER" "$ROOT$file") ||
            die "version $(version_of "$CHECKER") does not take the configuration $file, so nothing was changed: $output"
        check_state "$file"
    done
}

# A version that can't read what a newer one has written must not replace it.
check_state() {
    local output status=0
    output=$(run_program "$CHECKER" --config "$ROOT$1" --check-state 2>&1) || status=$?
    case $status in
        0) ;;
        78) die "version $(version_of "$CHECKER") can't take what the $COMPONENT keeps here (a newer version wrote it, or it is damaged), so nothing was changed: $output" ;;
        *) die "version $(version_of "$CHECKER") could not check what the $COMPONENT keeps here, so nothing was changed (exit code $status): $output" ;;
    esac
}

# Restarts what ran, if its program or its unit is another one now. A stop drains, and has the time for it; then the new
# version has 60 s to be READY.
restart_what_ran() {
    local key unit program=$PREFIX/bin/task-messenger-$COMPONENT
    for key in "${KEYS[@]}"; do
        unit=$(unit_of "$key")
        if [ -z "${CHANGED[$program]:-}" ] && [ -z "${CHANGED[$UNITS/$(template_of "$unit")]:-}" ]; then
            continue
        fi
        [ "$key" != "$KEY" ] || [ "$IS_NEW" = 0 ] || continue
        runs "$unit" || continue
        if is_masked "$unit"; then
            # Once stopped it would not come back, with neither version.
            warn "$unit is masked, and was not restarted: it runs the version before until somebody stops it"
            continue
        fi
        RAN+=("$unit")
    done
    for unit in "${RAN[@]}"; do
        restart_one "$unit"
    done
}

restart_one() {
    local unit=$1 was
    was=$(property "$unit" ActiveState)
    step "restart $unit"
    [ "$DRY_RUN" = 0 ] || return 0
    note ran "$unit"
    must ctl stop "$unit"
    start_and_wait "$unit" && return
    if [ "$was" = activating ]; then
        warn "$unit is not READY; it wasn't before either"
        return
    fi
    warn "$unit was not READY within $(ready_seconds) s. Its last lines:"
    last_lines "$unit" | sed 's/^/    /' >&2
    die "the new version does not work here: going back to the old one"
}

template_of() {
    if [[ $1 == *@* ]]; then
        printf '%s@.service' "${1%%@*}"
    else
        printf '%s' "$1"
    fi
}
