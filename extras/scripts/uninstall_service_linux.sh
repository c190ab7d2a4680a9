#!/usr/bin/env bash
# Removes services that install_service_linux.sh installed. See --help.
set -euo pipefail
umask 022

SCRIPT_DIRECTORY=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
for library in common places transaction files manifest checks systemd source configuration purge; do
    # shellcheck source=/dev/null
    . "$SCRIPT_DIRECTORY/lib/$library.sh"
done

WHAT="" INSTANCE="" PURGE=0
KEYS=()

usage() {
    cat <<END
Removes TaskMessenger's services from this machine: stops them, disables them, removes programs and units.
Configuration, credentials, state, logs and users stay, unless --purge is given.

Usage: $PROGRAM manager|worker|all [OPTIONS]

  --instance NAME    that worker, and not the one without a name
  --user             a service of your own
  --purge            remove also configuration, credentials, state (queue and results!), logs and users
  --dry-run          show each step, change nothing
  --yes              ask nothing
  --help             this

\`worker\` is the one without a name; \`all\` is everything. What several services share goes with the last of them.
Run again it goes on where it was interrupted.

Examples:
  sudo /opt/task-messenger/scripts/$PROGRAM worker
  sudo /opt/task-messenger/scripts/$PROGRAM worker --instance gpu --purge
  sudo /opt/task-messenger/scripts/$PROGRAM all --purge --yes
  ~/.local/lib/task-messenger/scripts/$PROGRAM all --user --dry-run

Exit codes: 0 removed, or there was nothing to remove; 1 refused or failed; 64 wrong command line.
END
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --instance)
                [ $# -ge 2 ] && [ -n "$2" ] || refuse_usage "$1 wants a value"
                INSTANCE=$2
                shift
                ;;
            --instance=*)
                set -- --instance "${1#*=}" "${@:2}"
                continue
                ;;
            --user) MODE=user ;;
            --purge) PURGE=1 ;;
            --dry-run) DRY_RUN=1 ;;
            --yes) YES=1 ;;
            --help | -h) usage; exit 0 ;;
            manager | worker | all)
                [ -z "$WHAT" ] || refuse_usage "one at a time: manager, worker or all"
                WHAT=$1
                ;;
            *) refuse_usage "'$1' is not known" ;;
        esac
        shift
    done
    [ -n "$WHAT" ] || refuse_usage "what is to be removed: manager, worker or all?"
    if [ -n "$INSTANCE" ]; then
        [ "$WHAT" = worker ] || refuse_usage "--instance is for workers"
        [ "$MODE" = system ] || refuse_usage "--instance and --user don't go together"
        is_instance_name "$INSTANCE" || refuse_usage "--instance wants a-z, 0-9 and -, beginning with a letter or digit, at most 32: '$INSTANCE'"
    fi
}

prepare() {
    local component
    take_test_root
    # An installation whose link was lost still lies around its scripts.
    if [ -d "${SCRIPT_DIRECTORY%/*}/manifests" ]; then
        component=${SCRIPT_DIRECTORY%/*}
        set_places "${component#"$ROOT"}"
    else
        set_places ""
    fi
    check_caller
    case $WHAT in
        all)
            for component in manager worker; do
                check_package "$component"
            done
            ;;
        *) check_package "$WHAT" ;;
    esac
    take_lock
    recover
    load_manifests
    case $WHAT in
        # The manager last: workers say goodbye to it.
        all) mapfile -t KEYS < <(installed_of worker; installed_of manager) ;;
        worker) KEYS=("worker${INSTANCE:+@$INSTANCE}") ;;
        manager) KEYS=(manager) ;;
    esac
}

remove() {
    local key=$1 unit
    unit=$(unit_of "$key")
    if [ "$(property "$unit" ActiveState)" != inactive ]; then
        step "stop $unit"
        [ "$DRY_RUN" = 1 ] || must ctl stop "$unit"
    fi
    case $(ctl is-enabled "$unit" 2>/dev/null) in
        enabled | enabled-runtime)
            step "disable $unit"
            [ "$DRY_RUN" = 1 ] || must ctl disable --quiet "$unit"
            ;;
    esac
    if [ "${OWNED_BEFORE[$UNITS/task-messenger.target]:-}" = " $key" ]; then
        step "disable task-messenger.target"
        [ "$DRY_RUN" = 1 ] || ctl disable --quiet --now task-messenger.target || true
    fi
    remove_by_manifest "$key"
    if [ "$DRY_RUN" = 0 ]; then
        ctl daemon-reload || true
        ctl reset-failed "$unit" 2>/dev/null || true
    fi
}

# Lingering is the user's, not a service's: it ends with the last of them, if the installation began it. The note of that
# lies in the prefix, so it goes first.
end_lingering() {
    local key left=0
    [ -f "$ROOT$PREFIX/.lingering" ] || return 0
    for key in "${INSTALLED[@]}"; do
        [[ " ${KEYS[*]} " == *" $key "* ]] || left=1
    done
    [ "$left" = 0 ] || return 0
    step "end lingering, which the installation began"
    [ "$DRY_RUN" = 0 ] || return 0
    loginctl --no-ask-password disable-linger || true
    rm -f -- "$ROOT$PREFIX/.lingering"
}

main() {
    local key
    parse "$@"
    prepare
    if [ "$PURGE" = 1 ]; then
        confirm "This removes ${WHAT}${INSTANCE:+ $INSTANCE} with configuration, credentials, state and logs; it can't be taken back."
    fi
    end_lingering
    for key in "${KEYS[@]}"; do
        if is_installed "$key"; then
            remove "$key"
        else
            say "$(unit_of "$key") is not installed."
        fi
    done
    if [ "$PURGE" = 1 ]; then
        purge
    fi
    if [ "$DRY_RUN" = 1 ]; then
        say "Nothing was changed (--dry-run)."
    fi
    show_kept
}

main "$@"
