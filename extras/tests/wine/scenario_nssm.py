"""Services run by NSSM."""

from service import Service


class NssmScenario:
    """What is shown with NSSM."""

    mode = "nssm"

    def __init__(self, machine, report, dist):
        self.machine = machine
        self.report = report
        self.manager = Service(machine, dist, "manager", self.mode)
        self.worker = Service(machine, dist, "worker", self.mode)

    def run(self):
        self.report.step(self.machine, "installs", self.installs, needed=True)

    def installs(self):
        done = self.manager.install("--dry-run")
        print(done.text)
        done = self.manager.install()
        print(done.text)
        print(self.manager.status())
