# shellcheck shell=bash
# shellcheck disable=SC2034 # these variables are for whoever sources this
# What all scripts share: messages, names, and the root below which everything lies.

PROGRAM=${0##*/}
MODE=system     # or user: a service of one user's own, without root
DRY_RUN=0
YES=0
ROOT=""         # stands before every path; empty but in tests
OTHERS_PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

USAGE_ERROR=64  # the command line makes no sense

say() {
    printf '%s\n' "$*"
}

warn() {
    printf '%s: %s\n' "$PROGRAM" "$*" >&2
}

die() {
    warn "$@"
    exit 1
}

refuse_usage() {
    warn "$@"
    warn "\`$PROGRAM --help\` shows how it is used"
    exit "$USAGE_ERROR"
}

# A step that changes something: shown before it is done, or instead of it.
STEPS=0
step() {
    STEPS=$((STEPS + 1))
    if [ "$DRY_RUN" = 1 ]; then
        say "would $*"
    else
        say "$*"
    fi
}

# Runs something whose failure must end everything, also where `set -e` doesn't see it (behind `||`, in an `if`).
must() {
    "$@" || die "this failed: $*"
}

# Asks before something that can't be taken back. With nobody there to ask, only --yes is a yes.
confirm() {
    [ "$YES" = 0 ] && [ "$DRY_RUN" = 0 ] || return 0
    if ! { [ -t 0 ] && [ -t 2 ]; }; then
        die "$1 Nobody can be asked here: give --yes if that is wanted."
    fi
    local answer
    printf '%s Go on? Type "yes": ' "$1" >&2
    read -r answer || answer=""
    [ "$answer" = yes ] || die "nothing was changed"
}

is_root() {
    [ "$(id -u)" = 0 ]
}

# A name goes into file names and unit names, where systemd gives other characters a meaning.
is_instance_name() {
    [[ $1 =~ ^[a-z0-9][a-z0-9-]{0,31}$ ]]
}

# A path that may stand in a unit file, a journal and a manifest as it is.
is_plain_path() {
    [[ $1 =~ ^/[A-Za-z0-9._/@+-]+$ && $1 != *//* && $1 != */ && ! $1/ =~ /\.\.?/ ]]
}

# How many seconds something may take; tests, and only they, may ask for fewer.
ready_seconds() {
    if [ -n "$ROOT" ]; then
        printf '%s' "${TASKMESSENGER_TEST_READY_SECONDS:-60}"
    else
        printf 60
    fi
}

# What acts on the whole machine, and so must be a stand-in when only a directory is meant.
ACTS_ON_THE_MACHINE=(systemctl systemd-sysusers systemd-tmpfiles loginctl journalctl useradd userdel groupadd groupdel
    restorecon dpkg-query getent findmnt)

# Tests have everything happen below a directory of theirs, which TASKMESSENGER_TEST_ROOT names. That must not be a way to
# have half of it happen to the machine, so the directory has to say that it is one, and nothing that acts on the machine
# may be found elsewhere.
take_test_root() {
    PATH=$PATH:/usr/sbin:/sbin
    [ -n "${TASKMESSENGER_TEST_ROOT:-}" ] || return 0
    local root=$TASKMESSENGER_TEST_ROOT tool path
    [ "$root" = "$(realpath -e -- "$root" 2>/dev/null)" ] && is_plain_path "$root" && [ -O "$root" ] &&
        [ -f "$root/.task-messenger-test-root" ] || die "TASKMESSENGER_TEST_ROOT names no directory for tests: $root"
    for tool in "${ACTS_ON_THE_MACHINE[@]}"; do
        path=$(command -v "$tool") || continue
        [[ $path == "$root"/* ]] || die "in a test, $tool would act on this machine: $path"
    done
    ROOT=$root
    OTHERS_PATH=$PATH
}

# Runs one of our programs with nothing of the caller's environment, which the service won't see either: a
# TASK_MESSENGER_ variable there would change what it reads.
run_program() {
    env -i PATH="$OTHERS_PATH" HOME="${HOME:-/}" LANG=C.UTF-8 "$@"
}

# Whether to write in colour on standard output.
wants_colour() {
    [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]
}
