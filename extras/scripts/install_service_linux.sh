#!/usr/bin/env bash
# Installs the manager or a worker as a system service (or a user's own), or upgrades it. See --help.
set -euo pipefail
umask 022

SCRIPT_DIRECTORY=$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")
for library in common places transaction files manifest source checks systemd configuration upgrade; do
    # shellcheck source=/dev/null
    . "$SCRIPT_DIRECTORY/lib/$library.sh"
done

COMPONENT="" INSTANCE="" SLOTS="" PREFIX_WANTED="" TOKEN_FILE=""
KEY=""              # of the service that is asked for
KEYS=()             # of all that share its programs, this one included
IS_NEW=0
SCRATCH=""

usage() {
    cat <<END
Installs TaskMessenger's manager or worker as a service of this machine, or upgrades it. Nothing is started.

Usage: $PROGRAM manager|worker [OPTIONS]

  --instance NAME    one more worker on this machine, with a configuration, state and identity of its own
                     (a-z, 0-9 and -, at most 32)
  --slots N          how many tasks the worker runs at a time; for a new configuration
  --user             a service of your own, without root: everything lies in your home directory
  --prefix DIR       where the programs go [default: $DEFAULT_PREFIX]; configuration, state and logs stay in
                     /etc, /var/lib and /var/log
  --join TOKEN-FILE  join a manager with the token in this file
  --dry-run          show each step, change nothing
  --yes              ask nothing
  --help             this

Run again it changes nothing; with another version it is an upgrade: the new programs first check the configuration and
the store that are there, only what runs is restarted, and what isn't READY within 60 s goes back to the old version.
Whatever fails or is interrupted is undone.

Examples:
  sudo scripts/$PROGRAM manager
  sudo scripts/$PROGRAM worker --slots 8 --join token.txt
  sudo scripts/$PROGRAM worker --instance gpu --join token.txt
  sudo scripts/$PROGRAM manager --dry-run
  scripts/$PROGRAM worker --user

From a checkout, after \`cargo build --release --workspace\`: sudo extras/scripts/$PROGRAM manager

Exit codes: 0 done, or there was nothing to do; 1 refused or failed, and undone; 64 wrong command line.
END
}

parse() {
    while [ $# -gt 0 ]; do
        case $1 in
            --instance | --slots | --prefix | --join)
                [ $# -ge 2 ] && [ -n "$2" ] || refuse_usage "$1 wants a value"
                case $1 in
                    --instance) INSTANCE=$2 ;;
                    --slots) SLOTS=$2 ;;
                    --prefix) PREFIX_WANTED=$2 ;;
                    --join) TOKEN_FILE=${2#@} ;;
                esac
                shift
                ;;
            --instance=* | --slots=* | --prefix=* | --join=*)
                set -- "${1%%=*}" "${1#*=}" "${@:2}"
                continue
                ;;
            --user) MODE=user ;;
            --dry-run) DRY_RUN=1 ;;
            --yes) YES=1 ;;
            --help | -h) usage; exit 0 ;;
            manager | worker)
                [ -z "$COMPONENT" ] || refuse_usage "one at a time: manager or worker"
                COMPONENT=$1
                ;;
            *) refuse_usage "'$1' is not known" ;;
        esac
        shift
    done
    [ -n "$COMPONENT" ] || refuse_usage "what is to be installed: manager or worker?"
    KEY=$COMPONENT
    if [ -n "$INSTANCE" ]; then
        [ "$COMPONENT" = worker ] || refuse_usage "--instance is for workers: a machine has one manager"
        is_instance_name "$INSTANCE" || refuse_usage "--instance wants a-z, 0-9 and -, beginning with a letter or digit, at most 32: '$INSTANCE'"
        [ "$MODE" = system ] || refuse_usage "--instance and --user don't go together: a user has one worker (raise its slots)"
        KEY=worker@$INSTANCE
    fi
    if [ -n "$SLOTS" ]; then
        [ "$COMPONENT" = worker ] || refuse_usage "--slots is for workers"
        [[ $SLOTS =~ ^[1-9][0-9]{0,4}$ ]] && [ "$SLOTS" -le 65536 ] || refuse_usage "--slots wants a number from 1 to 65536: '$SLOTS'"
    fi
    [ -z "$TOKEN_FILE" ] || [ "$COMPONENT" = worker ] || refuse_usage "--join is for workers"
}

# cleanup is called by `finish`, however it ends.
cleanup() {
    [ -z "$SCRATCH" ] || rm -rf -- "$SCRATCH"
}

prepare() {
    take_test_root
    set_places "${PREFIX_WANTED%/}"
    check_caller
    check_package "$COMPONENT"
    check_prefix
    check_token_file "$TOKEN_FILE"
    take_lock
    recover
    SCRATCH=$(mktemp -d)
    find_source "$COMPONENT"
    check_program "${FILE_SOURCE[bin/task-messenger]}"
    check_program "${FILE_SOURCE[bin/task-messenger-$COMPONENT]}"
    load_manifests
    mapfile -t KEYS < <(installed_of "$COMPONENT")
    if ! is_installed "$KEY"; then
        IS_NEW=1
        KEYS+=("$KEY")
    fi
}

# Makes from a file of the archive what is installed of it: paths in units follow the prefix.
adapted() {
    ADAPTED=${FILE_SOURCE[$1]}
    if [[ $1 == share/systemd/* && $PREFIX != "$DEFAULT_PREFIX" && $SOURCE_KIND != installed ]]; then
        ADAPTED=$SCRATCH/adapted_${1//\//_}
        sed "s|$DEFAULT_PREFIX|$PREFIX|g" "${FILE_SOURCE[$1]}" >"$ADAPTED"
    fi
}

# A unit is installed for its service alone; what else there is, for all.
is_wanted() {
    local key
    [ "$MODE" = system ] && [ "$1" = share/systemd/task-messenger-worker.service ] || return 0
    for key in "${KEYS[@]}"; do
        [ "$key" != worker ] || return 0
    done
    return 1
}

refuse_all_foreign() {
    local path
    for path in "${FILES[@]}"; do
        place_of_copy "$path"
        if [ -n "$PLACE" ] && is_wanted "$path"; then
            adapted "$path"
            cmp -s -- "$ADAPTED" "$ROOT$PLACE" || refuse_foreign "$PLACE"
        fi
        place_of_link "$path"
        [ -z "$PLACE" ] || refuse_foreign "$PLACE"
    done
}

# What the system reads comes early: it is compared with what the old version would have put there.
install_files() {
    local path place
    # Before anything else the link by which the next run finds the prefix, should this one be killed.
    put_link "$PREFIX/scripts/service_control.sh" "$COMMANDS/task-messenger-service"
    for path in "${FILES[@]}"; do
        place_of_copy "$path"
        [ -n "$PLACE" ] && is_wanted "$path" || continue
        place=$PLACE
        adapted "$path"
        place_below_prefix "$path" "$COMPONENT"
        if was_edited "$place" "$ROOT$PLACE"; then
            keep_edited "$place" "$ROOT$PLACE" || continue
        fi
        put_file "$ADAPTED" "$place" 0644 "$(root_or_user)"
    done
    for path in "${FILES[@]}"; do
        adapted "$path"
        place_below_prefix "$path" "$COMPONENT"
        put_file "$ADAPTED" "$PLACE" "${FILE_MODE[$path]}" "$(root_or_user)"
    done
    for path in "${FILES[@]}"; do
        place_below_prefix "$path" "$COMPONENT"
        place=$PLACE
        place_of_link "$path"
        [ -z "$PLACE" ] || put_link "$place" "$PLACE"
    done
}

# was_edited PLACE MIRROR: whether somebody has changed what an installation put there.
was_edited() {
    [ -f "$ROOT$1" ] && [ -f "$2" ] && [ -n "${OWNED_BEFORE[$1]:-}" ] && ! cmp -s -- "$ROOT$1" "$2"
}

# Leaves it while the version stays the same; else keeps it beside the new one, under a name that nothing reads.
keep_edited() {
    own "$1"
    if cmp -s -- "$2" "$ADAPTED"; then
        warn "$1 was edited, and stays so; the next version will replace it (\`systemctl edit\` makes changes that last)"
        return 1
    fi
    cmp -s -- "$ROOT$1" "$ADAPTED" && return 1
    warn "$1 was edited: what it was is kept as ${1##*/}.bak"
    put_file "$ROOT$1" "$1.bak" 0644 "$(root_or_user)"
    unset 'OWNED[$1.bak]'
}

install_surroundings() {
    local account key
    if [ "$MODE" = system ]; then
        account=$(account_of "$KEY")
        make_account "$account" "/usr/local/lib/sysusers.d/task-messenger-$COMPONENT.conf"
        put_directory "$CONFIGURATION" 0755 root:root
        put_directory "$STATE" 0755 root:root
        put_directory "$LOGS" 0755 root:root
        put_directory "$(state_of "$KEY")" 0700 "$account:$account"
        put_directory "$(logs_of "$KEY")" 0750 "$account:$account"
        if [ -n "${CHANGED[/usr/local/lib/tmpfiles.d/task-messenger.conf]:-}" ] && [ "$DRY_RUN" = 0 ]; then
            # Another component's account may be named there that this machine doesn't have.
            systemd-tmpfiles --create "$ROOT/usr/local/lib/tmpfiles.d/task-messenger.conf" || true
        fi
    else
        put_directory "$CONFIGURATION" 0700 "$(root_or_user)"
        put_directory "$(state_of "$KEY")" 0700 "$(root_or_user)"
    fi
    for key in "${KEYS[@]}"; do
        if [ "$key" = "$KEY" ]; then
            put_configuration "$key" "$SLOTS" "$CHECKER"
        else
            put_configuration "$key" "" "$CHECKER"
        fi
    done
    remember_defaults "${KEYS[@]}"
    for key in "${KEYS[@]}"; do
        write_manifest "$key" "$SCRATCH/manifest"
    done
}

activate() {
    local path units=0
    for path in "${!CHANGED[@]}"; do
        [[ $path != "$UNITS"/* ]] || units=1
    done
    if [ "$units" = 1 ]; then
        step "have systemd read its units again"
        if [ "$DRY_RUN" = 0 ]; then
            note units
            must ctl daemon-reload
        fi
    fi
    if [ "$IS_NEW" = 1 ]; then
        if grep -q '^\[Install\]' "$ROOT$UNITS/task-messenger.target" 2>/dev/null; then
            enable_unit task-messenger.target
        fi
        enable_unit "$(unit_of "$KEY")"
        [ "$MODE" = system ] || linger
    fi
}

# Without lingering a user's services end with the last login, and don't come back at boot.
linger() {
    local user
    user=$(id -un)
    if [ "$(loginctl show-user "$user" --property Linger --value 2>/dev/null)" = yes ]; then
        return
    fi
    step "have your services run without a login (loginctl enable-linger)"
    [ "$DRY_RUN" = 0 ] || return 0
    if loginctl --no-ask-password enable-linger 2>/dev/null; then
        # So that a removal takes back what was done here, and no more.
        note linger
        save "$PREFIX/.lingering"
        : >"$ROOT$PREFIX/.lingering"
        return
    fi
    warn "that is not allowed here. Until it is done, the service runs only while you are logged in: sudo loginctl enable-linger $user"
}

join() {
    local credential output
    [ -n "$TOKEN_FILE" ] || return 0
    credential=$(credential_of "$KEY")
    if [ -s "$ROOT$credential" ]; then
        warn "$KEY has joined already ($credential): --join changes nothing"
        return
    fi
    step "join with the token in $TOKEN_FILE"
    [ "$DRY_RUN" = 0 ] || return 0
    # What joining leaves behind when it fails.
    [ -n "$(ls -A -- "$ROOT$(state_of "$KEY")")" ] || note clear "$(state_of "$KEY")"
    save "$credential"
    output=$(run_program "$ROOT$PREFIX/bin/task-messenger-worker" --config "$ROOT$(configuration_of "$KEY")" \
        join "@$(realpath -- "$TOKEN_FILE")" 2>&1) || die "it could not join: $output"
    say "$output"
}

# How to go on, in the words that this installation understands.
farewell() {
    local unit sudo="sudo " option="" log="journalctl -u" which=${INSTANCE:+ --instance $INSTANCE}
    unit=$(unit_of "$KEY")
    if [ "$MODE" = user ]; then
        sudo="" option=" --user" log="journalctl --user-unit"
        if [ "${XDG_CONFIG_HOME:-$HOME/.config}" != "$HOME/.config" ]; then
            # The service has no variables of a login, so it is the same wherever that leads.
            which=" --config $(configuration_of "$KEY")"
            warn "XDG_CONFIG_HOME is $XDG_CONFIG_HOME, which the service doesn't follow: give task-messenger-$COMPONENT$which"
        fi
    fi
    if [ "$STEPS" = 0 ]; then
        say "$unit $(version_of "$CHECKER") is installed already; nothing was changed."
    elif [ "$DRY_RUN" = 1 ]; then
        say "Nothing was changed (--dry-run)."
        return
    elif [ "$IS_NEW" = 1 ]; then
        say "$unit $(version_of "$CHECKER") is installed. It was not started."
    else
        say "$unit $(version_of "$CHECKER") is installed."
    fi
    say "
  configuration   $(configuration_of "$KEY")"
    if [ "$COMPONENT" = worker ] && [ ! -s "$ROOT$(credential_of "$KEY")" ]; then
        say "  join            ${sudo}$COMMANDS/task-messenger-worker join$which @TOKEN-FILE
                  (a token: \`sudo task-messenger-manager token create --role worker\` on the manager's machine)"
    fi
    say "  start           ${sudo}systemctl$option start ${unit%.service}
  look at it      task-messenger-service$option status $KEY
  its log         $log ${unit%.service} -f
  reload, stop    ${sudo}systemctl$option reload ${unit%.service}, ${sudo}systemctl$option stop ${unit%.service}
  remove          ${sudo}$PREFIX/scripts/uninstall_service_linux.sh $COMPONENT${INSTANCE:+ --instance $INSTANCE}$option"
    case :$PATH: in
        *":$COMMANDS:"*) ;;
        *) say "  ($COMMANDS is not on your PATH)" ;;
    esac
}

main() {
    parse "$@"
    prepare
    refuse_all_foreign
    check_shared
    check_upgrade
    install_files
    install_surroundings
    activate
    restart_what_ran
    join
    commit
    farewell
}

main "$@"
