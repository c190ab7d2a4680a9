"""The machine that gets the archives: everything, from the first install to the last purge."""

import files
import steps_hardening as hardening
import steps_install as install
import steps_living as living
import steps_remove as remove
import steps_upgrade as upgrade
import steps_user as user
from fleet import MANAGER, SECOND, UNITS, WORKER, Fleet
from installed import Archives


def run_archive(machine, report, dist):
    """All steps. What later ones build on is needed: it runs with any --only, and ends the machine if it fails."""
    fleet = Fleet(machine)
    before = files.listing(machine.root)
    archives = Archives(machine, dist)

    def step(name, work, needed=False):
        return report.step(machine, name, work, needed)

    def needed(name, work):
        return step(name, work, needed=True)

    def install_manager():
        archives.unpack()
        archives.install("manager")
        install.is_enabled_and_not_started(machine, MANAGER)

    def install_worker():
        archives.install("worker")
        install.is_enabled_and_not_started(machine, WORKER)

    def install_second():
        archives.install("worker", f"--instance two --slots 4 --join {fleet.token('worker')}")
        install.is_enabled_and_not_started(machine, SECOND)

    def purge_workers():
        archives.uninstall("worker", "--purge")
        archives.uninstall("worker", "--instance two --purge")

    if not (needed("the manager is enabled and not started", install_manager)
            and needed("the manager is ready soon", lambda: install.manager_is_ready(fleet))
            and needed("the worker is enabled and not started", install_worker)):
        return
    step("a worker that has not joined ends with 78", lambda: install.not_joined(fleet, WORKER))
    if not (needed("the worker joins", lambda: install.worker_joins(fleet))
            and needed("a second worker", lambda: install.second_worker(fleet, install_second))):
        return
    step("modes and owners", lambda: install.modes(machine))
    step("installed again, nothing changes", lambda: install.changes_nothing(machine, lambda: [
        archives.install("manager"), archives.install("worker"), archives.install("worker", "--instance two")]))
    step("tasks run on both workers", lambda: install.end_to_end(fleet))
    step("scores, and nothing that systemd warns of", lambda: install.gates(machine, UNITS))
    hardening_steps(step, fleet, archives.programs)
    living_steps(step, fleet, archives.drop_ins)
    step("control script", lambda: upgrade.control(fleet))
    step("a damaged archive is refused", lambda: upgrade.damaged(fleet, archives))
    step("packages over an archive are refused", lambda: upgrade.packages_are_refused(fleet, dist))
    step("upgrade of the manager", lambda: upgrade.newer_manager(fleet, archives))
    step("upgrade of the workers", lambda: upgrade.newer_worker(fleet, archives))
    step("upgrade that refuses the configuration", lambda: upgrade.one_that_refuses_the_configuration(fleet, archives))
    step("upgrade that never gets ready goes back", lambda: upgrade.one_that_never_gets_ready(fleet, archives))

    def user_service():
        user.log_in_alice(machine)
        user.install_for_alice(fleet, archives)

    step("user service", user_service)
    step("reboot", lambda: living.rebooted(fleet))
    step("user service after the reboot", lambda: user.is_back_without_login(fleet))
    step("user service removed", lambda: user.remove_for_alice(machine))
    step("purge of the workers leaves the manager", lambda: remove.purge_of_the_workers_leaves_the_manager(fleet, purge_workers))
    step("removed, configuration and state stay", lambda: [archives.uninstall("all"), remove.stays_without_purge(machine, [
        "/etc/task-messenger/config-manager.json", "/var/lib/task-messenger/manager"])])
    step("purge of all leaves nothing", lambda: [
        archives.install("manager"), archives.uninstall("all", "--purge"), remove.nothing_is_left(machine, before)])


def hardening_steps(step, fleet, programs):
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


def living_steps(step, fleet, drop_ins):
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
        step(f"drop-in {name}", lambda name=name: living.each_drop_in(fleet, name, drop_ins))
