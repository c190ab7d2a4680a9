"""Services that Windows' own service manager runs."""

import steps_failing as failing
import steps_living as living
import steps_stop as stop
from scenario_nssm import NssmScenario


class NativeScenario(NssmScenario):
    """The same steps, but for those that are NSSM's own, and a restart after a crash, which Wine's service manager knows not."""

    mode = "native"

    def settings(self):
        """All of them are in the registry."""

    def fails(self):
        self.step("ends with 78: a worker that has not joined", failing.not_joined)
        self.step("ends with 78: a wrong configuration", failing.wrong_configuration)
        self.step("one that fails says no word of it", failing.one_that_fails_says_no_word)

    def lives(self):
        self.step("reload", living.reloads)
        self.step("the program turns its log over", living.rotated_by_the_program)

    def stops(self):
        self.needed("a stop drains", stop.stop_drains)
        if self.needed("the manager and another worker", stop.others_start):
            self.step("a stop ends what takes too long", stop.stop_ends_what_takes_too_long)
        self.needed("both workers start", stop.all_start)
        self.step("killed, and back after a reboot", living.killed_and_rebooted)

    def changes_its_mode(self):
        """There would be NSSM for it alone."""
