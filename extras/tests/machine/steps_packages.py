"""What is particular to the Debian packages."""

import steps_install as install
import steps_remove as remove
from fleet import MANAGER, OWN, SECOND, UNITS, WORKER, want
from installed import Archives


def second(fleet):
    """Another worker, as the guide says: a configuration, a credential, the unit of that name."""
    machine = fleet.machine
    machine.run("install -m 0640 -g task-messenger-worker /dev/null /etc/task-messenger/config-worker-two.json")
    fleet.configure("worker-two")
    machine.run(f"task-messenger-worker join --instance two @{fleet.token('worker')}")
    machine.run(["systemctl", "enable", SECOND])


def again(fleet, packages):
    """The same packages once more: the configuration stays as it is, and what ran runs."""
    machine = fleet.machine
    settings = machine.run("cat /etc/task-messenger/*.json; ls -lR /etc/task-messenger").text
    packages.install(*packages.files)
    now = machine.run("cat /etc/task-messenger/*.json; ls -lR /etc/task-messenger").text
    want(now == settings, f"/etc/task-messenger is another:\n{now}")
    fleet.ready()


def archive_is_refused(machine, dist):
    archives = Archives(machine, dist)
    archives.unpack()
    done = archives.install("manager", check=False)
    want(done.code == 1, f"exit code {done.code}\n{done.text}")
    machine.run(f"rm -rf {OWN}/*-linux-*")


def upgrade(fleet, packages):
    """Only what runs is restarted; a running task goes on; the configuration stays."""
    machine = fleet.machine
    machine.run(["systemctl", "stop", SECOND])
    fleet.ready([MANAGER, WORKER])
    settings = machine.run("cat /etc/task-messenger/*.json").text
    mains = {unit: fleet.main(unit) for unit in (MANAGER, WORKER)}
    running = fleet.submit("sleep 5", "--max-attempts 1")
    fleet.await_state(running, "running")
    packages.install(*packages.files, files=packages.newer())
    fleet.ready([MANAGER, WORKER])
    for unit in mains:
        want(fleet.main(unit) not in (0, mains[unit]), f"{unit} was not restarted")
    want(not machine.is_active(SECOND), "what did not run was started")
    want(machine.run("cat /etc/task-messenger/*.json").text == settings, "the configuration is another")
    fleet.await_state(running, "succeeded")
    want(fleet.show(running)["attempts"] == 1, "the running task was ended")
    machine.run(["systemctl", "start", SECOND])
    fleet.ready()


def removed_and_again(fleet, packages):
    """Removing keeps configuration, state and user; installed again it goes on where it was."""
    machine = fleet.machine
    late = fleet.submit("true", "--delay 5s")
    users = machine.run("getent passwd task-messenger task-messenger-worker").text
    packages.remove("remove", *packages.files)
    want(machine.run("getent passwd task-messenger task-messenger-worker").text == users, "the users are gone")
    remove.stays_without_purge(machine, ["/etc/task-messenger/config-manager.json", "/etc/task-messenger/worker.credential",
                                         "/var/lib/task-messenger/manager"])
    for unit in UNITS:
        want(not machine.is_active(unit), f"{unit} is active")
    packages.install(*packages.files)
    for unit in (MANAGER, WORKER):
        install.is_enabled_and_not_started(machine, unit)
    machine.run(["systemctl", "start", *UNITS])
    fleet.ready()
    fleet.await_state(late, "succeeded")


def disabled_stays_disabled(fleet, packages):
    machine = fleet.machine
    machine.run(f"systemctl disable -q {WORKER}; systemctl stop {MANAGER}; systemctl mask -q {MANAGER}")
    packages.install(*packages.files)
    for unit, wanted in ((WORKER, "disabled"), (MANAGER, "masked")):
        found = machine.run(["systemctl", "is-enabled", unit], check=False).text.strip()
        want(found == wanted, f"{unit} is {found}")
    want(not machine.is_active(MANAGER), "a masked service runs")
    machine.run(f"systemctl unmask -q {MANAGER}; systemctl enable -q {WORKER}; systemctl start {MANAGER} {WORKER} {SECOND}")
    fleet.ready()
