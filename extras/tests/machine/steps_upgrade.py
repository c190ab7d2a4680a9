"""Another version: what is kept, what is restarted, and the way back."""

from files import differences, listing
from fleet import MANAGER, OWN, SECOND, UNITS, WORKER
from report import want, want_text
from installed import Packages, touch_program
from store import NewerStore

# It checks configurations and stores as the real one does, but never gets ready.
NEVER_READY = """
#include <string.h>
#include <unistd.h>
int main(int count, char **words) {
    for (int i = 1; i < count; i++)
        if (strcmp(words[i], "run") == 0)
            for (;;)
                pause();
    words[0] = "/opt/real-manager";
    return execv(words[0], words);
}
"""
REAL = "/opt/real-manager"


def newer_manager(fleet, archives):
    """A newer manager, while a task runs: the task goes on, the queue and the configuration stay, workers aren't touched."""
    machine = fleet.machine
    top = archives.variant("manager", "newer", lambda place: touch_program(f"{place}/bin/task-messenger-manager"))
    configuration = machine.run("cat /etc/task-messenger/config-manager.json").text
    mains = {unit: fleet.main(unit) for unit in UNITS}
    running = fleet.submit("sleep 8", "--max-attempts 1")
    fleet.await_state(running, "running")
    late = [fleet.submit("true", "--delay 12s") for _ in range(10)]
    archives.install("manager", top=top)
    want(fleet.main(MANAGER) != mains[MANAGER], "the manager was not restarted")
    for unit in (WORKER, SECOND):
        want(fleet.main(unit) == mains[unit], f"{unit} was restarted")
    want(machine.run("cat /etc/task-messenger/config-manager.json").text == configuration, "the configuration was changed")
    same = machine.run(f"cmp {top}/bin/task-messenger-manager {archives.programs}/task-messenger-manager", check=False)
    want(same.code == 0, same.text)
    fleet.ready()
    for task in [running, *late]:
        fleet.await_state(task, "succeeded", 40)
        want(fleet.show(task)["attempts"] == 1, f"{task} ran more than once")


def newer_worker(fleet, archives):
    """A newer worker: both instances are restarted, their tasks finish first."""
    machine = fleet.machine
    top = archives.variant("worker", "newer-worker", lambda place: touch_program(f"{place}/bin/task-messenger-worker"))
    mains = {unit: fleet.main(unit) for unit in UNITS}
    running = [fleet.submit("sleep 4", "--max-attempts 1") for _ in range(6)]
    for task in running:
        fleet.await_state(task, "running")
    archives.install("worker", top=top)
    fleet.ready()
    want(fleet.main(MANAGER) == mains[MANAGER], "the manager was restarted")
    want(fleet.main(WORKER) != mains[WORKER], "the worker was not restarted")
    for task in running:
        fleet.await_state(task, "succeeded", 40)
        want(fleet.show(task)["attempts"] == 1, f"{task} ran more than once")
    same = machine.run(f"cmp {top}/bin/task-messenger-worker {archives.programs}/task-messenger-worker", check=False)
    want(same.code == 0, same.text)


def masked_worker(fleet, archives):
    """What was stopped and masked is not started; what was masked while it ran isn't stopped, since it couldn't come back."""
    machine = fleet.machine
    top = archives.variant("worker", "masked", lambda place: touch_program(f"{place}/bin/task-messenger-worker"))
    machine.run(["systemctl", "mask", "-q", "--now", SECOND])
    main = fleet.main(WORKER)
    archives.install("worker", top=top)
    want(fleet.main(WORKER) not in (0, main), "the other worker was not restarted")
    want(not machine.is_active(SECOND), "a masked service was started")
    is_masked(machine)
    machine.run(["systemctl", "unmask", "-q", SECOND])
    machine.run(["systemctl", "start", SECOND])
    machine.run(["systemctl", "mask", "-q", SECOND])
    fleet.ready()
    main = fleet.main(SECOND)
    archives.install("worker")
    want(fleet.main(SECOND) == main, "a masked service that ran was ended")
    is_masked(machine)
    machine.run(["systemctl", "unmask", "-q", SECOND])
    fleet.restart(SECOND)
    fleet.ready()


