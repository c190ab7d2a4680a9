"""The PowerShell scripts, run for real: with the real NSSM, the real programs, and Wine's service manager."""

import steps_scripts_control as control
import steps_scripts_install as install
import steps_scripts_refused as refused
import steps_scripts_remove as remove
from scripts import MINE, Scripts
from service import Service


class Scripted:
    """What the steps need: the scripts, the services that they install, and where tokens are put."""

    def __init__(self, machine, dist):
        self.machine = machine
        self.scripts = Scripts(machine)
        self.manager = Service(machine, dist, "manager", "nssm")
        self.worker = Service(machine, dist, "worker", "nssm")
        self.gpu = Service(machine, dist, "worker", "nssm", "gpu")
        self.token = f"{MINE}\\ein Token.txt"

    def new_token(self, role):
        """Puts a token of the manager's into a file."""
        self.machine.write(self.token, self.manager.call("token", "create", "--role", role).text)

    def task(self):
        """A task goes from a client of Windows to a worker and back."""
        client = f"{self.manager.archive}\\bin\\task-messenger.exe"
        return self.machine.run(client, "submit", "--wait", "--", "cmd", "/c", "echo it works").text


class ScriptsScenario:
    def __init__(self, machine, report, dist, _programs=None):
        self.machine = machine
        self.report = report
        self.all = Scripted(machine, dist)

    def step(self, name, work, needed=False):
        return self.report.step(self.machine, name, lambda: work(self.all), needed)

    def run(self):
        if not self.step("PowerShell", lambda all_of_it: all_of_it.scripts.prepare(), needed=True):
            return
        self.step("refused: command lines that make no sense", refused.command_lines)
        self.step("refused: another NSSM", refused.another_nssm)
        self.step("refused: archives that lack something", refused.archives)
        self.step("refused: a machine that isn't safe", refused.machines)
        self.step("nothing is installed", refused.nothing_is_there)
        self.step("a dry run changes nothing", install.dry_run_changes_nothing)
        if not self.step("the manager installed, and not started", install.manager, needed=True):
            return
        self.step("installed again, nothing changes", install.again_changes_nothing)
        if not self.step("start", install.manager_starts, needed=True):
            return
        self.step("NSSM of an installation, and another one", install.another_nssm_is_allowed)
        if not self.step("workers that join with a token's file", install.workers, needed=True):
            return
        self.step("status of all", control.status)
        self.step("a task", control.task)
        self.step("logs", control.logs)
        self.step("logs -Follow", control.logs_are_followed)
        self.step("reload", control.reload)
        self.step("crash-looping, and back", control.crash_looping)
        self.step("a wrong configuration", control.wrong_configuration)
        self.step("upgrade", install.upgrade)
        self.step("an upgrade that refuses what is kept", install.refused_upgrade)
        self.step("restart, and stop", control.restart_and_stop)
        self.step("removed: one of them, and what it had stays", remove.one)
        self.step("purged: nothing is left", remove.purged)
        self.step("-Native", remove.native)
