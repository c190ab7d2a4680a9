"""What lies on a machine's disk, to be compared: installing and purging must leave it as it was."""

import hashlib
import os
import re
import stat

# What may be different after a purge, as exact patterns. At most ten.
ALLOWED = [
    # The copies of before that shadow's and systemd's tools keep of the lists of users, and their lock.
    r"/etc/(passwd|shadow|group|gshadow)-",
    r"/etc/\.pwd\.lock",
    # The private /tmp of the system's own services, named anew at each boot.
    r"/(var/)?tmp/systemd-private-[^/]*(/tmp)?",
    # loginctl makes it when it is first asked to let a user linger.
    r"/var/lib/systemd/linger",
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
