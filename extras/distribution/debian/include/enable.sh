# shellcheck shell=dash
# Enables a unit at the first installation; what an administrator disabled or masked since then stays so.
enable_unless_disabled() {
    # Takes away only a mask that deb-systemd-helper itself set.
    deb-systemd-helper unmask "$1" >/dev/null || true
    # Says yes at the first installation.
    if deb-systemd-helper --quiet was-enabled "$1"; then
        deb-systemd-helper enable "$1" >/dev/null || true
    else
        # For what purging has to clean up.
        deb-systemd-helper update-state "$1" >/dev/null || true
    fi
}
