"""The machine that gets the Debian packages."""

import steps_packages as packaged
from installed import Packages
from scenario import Scenario


class DebScenario(Scenario):
    way = Packages

    def install(self, component):
        both = {"manager": ["task-messenger", "task-messenger-manager"], "worker": ["task-messenger-worker"]}
        self.installed.install(*both[component])

    def install_second(self):
        packaged.second(self.fleet)

    def install_all(self):
        self.installed.install(*self.installed.files)

    def again(self):
        packaged.again(self.fleet, self.installed)

    def changes(self):
        fleet, packages, step = self.fleet, self.installed, self.step
        step("an archive over packages is refused", lambda: packaged.archive_is_refused(self.machine, self.dist))
        step("upgrade", lambda: packaged.upgrade(fleet, packages))
        step("downgrade over a newer store restarts nothing", lambda: packaged.refuses_the_store(fleet, packages))
        step("upgrade that refuses the configuration restarts nothing",
             lambda: packaged.refuses_the_configuration(fleet, packages))
        step("disabled stays disabled, masked stays masked", lambda: packaged.disabled_stays_disabled(fleet, packages))

    def remove_all(self):
        self.installed.remove("remove", *self.installed.files)

    def purge_workers(self):
        self.installed.remove("purge", "task-messenger-worker")

    def purge_all(self):
        self.installed.remove("purge", "task-messenger-manager", "task-messenger")
