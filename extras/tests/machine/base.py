"""The clean Debian 12 that every machine starts from: made once, and kept."""

import hashlib
import os
import shutil
import subprocess
import time

import host

SUITE = "bookworm"
MIRROR = os.environ.get("TASK_MESSENGER_MACHINE_MIRROR", "http://deb.debian.org/debian")
# A machine that boots and lets users log in; then what tasks run.
PACKAGES = """
    systemd systemd-sysv dbus dbus-user-session libpam-systemd udev adduser logrotate iproute2 procps util-linux
    python3 nodejs default-jre-headless gcc libc6-dev git tar curl ca-certificates strace
""".split()
# Changed when what follows debootstrap changes.
RECIPE = 3

# The address that the manager is reached at: it can be taken away without any other host.
ADDRESS = "10.99.0.1"
ADDRESS_UNIT = f"""[Unit]
DefaultDependencies=no
Before=network.target network-online.target
Wants=network.target
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/ip link set lo up
ExecStart=/bin/ip addr add {ADDRESS}/32 dev lo
[Install]
WantedBy=multi-user.target
"""
# Those that would only wait here for a hardware or a network that isn't there.
NOT_NEEDED = ["apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "fstrim.timer",
              "logrotate.timer", "systemd-networkd-wait-online.service", "console-getty.service", "getty@tty1.service"]


def base():
    """The directory of the base, which is made if it isn't there."""
    key = hashlib.sha256(repr((SUITE, PACKAGES, RECIPE)).encode()).hexdigest()[:12]
    place = os.path.join(host.CACHE, f"base-{SUITE}-{key}")
    if os.path.isdir(place):
        print(f"base: {place} (kept)", flush=True)
        return place
    begin = time.monotonic()
    unfinished = place + ".unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, unfinished, MIRROR]
    done = subprocess.run(command, check=False, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        print(done.stdout[-3000:], flush=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        host.refuse(f"debootstrap of {SUITE} from {MIRROR} failed ({done.returncode})")
    finish(unfinished)
    os.rename(unfinished, place)
    print(f"base: {place}: {time.monotonic() - begin:.1f} s", flush=True)
    return place


def finish(root):
    """What makes of packages a machine: an address, an ordinary user, nothing that waits or that is everywhere the same."""
    inside = ["chroot", root]
    write(root, "etc/systemd/system/test-address.service", ADDRESS_UNIT)
    subprocess.run(inside + ["systemctl", "enable", "-q", "test-address.service"], check=True)
    subprocess.run(inside + ["systemctl", "mask", "-q", *NOT_NEEDED], check=True)
    subprocess.run(inside + ["useradd", "--create-home", "--shell", "/bin/bash", "alice"], check=True)
    subprocess.run(inside + ["apt-get", "clean"], check=True)
    write(root, "etc/machine-id", "")
    write(root, "etc/hostname", "machine\n")
    write(root, "etc/hosts", "127.0.0.1 localhost machine\n::1 localhost\n")
    write(root, "etc/fstab", "")


def write(root, path, text):
    with open(os.path.join(root, path), "w", encoding="utf-8") as file:
        file.write(text)
