"""The machine that gets the Debian packages."""

import files
import steps_hardening as hardening
import steps_install as install
import steps_living as living
import steps_packages as packaged
import steps_remove as remove
from fleet import MANAGER, SECOND, UNITS, WORKER, Fleet
from installed import Packages


def run_deb(machine, report, dist):
    """All steps. What later ones build on is needed: it runs with any --only, and ends the machine if it fails."""
    fleet = Fleet(machine)
    before = files.listing(machine.root)
    packages = Packages(machine, dist)

    def step(name, work, needed=False):
        return report.step(machine, name, work, needed)

    def needed(name, work):
        return step(name, work, needed=True)

    def first_install():
        packages.install(*packages.files)
        for unit in (MANAGER, WORKER):
            install.is_enabled_and_not_started(machine, unit)

    if not (needed("packages are installed: enabled, not started", first_install)
            and needed("the manager is ready soon", lambda: install.manager_is_ready(fleet))):
        return
    step("a worker that has not joined ends with 78", lambda: install.not_joined(fleet, WORKER))
    if not (needed("the worker joins", lambda: install.worker_joins(fleet))
            and needed("a second worker", lambda: install.second_worker(fleet, lambda: packaged.second(fleet)))):
        return
    step("modes and owners", lambda: install.modes(machine))
    step("installed again, nothing changes", lambda: packaged.again(fleet, packages))
    step("tasks run on both workers", lambda: install.end_to_end(fleet))
    step("scores, and nothing that systemd warns of", lambda: install.gates(machine, UNITS))
    step("services have no capability", lambda: hardening.services_have_no_capability(fleet))
    step("the manager is killed", lambda: living.killed(fleet, MANAGER))
    for name in living.DROP_INS:
        step(f"drop-in {name}", lambda name=name: living.each_drop_in(fleet, name, packages.drop_ins))
    step("reboot", lambda: living.rebooted(fleet))
    step("an archive over packages is refused", lambda: packaged.archive_is_refused(machine, dist))
    step("upgrade", lambda: packaged.upgrade(fleet, packages))
    step("removed, installed again", lambda: packaged.removed_and_again(fleet, packages))
    step("disabled stays disabled, masked stays masked", lambda: packaged.disabled_stays_disabled(fleet, packages))
    step("purge of the worker leaves the manager", lambda: remove.purge_of_the_workers_leaves_the_manager(
        fleet, lambda: packages.remove("purge", "task-messenger-worker")))
    step("purge of all leaves nothing", lambda: [
        packages.remove("purge", *reversed(packages.files)), remove.nothing_is_left(machine, before)])
