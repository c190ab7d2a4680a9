#!/usr/bin/env bats
# Upgrades: what is checked, kept, restarted, and taken back.

load helper

setup_file() {
    build_archives 0.1.0 0.2.0
}

setup() {
    make_root
    manager=task-messenger-manager.service
}

installed_version() {
    "$ROOT/opt/task-messenger/bin/task-messenger-manager" --version
}

@test "an upgrade restarts what runs" {
    install_manager
    "$ROOT/stubs/systemctl" start "$manager"
    forget_calls
    run install_manager 0.2.0
    echo "$output"
    [ "$status" = 0 ]
    [ "$(installed_version)" = "task-messenger-manager 0.2.0" ]
    [ "$(calls | grep -v daemon-reload)" = "stop $manager
start $manager" ]
    grep -q '0.2.0 .*--check-config' "$ROOT/control/programs"
}

@test "an upgrade starts nothing that didn't run" {
    install_manager
    forget_calls
    install_manager 0.2.0
    [ ! -s "$ROOT/control/calls" ]
}

@test "all workers of the machine are upgraded and restarted together" {
    install_worker
    "$ARCHIVE/scripts/install_service_linux.sh" worker --instance a
    "$ARCHIVE/scripts/install_service_linux.sh" worker --instance b
    "$ROOT/stubs/systemctl" start task-messenger-worker@a.service
    "$ROOT/stubs/systemctl" start task-messenger-worker.service
    forget_calls
    : >"$ROOT/control/programs"
    make_archive worker 0.2.0
    "$ARCHIVE/scripts/install_service_linux.sh" worker --instance b
    calls | grep -qx 'start task-messenger-worker@a.service'
    calls | grep -qx 'start task-messenger-worker.service'
    run ! grep worker@b "$ROOT/control/calls"
    for name in worker worker-a worker-b; do
        grep -q "0.2.0 --config .*/config-$name.json --check-config" "$ROOT/control/programs"
    done
}

@test "what was masked while it runs goes on: it could not start again" {
    install_worker
    for name in a b; do
        "$ARCHIVE/scripts/install_service_linux.sh" worker --instance "$name"
        "$ROOT/stubs/systemctl" start "task-messenger-worker@$name.service"
    done
    echo masked >"$ROOT/control/units/task-messenger-worker@a.service.enabled"
    forget_calls
    make_archive worker 0.2.0
    run "$ARCHIVE/scripts/install_service_linux.sh" worker
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"task-messenger-worker@a.service is masked, and was not restarted"* ]]
    run ! grep worker@a "$ROOT/control/calls"
    calls | grep -qx 'start task-messenger-worker@b.service'
}

@test "what is not READY goes back to the old version" {
    install_manager
    "$ROOT/stubs/systemctl" start "$manager"
    before=$(content)
    for state in failed activating; do
        echo -n "$state" >"$ROOT/control/never-ready-0.2.0"
        run install_manager 0.2.0
        echo "$output"
        [ "$status" = 1 ]
        [[ $output == *"was not READY"* && $output == *"it said why"* ]]
        diff <(echo "$before") <(content)
        [ "$(installed_version)" = "task-messenger-manager 0.1.0" ]
        runs_version "$manager" 0.1.0
    done
}

@test "when one of several workers is not READY, all go back to the old version" {
    install_worker
    "$ARCHIVE/scripts/install_service_linux.sh" worker --instance a
    first=task-messenger-worker.service second=task-messenger-worker@a.service
    "$ROOT/stubs/systemctl" start "$first"
    "$ROOT/stubs/systemctl" start "$second"
    echo -n failed >"$ROOT/control/never-ready-0.2.0-$second"
    make_archive worker 0.2.0
    run "$ARCHIVE/scripts/install_service_linux.sh" worker
    echo "$output"
    [ "$status" = 1 ]
    runs_version "$first" 0.1.0
    runs_version "$second" 0.1.0
}

