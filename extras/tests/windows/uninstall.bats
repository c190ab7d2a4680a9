#!/usr/bin/env bats
# shellcheck disable=SC2030,SC2031 # tests are subshells
# The uninstaller, with everything that asks Windows something replaced.

load pretend

setup() {
    pretend_windows
}

@test "command lines that make no sense" {
    script uninstall_service_windows -Component all -Instance a
    expect 64 "-Instance is for workers"
    script uninstall_service_windows -Component worker -Instance a_b
    expect 64 "-Instance wants"
    # A variable that holds nothing must not stand for the worker without a name.
    script uninstall_service_windows -Component worker -Instance "" -Purge
    expect 1 "Cannot validate argument on parameter 'Instance'"
    [ ! -e "$STAND_IN/calls" ]
}

@test "only an administrator removes" {
    TEST_IS_USER=1 script uninstall_service_windows -Component all
    expect 1 "to remove a service needs an administrator"
    [ ! -e "$STAND_IN/calls" ]
}

@test "everything is passed on" {
    script uninstall_service_windows -Component worker -Instance gpu -Purge -DryRun
    expect 0
    [ "$(said)" = "call task-messenger-worker service uninstall --instance gpu --purge --dry-run" ]
    rm "$STAND_IN/calls"
    script uninstall_service_windows -Component manager
    expect 0
    [ "$(said)" = "call task-messenger-manager service uninstall" ]
}

@test "all: workers before the manager, every instance" {
    export TEST_SERVICES="TaskMessengerManager TaskMessengerWorker-b TaskMessengerWorker TaskMessengerWorker-a Other TaskMessengerX"
    answer service-uninstall 0 "removed"
    script uninstall_service_windows -Component all -DryRun
    expect 0
    [ "$(said)" = "call task-messenger-worker service uninstall --instance a --dry-run \
call task-messenger-worker service uninstall --instance b --dry-run \
call task-messenger-worker service uninstall --dry-run \
call task-messenger-manager service uninstall --dry-run" ]
}

@test "all with -Purge: also what earlier removals have kept" {
    export TEST_SERVICES="TaskMessengerWorker-a"
    mkdir -p "$TEST_DATA/config"
    touch "$TEST_DATA/config/"{config-worker-a,config-worker-old,config-worker,config-manager}.json
    touch "$TEST_DATA/config/"{config-worker-fresh.json.new,config-worker-x.json.mine}
    # Somebody may have removed the configuration, and there are still the credential and the logs.
    mkdir -p "$TEST_DATA/"{worker,worker-state,logs/worker,logs/worker-logged,manager}
    script uninstall_service_windows -Component all -Purge
    expect 0
    [ "$(said)" = "call task-messenger-worker service uninstall --instance a --purge \
call task-messenger-worker service uninstall --instance fresh --purge \
call task-messenger-worker service uninstall --instance logged --purge \
call task-messenger-worker service uninstall --instance old --purge \
call task-messenger-worker service uninstall --instance state --purge \
call task-messenger-worker service uninstall --purge \
call task-messenger-manager service uninstall --purge" ]
}

@test "nothing to remove is no failure, and everything else is" {
    answer service-uninstall 4 "" "not installed"
    script uninstall_service_windows -Component manager
    expect 0 "not installed"
    answer service-uninstall 1 "" "it does not stop"
    script uninstall_service_windows -Component manager
    expect 1 "it does not stop"
    script uninstall_service_windows -Component all
    expect 1
    [ "$(calls | grep -c call)" = 4 ]
    rm -r "${ARCHIVE:?}/bin"
    script uninstall_service_windows -Component all
    expect 0 "worker is not installed." "manager is not installed."
}

@test "a service whose program is gone" {
    rm -r "${ARCHIVE:?}/bin"
    TEST_SERVICES=TaskMessengerManager script uninstall_service_windows -Component manager
    expect 1 "TaskMessengerManager is installed and its program is not. Run this script from the unpacked archive of the manager"
    # The others are removed all the same.
    install_archive manager
    mkdir "$TEST_PROGRAMS/manager/bin"
    cp "$BATS_FILE_TMPDIR/task-messenger-manager.exe" "$TEST_PROGRAMS/manager/bin/"
    TEST_SERVICES="TaskMessengerManager TaskMessengerWorker" script uninstall_service_windows -Component all
    expect 1 "TaskMessengerWorker is installed and its program is not."
    [ "$(said)" = "call task-messenger-manager service uninstall" ]
}

# removing_program COMPONENT: an installed program that removes its tree, as it does with its component's last service, and says
# where it ran.
removing_program() {
    cat >"$TEST_PROGRAMS/$1/bin/task-messenger-$1.exe" <<END
#!/bin/sh
echo "\$0 \$*" >>"\$STAND_IN/calls"
rm -rf "\$TEST_PROGRAMS/$1"
END
}

