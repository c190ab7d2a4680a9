"""What lies on a machine's disk, to be compared: installing and purging must leave it as it was."""

import hashlib
import os
import re
import stat

# What may be different after a purge, as exact patterns. At most ten.
ALLOWED = [
    # The backups that shadow's and systemd's tools keep of the lists of users, and their lock.
    r"/etc/(passwd|shadow|group|gshadow)-",
    r"/etc/\.pwd\.lock",
    # systemd's own: seed, clock, the private /tmp of services that run, the last runs of timers.
    r"/var/lib/systemd/(random-seed|linger|timesync|timers)(/.*)?",
    r"/(var/)?tmp/systemd-private-.*",
    # Who logged in when; what man-db, dpkg and apt noted of what they did.
    r"/var/(log/(wtmp|btmp|lastlog|faillog)|lib/logrotate/status)",
    r"/var/(log|lib|cache)/(dpkg|apt|alternatives\.log|debconf)(\.log|-old|/.*)?",
    # The loader's cache, which dpkg's triggers may write anew.
    r"/(etc/ld\.so\.cache|var/cache/ldconfig/aux-cache)",
    # The test's own things.
    r"/root/test(/.*)?",
]


def listing(root):
    """Of each file of the machine's own disk: type, mode, owner, where it leads; below /etc, its content too."""
    found = {}
    for directory, names, files in os.walk(root):
        inside = directory[len(root):] or "/"
        if inside in ("/proc", "/sys", "/dev", "/run"):
            names.clear()
            continue
        for name in names + files:
            path = os.path.join(inside, name)
            state = os.lstat(root + path)
            what = [stat.filemode(state.st_mode), str(state.st_uid), str(state.st_gid)]
            if stat.S_ISLNK(state.st_mode):
                what.append(os.readlink(root + path))
            elif path.startswith("/etc/") and stat.S_ISREG(state.st_mode):
                with open(root + path, "rb") as file:
                    what.append(hashlib.sha256(file.read()).hexdigest())
            found[path] = " ".join(what)
    return found


def differences(before, after, allowed=True):
    """Lines that say what is different, but for what may be."""
    may = re.compile("|".join(ALLOWED)) if allowed else None
    lines = []
    for path in sorted(before.keys() | after.keys()):
        if before.get(path) != after.get(path) and not (may and may.fullmatch(path)):
            lines.append(f"{path}: {before.get(path, 'not there')} -> {after.get(path, 'not there')}")
    return lines
