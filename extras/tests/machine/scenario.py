"""What every machine goes through, whichever way TaskMessenger came onto it: from the first install to the last purge."""

import files
import steps_control as control
import steps_hardening as hardening
import steps_install as install
import steps_living as living
import steps_remove as remove
from fleet import MANAGER, SECOND, UNITS, WORKER, Fleet


class Scenario:
    """The steps of one machine. What is installed there, and what is particular to that way, says a class of its own."""

    way = None

    def __init__(self, machine, report, dist):
        self.machine = machine
        self.report = report
        self.dist = dist
        self.fleet = Fleet(machine)
        self.before = files.listing(machine.root)
        self.installed = self.way(machine, dist)

    def step(self, name, work):
        return self.report.step(self.machine, name, work)

    def needed(self, name, work):
        """A step that later ones build on: it runs with any --only, and ends the test if it fails."""
        return self.report.step(self.machine, name, work, needed=True)

    def run(self):
        if self.begins():
            self.is_hardened()
            self.lives()
            self.changes()
            self.reboots()
            self.ends()

    # To be said by each

    def install(self, component):
        raise NotImplementedError

    def install_second(self):
        raise NotImplementedError

    def install_all(self):
        raise NotImplementedError

    def again(self):
        """Installs everything once more, and looks that nothing comes of it."""
        raise NotImplementedError

    def changes(self):
        """Other versions, and what is refused."""
        raise NotImplementedError

    def remove_all(self):
        raise NotImplementedError

    def purge_workers(self):
        raise NotImplementedError

    def purge_all(self):
        raise NotImplementedError

    # What all have

    def begins(self):
        fleet = self.fleet
        if not (self.needed("the manager is enabled and not started", lambda: self.install_and_look("manager", MANAGER))
                and self.needed("the manager is ready soon", lambda: install.manager_is_ready(fleet))
                and self.needed("the worker is enabled and not started", lambda: self.install_and_look("worker", WORKER))):
            return False
        self.step("a worker that has not joined ends with 78", lambda: install.not_joined(fleet, WORKER))
        if not (self.needed("the worker joins", lambda: install.worker_joins(fleet))
                and self.needed("a second worker", lambda: install.second_worker(fleet, self.second_and_look))):
            return False
        self.step("modes and owners", lambda: install.modes(self.machine))
        self.step("installed again, nothing changes", self.again)
        self.step("tasks run on both workers", lambda: install.end_to_end(fleet))
        self.step("scores, and nothing that systemd warns of", lambda: install.gates(self.machine, UNITS))
        return True

    def install_and_look(self, component, unit):
        self.install(component)
        install.is_enabled_and_not_started(self.machine, unit)

    def second_and_look(self):
        self.install_second()
        install.is_enabled_and_not_started(self.machine, SECOND)

    def is_hardened(self):
        fleet, step, programs = self.fleet, self.step, self.installed.programs
        for name, line, says in hardening.WORKS:
            step(f"a task runs {name}", lambda line=line, says=says: hardening.works(fleet, line, says))
        for name, line in hardening.OUT_OF_REACH:
            step(f"a task can't {name}", lambda line=line: hardening.is_out_of_reach(fleet, line))
        step("a task writes nowhere else", lambda: hardening.tasks_write_nowhere_else(fleet, programs))
        step("services have no capability", lambda: hardening.services_have_no_capability(fleet))
        step("services see and write little", lambda: hardening.services_see_little(fleet, programs))
        step("a task has a control group of its own", lambda: hardening.task_has_its_own_group(fleet))
        step("nothing outlives its task", lambda: hardening.nothing_outlives_its_task(fleet))
        step("what has ended is reaped", lambda: hardening.what_has_ended_is_reaped(fleet))
        step("out of memory ends one task", lambda: hardening.out_of_memory_ends_one_task(fleet))

    def lives(self):
        fleet, step = self.fleet, self.step
        step("the manager is killed", lambda: living.killed(fleet, MANAGER))
        step("a worker is killed", lambda: living.killed(fleet, WORKER))
        step("frozen services", lambda: living.frozen(fleet, [MANAGER, SECOND]))
        for unit, name in ((MANAGER, "manager"), (SECOND, "worker-two")):
            step(f"reload of a broken config-{name}.json",
                 lambda unit=unit, name=name: living.reload_of_a_broken_configuration(fleet, unit, name))
        step("logrotate under load", lambda: living.rotated_under_load(fleet))
        step("a stop drains", lambda: living.stop_drains(fleet))
        step("manager unreachable for a minute", lambda: living.manager_unreachable(fleet))
        for name in living.DROP_INS:
            step(f"drop-in {name}", lambda name=name: living.each_drop_in(fleet, name, self.installed.drop_ins))
        step("control script", lambda: control.is_like_an_init_script(fleet))
        step("logs are followed until Ctrl-C", lambda: control.logs_are_followed(fleet))

    def reboots(self):
        self.step("reboot", lambda: living.rebooted(self.fleet))

    def ends(self):
        self.step("removed, installed again", lambda: remove.removed_and_again(self.fleet, self.remove_all, self.install_all))
        self.step("purge of the workers leaves the manager",
                  lambda: remove.purge_of_the_workers_leaves_the_manager(self.fleet, self.purge_workers))
        self.step("purge of all leaves nothing", lambda: [self.purge_all(), remove.nothing_is_left(self.machine, self.before)])
