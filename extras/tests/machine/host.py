"""The machine that the test runs on: what it must have, and what must be cleaned up on it, however the test ends."""

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time

import cgroup

CACHE = os.environ.get("TASK_MESSENGER_MACHINE_CACHE", "/var/cache/task-messenger-machine")
TOOLS = {"systemd-nspawn": "systemd-container", "debootstrap": "debootstrap", "nsenter": "util-linux", "setpriv": "util-linux"}
MISSING = 77
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def refuse(*reasons):
    """Ends with 77: nothing was tested, and that must not look like success."""
    for reason in reasons:
        # In one piece, whatever others write.
        sys.stderr.write(f"SKIPPED: the machine test can't run: {reason}\n")
    sys.exit(MISSING)


def prepare():
    """Checks rights and tools; installs tools where there is apt."""
    if os.geteuid() != 0:
        refuse("it boots machines, and needs root for that (sudo extras/tests/machine/run)")
    if sys.platform != "linux":
        refuse("it needs Linux")
    missing = missing_tools()
    if missing and shutil.which("apt-get"):
        install(set(missing.values()))
        missing = missing_tools()
    if missing:
        refuse(*(f"there is no {tool} (package {package})" for tool, package in missing.items()))
    os.makedirs(CACHE, mode=0o755, exist_ok=True)


def install(packages):
    """Installs Debian packages. Whether it worked is to be seen by what there is then."""
    begin = time.monotonic()
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    for command in (["update", "-q"], ["install", "-q", "-y", "--no-install-recommends", *sorted(packages)]):
        done = subprocess.run(["apt-get", *command], env=environment, check=False, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            print(done.stdout[-2000:], file=sys.stderr)
            break
    print(f"host tools: {time.monotonic() - begin:.1f} s", flush=True)


def missing_tools():
    return {tool: package for tool, package in TOOLS.items() if shutil.which(tool) is None}


def mount(*arguments):
    done = subprocess.run(["mount", *arguments], check=False, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode != 0:
        refuse(f"mount {' '.join(arguments)}: {done.stdout.strip()}")


def unmount_below(directory):
    """Unmounts everything at and below a directory, deepest first."""
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        points = [line.split()[4].replace("\\040", " ") for line in file]
    for point in sorted((p for p in points if p == directory or p.startswith(directory + "/")), key=len, reverse=True):
        if subprocess.run(["umount", point], check=False, stderr=subprocess.DEVNULL).returncode != 0:
            subprocess.run(["umount", "--lazy", point], check=False)


class Workplace:
    """A directory for one run of the test, removed at its end; what killed runs have left is removed too."""

    def __init__(self):
        own_mounts()
        # Some systems have /run on the disk, and nspawn wants to put its sockets on a tmpfs.
        os.makedirs("/run/systemd/nspawn", exist_ok=True)
        if not os.path.ismount("/run/systemd/nspawn"):
            mount("-t", "tmpfs", "tmpfs", "/run/systemd/nspawn")
        self.runs = os.path.join(CACHE, "runs")
        os.makedirs(self.runs, exist_ok=True)
        self.remove_dead()
        self.run = str(os.getpid())
        self.path = os.path.join(self.runs, self.run)
        os.mkdir(self.path)
        self.lock = self.locked(self.path)
        self.disk = os.path.join(self.path, "disk")
        os.mkdir(self.disk)
        # Where this machine's own disk is an overlay, as in most containers, no overlay can write to it.
        kind = subprocess.run(["stat", "-f", "-c", "%T", self.disk], check=True, text=True, stdout=subprocess.PIPE).stdout
        if kind.strip() == "overlayfs":
            mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", self.disk)

    @staticmethod
    def locked(directory):
        """An open lock of a run's directory; None while another has it."""
        lock = open(os.path.join(directory, "lock"), "w", encoding="utf-8")  # pylint: disable=consider-using-with
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            return None
        return lock

    def remove_dead(self):
        for name in os.listdir(self.runs):
            directory = os.path.join(self.runs, name)
            lock = self.locked(directory)
            if lock:
                cgroup.remove_of(name)
                remove(directory)
                lock.close()

    def remove(self):
        # Of a machine whose process was killed, its groups are left.
        cgroup.remove_of(self.run)
        remove(self.path)
        self.lock.close()


def own_mounts():
    """A mount namespace for this test alone: whatever happens, its mounts end with its processes."""
    clone_newns = 0x20000
    if ctypes.CDLL(None, use_errno=True).unshare(clone_newns) != 0:
        refuse(f"no mount namespace can be made ({os.strerror(ctypes.get_errno())})")
    mount("--make-rprivate", "/")


def remove(directory):
    unmount_below(directory)
    shutil.rmtree(directory, ignore_errors=True)


def end_on_signals():
    """A signal ends the test as an exception does, so that everything is cleaned up."""
    def leave(number, _frame):
        for other in SIGNALS:
            signal.signal(other, signal.SIG_IGN)
        raise SystemExit(128 + number)
    for number in SIGNALS:
        signal.signal(number, leave)


@contextlib.contextmanager
def signals_held():
    """Signals wait meanwhile: cleaning up takes seconds, and half of it would be none."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def release_signals():
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
