"""A component on the machine: its unpacked archive, its program, its service."""

import glob
import json
import os
import re
import socket
import zipfile

from report import Failure

PROGRAMS = "C:\\Program Files\\TaskMessenger"
DATA = "C:\\ProgramData\\TaskMessenger"
TOKEN = "C:\\a token.txt"
# Where archives are unpacked: a path with a blank and letters beyond ASCII.
DOWNLOADS = "C:\\Größe und Maß"
# Once in thousands of times a program that Wine 8 starts is dead before it begins (`NtCreateUserProcess` says an internal error).
STILLBORN = "(os error 1359)"
NSSM = f"{PROGRAMS}\\nssm\\nssm.exe"
NAMES = {"manager": "TaskMessengerManager", "worker": "TaskMessengerWorker"}


def find(dist, pattern):
    found = sorted(glob.glob(os.path.join(dist, pattern)))
    if len(found) != 1:
        raise Failure(f"there must be one {pattern} in {dist}, not {len(found)}: {found}")
    return found[0]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Service:
    """The service of a component, or of another worker, `instance`."""

    def __init__(self, machine, dist, component, mode, instance=None):
        self.machine = machine
        self.component = component
        self.mode = mode
        self.instance = ["--instance", instance] if instance else []
        self.key = f"{component}-{instance}" if instance else component
        self.name = f"{NAMES[component]}-{instance}" if instance else NAMES[component]
        archive = find(dist, f"task-messenger-{component}-v*-windows-x64.zip")
        self.archive = f"{DOWNLOADS}\\{os.path.basename(archive)[:-len('.zip')]}"
        if not os.path.isdir(machine.place(self.archive)):
            with zipfile.ZipFile(archive) as file:
                file.extractall(machine.place(DOWNLOADS))
        self.ports = {"http": {"listen": f"127.0.0.1:{free_port()}"}}
        if component == "manager":
            self.port = free_port()
            self.address = f"127.0.0.1:{self.port}"
            self.ports |= {"listen": [self.address], "advertise": [self.address]}
        self.program = f"task-messenger-{component}.exe"
        self.configuration = f"{DATA}\\config\\config-{self.key}.json"
        self.state_directory = f"{DATA}\\{self.key}"
        self.logs = f"{DATA}\\logs\\{self.key}"
        self.log = f"{self.logs}\\task-messenger-{component}.log"

    def install(self, *options, top=None, check=True, program=None):
        """Installs from the unpacked archive, or another one, `top`. Wine has no other account than LocalSystem."""
        mode = ["--native"] if self.mode == "native" else ["--nssm", self.machine.windows(self.machine.tools.nssm)]
        path = f"{top or self.archive}\\bin\\{program or self.program}"
        words = (path, "service", "install", *self.instance, *mode, "--account", "LocalSystem", *options)
        done = self.machine.run(*words, check=False)
        if STILLBORN in done.text:
            # All was undone then; so it can be done again.
            done = self.machine.run(*words, check=False)
        if check and done.code != 0:
            raise Failure(f"ended with {done.code}: {' '.join(words)}\n{done.text}")
        return done

    def call(self, *words, check=True, timeout=120, top=None):
        """The installed program, as an administrator calls it, or that of an archive, `top`."""
        top = top or f"{PROGRAMS}\\{self.component}"
        return self.machine.run(f"{top}\\bin\\{self.program}", *words, check=check, timeout=timeout)

    def service(self, verb, *options, check=True, timeout=120, top=None):
        return self.call("service", verb, *self.instance, *options, check=check, timeout=timeout, top=top)

    def status(self):
        return json.loads(self.service("status", "--json", check=False).text)

    def wait_for(self, state, seconds=60):
        return self.machine.wait(f"{self.name} is {state}", lambda: self.status()["state"] == state and self.status(), seconds)

    def configure(self, **values):
        """Writes its configuration: what the installed one has, ports that are free here, and these values."""
        settings = {"state_directory": self.state_directory, "log": {"file": self.log}, **self.ports, **values}
        self.machine.write(self.configuration, json.dumps(settings, indent=2))

    def start(self):
        return self.service("start", timeout=150)

    def stop(self):
        return self.service("stop", timeout=150)

    def join(self, token):
        """Joins with a token, as an administrator does."""
        self.machine.write(TOKEN, token)
        self.call("join", *self.instance, "@" + TOKEN)

    def pid(self):
        """The number of the program's process; None if there is none."""
        if self.mode == "native":
            return self.status()["pid"]
        text = self.machine.run(NSSM, "processes", self.name, check=False).text
        found = re.search(rf"^\s*(\d+)\s.*{re.escape(self.program)}", text, re.MULTILINE)
        return int(found.group(1)) if found else None

    def kill(self):
        """Ends its process as a crash does; its number."""
        pid = self.pid()
        self.machine.kill(pid)
        return pid

    def said(self):
        """All that its logs say, the oldest files first."""
        directory = self.machine.place(self.logs)
        names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
        return "".join(self.machine.read(f"{self.logs}\\{name}") for name in names)

    def remove_logs(self):
        """Later steps look into them for what it does when it can run."""
        for name in os.listdir(self.machine.place(self.logs)):
            os.remove(self.machine.place(f"{self.logs}\\{name}"))
