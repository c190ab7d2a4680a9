"""An upgrade that does not get to its end: what it did is undone, and the version before runs. And two at once."""

import contextlib

from fleet import MANAGER, OWN
from report import want, want_text
from steps_upgrade import REAL, never_ready

LOCK = "/run/task-messenger-install.lock"
TRANSACTION = "/opt/task-messenger/.transaction"
PID = f"{OWN}/installer.pid"
SAID = "installer"


class Waiting:
    """An installer in the middle of an upgrade: the new version is in its place, was started, and doesn't get READY."""

    def __init__(self, fleet, archives, top):
        self.fleet, self.machine, self.archives = fleet, fleet.machine, archives
        self.before, main = archives.sums(), fleet.main(MANAGER)
        line = f"echo $$ >{PID}; exec {top}/scripts/install_service_linux.sh manager --yes"
        self.process = self.machine.start(line, SAID)
        self.machine.wait("the new version to be started", lambda: self.is_there(main), 30)
        want(archives.sums() != self.before, "the programs are still the old ones")

    def is_there(self, main):
        want(self.process.poll() is None, f"it ended with {self.process.returncode}\n{self.said()}")
        return self.machine.show(MANAGER, "ActiveState") == "activating" and self.fleet.main(MANAGER) not in (0, main)

    def said(self):
        return self.machine.output(SAID)

    def end(self, name):
        """Sends a signal, and waits for the end; the exit code."""
        self.machine.run(f"kill -{name} $(cat {PID})")
        self.machine.wait("its end", lambda: self.process.poll() is not None, 90)
        return self.process.returncode

    def is_undone(self):
        """Programs, service and what an installation notes are as before the upgrade."""
        want(self.archives.sums() == self.before, f"the programs are not the old ones\n{self.said()}")
        for path in (LOCK, TRANSACTION):
            want(self.machine.run(["test", "-e", path], check=False).code == 1, f"{path} is still there\n{self.said()}")
        self.fleet.ready()
        self.fleet.task("true")


@contextlib.contextmanager
def in_the_middle(fleet, archives):
    top = never_ready(fleet, archives)
    waiting = None
    try:
        waiting = Waiting(fleet, archives, top)
        yield waiting
    finally:
        if waiting and waiting.process.poll() is None:
            waiting.end("TERM")
        fleet.machine.run(f"rm -r {REAL} {top}")


def second_installer(fleet, archives):
    """It is told that one is at work, and leaves everything to that one; so is a removal."""
    with in_the_middle(fleet, archives) as waiting:
        now = archives.sums()
        for done in (archives.install("manager", check=False), archives.install("worker", check=False),
                     archives.uninstall("all", check=False)):
            want(done.code == 1, f"exit code {done.code}\n{done.text}")
            want_text(done, "another installation or removal is running", LOCK)
        want(archives.sums() == now and waiting.process.poll() is None, f"the first was disturbed\n{waiting.said()}")
        waiting.end("TERM")
        waiting.is_undone()


def told_to_end(fleet, archives):
    with in_the_middle(fleet, archives) as waiting:
        code = waiting.end("TERM")
        want(code == 128 + 15, f"exit code {code}\n{waiting.said()}")
        want("undoing what was done" in waiting.said(), waiting.said())
        waiting.is_undone()


def killed(fleet, archives):
    """It can undo nothing itself; the next run does, whatever else that is for."""
    with in_the_middle(fleet, archives) as waiting:
        code = waiting.end("KILL")
        want(code == -9, f"exit code {code}\n{waiting.said()}")
        want(archives.sums() != waiting.before, "the programs are the old ones, so this shows nothing")
        # What it had started holds the lock a moment longer.
        fleet.machine.wait("the lock to be free", lambda: fleet.machine.run(f"flock -n {LOCK} true", check=False).code == 0)
        done = archives.install("manager", top=archives.installed["manager"])
        want_text(done, "an earlier run was interrupted: undoing what it did", "nothing was changed")
        waiting.is_undone()
