"""TaskMessenger on a machine, as its operator uses it: configuration, tokens, tasks, what the services say."""

import json
import re

from base import ADDRESS
from report import Failure

MANAGER = "task-messenger-manager.service"
WORKER = "task-messenger-worker.service"
SECOND = "task-messenger-worker@two.service"
UNITS = [MANAGER, WORKER, SECOND]
# What the test itself brings along; below /root, where an uninstalling has nothing to look for.
OWN = "/root/test"
CLIENT = f"task-messenger --credential {OWN}/client.json"


class Fleet:
    """The manager and the workers of one machine."""

    def __init__(self, machine):
        self.machine = machine
        self.settings = {}

    # Configuration

    def configure(self, name, **values):
        """Writes config-NAME.json. Its owner and mode stay."""
        path = f"/etc/task-messenger/config-{name}.json"
        settings = {"state_directory": f"/var/lib/task-messenger/{name}"}
        if name == "manager":
            settings["advertise"] = [f"{ADDRESS}:7400"]
        else:
            settings["credential_file"] = f"/etc/task-messenger/{name}.credential"
            settings["slots"] = 4
        if name.startswith("worker-"):
            settings["http"] = None
        with open(self.machine.place(path), "w", encoding="utf-8") as file:
            json.dump({**settings, **values}, file, indent=2)

    def token(self, role):
        """A new token's file."""
        path = f"{OWN}/{role}.token"
        text = self.machine.run(f"task-messenger-manager token create --role {role}").text
        self.machine.write(path, text, 0o600)
        return path

    def log_in(self):
        self.machine.run(f"{CLIENT} login @{self.token('client')}")

    # Tasks

    def client(self, line, **options):
        """A command of the client's."""
        return self.machine.run(f"{CLIENT} {line}", **options)

    def task(self, words, options="", check=True, timeout=60):
        """Runs one task, and is like its program: its output, its exit code."""
        if isinstance(words, str):
            words = ["sh", "-c", words]
        quoted = " ".join("'" + word.replace("'", "'\\''") + "'" for word in words)
        return self.machine.run(f"{CLIENT} submit --wait --timeout {timeout}s {options} -- {quoted}", check=check,
                                timeout=timeout + 60)

    def submit(self, line, options=""):
        """Submits a line of the shell; its task's name."""
        quoted = "'" + line.replace("'", "'\\''") + "'"
        return self.client(f"submit {options} -- sh -c {quoted}").text.strip()

    def show(self, task):
        return json.loads(self.client(f"show {task} --json").text)

    def status(self):
        return json.loads(self.client("status --json").text)

    def connected(self):
        done = self.client("status --json", check=False)
        try:
            return json.loads(done.text)["workers_connected"]
        except (ValueError, KeyError):
            return -1

    def await_state(self, task, state, seconds=30):
        return self.machine.wait(f"task {task} to be {state}", lambda: self.show(task)["state"] == state, seconds)

    def map(self, tasks, line, output):
        """Starts a `map` of so many tasks beside the test."""
        return self.machine.start(f"seq {tasks} | {CLIENT} map -- sh -c '{line}' task", output)

    def end_map(self, process, output, tasks, seconds=120):
        """Waits for its end. Each task must have said its number, once."""
        self.machine.wait("the end of the map", lambda: process.poll() is not None, seconds)
        text = self.machine.output(output)
        numbers = sorted(int(word) for word in re.findall(r"^(\d+)$", text, re.MULTILINE))
        if process.returncode != 0 or numbers != list(range(1, tasks + 1)):
            raise Failure(f"map ended with {process.returncode}, {len(numbers)} of {tasks} tasks spoke\n{text[-1500:]}")

    # Services

    def start(self, unit):
        """Starts a service; the seconds until it was ready."""
        return self.timed(f"systemctl start {unit}")

    def timed(self, line):
        text = self.machine.run(f"TIMEFORMAT=%R; time {line}").text
        return float(text.split()[-1])

    def all_active(self, units):
        return all(self.machine.is_active(unit) for unit in units)

    def ready(self, units=None, seconds=60):
        """Waits until the services run and the workers are connected."""
        units = units or UNITS
        self.machine.wait(f"{units} to be active", lambda: self.all_active(units), seconds)
        workers = [unit for unit in units if unit != MANAGER]
        self.machine.wait(f"{workers} to be connected", lambda: self.connected() >= len(workers) and all(
            self.said(unit).startswith("connected") for unit in workers), seconds)

    def restart(self, *units):
        self.machine.run(["systemctl", "restart", *units])

    def main(self, unit):
        return int(self.machine.show(unit, "MainPID"))

    def said(self, unit):
        """The sentence that it tells of itself."""
        return self.machine.show(unit, "StatusText")
