"""Another version: what is kept, what is restarted, and the way back."""

from fleet import MANAGER, OWN, SECOND, UNITS, WORKER, want, want_text
from installed import Packages, touch_program

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


def one_that_never_gets_ready(fleet, archives):
    """It goes back to the old version, which runs again."""
    machine = fleet.machine

    def change(place):
        program = f"{place}/bin/task-messenger-manager"
        # Outside of /root, since the service's user runs it.
        machine.copy(program, "/opt/real-manager")
        machine.write(f"{OWN}/never.c", NEVER_READY)
        machine.run(f"gcc -o {program[len(machine.root):]} {OWN}/never.c")

    top = archives.variant("manager", "never-ready", change)
    before, main = machine.run(f"sha256sum {archives.programs}/*").text, fleet.main(MANAGER)
    done = archives.install("manager", top=top, check=False)
    machine.run("rm /opt/real-manager")
    want(done.code == 1, f"exit code {done.code}\n{done.text}")
    want(fleet.main(MANAGER) != main, f"the new version was not even tried\n{done.text}")
    want(machine.run(f"sha256sum {archives.programs}/*").text == before, f"the programs are not the old ones\n{done.text}")
    fleet.ready()
    fleet.task("true")


def one_that_refuses_the_configuration(fleet, archives):
    """Nothing is changed when the new program does not take what is kept."""
    machine = fleet.machine
    fleet.configure("manager", retain="soon")
    main, before = fleet.main(MANAGER), machine.run(f"sha256sum {archives.programs}/*").text
    top = archives.variant("manager", "refuses", lambda place: touch_program(f"{place}/bin/task-messenger-manager"))
    done = archives.install("manager", top=top, check=False)
    fleet.configure("manager")
    want(done.code == 1, f"exit code {done.code}\n{done.text}")
    want_text(done, "retain")
    want(machine.run(f"sha256sum {archives.programs}/*").text == before, "programs were replaced")
    want(fleet.main(MANAGER) == main, "the manager was restarted")


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


def control(fleet):
    """The control script: one screen, and the exit codes of init scripts."""
    machine = fleet.machine

    def code(line):
        return machine.run(f"task-messenger-service {line}", check=False)

    done = code("status all")
    want(done.code == 0, f"exit code {done.code}\n{done.text}")
    want("\x1b" not in done.text, "colour, though there is no terminal")
    machine.run("task-messenger-service stop worker@two")
    for line, wanted in (("status worker@two", 3), ("status worker@none", 4), ("status manager", 0), ("status all", 3)):
        done = code(line)
        want(done.code == wanted, f"{line}: exit code {done.code}, not {wanted}\n{done.text}")
    machine.run("task-messenger-service start worker@two && task-messenger-service reload manager")
    fleet.ready()
    want_text(code("logs manager --since -1h"), "task-messenger-manager")
