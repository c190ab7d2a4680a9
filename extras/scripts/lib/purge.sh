# shellcheck shell=bash
# What stays when programs are removed, and its removal.

declare -A EMPTIED=()       # directories that could not be removed, and in which nothing is left

# What is kept for a service, a path a line.
kept_of() {
    local key=$1 path
    for path in "$(configuration_of "$key")" "$(configuration_of "$key").new" "$(credential_of "$key")" "$(state_of "$key")" \
        "$(logs_of "$key")" "$UNITS/$(unit_of "$key").d"; do
        if { [ -e "$ROOT$path" ] || [ -L "$ROOT$path" ]; } && [ -z "${EMPTIED[$path]:-}" ]; then
            say "$path"
        fi
    done
    path=$UNITS/$(unit_of "$key")
    # A mask is an administrator's, as a drop-in is.
    [ "$(readlink -- "$ROOT$path")" != /dev/null ] || say "$path"
}

# Every service of which something is kept or installed, by what lies around.
all_keys() {
    local path name
    for path in "$ROOT$CONFIGURATION"/config-*.json "$ROOT$CONFIGURATION"/*.credential "$ROOT$STATE"/* "$ROOT$LOGS"/* \
        "$ROOT$MANIFESTS"/*; do
        [ -e "$path" ] && [ -z "${EMPTIED[${path#"$ROOT"}]:-}" ] || continue
        name=${path##*/}
        name=${name#config-}
        name=${name%.json}
        name=${name%.credential}
        case $name in
            manager | worker | worker@*) say "$name" ;;
            worker-*) say "worker@${name#worker-}" ;;
        esac
    done | LC_ALL=C sort -u
}

delete_tree() {
    local said
    { [ -e "$ROOT$1" ] || [ -L "$ROOT$1" ]; } || return 0
    step "remove $1"
    [ "$DRY_RUN" = 0 ] || return 0
    said=$(rm -rf --one-file-system -- "$ROOT${1:?}" 2>&1) && return
    # A directory on which a disk is mounted can't go; it is enough that nothing is in it.
    [ -z "$(find "$ROOT$1" ! -type d -print -quit)" ] || die "not all of $1 could be removed: $said"
    EMPTIED[$1]=1
    # Its user may go, and somebody else may get the same number.
    set_owner "$ROOT$1" root:root
    warn "$1 stays, empty, because something is mounted there: umount and rmdir it ($said)"
}

purge() {
    local key path account keys=() left
    case $WHAT in
        all) mapfile -t keys < <(all_keys) ;;
        *) keys=("${KEYS[@]}") ;;
    esac
    for key in "${keys[@]}"; do
        tell_of_state_elsewhere "$key"
        while IFS= read -r path; do
            delete_tree "$path"
        done < <(kept_of "$key")
        delete_tree "$RUNTIME/$(name_of "$key")"
        for path in "$ROOT$UNITS"/*.wants/"$(unit_of "$key")"; do
            delete_tree "${path#"$ROOT"}"
        done
        [ "$DRY_RUN" = 1 ] || forget_default "$key"
    done
    mapfile -t left < <(all_keys)
    purge_backups
    purge_shared
    [ "$MODE" = system ] || return 0
    for account in task-messenger task-messenger-worker; do
        if ! still_used "$account" "${left[@]}" && getent passwd "$account" >/dev/null && is_purged "$account"; then
            step "remove the user and group $account"
            [ "$DRY_RUN" = 1 ] || remove_account "$account" || die "the user $account could not be removed"
        fi
    done
}

# What upgrades put aside of edited files that an earlier removal took: of the component, and what all share with the last.
purge_backups() {
    local directory path name places=("$UNITS")
    [ "$MODE" = user ] ||
        places+=(/etc/logrotate.d /etc/needrestart/conf.d /usr/local/lib/sysusers.d /usr/local/lib/tmpfiles.d)
    for directory in "${places[@]}"; do
        for path in "$ROOT$directory"/task-messenger*.bak; do
            name=${path##*/} path=${path#"$ROOT"}
            [ -z "${OWNED_BEFORE[${path%.bak}]:-}" ] || continue
            if [[ $WHAT == all || $name == "task-messenger-$WHAT"[.@]* || $name == task-messenger.* && ${#left[@]} == 0 ]]; then
                delete_tree "$path"
            fi
        done
    done
}

# The state of a service may lie where its configuration says. We don't remove what we didn't make.
tell_of_state_elsewhere() {
    local file state
    file=$(configuration_of "$1")
    [ -r "$ROOT$file" ] || return 0
    state=$(sed -nE 's/^[[:space:]]*"state_directory"[[:space:]]*:[[:space:]]*"([^"]*)".*/\1/p' "$ROOT$file" | head -n 1)
    if [ -n "$state" ] && [ "$state" != "$(state_of "$1")" ] && [ -e "$ROOT$state" ]; then
        warn "$file names another state directory, which is left as it is: $state"
    fi
}

# Whether a purge of this account was asked for.
is_purged() {
    case $WHAT in
        all) return 0 ;;
        *) [ "$(account_of "$WHAT")" = "$1" ] ;;
    esac
}

# still_used ACCOUNT KEY...
still_used() {
    local account=$1 key
    shift
    for key in "$@"; do
        [ "$(account_of "$key")" != "$account" ] || return 0
    done
    return 1
}

# Directories for all, once nothing is in them; with `all`, whatever is in them: they are ours.
purge_shared() {
    local path
    for path in "$CONFIGURATION" "$STATE" "$LOGS" "$RUNTIME"; do
        if [ "$WHAT" = all ]; then
            delete_tree "$path"
        elif [ "$DRY_RUN" = 0 ]; then
            rmdir -- "$ROOT$path" 2>/dev/null || true
        fi
    done
    [ "$WHAT" = all ] || return 0
    for path in "$ROOT$UNITS"/task-messenger*.d "$ROOT$UNITS"/*.wants/task-messenger* \
        "$ROOT$UNITS"/task-messenger.target.wants; do
        delete_tree "${path#"$ROOT"}"
    done
    if [ "$MODE" = system ]; then
        for path in "$ROOT"/var/lib/systemd/coredump/core.task-messenger*; do
            delete_tree "${path#"$ROOT"}"
        done
    fi
    if [ "$DRY_RUN" = 0 ]; then
        ctl daemon-reload || true
    fi
}

# What the removal left, so that nobody has to look for it.
show_kept() {
    local key lines=()
    [ "$DRY_RUN" = 0 ] || return 0
    while IFS= read -r key; do
        if is_installed "$key"; then
            continue
        fi
        if [ "$WHAT" = all ] || [[ " ${KEYS[*]} " == *" $key "* ]]; then
            mapfile -t -O "${#lines[@]}" lines < <(kept_of "$key")
        fi
    done < <(all_keys)
    [ "${#lines[@]}" -gt 0 ] || return 0
    say "Kept (--purge removes it too):"
    printf '  %s\n' "${lines[@]}"
    [ "$MODE" = user ] || [ "$PURGE" = 1 ] || say "  the users that it belongs to"
}
