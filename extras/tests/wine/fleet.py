"""All that one machine's test has: its services, managers and workers of the Linux machine beside it, their clients."""

from host_programs import Client, LinuxManager, LinuxWorker
from service import DOWNLOADS, NSSM, Service

# What tasks run: its place has blanks and letters beyond ASCII.
TASK = "C:\\Werk zeug\\Prüfung.exe"
# Words that a command line easily loses.
WORDS = ["zwei Wörter", "日本語", 'a "quoted" word', "back\\slash\\", ""]


class Fleet:
    def __init__(self, machine, dist, mode, programs):
        self.machine = machine
        self.mode = mode
        self.programs = programs
        self.manager = Service(machine, dist, "manager", mode)
        self.worker = Service(machine, dist, "worker", mode)
        self.second = Service(machine, dist, "worker", mode, "two")
        # What it keeps, and its log, have blanks and letters beyond ASCII in their paths.
        self.second.state_directory = f"{DOWNLOADS}\\Zustand der Zweiten"
        self.second.log = f"{DOWNLOADS}\\Protokolle für später\\Zweite.log"
        self.services = [self.manager, self.worker, self.second]
        self.client = Client(machine, programs, "windows")
        self.linux_manager = LinuxManager(machine, programs)
        self.linux_worker = LinuxWorker(machine, programs)
        self.linux_client = Client(machine, programs, "linux")
        machine.copy(machine.tools.path("task.exe"), TASK)

    def token(self, role):
        """A token of the manager on this machine."""
        return self.manager.call("token", "create", "--role", role).text.strip()

    def states(self):
        return {service.name: (service.status()["state"], service.pid()) for service in self.services}

    def family(self):
        """The processes of tasks."""
        return self.machine.processes("Prüfung.exe")

    def nssm(self, *words, check=True):
        return self.machine.run(NSSM, *words, check=check)
