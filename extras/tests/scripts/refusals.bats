#!/usr/bin/env bats
# Everything that installer and uninstaller refuse, and that they leave all as it was when they do.

load helper

setup_file() {
    build_archives 0.1.0
}

setup() {
    make_root
    make_archive worker 0.1.0
    install=$ARCHIVE/scripts/install_service_linux.sh
    uninstall=$ARCHIVE/scripts/uninstall_service_linux.sh
}

@test "--help shows examples, and is not refused to anybody" {
    echo 1000 >"$ROOT/control/uid"
    for script in install_service_linux uninstall_service_linux service_control; do
        run "$ARCHIVE/scripts/$script.sh" --help
        [ "$status" = 0 ]
        [[ $output == *Examples:* && $output == *"Exit codes:"* ]]
    done
}

@test "installer: command lines that make no sense" {
    misused "manager or worker?" "$install"
    misused "'server' is not known" "$install" server
    misused "one at a time" "$install" manager worker
    misused "'--force' is not known" "$install" worker --force
    misused "--instance wants a value" "$install" worker --instance
    misused "--slots wants a value" "$install" worker --slots=
    misused "--instance is for workers" "$install" manager --instance a
    misused "--slots is for workers" "$install" manager --slots 3
    misused "--join is for workers" "$install" manager --join file
    misused "don't go together" "$install" worker --instance a --user
    for name in A a_b -a a.b ../a 'a b' "$(printf 'a%.0s' {1..33})"; do
        misused "--instance wants" "$install" worker --instance "$name"
    done
    for slots in 0 -1 65537 1.5 many 08; do
        misused "--slots wants a number" "$install" worker --slots "$slots"
    done
}

@test "uninstaller: command lines that make no sense" {
    misused "manager, worker or all?" "$uninstall"
    misused "one at a time" "$uninstall" manager all
    misused "'--all' is not known" "$uninstall" --all
    misused "--instance is for workers" "$uninstall" all --instance a
    misused "--instance wants" "$uninstall" worker --instance A
    misused "don't go together" "$uninstall" worker --instance a --user
}

@test "who is not root" {
    echo 1000 >"$ROOT/control/uid"
    refused "this needs root" "$install" worker
    refused "this needs root" "$uninstall" worker
}

@test "--user as root" {
    refused "--user is for an ordinary user" "$install" worker --user
}

@test "a machine without systemd" {
    rmdir "$ROOT/run/systemd/system"
    refused "not started by systemd" "$install" worker
    refused "not started by systemd" "$uninstall" worker
}

@test "a user whose systemd can't be reached" {
    echo 1000 >"$ROOT/control/uid"
    rmdir "$ROOT/run/user/1000"
    refused "your systemd can't be reached" "$install" worker --user
}

@test "another architecture" {
    echo riscv64 >"$ROOT/control/machine"
    refused "the architecture is wrong" "$install" worker
    rm "$ROOT/control/machine"
    echo '#!/bin/sh' >"$ARCHIVE/bin/task-messenger-worker"
    seal "$ARCHIVE"
    refused "is no program for Linux" "$install" worker
}

@test "a damaged archive" {
    echo >>"$ARCHIVE/share/doc/LICENSE"
    refused "the archive is damaged" "$install" worker
    rm "$ARCHIVE/share/doc/LICENSE"
    refused "share/doc/LICENSE is missing" "$install" worker
    seal "$ARCHIVE"
    echo "nonsense" >>"$ARCHIVE/CONTENTS"
    refused "the archive is damaged" "$install" worker
    # A path that leads out of it.
    seal "$ARCHIVE"
    echo "$(printf '0%.0s' {1..64})  0644  ../../etc/passwd" >>"$ARCHIVE/CONTENTS"
    refused "the archive is damaged" "$install" worker
    # Cut off in its list.
    seal "$ARCHIVE"
    sed -i '/scripts/d' "$ARCHIVE/CONTENTS"
    refused "the archive is damaged" "$install" worker
}

@test "the other component's archive, one without service files, and scripts alone" {
    refused "this is the archive of the worker" "$install" manager
    rm -r "$ARCHIVE/share/systemd"
    seal "$ARCHIVE"
    refused "built without them" "$install" worker
    rm "$ARCHIVE/CONTENTS"
    refused "nothing to install beside this script" "$install" worker
}

