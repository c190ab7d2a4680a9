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
    expect 1 "TaskMessengerManager is installed and its program is not. Run this script from an unpacked archive of the manager"
}

@test "what is to be purged, and there is no program to do it" {
    rm -r "${ARCHIVE:?}/bin"
    mkdir -p "$TEST_DATA/manager" "$TEST_DATA/logs/worker"
    script uninstall_service_windows -Component manager
    expect 0 "manager is not installed."
    script uninstall_service_windows -Component manager -Purge
    expect 1 "there is no program to remove" "TaskMessenger/manager. Run this script from an unpacked archive of the manager"
    script uninstall_service_windows -Component worker -Instance gpu -Purge
    expect 0 "worker@gpu is not installed."
}

@test "an installed program removes itself by a copy, of which nothing is left" {
    install_archive manager
    # It removes what it finds where programs are installed: here, at least its own file.
    cat >"$TEST_PROGRAMS/manager/bin/task-messenger-manager.exe" <<'END'
#!/bin/sh
echo "$0 $*" >>"$STAND_IN/calls"
rm -r "$TEST_PROGRAMS/manager"
END
    cd "$TEST_PROGRAMS/manager/scripts"
    script uninstall_service_windows -Component manager
    expect 0
    [[ $(calls) == "$TEST_PROGRAMS/uninstall-"*"/bin/task-messenger-manager.exe service uninstall" ]]
    [ ! -e "$TEST_PROGRAMS" ]
}

@test "what others need stays, and a dry run makes no copy" {
    install_archive manager
    install_archive worker
    script uninstall_service_windows -Component manager
    expect 0
    [ "$(ls "$TEST_PROGRAMS")" = $'manager\nworker' ]
    chmod a-w "$TEST_PROGRAMS"
    script uninstall_service_windows -Component manager -DryRun
    expect 0
    [ "$(said)" = "call task-messenger-manager service uninstall call task-messenger-manager service uninstall --dry-run" ]
}
