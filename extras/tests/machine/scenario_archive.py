"""The machine that gets the archives."""

import steps_install as install
import steps_interrupted as interrupted
import steps_upgrade as upgrade
import steps_user as user
from fleet import SECOND
from installed import Archives
from scenario import Scenario


class ArchiveScenario(Scenario):
    way = Archives

    def install(self, component):
        self.installed.unpack(component)
        self.installed.install(component)

    def install_second(self):
        self.installed.install("worker", f"--instance two --slots 4 --join {self.fleet.token('worker')}")

    def install_all(self):
        for component, options in (("manager", ""), ("worker", ""), ("worker", "--instance two")):
            self.installed.install(component, options)

    def again(self):
        install.changes_nothing(self.machine, self.install_all)

    def changes(self):
        fleet, archives, step = self.fleet, self.installed, self.step
        step("a damaged archive is refused", lambda: upgrade.damaged(fleet, archives))
        step("packages over an archive are refused", lambda: upgrade.packages_are_refused(fleet, self.dist))
        step("upgrade of the manager", lambda: upgrade.newer_manager(fleet, archives))
        step("upgrade of the workers", lambda: upgrade.newer_worker(fleet, archives))
        step("upgrade of workers of which one is masked", lambda: upgrade.masked_worker(fleet, archives))
        step("upgrade that refuses the configuration", lambda: upgrade.one_that_refuses_the_configuration(fleet, archives))
        step("downgrade over a newer store is refused", lambda: upgrade.one_that_refuses_the_store(fleet, archives))
        step("downgrade over a newer outbox is refused", lambda: upgrade.one_that_refuses_the_outbox(fleet, archives))
        step("upgrade that never gets ready goes back", lambda: upgrade.one_that_never_gets_ready(fleet, archives))
        step("one installer at a time", lambda: interrupted.second_installer(fleet, archives))
        step("upgrade that is told to end is undone", lambda: interrupted.told_to_end(fleet, archives))
        step("upgrade that is killed is undone by the next run", lambda: interrupted.killed(fleet, archives))

    def reboots(self):
        fleet, machine, step = self.fleet, self.machine, self.step
        step("user service", lambda: [user.log_in_alice(machine), user.install_for_alice(fleet, self.installed)])
        super().reboots()
        step("user service after the reboot", lambda: user.is_back_without_login(fleet))
        step("user service removed", lambda: user.remove_for_alice(machine))

    def remove_all(self):
        self.installed.uninstall("all")

    def purge_workers(self):
        self.installed.uninstall("worker", "--purge")
        # A mask is a link below /etc, which must go too.
        self.machine.run(["systemctl", "mask", "-q", SECOND])
        self.installed.uninstall("worker", "--instance two --purge")

    def purge_all(self):
        self.installed.uninstall("all", "--purge")