@test "all with -Purge: what was installed removes all of it, though it goes with the first" {
    install_archive worker
    install_archive manager
    rm -r "${ARCHIVE:?}/bin"
    removing_program worker
    removing_program manager
    export TEST_SERVICES="TaskMessengerManager TaskMessengerWorker-a"
    mkdir -p "$TEST_DATA/config" "$TEST_DATA/worker-kept" "$TEST_DATA/logs/worker-logged"
    touch "$TEST_DATA/config/config-worker-old.json.new"
    ARCHIVE=$TEST_PROGRAMS/worker script uninstall_service_windows -Component all -Purge
    expect 0
    [ "$(calls | sed "s,^$TEST_PROGRAMS/uninstall-[0-9a-f-]*/,," )" = "task-messenger-worker.exe service uninstall --instance a --purge
task-messenger-worker.exe service uninstall --instance kept --purge
task-messenger-worker.exe service uninstall --instance logged --purge
task-messenger-worker.exe service uninstall --instance old --purge
task-messenger-worker.exe service uninstall --purge
task-messenger-manager.exe service uninstall --purge" ]
    [ ! -e "$TEST_PROGRAMS" ]
}

@test "-Purge where there is data and no program: it is said, with the archive to take" {
    rm "$ARCHIVE/bin/task-messenger-worker.exe"
    mkdir -p "$TEST_DATA/config" "$TEST_DATA/logs/worker"
    touch "$TEST_DATA/config/config-worker-old.json"
    script uninstall_service_windows -Component all -Purge
    expect 1 "worker@old is not installed, and what it had is still there: $TEST_DATA/config/config-worker-old.json." \
        "worker is not installed, and what it had is still there: $TEST_DATA/logs/worker." \
        "from the unpacked archive of the worker, task-messenger-worker-vVERSION-windows-x64"
    [ "$(said)" = "call task-messenger-manager service uninstall --purge" ]
    script uninstall_service_windows -Component worker -Purge -DryRun
    expect 1 "what it had is still there"
    script uninstall_service_windows -Component worker
    expect 0 "worker is not installed."
}

@test "all with -Purge: what has no worker's name is left alone, and that is said" {
    mkdir -p "$TEST_DATA/config" "$TEST_DATA/worker-b"
    touch "$TEST_DATA/config/config-worker-"{a.json,.json,a_b.json,c.json.bak}
    script uninstall_service_windows -Component all -Purge
    expect 0 "config-worker-a_b.json is left alone: no worker has such a name" "config-worker-.json is left alone" "c.json.bak is left alone"
    [[ $(said) == *"uninstall --instance a --purge call task-messenger-worker service uninstall --instance b --purge call task-messenger-worker service uninstall --purge "* ]]
    [ "$(calls | grep -c call)" = 4 ]
}

@test "what an earlier run has left beside the programs is removed" {
    mkdir -p "$TEST_PROGRAMS"/uninstall-{old,new}
    touch "$TEST_PROGRAMS"/uninstall-{old,new}/task-messenger-worker.exe
    touch -d '2 hours ago' "$TEST_PROGRAMS/uninstall-old"
    script uninstall_service_windows -Component manager -DryRun
    [ -e "$TEST_PROGRAMS/uninstall-old" ]
    script uninstall_service_windows -Component manager
    expect 0
    # One of now may be another run's.
    [ "$(ls "$TEST_PROGRAMS")" = uninstall-new ]
}

# place_after DIRECTORY ARGUMENTS: where the caller, and his process, are afterwards.
place_after() {
    run "$PWSH" -NoProfile -NonInteractive -WorkingDirectory "$1" -Command \
        "[Environment]::CurrentDirectory = '$1'; & '$ARCHIVE/scripts/uninstall_service_windows.ps1' $2 | Out-Null; \"\$PWD \$([Environment]::CurrentDirectory)\""
}

@test "the caller stays where he is, unless that is removed" {
    mkdir -p "$TEST_DATA/config" "$TEST_PROGRAMS-other"
    install_archive manager
    removing_program manager
    place_after "$TEST_PROGRAMS-other" "-Component manager -Purge"
    [ "$output" = "$TEST_PROGRAMS-other $TEST_PROGRAMS-other" ]
    place_after "$TEST_DATA/config" "-Component manager"
    [ "$output" = "$TEST_DATA/config $TEST_DATA/config" ]
    place_after "$TEST_DATA/config" "-Component manager -Purge"
    [ "$output" = "$TEST_DATA/config $TEST_DATA/config" ]
    install_archive manager
    place_after "$TEST_PROGRAMS/manager/bin" "-Component manager -DryRun"
    [ "$output" = "$TEST_PROGRAMS/manager/bin $TEST_PROGRAMS/manager/bin" ]
    removing_program manager
    place_after "$TEST_PROGRAMS/manager/bin" "-Component manager"
    [ "$output" = "/ /" ]
}

@test "an installed program removes itself by a copy, of which nothing is left" {
    install_archive manager
    removing_program manager
    cd "$TEST_PROGRAMS/manager/scripts"
    script uninstall_service_windows -Component manager
    expect 0
    [[ $(calls) == "$TEST_PROGRAMS/uninstall-"*"/task-messenger-manager.exe service uninstall" ]]
    [ ! -e "$TEST_PROGRAMS" ]
}

@test "what others need stays, and a dry run makes no copy" {
    install_archive manager
    install_archive worker
    script uninstall_service_windows -Component manager
    expect 0
    [ "$(ls "$TEST_PROGRAMS")" = $'manager\nworker' ]
    removing_program manager
    script uninstall_service_windows -Component manager -DryRun
    expect 0
    [ "$(calls | tail -n 1)" = "$TEST_PROGRAMS/manager/bin/task-messenger-manager.exe service uninstall --dry-run" ]
}
