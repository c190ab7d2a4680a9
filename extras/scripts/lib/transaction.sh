# shellcheck shell=bash
# All or nothing: a lock against two at once, and a journal of how to undo each step, written before the step is taken. What
# fails or is interrupted is undone at once; after a kill or a power cut, the next run does it.
#
# The journal lies in `.transaction` below the prefix, together with the files that were replaced. A line is a verb and up
# to two arguments, with tabs between. Paths are without ROOT, which may be another one in another run.

TRANSACTION=""
LOCKED=0

# From here on, however this ends, `finish` has the last word.
take_lock() {
    trap finish EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    [ "$DRY_RUN" = 0 ] || return 0
    local path=$ROOT$LOCK descriptor
    while :; do
        # Readable by nobody else, who could lock it too then, and in a directory to which nobody else writes.
        (umask 077 && : >>"$path") && exec {descriptor}<>"$path" || die "the lock can't be opened: $path"
        # One that was killed leaves a command that it ran for a moment, which still holds it.
        flock -w 2 "$descriptor" || die "another installation or removal is running (it holds $path)"
        # Whoever held it before may have removed it.
        [ "$path" -ef "/proc/self/fd/$descriptor" ] && break
        exec {descriptor}>&-
    done
    LOCKED=1
}

# However it ends.
finish() {
    local status=$?
    trap '' HUP INT TERM
    trap - EXIT
    set +e
    if [ -n "$TRANSACTION" ]; then
        [ "$status" != 0 ] || status=1
        warn "it did not end well: undoing what was done"
        undo
    fi
    if declare -F cleanup >/dev/null; then
        cleanup
    fi
    [ "$LOCKED" = 0 ] || rm -f -- "$ROOT$LOCK"
    exit "$status"
}

# Undoes what an earlier run left half done, because it was killed.
recover() {
    [ -d "$ROOT$PREFIX/.transaction" ] || return 0
    if [ "$DRY_RUN" = 1 ]; then
        die "an earlier run was interrupted; without --dry-run, the next one first undoes what it did"
    fi
    warn "an earlier run was interrupted: undoing what it did"
    TRANSACTION=$PREFIX/.transaction
    undo
    TRANSACTION=""
}

# Called before every change; does something before the first.
begin() {
    [ -z "$TRANSACTION" ] && [ "$DRY_RUN" = 0 ] || return 0
    local directory=$PREFIX missing=() path
    while [ ! -d "$ROOT$directory" ] && [ -n "$directory" ]; do
        missing=("$directory" "${missing[@]}")
        directory=${directory%/*}
    done
    for path in "${missing[@]}"; do
        must mkdir -m 0755 -- "$ROOT$path"
        CREATED_DIRECTORIES["$path"]=1
    done
    must mkdir -m 0700 -- "$ROOT$PREFIX/.transaction"
    TRANSACTION=$PREFIX/.transaction
    for path in "${missing[@]}"; do
        note rmdir "$path"
    done
}

# Writes down how the step that follows is undone.
note() {
    [ "$DRY_RUN" = 0 ] || return 0
    begin
    local IFS=$'\t'
    printf '%s\n' "$*" >>"$ROOT$TRANSACTION/journal" || die "the journal can't be written"
}

# save PATH [FILE]: keeps what is there, for undoing. It stays where it is until something is renamed over it: FILE, which the
# disk must have by then.
SAVED=0
save() {
    local path=$1 copy
    shift
    if ! [ -e "$ROOT$path" ] && ! [ -L "$ROOT$path" ]; then
        note remove "$path"
        settle "$@"
        return
    fi
    begin
    SAVED=$((SAVED + 1))
    copy=$TRANSACTION/$SAVED
    # A second name is as good as a copy: what is replaced is replaced by renaming.
    ln -- "$ROOT$path" "$ROOT$copy" 2>/dev/null || {
        must cp -a -- "$ROOT$path" "$ROOT$copy"
        [ -L "$ROOT$copy" ] || must sync -- "$ROOT$copy"
    }
    note restore "$path" "$copy"
    settle "$@"
}

# Has the disk know how to undo what comes next: it may write that first, and the power may go between.
settle() {
    must sync -- "$@" "$ROOT$TRANSACTION/journal" "$ROOT$TRANSACTION" "$ROOT$PREFIX"
}

# From here on nothing is undone.
commit() {
    [ -n "$TRANSACTION" ] || return 0
    must rm -f -- "$ROOT$TRANSACTION/journal"
    # Never a journal without what it restores, also after a power cut.
    sync -- "$ROOT$TRANSACTION"
    rm -rf -- "$ROOT${TRANSACTION:?}"
    TRANSACTION=""
}

# Takes the steps of the journal back, the last one first. Goes on when something fails: the more is undone the better.
undo() {
    local lines=() index verb first second directories=() ran=() units=0 failed=0
    [ ! -f "$ROOT$TRANSACTION/journal" ] || mapfile -t lines <"$ROOT$TRANSACTION/journal"
    for ((index = ${#lines[@]} - 1; index >= 0; index--)); do
        IFS=$'\t' read -r verb first second <<<"${lines[index]}"
        case $verb in
            restore)
                # Missing when this was undone before.
                if [ -e "$ROOT$second" ] || [ -L "$ROOT$second" ]; then
                    mv -fT -- "$ROOT$second" "$ROOT$first" || failed=1
                fi
                ;;
            remove) rm -f -- "$ROOT$first" || failed=1 ;;
            rmdir) directories+=("$first") ;;
            clear) find "$ROOT$first" -mindepth 1 -delete || failed=1 ;;
            units) units=1 ;;
            enabled) ctl disable --quiet "$first" || failed=1 ;;
            account) remove_account "$first" || failed=1 ;;
            linger) loginctl disable-linger || failed=1 ;;
            ran) ran=("$first" "${ran[@]}") ;;
        esac
    done
    if [ "$failed" = 1 ]; then
        warn "not all of it could be undone; what was replaced lies in $ROOT$TRANSACTION"
    else
        rm -rf -- "$ROOT${TRANSACTION:?}"
    fi
    for first in "${directories[@]}"; do
        rmdir -- "$ROOT$first" 2>/dev/null || true
    done
    [ "$units" = 0 ] || ctl daemon-reload
    for first in "${ran[@]}"; do
        warn "starting $first again, as it was before"
        # The new version may run, or try to: a start would leave it at that.
        ctl stop "$first"
        start_and_wait "$first" || warn "$first is not READY: see \`journalctl -u $first\`"
    done
    TRANSACTION=""
    return "$failed"
}