@test "where a package is installed" {
    echo -n installed >"$ROOT/control/package-task-messenger-worker"
    refused "the package task-messenger-worker is installed" "$install" worker
    refused "the package task-messenger-worker is installed" "$uninstall" worker
    rm "$ROOT/control/package-task-messenger-worker"
    echo -n installed >"$ROOT/control/package-task-messenger"
    refused "the package task-messenger is installed" "$install" worker
}

@test "where a package is neither installed nor removed" {
    for state in half-installed unpacked half-configured triggers-awaited triggers-pending; do
        echo -n "$state" >"$ROOT/control/package-task-messenger-worker"
        refused "the package task-messenger-worker is $state" "$install" worker
    done
    # Purged, or removed: its configuration and state are taken over.
    for state in not-installed config-files; do
        echo -n "$state" >"$ROOT/control/package-task-messenger-worker"
        "$install" worker
    done
}

@test "a prefix where programs may vanish or not be seen" {
    for prefix in /home/me/tm /root/tm /tmp/tm /var/tmp/tm /dev/shm/tm /run/tm; do
        refused "is refused" "$install" worker --prefix "$prefix"
    done
    refused "a directory of its own" "$install" worker --prefix /usr
    # shellcheck disable=SC2016 # it is to be taken as it is
    for prefix in relative '/opt/a b' /opt/../tmp /opt//x '/opt/$(x)'; do
        refused "wants an absolute path" "$install" worker --prefix "$prefix"
    done
    # Through a link.
    mkdir "$ROOT/tmp"
    ln -s ../tmp "$ROOT/opt/link"
    refused "is refused" "$install" worker --prefix /opt/link/tm
}

@test "a prefix that others can write to" {
    mkdir -p "$ROOT/opt/shared/deep"
    for mode in 775 757 1777; do
        chmod "$mode" "$ROOT/opt/shared"
        refused "others can write to /opt/shared" "$install" worker --prefix /opt/shared/deep/tm
    done
}

@test "a prefix of another owner" {
    [ "$(/usr/bin/id -u)" = 0 ] || skip "only root can give a directory away"
    mkdir "$ROOT/opt/theirs"
    chown 12345 "$ROOT/opt/theirs"
    refused "others can write to /opt/theirs" "$install" worker --prefix /opt/theirs/tm
}

@test "a prefix from which nothing can be run" {
    echo rw,noexec,nosuid >"$ROOT/control/mount-options"
    refused "mounted noexec" "$install" worker
}

@test "a token's file that can't be read" {
    refused "the token's file can't be read" "$install" worker --join /nowhere/token
    : >"$BATS_TEST_TMPDIR/empty"
    refused "or is empty" "$install" worker --join "$BATS_TEST_TMPDIR/empty"
}

@test "what somebody else put where ours should be" {
    echo "[Unit]" >"$ROOT/etc/systemd/system/task-messenger-worker.service"
    refused "task-messenger-worker.service is there already" "$install" worker
    rm "$ROOT/etc/systemd/system/task-messenger-worker.service"
    echo >"$ROOT/usr/local/bin/task-messenger"
    refused "/usr/local/bin/task-messenger is there already" "$install" worker
}

@test "two at once" {
    exec 8>"$ROOT/run/task-messenger-install.lock"
    flock -n 8
    refused "another installation or removal is running" "$install" worker
    refused "another installation or removal is running" "$uninstall" worker
    [ -e "$ROOT/run/task-messenger-install.lock" ]
    exec 8>&-
    run "$install" worker
    [ "$status" = 0 ]
}

@test "a purge where nobody can be asked" {
    "$install" worker
    refused "give --yes" "$uninstall" worker --purge </dev/null
}

@test "a root for tests that isn't one, or where something would reach the machine" {
    TASKMESSENGER_TEST_ROOT=/ refused "no directory for tests" "$install" worker
    rm "$ROOT/stubs/useradd"
    if command -v useradd || [ -x /usr/sbin/useradd ]; then
        refused "useradd would act on this machine" "$install" worker
    fi
    rm "$ROOT/.task-messenger-test-root"
    refused "no directory for tests" "$install" worker
}
