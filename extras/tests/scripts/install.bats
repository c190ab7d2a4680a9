#!/usr/bin/env bats
# What the installer does to a machine, in a root of each test's own.

load helper

setup_file() {
    build_archives 0.1.0 0.2.0
}

setup() {
    make_root
}

@test "a manager is installed, enabled and not started" {
    run install_manager
    echo "$output"
    [ "$status" = 0 ]
    [ -x "$ROOT/opt/task-messenger/bin/task-messenger-manager" ]
    [ "$(readlink "$ROOT/usr/local/bin/task-messenger")" = /opt/task-messenger/bin/task-messenger ]
    [ "$(readlink "$ROOT/usr/local/bin/task-messenger-service")" = /opt/task-messenger/scripts/service_control.sh ]
    [ -f "$ROOT/usr/local/lib/sysusers.d/task-messenger-manager.conf" ]
    [ -f "$ROOT/usr/local/lib/tmpfiles.d/task-messenger.conf" ]
    [ -f "$ROOT/etc/logrotate.d/task-messenger-manager" ]
    [ "$(stat -c %a "$ROOT/etc/task-messenger")" = 755 ]
    [ "$(stat -c %a "$ROOT/etc/task-messenger/config-manager.json")" = 640 ]
    [ "$(stat -c %a "$ROOT/var/lib/task-messenger/manager")" = 700 ]
    [ "$(stat -c %a "$ROOT/var/log/task-messenger/manager")" = 750 ]
    grep -qx /opt/task-messenger/bin/task-messenger-manager "$ROOT/opt/task-messenger/manifests/manager"
    grep -qx task-messenger "$ROOT/control/passwd"
    calls | grep -qx 'enable task-messenger-manager.service'
    run ! grep -E '^(re)?start' "$ROOT/control/calls"
    [ ! -e "$ROOT/run/task-messenger-install.lock" ]
    [ ! -e "$ROOT/opt/task-messenger/.transaction" ]
}

@test "it says how to start it and look at it" {
    run install_manager
    [[ $output == *"sudo systemctl start task-messenger-manager"* ]]
    [[ $output == *"task-messenger-service status manager"* ]]
    run install_worker
    [[ $output == *"task-messenger-worker join @TOKEN-FILE"* ]]
}

@test "run again it changes nothing and restarts nothing" {
    install_manager
    "$ROOT/stubs/systemctl" start task-messenger-manager.service
    forget_calls
    before=$(picture)
    run "$ARCHIVE/scripts/install_service_linux.sh" manager
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"nothing was changed"* ]]
    diff <(echo "$before") <(picture)
    [ ! -s "$ROOT/control/calls" ]
}

@test "what an administrator disabled stays disabled" {
    install_manager
    "$ROOT/stubs/systemctl" disable task-messenger-manager.service
    forget_calls
    install_manager 0.2.0
    run ! grep enable "$ROOT/control/calls"
}

@test "a dry run shows the steps and changes nothing" {
    make_archive worker 0.1.0
    before=$(picture)
    run "$ARCHIVE/scripts/install_service_linux.sh" worker --slots 3 --dry-run
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"would write /etc/systemd/system/task-messenger-worker.service"* ]]
    [[ $output == *"would enable task-messenger-worker.service"* ]]
    [[ $output == *"would create the user and group task-messenger-worker"* ]]
    diff <(echo "$before") <(picture)
    [ ! -s "$ROOT/control/calls" ]
}

@test "mode or content that was spoiled is mended" {
    install_manager
    chmod 777 "$ROOT/opt/task-messenger/bin/task-messenger"
    echo >>"$ROOT/usr/local/lib/sysusers.d/task-messenger-manager.conf"
    chmod 600 "$ROOT/opt/task-messenger/share/doc/LICENSE"
    "$ARCHIVE/scripts/install_service_linux.sh" manager
    [ "$(stat -c %a "$ROOT/opt/task-messenger/bin/task-messenger")" = 755 ]
    [ "$(stat -c %a "$ROOT/opt/task-messenger/share/doc/LICENSE")" = 644 ]
}

@test "--prefix moves the programs, and the unit follows" {
    make_archive manager 0.1.0
    "$ARCHIVE/scripts/install_service_linux.sh" manager --prefix /opt/elsewhere
    [ -x "$ROOT/opt/elsewhere/bin/task-messenger-manager" ]
    [ ! -e "$ROOT/opt/task-messenger" ]
    grep -q '^ExecStart=/opt/elsewhere/bin/task-messenger-manager' "$ROOT/etc/systemd/system/task-messenger-manager.service"
    [ -f "$ROOT/etc/task-messenger/config-manager.json" ]
    # It is found again, and not moved by mistake.
    run "$ARCHIVE/scripts/install_service_linux.sh" manager
    [[ $output == *"nothing was changed"* ]]
    refused "an installation is at /opt/elsewhere" "$ARCHIVE/scripts/install_service_linux.sh" manager --prefix /opt/third
}