@test "when a join fails after the upgrade that came with it, what ran goes back to the old version" {
    install_worker
    "$ROOT/stubs/systemctl" start task-messenger-worker.service
    echo token >"$BATS_TEST_TMPDIR/token"
    echo "the token was used already" >"$ROOT/control/join-fails"
    make_archive worker 0.2.0
    run "$ARCHIVE/scripts/install_service_linux.sh" worker --instance b --join "$BATS_TEST_TMPDIR/token"
    echo "$output"
    [ "$status" = 1 ]
    [[ $output == *"the token was used already"* ]]
    runs_version task-messenger-worker.service 0.1.0
}

@test "a configuration that the new version does not take stops the upgrade" {
    install_manager
    echo 'listen: there is no such key' >"$ROOT/control/refuses-configuration-0.2.0"
    make_archive manager 0.2.0
    refused "there is no such key" "$ARCHIVE/scripts/install_service_linux.sh" manager
}

@test "a downgrade over a newer store is refused" {
    install_manager 0.2.0
    : >"$ROOT/var/lib/task-messenger/manager/journal"
    echo 'the store has format 2' >"$ROOT/control/refuses-state-0.1.0"
    make_archive manager 0.1.0
    refused "the store has format 2" "$ARCHIVE/scripts/install_service_linux.sh" manager
    [ "$(installed_version)" = "task-messenger-manager 0.2.0" ]
}

@test "a downgrade of a worker over what a newer one keeps is refused" {
    install_worker
    make_archive worker 0.2.0
    "$ARCHIVE/scripts/install_service_linux.sh" worker
    echo 'the outbox was written by a newer version' >"$ROOT/control/refuses-state-0.1.0"
    make_archive worker 0.1.0
    refused "written by a newer version" "$ARCHIVE/scripts/install_service_linux.sh" worker
}

@test "a default that has changed lies beside the kept configuration, with the difference shown" {
    install_manager
    file=$ROOT/etc/task-messenger/config-manager.json
    echo '// mine' >>"$file"
    before=$(cat "$file")
    make_archive manager 0.2.0
    sed -i 's|^{|{\n  // A new thing.\n  "durability": "strict",|' "$ARCHIVE/etc/task-messenger/config-manager.json"
    seal "$ARCHIVE"
    run "$ARCHIVE/scripts/install_service_linux.sh" manager
    echo "$output"
    [ "$status" = 0 ]
    [ "$(cat "$file")" = "$before" ]
    grep -q durability "$file.new"
    [[ $output == *'+  "durability": "strict",'* && $output == *'-// mine'* ]]
    rm "$file.new"
    "$ARCHIVE/scripts/install_service_linux.sh" manager
    [ ! -e "$file.new" ]
}

@test "a default that has not changed says nothing, also after a removal" {
    install_worker --slots 4
    echo '// mine' >>"$ROOT/etc/task-messenger/config-worker.json"
    "$ROOT/opt/task-messenger/scripts/uninstall_service_linux.sh" worker
    make_archive worker 0.2.0
    run "$ARCHIVE/scripts/install_service_linux.sh" worker
    echo "$output"
    [ "$status" = 0 ]
    [ ! -e "$ROOT/etc/task-messenger/config-worker.json.new" ]
    grep -q mine "$ROOT/etc/task-messenger/config-worker.json"
}

@test "what a version no longer has is removed" {
    install_manager
    make_archive manager 0.2.0
    rm "$ARCHIVE/share/doc/MONITORING.md"
    seal "$ARCHIVE"
    "$ARCHIVE/scripts/install_service_linux.sh" manager
    [ ! -e "$ROOT/opt/task-messenger/share/doc/MONITORING.md" ]
    # But not what the other component has.
    make_archive worker 0.2.0
    "$ARCHIVE/scripts/install_service_linux.sh" worker
    make_archive manager 0.2.0
    rm "$ARCHIVE/share/doc/CONFIGURATION.md"
    seal "$ARCHIVE"
    "$ARCHIVE/scripts/install_service_linux.sh" manager
    [ -e "$ROOT/opt/task-messenger/share/doc/CONFIGURATION.md" ]
}

