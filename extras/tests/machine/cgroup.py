"""Control groups for a machine of the test: two machines in the same groups would take each other's services for their own."""

import contextlib
import glob
import os
import shutil
import time

PREFIX = "task-messenger-machine"


class Groups:
    """Groups of one machine's own, where no systemd of this host makes them."""

    def __init__(self, run, machine):
        name = f"{PREFIX}-{run}-{machine}"
        self.paths = []
        if os.path.isdir("/run/systemd/system") and shutil.which("systemctl"):
            # systemd-nspawn asks the host's systemd for a scope.
            return
        for mount, own in hierarchies():
            path = os.path.join(mount + own.rstrip("/"), name)
            with contextlib.suppress(OSError):
                allow_controllers(os.path.dirname(path))
            os.makedirs(path, exist_ok=True)
            self.paths.append(path)

    def options(self):
        """What systemd-nspawn must be told."""
        return ["--keep-unit"] if self.paths else []

    def inside(self, command):
        """The command, started inside of the groups."""
        moves = "".join(f"echo $$ >{path}/cgroup.procs; " for path in self.paths)
        return ["/bin/sh", "-ec", moves + 'exec "$@"', "sh", *command]

    def remove(self):
        for path in self.paths:
            remove(path)


def remove_of(run):
    """Ends and removes what a run of the test, by its process's number, has left when it was killed."""
    for mount, own in hierarchies():
        for path in glob.glob(os.path.join(mount + own.rstrip("/"), f"{PREFIX}-{run}-*")):
            with contextlib.suppress(OSError), open(os.path.join(path, "cgroup.kill"), "w", encoding="utf-8") as file:
                file.write("1")
            remove(path)


def hierarchies():
    """Mount points of cgroup v2 and of systemd's own v1 hierarchy, each with the group that this process is in."""
    own = {}
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        for line in file:
            number, names, path = line.rstrip("\n").split(":", 2)
            own["cgroup2" if number == "0" else names] = path
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            kind, _, options = after.split()[:3]
            point = before.split()[4]
            if kind == "cgroup2" and "cgroup2" in own:
                yield point, own["cgroup2"]
            elif kind == "cgroup" and "name=systemd" in options.split(","):
                yield point, own["name=systemd"]


def allow_controllers(group):
    """Lets the groups below have memory limits and the like, where this kernel has them in cgroup v2."""
    with open(os.path.join(group, "cgroup.controllers"), encoding="utf-8") as file:
        offered = file.read().split()
    for controller in offered:
        with contextlib.suppress(OSError), open(os.path.join(group, "cgroup.subtree_control"), "w", encoding="utf-8") as file:
            file.write(f"+{controller}")


def remove(path):
    deadline = time.monotonic() + 5
    while not remove_tree(path) and time.monotonic() < deadline:
        time.sleep(0.05)


def remove_tree(path):
    """Removes a group and those below it; whether it is gone."""
    for directory, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(directory)
    return not os.path.isdir(path)