# kills TOOL: whoever runs this is killed when it calls that.
kills() {
    rm -f "$ROOT/stubs/$1"
    # shellcheck disable=SC2016 # for the stand-in
    printf '#!/usr/bin/env bash\nkill -KILL $PPID\n' >"$ROOT/stubs/$1"
    chmod +x "$ROOT/stubs/$1"
}

@test "a first installation with --prefix that was killed is found again without it" {
    make_archive manager 0.1.0
    before=$(content)
    for tool in restorecon systemd-sysusers; do
        for script in install uninstall; do
            cp "$ROOT/stubs/$tool" "$BATS_TEST_TMPDIR/tool"
            kills "$tool"
            run "$ARCHIVE/scripts/install_service_linux.sh" manager --prefix /opt/elsewhere
            [ "$status" -gt 128 ]
            cp "$BATS_TEST_TMPDIR/tool" "$ROOT/stubs/$tool"
            run "$ARCHIVE/scripts/${script}_service_linux.sh" manager
            echo "$output"
            [ "$status" = 0 ]
            [[ $output == *"an earlier run was interrupted"* ]]
            [ $script = uninstall ] || "$ARCHIVE/scripts/uninstall_service_linux.sh" manager --purge --yes
            diff <(echo "$before" | grep -v ' \./run') <(content | grep -v ' \./run')
        done
    done
}

@test "an instance has a configuration, state and credential of its own, and no HTTP port" {
    install_worker --instance gpu-1 --slots 3
    file=$ROOT/etc/task-messenger/config-worker-gpu-1.json
    grep -q '"state_directory": "/var/lib/task-messenger/worker-gpu-1"' "$file"
    grep -q '"credential_file": "/etc/task-messenger/worker-gpu-1.credential"' "$file"
    grep -q '"http": null' "$file"
    grep -q '^ *"slots": 3' "$file"
    [ -d "$ROOT/var/lib/task-messenger/worker-gpu-1" ]
    [ ! -e "$ROOT/etc/systemd/system/task-messenger-worker.service" ]
    [ ! -e "$ROOT/etc/task-messenger/config-worker.json" ]
    calls | grep -qx 'enable task-messenger-worker@gpu-1.service'
}

@test "another instance is added from what is installed" {
    install_worker
    run "$ROOT/opt/task-messenger/scripts/install_service_linux.sh" worker --instance b
    echo "$output"
    [ "$status" = 0 ]
    [ -f "$ROOT/etc/task-messenger/config-worker-b.json" ]
    grep -qx /opt/task-messenger/bin/task-messenger-worker "$ROOT/opt/task-messenger/manifests/worker@b"
    run ! grep -x /etc/systemd/system/task-messenger-worker.service "$ROOT/opt/task-messenger/manifests/worker@b"
    refused "without the manager" "$ROOT/opt/task-messenger/scripts/install_service_linux.sh" manager
}

@test "--slots is written into a new configuration, and not into one that is kept" {
    install_worker --slots 5
    grep -q '^ *"slots": 5,$' "$ROOT/etc/task-messenger/config-worker.json"
    before=$(picture)
    run "$ARCHIVE/scripts/install_service_linux.sh" worker --slots 6
    [ "$status" = 0 ]
    [[ $output == *"kept as it is"* ]]
    diff <(echo "$before") <(picture)
}

@test "--join joins, once" {
    echo token >"$BATS_TEST_TMPDIR/token"
    install_worker --join "$BATS_TEST_TMPDIR/token"
    [ -s "$ROOT/etc/task-messenger/worker.credential" ]
    grep -q "join @.*/token" "$ROOT/control/programs"
    run "$ARCHIVE/scripts/install_service_linux.sh" worker --join "$BATS_TEST_TMPDIR/token"
    [ "$status" = 0 ]
    [[ $output == *"has joined already"* ]]
}

@test "a join that fails undoes the installation" {
    echo token >"$BATS_TEST_TMPDIR/token"
    echo "the manager can't be reached" >"$ROOT/control/join-fails"
    make_archive worker 0.1.0
    before=$(content)
    run "$ARCHIVE/scripts/install_service_linux.sh" worker --join "$BATS_TEST_TMPDIR/token"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"the manager can't be reached"* ]]
    diff <(echo "$before") <(content)
    [ ! -s "$ROOT/control/passwd" ]
    [ ! -e "$ROOT/control/units/task-messenger-worker.service.enabled" ]
}