@test "what both components share does not go back to an older version" {
    install_manager 0.2.0
    # A version before its release is older than that.
    build_archives 0.2.0-rc.1
    for version in 0.1.0 0.2.0-rc.1; do
        make_archive worker "$version"
        refused "is older than the 0.2.0" "$ARCHIVE/scripts/install_service_linux.sh" worker
    done
    # What nobody shares may go back, and the other may be newer.
    install_manager 0.1.0
    make_archive worker 0.2.0
    "$ARCHIVE/scripts/install_service_linux.sh" worker
}

@test "a unit that was edited stays, and is kept beside when it has to be replaced" {
    install_manager
    unit=$ROOT/etc/systemd/system/$manager
    echo '# mine' >>"$unit"
    run "$ARCHIVE/scripts/install_service_linux.sh" manager
    echo "$output"
    [[ $output == *"was edited, and stays so"* && $output == *"nothing was changed"* ]]
    grep -q mine "$unit"
    make_archive manager 0.2.0
    echo '# new' >>"$ARCHIVE/share/systemd/$manager"
    seal "$ARCHIVE"
    "$ARCHIVE/scripts/install_service_linux.sh" manager
    grep -q mine "$unit.bak"
    grep -q new "$unit"
    run ! grep mine "$unit"
}

# Begins an upgrade that hangs where the new version should become READY.
hang() {
    install_manager
    "$ROOT/stubs/systemctl" start "$manager"
    before=$(content)
    echo -n activating >"$ROOT/control/never-ready-0.2.0"
    make_archive manager 0.2.0
    # Whoever runs the tests may ignore signals, as nohup does.
    TASKMESSENGER_TEST_READY_SECONDS=60 setsid env --default-signal=HUP,INT,TERM "$ARCHIVE/scripts/install_service_linux.sh" manager 3>&- >"$BATS_TEST_TMPDIR/said" 2>&1 &
    installer=$!
    wait_until grep -qx 0.2.0 "$ROOT/control/units/$manager.version"
}

# A signal that a process in the background can't hear, SIGINT, takes the same way.
interrupt() {
    local status=0
    hang
    kill -"$1" "$installer"
    wait "$installer" || status=$?
    cat "$BATS_TEST_TMPDIR/said"
    [ "$status" -gt 128 ]
    diff <(echo "$before") <(content)
    runs_version "$manager" 0.1.0
    [ ! -e "$ROOT/run/task-messenger-install.lock" ]
}

@test "an upgrade that is told to end is undone" {
    interrupt TERM
}

@test "an upgrade whose terminal goes away is undone" {
    interrupt HUP
}

@test "how a step is undone, and what it brings, is on the disk before the step is taken" {
    install_manager
    make_archive manager 0.2.0
    for tool in sync mv; do
        # shellcheck disable=SC2016 # for the stand-in
        printf '#!/usr/bin/env bash\nprintf "%%s\\n" "%s $*" >>"%s/control/order"\nexec /usr/bin/%s "$@"\n' \
            "$tool" "$ROOT" "$tool" >"$ROOT/stubs/$tool"
        chmod +x "$ROOT/stubs/$tool"
    done
    "$ARCHIVE/scripts/install_service_linux.sh" manager
    awk '/^mv / { moves++; if (before !~ /^sync .*\/\.transaction\/journal/ || !index(before, $4 " ")) { print before; print; early++ } }
        { before = $0 } END { exit !moves || early }' \
        "$ROOT/control/order"
}

@test "what was killed in the middle is undone by the next run" {
    hang
    kill -KILL "$installer"
    wait "$installer" || true
    [ "$(installed_version)" = "task-messenger-manager 0.2.0" ]
    make_archive manager 0.1.0
    run "$ARCHIVE/scripts/install_service_linux.sh" manager --dry-run
    [ "$status" = 1 ]
    run "$ARCHIVE/scripts/install_service_linux.sh" manager
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"an earlier run was interrupted"* && $output == *"nothing was changed"* ]]
    diff <(echo "$before") <(content)
    runs_version "$manager" 0.1.0
}
