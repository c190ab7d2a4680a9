# shellcheck shell=bash
# systemd and accounts.

ctl() {
    if [ "$MODE" = user ]; then
        systemctl --user "$@"
    else
        systemctl "$@"
    fi
}

# property UNIT NAME
property() {
    ctl show --property "$2" --value -- "$1"
}

# Whether somebody wants it to run now: it does, or it is on its way.
runs() {
    case $(property "$1" ActiveState) in
        active | reloading | refreshing | activating) return 0 ;;
    esac
    return 1
}

# What is masked can't be started, by anybody.
is_masked() {
    [[ $(ctl is-enabled "$1" 2>/dev/null) == masked* ]]
}

# Starts a unit and waits until it is READY, and still is a second later: a start that ends at once is none.
start_and_wait() {
    local unit=$1 deadline since="" pid="" now
    deadline=$((SECONDS + $(ready_seconds)))
    ctl reset-failed "$unit" 2>/dev/null
    ctl start --no-block "$unit" || return 1
    while [ "$SECONDS" -le "$deadline" ]; do
        case $(property "$unit" ActiveState) in
            active)
                now=$(property "$unit" MainPID)
                if [ "$now" != "$pid" ]; then
                    pid=$now since=$SECONDS
                elif [ "$SECONDS" -gt "$since" ]; then
                    return 0
                fi
                ;;
            failed) return 1 ;;
            # Not even begun, and nothing is about to.
            inactive) [[ $(property "$unit" Job) =~ ^0?$ ]] && return 1 ;;
        esac
        sleep 0.2
    done
    return 1
}

# The newest lines of a unit's log.
last_lines() {
    local unit=$1 option=--unit
    [ "$MODE" = system ] || option=--user-unit
    journalctl --quiet --no-pager --output short-iso --lines 15 "$option" "$unit" 2>/dev/null || true
}

has_account() {
    getent passwd "$1" >/dev/null && getent group "$1" >/dev/null
}

# make_account NAME SYSUSERS-FILE
make_account() {
    ! has_account "$1" || return 0
    step "create the user and group $1"
    [ "$DRY_RUN" = 0 ] || return 0
    getent passwd "$1" >/dev/null || getent group "$1" >/dev/null || note account "$1"
    if command -v systemd-sysusers >/dev/null; then
        must systemd-sysusers "$ROOT$2"
    else
        getent group "$1" >/dev/null || must groupadd --system "$1"
        must useradd --system --gid "$1" --no-create-home --home-dir / --shell /usr/sbin/nologin "$1"
    fi
}

remove_account() {
    local status=0
    if getent passwd "$1" >/dev/null; then
        userdel "$1" || status=1
    fi
    # userdel takes the group of the same name along, unless somebody else is in it.
    if getent group "$1" >/dev/null; then
        groupdel "$1" || status=1
    fi
    return "$status"
}

# Enables a unit that is installed for the first time; what an administrator chose later stays.
enable_unit() {
    case $(ctl is-enabled "$1" 2>/dev/null) in
        enabled | static | indirect | generated | alias) return 0 ;;
        masked*) warn "$1 is masked, and stays so"; return 0 ;;
    esac
    step "enable $1"
    [ "$DRY_RUN" = 0 ] || return 0
    note enabled "$1"
    must ctl enable --quiet "$1"
}
