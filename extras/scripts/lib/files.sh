# shellcheck shell=bash
# Files, links and directories as they should be. Each function compares before it writes, so that nothing is changed that
# is already so, and writes by renaming, so that at every moment there is the old or the new.

declare -A CHANGED=()               # what this run changed
declare -A OWNED=()                 # what it found or made that belongs to what is being installed; directories end in /
declare -A CREATED_DIRECTORIES=()

# In a test's own root there are no accounts to give files to.
owner_differs() {
    [ -z "$ROOT" ] && [ "$(stat -c %U:%G -- "$1")" != "$2" ]
}

set_owner() {
    [ -n "$ROOT" ] || [ "$MODE" = user ] || must chown -h -- "$2" "$1"
}

relabel() {
    # A file that was renamed into its place keeps the SELinux label of where it was made.
    if command -v restorecon >/dev/null && { [ -n "$ROOT" ] || [ -d /sys/fs/selinux/class ]; }; then
        restorecon "$ROOT$1" || warn "restorecon failed for $1"
    fi
}

# put_file SOURCE PATH MODE OWNER: SOURCE is a path of this machine, PATH one of the installation.
put_file() {
    local source=$1 path=$2 mode=$3 owner=$4 verb=write temporary
    own "$path"
    if [ -f "$ROOT$path" ] && [ ! -L "$ROOT$path" ]; then
        if cmp -s -- "$source" "$ROOT$path" && [ "$(stat -c %a -- "$ROOT$path")" = "$(printf %o "0$mode")" ] &&
            ! owner_differs "$ROOT$path" "$owner"; then
            return
        fi
        verb=replace
    fi
    CHANGED[$path]=1
    step "$verb $path"
    [ "$DRY_RUN" = 0 ] || return 0
    put_parents "$path"
    temporary=${path%/*}/.task-messenger-new.$$
    note remove "$temporary"
    must install -m "$mode" -- "$source" "$ROOT$temporary"
    set_owner "$ROOT$temporary" "$owner"
    save "$path" "$ROOT$temporary"
    must mv -fT -- "$ROOT$temporary" "$ROOT$path"
    relabel "$path"
}

# put_link TARGET PATH
put_link() {
    local target=$1 path=$2 temporary
    own "$path"
    [ "$(readlink -- "$ROOT$path")" != "$target" ] || return 0
    CHANGED[$path]=1
    step "link $path to $target"
    [ "$DRY_RUN" = 0 ] || return 0
    put_parents "$path"
    temporary=${path%/*}/.task-messenger-new.$$
    note remove "$temporary"
    must ln -sT -- "$target" "$ROOT$temporary"
    save "$path"
    must mv -fT -- "$ROOT$temporary" "$ROOT$path"
    relabel "$path"
}

# put_directory PATH MODE OWNER: one that isn't removed with the programs, such as the configuration's. One that is there
# already stays as it is.
put_directory() {
    local path=$1 mode=$2 owner=$3
    [ ! -d "$ROOT$path" ] || return 0
    step "make the directory $path"
    [ "$DRY_RUN" = 0 ] || return 0
    [ -d "$ROOT${path%/*}" ] || put_directory "${path%/*}" 0755 "$(root_or_user)"
    note rmdir "$path"
    must mkdir -m "$mode" -- "$ROOT$path"
    set_owner "$ROOT$path" "$owner"
    relabel "$path"
}

root_or_user() {
    if [ "$MODE" = user ]; then
        printf '%s:%s' "$(id -un)" "$(id -gn)"
    else
        printf root:root
    fi
}

put_parents() {
    local directory=${1%/*}
    # Which may make some of them: a user's prefix and commands have one above them.
    begin
    [ -n "$directory" ] && [ ! -d "$ROOT$directory" ] || return 0
    put_parents "$directory"
    note rmdir "$directory"
    must mkdir -m 0755 -- "$ROOT$directory"
    set_owner "$ROOT$directory" "$(root_or_user)"
    relabel "$directory"
    CREATED_DIRECTORIES[$directory]=1
}

# Says that a path belongs to what is being installed. Whether its directories do is seen at the end.
own() {
    OWNED[$1]=1
}

# What stands where one of ours should be, though no installation of ours put it there, is somebody's; we don't touch it.
refuse_foreign() {
    local path=$1
    [[ $(readlink -- "$ROOT$path") != "$PREFIX"/* ]] || return 0
    { [ -e "$ROOT$path" ] || [ -L "$ROOT$path" ]; } && [ -z "${OWNED_BEFORE[$path]:-}" ] || return 0
    die "$path is there already, and not from an installation of this kind: move it away first"
}

# Removes what an installation no longer has, so that it can be undone.
drop_file() {
    local path=$1
    [ -e "$ROOT$path" ] || [ -L "$ROOT$path" ] || return 0
    CHANGED[$path]=1
    step "remove $path"
    [ "$DRY_RUN" = 0 ] || return 0
    save "$path"
    must rm -f -- "$ROOT$path"
}
