#!/usr/bin/env bats
# What the uninstaller removes, and what it keeps.

load helper

setup_file() {
    build_archives 0.1.0
}

setup() {
    make_root
    scripts=$ROOT/opt/task-messenger/scripts
}

# Everything of the root, without times and without /run.
bare() {
    content | grep -v ' \./run'
}

@test "what was installed, and nothing else, is removed; what is kept is told" {
    before=$(bare)
    install_worker
    echo secret >"$ROOT/etc/task-messenger/worker.credential"
    "$ROOT/stubs/systemctl" start task-messenger-worker.service
    run "$scripts/uninstall_service_linux.sh" worker
    echo "$output"
    [ "$status" = 0 ]
    calls | grep -qx 'stop task-messenger-worker.service'
    calls | grep -qx 'disable task-messenger-worker.service'
    for path in /etc/task-messenger/config-worker.json /etc/task-messenger/worker.credential /var/lib/task-messenger/worker; do
        [ -e "$ROOT$path" ]
        [[ $output == *"$path"* ]]
    done
    grep -qx task-messenger-worker "$ROOT/control/passwd"
    rm -r "$ROOT/etc/task-messenger" "$ROOT/var/lib/task-messenger" "$ROOT/var/log/task-messenger"
    diff <(echo "$before") <(bare)
}

@test "a purge leaves nothing" {
    before=$(bare)
    install_worker
    "$scripts/install_service_linux.sh" worker --instance a
    install_manager
    mkdir -p "$ROOT/etc/systemd/system/task-messenger-worker.service.d" "$ROOT/run/task-messenger/worker"
    echo >"$ROOT/etc/systemd/system/task-messenger-worker.service.d/mine.conf"
    echo >"$ROOT/etc/systemd/system/task-messenger-worker.service.bak"
    echo >"$ROOT/etc/task-messenger/config-manager.json.new"
    # What `systemctl mask` makes of a unit that has no file of its own there.
    ln -s /dev/null "$ROOT/etc/systemd/system/task-messenger-worker@a.service"
    run "$scripts/uninstall_service_linux.sh" all --purge --yes
    echo "$output"
    [ "$status" = 0 ]
    diff <(echo "$before") <(bare)
    [ ! -s "$ROOT/control/passwd" ] && [ ! -s "$ROOT/control/group" ]
    [ ! -e "$ROOT/run/task-messenger" ]
}

@test "a purge empties a state directory that is a disk of its own" {
    unshare -rm mount -t tmpfs none "$ROOT/opt" || skip "no mounts are possible here"
    install_manager
    state=$ROOT/var/lib/task-messenger/manager
    for what in manager all; do
        "$ARCHIVE/scripts/install_service_linux.sh" manager
        # shellcheck disable=SC2016 # for the shell inside
        run unshare -rm bash -c 'mount -t tmpfs none "$1" && mkdir "$1/lost+found" && : >"$1/queue" &&
            "$2/uninstall_service_linux.sh" "$3" --purge --yes && [ -d "$1" ] && [ -z "$(ls -A "$1")" ]' - "$state" "$scripts" "$what"
        echo "$output"
        [ "$status" = 0 ]
        [[ $output == *"/var/lib/task-messenger/manager stays, empty"* && $output != *Kept* ]]
        [ ! -e "$ROOT/etc/task-messenger" ] && [ ! -e "$ROOT/opt/task-messenger" ] && [ ! -s "$ROOT/control/passwd" ]
    done
}

@test "a purge takes what upgrades put aside of edited files" {
    before=$(bare)
    make_archive worker 0.1.0
    "$ARCHIVE/scripts/install_service_linux.sh" worker --instance a
    install_manager
    edited=(usr/local/lib/tmpfiles.d/task-messenger.conf etc/needrestart/conf.d/task-messenger.conf
        etc/systemd/system/task-messenger.target)
    for component in manager worker; do
        edited+=("usr/local/lib/sysusers.d/task-messenger-$component.conf" "etc/logrotate.d/task-messenger-$component")
    done
    edited+=(etc/systemd/system/task-messenger-manager.service etc/systemd/system/task-messenger-worker@.service)
    for path in "${edited[@]}"; do
        cp "$ROOT/$path" "$ROOT/$path.bak"
    done
    "$scripts/uninstall_service_linux.sh" manager --purge --yes
    # What the worker needs, or had, is left alone.
    find "$ROOT/etc" "$ROOT/usr" -name '*.bak' >"$BATS_TEST_TMPDIR/left"
    [ "$(grep -c manager "$BATS_TEST_TMPDIR/left")" = 0 ]
    [ "$(grep -c . "$BATS_TEST_TMPDIR/left")" = 6 ]
    "$scripts/uninstall_service_linux.sh" worker --instance a --purge --yes
    diff <(echo "$before") <(bare)
}

@test "a purge of one component leaves the other as it is" {
    install_manager
    before=$(bare)
    install_worker
    run "$scripts/uninstall_service_linux.sh" worker --purge --yes
    echo "$output"
    [ "$status" = 0 ]
    diff <(echo "$before") <(bare)
    grep -qx task-messenger "$ROOT/control/passwd"
    run ! grep -x task-messenger-worker "$ROOT/control/passwd"
}