def is_masked(machine):
    found = machine.run(["systemctl", "is-enabled", SECOND], check=False).text.strip()
    want(found == "masked", f"{SECOND} is {found}")


def never_ready(fleet, archives):
    """An archive with that program; its real one lies outside of /root, since the service's user runs it."""
    machine = fleet.machine

    def change(place):
        program = f"{place}/bin/task-messenger-manager"
        machine.copy(program, REAL)
        machine.write(f"{OWN}/never.c", NEVER_READY)
        machine.run(f"gcc -o {program[len(machine.root):]} {OWN}/never.c")

    return archives.variant("manager", "never-ready", change)


def one_that_never_gets_ready(fleet, archives):
    """It goes back to the old version, which runs again."""
    machine = fleet.machine
    top = never_ready(fleet, archives)
    before, main = archives.sums(), fleet.main(MANAGER)
    done = archives.install("manager", top=top, check=False)
    machine.run(f"rm -r {REAL} {top}")
    want(done.code == 1, f"exit code {done.code}\n{done.text}")
    want(fleet.main(MANAGER) != main, f"the new version was not even tried\n{done.text}")
    want(archives.sums() == before, f"the programs are not the old ones\n{done.text}")
    fleet.ready()
    fleet.task("true")


def one_that_refuses_the_configuration(fleet, archives):
    """Nothing is changed when the new program does not take what is kept."""
    fleet.configure("manager", retain="soon")
    try:
        changes_nothing(fleet, archives, "refuses", "retain")
    finally:
        fleet.configure("manager")


def one_that_refuses_the_store(fleet, archives):
    """Nothing is changed when a newer version has written the store; the real program says so of a real store."""
    with NewerStore(fleet) as store:
        changes_nothing(fleet, archives, "downgrade", "a newer version wrote it", f"formats up to {store.known}")
    fleet.task("true")
    fleet.restart(MANAGER)
    fleet.ready()


def one_that_refuses_the_outbox(fleet, archives):
    """Nothing is changed when a newer worker has left outcomes that the manager has not got."""
    outbox = "/var/lib/task-messenger/worker/outbox"
    before = fleet.machine.run(f"cat {outbox}", check=False).text
    fleet.machine.write(outbox, "TMOUTBX2", 0o600)
    try:
        changes_nothing(fleet, archives, "outbox", "written by a newer version", component="worker")
    finally:
        fleet.machine.write(outbox, before, 0o600)
        fleet.machine.run(f"chown task-messenger-worker: {outbox}")


def changes_nothing(fleet, archives, name, *words, component="manager"):
    """Another archive is refused with these words: no file is another, and the component runs as before."""
    machine, unit = fleet.machine, f"task-messenger-{component}.service"
    top = archives.variant(component, name, lambda place: touch_program(f"{place}/bin/task-messenger-{component}"))
    before, main = installed_files(machine), fleet.main(unit)
    done = archives.install(component, top=top, check=False)
    want(done.code == 1, f"exit code {done.code}\n{done.text}")
    want_text(done, *words)
    changed = differences(before, installed_files(machine), allowed=False)
    want(not changed, "\n".join(changed))
    want(fleet.main(unit) == main, f"the {component} was restarted")


def installed_files(machine):
    """But for what the services write while they run."""
    written = ("/var/lib/task-messenger/", "/var/log/")
    return {path: what for path, what in listing(machine.root).items() if not path.startswith(written)}


def damaged(fleet, archives):
    top = archives.variant("manager", "damaged", lambda place: None)
    touch_program(fleet.machine.place(f"{top}/bin/task-messenger"))
    done = archives.install("manager", top=top, check=False)
    want(done.code == 1, f"exit code {done.code}\n{done.text}")


def packages_are_refused(fleet, dist):
    """The package's programs would not be those that run."""
    packages = Packages(fleet.machine, dist)
    mains = {unit: fleet.main(unit) for unit in UNITS}
    for name in packages.files:
        done = packages.install(name, check=False)
        want(done.code != 0, f"{name} was installed\n{done.text}")
        want_text(done, "archive")
    left = fleet.machine.run("dpkg-query -W -f '${Package} ${Status}\\n' 'task-messenger*'", check=False).text
    want(" installed" not in left, left)
    want({unit: fleet.main(unit) for unit in UNITS} == mains, "a service was restarted")
