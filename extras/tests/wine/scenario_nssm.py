"""Services run by NSSM: all that a service goes through, from the first dry run to the last purge."""

import steps_failing as failing
import steps_install as install
import steps_living as living
import steps_remove as remove
import steps_stop as stop
import steps_tasks as tasks
import steps_upgrade as upgrade
from fleet import Fleet


class NssmScenario:
    mode = "nssm"

    def __init__(self, machine, report, dist, programs):
        self.machine = machine
        self.report = report
        self.fleet = Fleet(machine, dist, self.mode, programs)

    def step(self, name, work):
        return self.report.step(self.machine, name, lambda: work(self.fleet))

    def needed(self, name, work):
        """A step that later ones build on: it runs with any --only, and ends the test if it fails."""
        return self.report.step(self.machine, name, lambda: work(self.fleet), needed=True)

    def run(self):
        if self.begins():
            self.has_tasks()
            self.lives()
            self.stops()
            self.is_upgraded()
            self.ends()

    def begins(self):
        self.step("what is not installed", install.not_there)
        self.step("a dry run changes nothing", install.dry_run_changes_nothing)
        self.step("unsafe directories are refused", install.unsafe_directories_are_refused)
        self.step("an installation that fails leaves nothing", install.one_that_fails_leaves_nothing)
        if not self.needed("installed, and not started", install.installed_and_not_started):
            return False
        self.step("the registry has each setting", install.settings_are_in_the_registry)
        self.step("events have texts", install.events_have_texts)
        self.settings()
        self.step("installed again, nothing changes", install.again_changes_nothing)
        self.step("events are told", install.events_are_told)
        self.fails()
        return self.needed("manager and worker are ready", tasks.all_are_ready)

    def settings(self):
        self.step("NSSM gives back each setting", install.settings_are_those_of_the_data)

    def fails(self):
        self.step("one that always crashes is tried again", failing.always_crashes)
        self.step("ends with 78: a worker that has not joined", failing.not_joined)
        self.step("ends with 78: a wrong configuration", failing.wrong_configuration)
        self.step("ends with 78: they are not tried again", failing.are_not_tried_again)

    def has_tasks(self):
        self.step("secrets are private", install.secrets_are_private)
        self.step("tasks run on Windows, of a manager on Linux", tasks.on_windows)
        self.step("tasks run on Linux, of a manager on Windows", tasks.on_linux)
        self.step("the client on Windows", tasks.client_of_windows)
        self.step("nothing of a task is left", tasks.nothing_of_a_task_is_left)

    def lives(self):
        self.step("reload", living.reloads)
        self.step("the program turns its log over", living.rotated_by_the_program)
        self.step("killed, both come back", living.killed)
        self.step("one that always crashes is tried later and later", failing.waits_grow)

    def stops(self):
        self.step("events of a console drain", stop.console_events_drain)
        self.needed("a stop drains", stop.stop_drains)
        if self.needed("the manager and another worker", stop.others_start):
            self.step("NSSM turns its log over", living.rotated_by_nssm)
            self.step("a stop ends what takes too long", stop.stop_ends_what_takes_too_long)
        self.needed("both workers start", stop.all_start)
        self.step("the power fails", living.rebooted)

    def is_upgraded(self):
        self.step("newer versions", upgrade.newer)
        self.step("a version that can't run", upgrade.one_that_can_not_run)
        self.step("a version that refuses the configuration", upgrade.one_that_refuses_the_configuration)

    def ends(self):
        self.step("the installed program can't remove itself", remove.not_from_within)
        self.step("the manager removed and installed again", remove.removed_and_again)
        self.step("the other worker purged", remove.the_second_goes_alone)
        self.changes_its_mode()
        self.step("all purged, nothing is left", remove.purged)

    def changes_its_mode(self):
        self.step("without NSSM, and back", upgrade.to_native_and_back)
