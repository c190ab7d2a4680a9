#!/usr/bin/env bats
# What the packages' own scripts do to what is there, in a root of each test's own: the scripts as they are packed, but with
# that root before each path.

load helper

setup_file() {
    build_archives 0.1.0
}

setup() {
    make_root
    for tool in systemd-sysusers deb-systemd-helper; do
        ln -sf nothing "$ROOT/stubs/$tool"
    done
    printf '#!/usr/bin/env bash\nprintf "%%s\\n" "$*" >>"%s/control/calls"\n' "$ROOT" >"$ROOT/stubs/deb-systemd-invoke"
    chmod +x "$ROOT/stubs/deb-systemd-invoke"
    : >"$ROOT/control/passwd"
    : >"$ROOT/control/group"
    scripts=$BATS_TEST_TMPDIR/packaged
    for owner in common manager worker; do
        mkdir -p "$scripts/$owner"
        (
            die() { echo "$@" >&2; exit 1; }
            CHECKOUT=$REPOSITORY
            # shellcheck source=extras/distribution/lib/package.sh
            . "$REPOSITORY/extras/distribution/lib/package.sh"
            put_maintainer_scripts "$owner" "$scripts/$owner"
        )
        sed -i -E "s#(^|[ \"=])/(etc|opt|run|usr|var)(/|\$)#\1$ROOT/\2\3#g" "$scripts/$owner"/*
    done
}

# Its link leads to the installation as the scripts see it, too.
lead_there() {
    ln -sfn "$ROOT/opt/task-messenger/scripts/service_control.sh" "$ROOT/usr/local/bin/task-messenger-service"
}

# What a package of a component has and makes.
unpack_package() {
    mkdir -p "$ROOT"/etc/task-messenger "$ROOT"/usr/{bin,share/task-messenger} "$ROOT"/var/{lib,log}/task-messenger/"$1"
    echo '{}' | tee "$ROOT/usr/share/task-messenger/config-$1.json" >"$ROOT/etc/task-messenger/config-$1.json"
    printf '#!/bin/sh\n' >"$ROOT/usr/bin/task-messenger-$1"
    chmod +x "$ROOT/usr/bin/task-messenger-$1"
    cp "$REPOSITORY/extras/systemd/task-messenger-$1.service" "$ROOT/etc/systemd/system"
    : >"$ROOT/var/lib/task-messenger/$1/kept"
}

# The lines of the guide from one that begins so, up to the end of its block.
guide() {
    sed -n "/^$1/,/^\`\`\`\$/p" "$REPOSITORY/docs/SERVICES-LINUX.md" | grep -v '^```'
}

@test "the guide's way to another worker makes a configuration with all that is its own" {
    guide 'sed .*config-worker' >"$BATS_TEST_TMPDIR/lines"
    grep -qx 'sudo task-messenger-worker join --instance gpu' "$BATS_TEST_TMPDIR/lines"
    # shellcheck disable=SC2016 # for the stand-in
    printf '#!/bin/sh\ncase $1 in install) cat ;; esac\n' >"$ROOT/stubs/sudo"
    chmod +x "$ROOT/stubs/sudo"
    sed -i "s,/usr/share/task-messenger/,$REPOSITORY/extras/etc/," "$BATS_TEST_TMPDIR/lines"
    run bash "$BATS_TEST_TMPDIR/lines"
    echo "$output"
    python3 -c 'import json, re, sys
assert json.loads(re.sub(r"(?m)^ *//.*$", "", sys.argv[1])) == {"http": None, "state_directory": "/var/lib/task-messenger/worker-gpu",
    "credential_file": "/etc/task-messenger/worker-gpu.credential"}' "$output"
}

@test "an upgrade restarts what runs, one that dpkg takes back restarts nothing" {
    unpack_package worker
    mkdir -p "$ROOT/control/units"
    printf active >"$ROOT/control/units/task-messenger-worker.service.ActiveState"
    for why in abort-upgrade abort-deconfigure abort-remove; do
        "$scripts/worker/postinst" "$why" 0.2.0-1
    done
    run ! grep restart "$ROOT/control/calls"
    "$scripts/worker/postinst" configure 0.1.0-1
    grep -qx 'try-restart task-messenger-worker.service' "$ROOT/control/calls"
}

@test "a purge leaves nothing of its component, also where an archive has the other one" {
    install_manager
    lead_there
    unpack_package worker
    run "$scripts/worker/postrm" purge
    echo "$output"
    [ "$status" = 0 ]
    for path in /etc/task-messenger/config-worker.json /var/lib/task-messenger/worker /var/log/task-messenger/worker; do
        [ ! -e "$ROOT$path" ]
    done
    [ -f "$ROOT/etc/task-messenger/config-manager.json" ]
    [ -d "$ROOT/var/lib/task-messenger/manager" ]
}

@test "a purge of what was removed takes nothing from an archive that was installed since" {
    install_worker
    lead_there
    "$scripts/manager/postrm" purge
    before=$(content)
    # dpkg itself deletes these, before it calls the scripts.
    rm "$ROOT/etc/logrotate.d/task-messenger-worker" "$ROOT/etc/needrestart/conf.d/task-messenger.conf"
    rmdir "$ROOT/etc/needrestart/conf.d"
    "$scripts/worker/postrm" purge
    "$scripts/common/postrm" purge
    diff <(echo "$before") <(content)
}

@test "a purge empties a state directory that is a disk of its own" {
    unshare -rm mount -t tmpfs none "$ROOT/opt" || skip "no mounts are possible here"
    unpack_package worker
    # shellcheck disable=SC2016 # for the shell inside
    run unshare -rm bash -c 'mount -t tmpfs none "$1" && mkdir "$1/lost+found" && "$2" purge && [ -d "$1" ] && [ -z "$(ls -A "$1")" ]' \
        - "$ROOT/var/lib/task-messenger/worker" "$scripts/worker/postrm"
    echo "$output"
    [ "$status" = 0 ]
    [[ $output == *"/var/lib/task-messenger/worker stays, empty"* ]]
    [ ! -e "$ROOT/etc/task-messenger" ]
}
