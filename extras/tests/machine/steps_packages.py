"""What is particular to the Debian packages."""

from fleet import MANAGER, OWN, SECOND, WORKER
from report import want, want_text
from installed import Archives
from store import NewerStore


def second(fleet):
    """Another worker, by the guide's own lines; but the token comes from a file, and nothing is started yet."""
    machine = fleet.machine
    guide = machine.run("cat /usr/share/doc/task-messenger/SERVICES-LINUX.md").text
    lines = guide[guide.index("sed 's,/worker"):].split("```")[0]
    for words, others in (("sudo ", ""), ("gpu", "two"), (" --now", ""),
                          ("join --instance two", f"join --instance two @{fleet.token('worker')}")):
        want(words in lines, f"the guide has no '{words}' there:\n{lines}")
        lines = lines.replace(words, others)
    machine.run(f"set -e -o pipefail\n{lines}")


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
    archives.unpack("manager")
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


def refuses_the_store(fleet, packages):
    """A package's upgrade has no way back; but the version before, which runs, is not stopped for one that could not start."""
    main = fleet.main(MANAGER)
    with NewerStore(fleet):
        done = packages.install(*packages.files)
        goes_on(fleet, main, done, "formats up to")
    fleet.restart(MANAGER)
    fleet.ready()
    fleet.task("true")


def refuses_the_configuration(fleet, packages):
    main = fleet.main(MANAGER)
    fleet.configure("manager", retain="soon")
    try:
        goes_on(fleet, main, packages.install(*packages.files, files=packages.newer()), "retain")
    finally:
        fleet.configure("manager")
    fleet.restart(MANAGER)
    fleet.ready()
    fleet.task("true")


def goes_on(fleet, main, done, why):
    """The manager of before runs, and it is said why and what to do."""
    want_text(done, why, "still runs the version before", f"systemctl restart {MANAGER}")
    want(fleet.machine.is_active(MANAGER) and fleet.main(MANAGER) == main, f"the manager was restarted\n{done.text}")


def disabled_stays_disabled(fleet, packages):
    machine = fleet.machine
    machine.run(f"systemctl disable -q {WORKER}; systemctl stop {MANAGER}; systemctl mask -q {MANAGER} {SECOND}")
    main = fleet.main(SECOND)
    packages.install(*packages.files)
    want(fleet.main(SECOND) == main, "a masked service that ran was ended")
    for unit, wanted in ((WORKER, "disabled"), (MANAGER, "masked")):
        found = machine.run(["systemctl", "is-enabled", unit], check=False).text.strip()
        want(found == wanted, f"{unit} is {found}")
    want(not machine.is_active(MANAGER), "a masked service runs")
    machine.run(f"systemctl unmask -q {MANAGER} {SECOND}; systemctl enable -q {WORKER}")
    fleet.restart(MANAGER, WORKER, SECOND)
    fleet.ready()
