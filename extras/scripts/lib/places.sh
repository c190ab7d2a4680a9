# shellcheck shell=bash
# shellcheck disable=SC2034 # these variables are for whoever sources this
# Where everything lies on an installed machine: the one map from the archive's files to their places.
#
# A service is named by its key: `manager`, `worker`, or `worker@NAME` for another worker of the same machine.

DEFAULT_PREFIX=/opt/task-messenger

# Sets all places, for MODE. Takes a prefix, or finds the one that is in use.
set_places() {
    if [ "$MODE" = user ]; then
        set_places_of_user "$1"
        return
    fi
    UNITS=/etc/systemd/system
    COMMANDS=/usr/local/bin
    SHARED=/usr/local/share
    CONFIGURATION=/etc/task-messenger
    CREDENTIALS=/etc/task-messenger
    STATE=/var/lib/task-messenger
    LOGS=/var/log/task-messenger
    RUNTIME=/run/task-messenger
    LOCK=/run/task-messenger-install.lock
    INSTALLED_PREFIX=$(installed_prefix)
    PREFIX=${1:-${INSTALLED_PREFIX:-$DEFAULT_PREFIX}}
    MANIFESTS=$PREFIX/manifests
}

set_places_of_user() {
    local home=${HOME:-}
    is_plain_path "$home" || die "the home directory has a path that can't stand in a unit file: '$home'"
    UNITS=$home/.config/systemd/user
    COMMANDS=$home/.local/bin
    SHARED=$home/.local/share
    CONFIGURATION=$home/.config/task-messenger
    CREDENTIALS=$home/.config/task-messenger
    STATE=$home/.local/state/task-messenger
    LOGS=$home/.local/state/task-messenger/log
    RUNTIME=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/task-messenger
    LOCK=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}/task-messenger-install.lock
    INSTALLED_PREFIX=$(installed_prefix)
    PREFIX=${1:-${INSTALLED_PREFIX:-$home/.local/lib/task-messenger}}
    MANIFESTS=$PREFIX/manifests
}

# The prefix of what is installed, or was going to be by a run that was killed: the control script's link leads to it. Nothing
# if there is none.
installed_prefix() {
    local target
    target=$(readlink -- "$ROOT$COMMANDS/task-messenger-service") || return 0
    target=${target%/scripts/service_control.sh}
    if [[ $target == /* ]] && { [ -d "$ROOT$target/manifests" ] || [ -d "$ROOT$target/.transaction" ]; }; then
        printf '%s' "$target"
    fi
}

component_of() {
    printf '%s' "${1%%@*}"
}

unit_of() {
    printf 'task-messenger-%s.service' "$1"
}

# `worker@gpu` keeps its things under the name `worker-gpu`.
name_of() {
    printf '%s' "${1/@/-}"
}

configuration_of() {
    printf '%s/config-%s.json' "$CONFIGURATION" "$(name_of "$1")"
}

credential_of() {
    printf '%s/%s.credential' "$CREDENTIALS" "$(name_of "$1")"
}

state_of() {
    printf '%s/%s' "$STATE" "$(name_of "$1")"
}

logs_of() {
    printf '%s/%s' "$LOGS" "$(name_of "$1")"
}

# The user and group that a component runs as. Both have the same name.
account_of() {
    if [ "$(component_of "$1")" = manager ]; then
        printf task-messenger
    else
        printf task-messenger-worker
    fi
}

# Sets PLACE to where a file of the archive lies below the prefix.
place_below_prefix() {
    case $1 in
        README.md) PLACE=$PREFIX/share/doc/README-$2.md ;;
        CONTENTS) PLACE=$PREFIX/share/contents/$2 ;;
        *) PLACE=$PREFIX/$1 ;;
    esac
}

# Sets PLACE to where the system reads a copy of a file of the archive, or to nothing.
place_of_copy() {
    local name=${1##*/}
    PLACE=""
    if [ "$MODE" = user ]; then
        case $1 in
            share/systemd/user/*) PLACE=$UNITS/$name ;;
        esac
        return
    fi
    case $1 in
        share/systemd/user/* | share/systemd/drop-ins/*) ;;
        share/systemd/sysusers.d/*) PLACE=/usr/local/lib/sysusers.d/$name ;;
        share/systemd/tmpfiles.d/*) PLACE=/usr/local/lib/tmpfiles.d/$name ;;
        share/systemd/*.service | share/systemd/*.target) PLACE=$UNITS/$name ;;
        share/logrotate/*) PLACE=/etc/logrotate.d/$name ;;
        share/needrestart/*) PLACE=/etc/needrestart/conf.d/$name ;;
    esac
}

# Sets PLACE to where a link to a file of the archive lies, or to nothing.
place_of_link() {
    local name=${1##*/}
    case $1 in
        bin/*) PLACE=$COMMANDS/$name ;;
        scripts/service_control.sh) PLACE=$COMMANDS/task-messenger-service ;;
        share/man/*) PLACE=$SHARED/${1#share/} ;;
        share/completions/bash/*) PLACE=$SHARED/bash-completion/completions/$name ;;
        share/completions/zsh/*) PLACE=$SHARED/zsh/site-functions/$name ;;
        share/completions/fish/*) PLACE=$SHARED/fish/vendor_completions.d/$name ;;
        *) PLACE="" ;;
    esac
}
