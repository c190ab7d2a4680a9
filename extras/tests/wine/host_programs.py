"""TaskMessenger on the Linux machine that the test runs on: a manager, a worker, the client."""

import json
import os
import subprocess
import time

from report import Failure
from service import free_port

REPOSITORY = os.path.realpath(os.path.join(os.path.dirname(__file__), "../../.."))
NAMES = ["task-messenger", "task-messenger-manager", "task-messenger-worker"]


def directory_of_programs(chosen):
    """Where the programs are: what was chosen, else what is built of this checkout, which takes no time if nothing has changed."""
    if chosen:
        if not all(os.access(os.path.join(chosen, name), os.X_OK) for name in NAMES):
            raise Failure(f"{chosen} has not all of {', '.join(NAMES)}")
        return os.path.realpath(chosen)
    begin = time.monotonic()
    packages = ["-p", "task-messenger-cli", "-p", "task-messenger-manager", "-p", "task-messenger-worker"]
    subprocess.run(["cargo", "build", "--quiet", *packages], cwd=REPOSITORY, check=True)
    print(f"programs for Linux: {time.monotonic() - begin:.1f} s", flush=True)
    return os.path.join(REPOSITORY, os.environ.get("CARGO_TARGET_DIR", "target"), "debug")


class Daemon:
    """A manager or worker of the Linux machine, as a process of the test."""

    def __init__(self, machine, programs, component, **settings):
        self.machine = machine
        self.program = os.path.join(programs, f"task-messenger-{component}")
        self.directory = os.path.join(machine.directory, f"linux-{component}")
        os.mkdir(self.directory)
        self.file = os.path.join(self.directory, "config.json")
        with open(self.file, "w", encoding="utf-8") as file:
            json.dump({"state_directory": os.path.join(self.directory, "state"), "http": None, **settings}, file)

    def start(self):
        with open(os.path.join(self.directory, "log"), "ab") as log:
            self.machine.start(self.program, "run", "--config", self.file, output=log)

    def call(self, *words):
        return self.machine.must(self.program, *words, "--config", self.file)

    def token(self, role):
        return self.call("token", "create", "--role", role).text.strip()


class LinuxManager(Daemon):
    def __init__(self, machine, programs):
        self.address = f"127.0.0.1:{free_port()}"
        super().__init__(machine, programs, "manager", listen=[self.address], advertise=[self.address])

    def listens(self):
        """Whether its commands find it: it has its port somewhat earlier."""
        return os.path.exists(os.path.join(self.directory, "state", "listening.json"))


class LinuxWorker(Daemon):
    def __init__(self, machine, programs):
        super().__init__(machine, programs, "worker", slots=4)

    def join(self, token):
        path = os.path.join(self.directory, "token")
        with open(path, "w", encoding="utf-8") as file:
            file.write(token)
        self.call("join", f"@{path}")


class Client:
    """The client of one manager."""

    def __init__(self, machine, programs, name):
        self.machine = machine
        self.program = os.path.join(programs, "task-messenger")
        self.credential = os.path.join(machine.directory, f"client-{name}.json")

    def words(self, *words):
        return [self.program, *words[:1], "--credential", self.credential, *words[1:]]

    def call(self, *words, check=True, timeout=120):
        return self.machine.host(*self.words(*words), check=check, timeout=timeout)

    def log_in(self, token):
        path = self.credential + ".token"
        with open(path, "w", encoding="utf-8") as file:
            file.write(token)
        self.call("login", f"@{path}")

    def status(self):
        return json.loads(self.call("status", "--json").text)

    def connected(self, workers, seconds=60):
        self.machine.wait(f"{workers} workers to be connected", lambda: self.status()["workers_connected"] == workers, seconds)

    def task(self, *words, options=(), check=True):
        """Runs one task, and is like its program."""
        return self.call("submit", "--wait", "--timeout", "60s", *options, "--", *words, check=check)

    def submit(self, *words, options=()):
        return self.call("submit", *options, "--", *words).text.strip()

    def show(self, task):
        return json.loads(self.call("show", task, "--json").text)

    def await_state(self, task, state, seconds=60):
        return self.machine.wait(f"task {task} to be {state}", lambda: self.show(task)["state"] == state and self.show(task),
                                 seconds)

    def map(self, tasks, *words):
        """A `map` of so many tasks beside the test."""
        lines = os.path.join(self.machine.directory, "lines")
        with open(lines, "w", encoding="utf-8") as file:
            file.write("".join(f"{number}\n" for number in range(1, tasks + 1)))
        return Map(self, tasks, self.words("map", "--input", lines, "--", *words))


class Map:
    def __init__(self, client, tasks, words):
        self.machine = client.machine
        self.tasks = tasks
        self.path = os.path.join(self.machine.directory, "map")
        with open(self.path, "wb") as output:
            self.process = self.machine.start(*words, output=output)

    def runs(self):
        return self.process.poll() is None

    def end(self, seconds=120):
        """Waits for its end: each task must have said its number, once."""
        self.machine.wait("the end of the map", lambda: not self.runs(), seconds)
        with open(self.path, encoding="utf-8") as file:
            said = [line for line in file.read().splitlines() if line.isdigit()]
        if self.process.returncode != 0 or sorted(said, key=int) != [str(number) for number in range(1, self.tasks + 1)]:
            raise Failure(f"map ended with {self.process.returncode}, {len(said)} tasks spoke\n{' '.join(said)[-1500:]}")