@test "one worker goes, the others and their user stay" {
    install_worker
    "$scripts/install_service_linux.sh" worker --instance a
    "$scripts/uninstall_service_linux.sh" worker --purge --yes
    [ ! -e "$ROOT/etc/systemd/system/task-messenger-worker.service" ]
    [ -e "$ROOT/etc/systemd/system/task-messenger-worker@.service" ]
    [ -e "$ROOT/etc/task-messenger/config-worker-a.json" ]
    [ -x "$ROOT/opt/task-messenger/bin/task-messenger-worker" ]
    grep -qx task-messenger-worker "$ROOT/control/passwd"
    "$scripts/uninstall_service_linux.sh" worker --instance a --purge --yes
    [ ! -e "$ROOT/opt/task-messenger" ]
    [ ! -s "$ROOT/control/passwd" ]
}

@test "what an earlier removal kept can be purged later" {
    before=$(bare)
    install_worker
    echo >"$ROOT/etc/systemd/system/task-messenger-worker.service.bak"
    "$scripts/uninstall_service_linux.sh" all
    run "$ARCHIVE/scripts/uninstall_service_linux.sh" all --purge --yes
    echo "$output"
    [ "$status" = 0 ]
    diff <(echo "$before") <(bare)
    [ ! -s "$ROOT/control/passwd" ]
}

@test "a dry run changes nothing" {
    install_worker
    forget_calls
    before=$(picture)
    run "$scripts/uninstall_service_linux.sh" all --purge --dry-run
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"would remove /etc/task-messenger"* && $output == *"would remove /opt/task-messenger/bin/task-messenger-worker"* ]]
    diff <(echo "$before") <(picture)
    [ ! -s "$ROOT/control/calls" ]
}

@test "a removal that failed goes on when it is run again" {
    install_worker
    "$ROOT/stubs/systemctl" start task-messenger-worker.service
    : >"$ROOT/control/fails-stop"
    run "$scripts/uninstall_service_linux.sh" worker
    [ "$status" = 1 ]
    [ -x "$ROOT/opt/task-messenger/bin/task-messenger-worker" ]
    rm "$ROOT/control/fails-stop"
    "$scripts/uninstall_service_linux.sh" worker
    [ ! -e "$ROOT/opt/task-messenger" ]
}

@test "a removal that was interrupted can be run again, by its own script, until all is gone" {
    before=$(bare)
    install_worker
    # What can't be removed, behind most of the rest: a file that isn't one.
    link=$ROOT/usr/local/share/man/man8/task-messenger-service.8
    rm "$link"
    mkdir "$link"
    run "$scripts/uninstall_service_linux.sh" worker --purge --yes
    [ "$status" = 1 ]
    [ ! -e "$ROOT/opt/task-messenger/bin/task-messenger-worker" ]
    rmdir "$link"
    run "$scripts/uninstall_service_linux.sh" worker --purge --yes
    echo "$output"
    [ "$status" = 0 ]
    diff <(echo "$before") <(bare)
}

@test "a manifest is there as long as a directory of it" {
    install_worker
    # As if it were killed just when the files are gone.
    # shellcheck disable=SC2016 # for the stand-in
    printf '#!/usr/bin/env bash\n[[ $* != *%s/opt/* ]] || kill -KILL $PPID\nexec /usr/bin/rmdir "$@"\n' "$ROOT" >"$ROOT/stubs/rmdir"
    chmod +x "$ROOT/stubs/rmdir"
    run "$scripts/uninstall_service_linux.sh" worker
    [ "$status" -gt 128 ]
    rm "$ROOT/stubs/rmdir"
    [ -f "$ROOT/opt/task-messenger/manifests/worker" ]
    run "$ARCHIVE/scripts/uninstall_service_linux.sh" worker
    echo "$output"
    [ "$status" = 0 ]
    [ ! -e "$ROOT/opt/task-messenger" ]
    [ ! -e "$ROOT/usr/local/lib/sysusers.d" ]
}

@test "a state directory elsewhere is left, and told" {
    install_manager
    mkdir "$ROOT/srv"
    sed -i 's|/var/lib/task-messenger/manager|/srv|' "$ROOT/etc/task-messenger/config-manager.json"
    run "$scripts/uninstall_service_linux.sh" manager --purge --yes
    [ "$status" = 0 ]
    [[ $output == *"left as it is: /srv"* ]]
    [ -d "$ROOT/srv" ]
}

@test "what is not installed is no error" {
    make_archive worker 0.1.0
    run "$ARCHIVE/scripts/uninstall_service_linux.sh" worker
    [ "$status" = 0 ]
    [[ $output == *"is not installed"* ]]
}

@test "another prefix is found" {
    make_archive manager 0.1.0
    before=$(bare)
    "$ARCHIVE/scripts/install_service_linux.sh" manager --prefix /opt/deep/elsewhere
    "$ARCHIVE/scripts/uninstall_service_linux.sh" all --purge --yes
    diff <(echo "$before") <(bare)
}