@test "a step that fails undoes the earlier ones" {
    make_archive manager 0.1.0
    before=$(content)
    : >"$ROOT/control/fails-enable"
    run "$ARCHIVE/scripts/install_service_linux.sh" manager
    echo "$output"
    [ "$status" = 1 ]
    diff <(echo "$before") <(content)
    [ ! -s "$ROOT/control/passwd" ]
}

@test "a checkout is installed from its built programs" {
    checkout=$BATS_TEST_TMPDIR/checkout
    mkdir -p "$checkout"
    cp -r "$REPOSITORY/extras" "$REPOSITORY/docs" "$REPOSITORY"/{Cargo.toml,LICENSE,CHANGELOG.md} "$checkout"
    touch "$checkout"/docs/{INSTALLATION,SERVICES-LINUX}.md
    refused "cargo build --release" "$checkout/extras/scripts/install_service_linux.sh" worker
    mkdir -p "$checkout/target/release"
    for program in task-messenger task-messenger-worker; do
        cp "$BATS_FILE_TMPDIR/program-0.1.0" "$checkout/target/release/$program"
    done
    run "$checkout/extras/scripts/install_service_linux.sh" worker
    echo "$output"
    [ "$status" = 0 ]
    [ -x "$ROOT/opt/task-messenger/bin/task-messenger-worker" ]
    grep -q described "$ROOT/opt/task-messenger/share/man/man8/task-messenger-worker.8"
    [ "$(readlink "$ROOT/usr/local/share/man/man8/task-messenger-worker.8")" = /opt/task-messenger/share/man/man8/task-messenger-worker.8 ]
    run "$checkout/extras/scripts/install_service_linux.sh" worker
    [[ $output == *"nothing was changed"* ]]
}

@test "manager and worker share one directory" {
    install_manager
    install_worker
    run "$ARCHIVE/scripts/install_service_linux.sh" worker
    [[ $output == *"nothing was changed"* ]]
    make_archive manager 0.1.0
    run "$ARCHIVE/scripts/install_service_linux.sh" manager
    echo "$output"
    [[ $output == *"nothing was changed"* ]]
}

@test "a user's service is installed in the home directory" {
    echo 1000 >"$ROOT/control/uid"
    install_worker --user
    home=$ROOT/home/tester
    unit=$home/.config/systemd/user/task-messenger-worker.service
    grep -q '^ExecStart=/home/tester/.local/lib/task-messenger/bin/task-messenger-worker' "$unit"
    grep -q '^WantedBy=default.target' "$unit"
    grep -q '"state_directory": "/home/tester/.local/state/task-messenger/worker"' "$home/.config/task-messenger/config-worker.json"
    [ -f "$ROOT/control/lingers" ]
    [ ! -e "$ROOT/etc/task-messenger" ] && [ ! -e "$ROOT/opt/task-messenger" ]
    before=$(picture)
    run "$ARCHIVE/scripts/install_service_linux.sh" worker --user
    [[ $output == *"nothing was changed"* ]]
    diff <(echo "$before") <(picture)
    run "$home/.local/lib/task-messenger/scripts/uninstall_service_linux.sh" all --user --purge --yes
    echo "$output"
    [ "$status" = 0 ]
    [ -z "$(find "$ROOT/home" -name '*task-messenger*')" ]
    [ ! -e "$ROOT/control/lingers" ]
}

@test "where XDG_CONFIG_HOME leads elsewhere, a user is told the service's configuration" {
    echo 1000 >"$ROOT/control/uid"
    make_archive worker 0.1.0
    XDG_CONFIG_HOME=/home/tester/.config run "$ARCHIVE/scripts/install_service_linux.sh" worker --user
    [[ $output == *"task-messenger-worker join @TOKEN-FILE"* && $output != *XDG_CONFIG_HOME* ]]
    XDG_CONFIG_HOME=/home/tester/elsewhere run "$ARCHIVE/scripts/install_service_linux.sh" worker --user
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"XDG_CONFIG_HOME"* ]]
    [[ $output == *"join --config /home/tester/.config/task-messenger/config-worker.json @TOKEN-FILE"* ]]
}

@test "where lingering is not allowed, it says who can allow it" {
    echo 1000 >"$ROOT/control/uid"
    : >"$ROOT/control/forbids-linger"
    run install_worker --user
    [ "$status" = 0 ]
    [[ $output == *"sudo loginctl enable-linger tester"* ]]
}
