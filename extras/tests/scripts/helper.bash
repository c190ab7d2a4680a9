# shellcheck shell=bash
# shellcheck disable=SC2154 # status and output are bats'
# A root of its own for each test, with an unpacked archive beside it and stand-ins for all that acts on the machine.

bats_require_minimum_version 1.5.0

REPOSITORY=$(cd "$BATS_TEST_DIRNAME/../../.." && pwd)

# build_archives VERSION...: of both components, once for a file; tests take copies.
build_archives() {
    local version component
    for version in "$@"; do
        cc -O1 "-DVERSION=\"$version\"" -o "$BATS_FILE_TMPDIR/program-$version" "$BATS_TEST_DIRNAME/stand_in.c"
        for component in manager worker; do
            pack "$component" "$version" "$BATS_FILE_TMPDIR/task-messenger-$component-v$version"
        done
    done
}

# make_root [DIRECTORY]
make_root() {
    local tool
    ROOT=$(realpath "${1:-$BATS_TEST_TMPDIR}")/root
    mkdir -p "$ROOT"/{control,run/systemd/system,etc/systemd/system,usr/local/bin,opt,var/lib,var/log,home/tester,run/user/1000}
    chmod 755 "$ROOT" "$ROOT/opt"
    : >"$ROOT/.task-messenger-test-root"
    : >"$ROOT/control/calls"
    cp -r "$BATS_TEST_DIRNAME/stubs" "$ROOT/stubs"
    # A program and no script: the installer calls it for each file.
    cp /bin/true "$ROOT/stubs/nothing"
    for tool in systemd-tmpfiles useradd groupadd groupdel restorecon; do
        ln -s nothing "$ROOT/stubs/$tool"
    done
    use_root
}

# copy_root ROOT: one of the test's own in which everything is as in that.
copy_root() {
    ROOT=$(realpath "$BATS_TEST_TMPDIR")/root
    cp -a "$1" "$ROOT"
    use_root
}

use_root() {
    # As for an administrator, whose own variables must not get to the programs.
    export TASKMESSENGER_TEST_ROOT=$ROOT TASKMESSENGER_TEST_READY_SECONDS=4 HOME=/home/tester TERM=dumb
    export PATH=$ROOT/stubs:/usr/bin:/bin
    unset XDG_RUNTIME_DIR
}

# make_archive COMPONENT VERSION: sets ARCHIVE to what the archive unpacks to.
make_archive() {
    ARCHIVE=$(realpath "$BATS_TEST_TMPDIR")/task-messenger-$1-v$2
    cp -aT "$BATS_FILE_TMPDIR/${ARCHIVE##*/}" "$ARCHIVE"
}

# pack COMPONENT VERSION DIRECTORY
pack() {
    local component=$1 version=$2 directory=$3 owner kind mode source path
    while read -r owner _ kind mode source path _; do
        [[ ($owner = "$component" || $owner = both) && $path != - ]] || continue
        case $kind in
            program) install -D -m "$mode" "$BATS_FILE_TMPDIR/program-$version" "$directory/$path" ;;
            generated | printed) install -D -m "$mode" <(echo "of ${source%%:*}") "$directory/$path" ;;
            *)
                mkdir -p "$directory/${path%/*}"
                # With a * in it the place is a directory.
                # shellcheck disable=SC2086
                install -m "$mode" "$REPOSITORY"/$source "$directory/$path"
                ;;
        esac
    done < <(grep -v '^#' "$REPOSITORY/extras/distribution/contents" | grep .)
    seal "$directory"
}

# Writes CONTENTS.
seal() (
    cd "$1" || exit
    modes=$(find . -type f ! -name CONTENTS -printf '%P 0%m\n' | LC_ALL=C sort)
    cut -d ' ' -f 1 <<<"$modes" | xargs sha256sum | paste -d ' ' - <(echo "$modes") | awk '{ print $1 "  " $4 "  " $2 }' >CONTENTS
)

# What is installed, but for what belongs to the test and for the place of the lock: also times, which show that something was written anew.
picture() {
    (cd "$ROOT" && find . \( -path ./control -o -path ./stubs -o -path ./run \) -prune -o -printf '%p %y %m %l %T@\n' | LC_ALL=C sort)
}

# The same without times, and with what is in the files.
content() {
    (cd "$ROOT" && find . \( -path ./control -o -path ./stubs \) -prune -o -printf '%p %y %m %l\n' | LC_ALL=C sort
    find . \( -path ./control -o -path ./stubs \) -prune -o -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

calls() {
    cat "$ROOT/control/calls"
}

forget_calls() {
    : >"$ROOT/control/calls"
}

is_active() {
    [ "$(cat "$ROOT/control/units/$1.ActiveState")" = active ]
}

# runs_version UNIT VERSION: it is active, and of that version. A start of what is active would leave the one that was.
runs_version() {
    is_active "$1" && [ "$(cat "$ROOT/control/units/$1.version")" = "$2" ]
}

install_manager() {
    make_archive manager "${1:-0.1.0}"
    "$ARCHIVE/scripts/install_service_linux.sh" manager
}

install_worker() {
    make_archive worker 0.1.0
    "$ARCHIVE/scripts/install_service_linux.sh" worker "$@"
}

# refused TEXT COMMAND...: it fails with this in what it says, and leaves everything as it was.
refused() {
    local text=$1 before
    shift
    before=$(picture)
    run "$@"
    echo "$output"
    [ "$status" = 1 ] && [[ $output == *"$text"* ]] && [ "$before" = "$(picture)" ]
}

# misused TEXT COMMAND...: the same, for a command line that makes no sense.
misused() {
    local text=$1
    shift
    run "$@"
    echo "$output"
    [ "$status" = 64 ] && [[ $output == *"$text"* ]]
}

# wait_until COMMAND...
wait_until() {
    local deadline=$((SECONDS + 20))
    until "$@"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        read -rt 0.05 <> <(:) || true
    done
}
