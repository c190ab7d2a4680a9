"""A Windows machine as Wine has it: a prefix of its own, its programs, its services."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

from report import Failure, Result

WINE_SECONDS = 120


class Prefix:
    """One machine. It ends with the test."""

    def __init__(self, name, directory, tools):
        self.name = name
        self.directory = os.path.join(directory, name)
        os.mkdir(self.directory)
        # Wine makes access lists of the permissions here: what gets no list of its own can be read by others.
        os.umask(0o022)
        self.root = os.path.join(self.directory, "prefix")
        self.tools = tools
        self.holder = None
        self.started = []
        # Whatever else is in it, like a TASK_MESSENGER_CONFIG, is not this machine's.
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": self.directory, "LC_ALL": "C.UTF-8", "WINEPREFIX": self.root,
            "WINEDEBUG": os.environ.get("WINEDEBUG", "-all"), "WINEDLLOVERRIDES": "mscoree,mshtml=",
        }

    # Power

    def boot(self):
        """Makes the prefix on the first boot, and waits until its services can be used."""
        if not os.path.isdir(self.root):
            self.must("wineboot", "-i")
            shutil.copy(self.tools.path("bcryptprimitives.dll"), self.place("C:\\windows\\system32\\bcryptprimitives.dll"))
            shutil.copy(self.tools.path("kill.exe"), self.place("C:\\kill.exe"))
            # Services that are made while the first Wine still goes are lost.
            self.server("-w")
        # Wine shuts down as soon as no ordinary process is left; a service doesn't count.
        self.holder = subprocess.Popen(
            ["wine", "cmd", "/c", "ping -n 100000 127.0.0.1 >nul"], env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.wait("its service manager", lambda: self.run("sc", "query", "RpcSs", check=False).code == 0)

    def shut_down(self):
        """As if the power failed: no process gets to know of it."""
        self.server("-k")
        self.holder.wait()
        self.holder = None
        self.server("-w")

    def reboot(self):
        self.shut_down()
        self.boot()

    def server(self, option):
        self.must("wineserver", option)

    def end(self):
        """Ends all that runs in it, and removes it."""
        for process in self.started:
            process.kill()
            process.wait()
        if os.path.isdir(self.root):
            subprocess.run(["wineserver", "-k"], env=self.environment, check=False, timeout=WINE_SECONDS,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if self.holder:
            self.holder.kill()
            self.holder.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    # Files

    def place(self, path):
        """Where a path of drive C lies here."""
        if not path.startswith("C:\\"):
            raise ValueError(f"not on drive C: {path}")
        return os.path.join(self.root, "drive_c", *path[len("C:\\"):].split("\\"))

    @staticmethod
    def windows(path):
        """What a path of this machine is called there."""
        return "Z:" + os.path.abspath(path).replace("/", "\\")

    def exists(self, path):
        return os.path.lexists(self.place(path))

    def mode(self, path):
        return os.stat(self.place(path)).st_mode

    def read(self, path):
        with open(self.place(path), encoding="utf-8", errors="replace") as file:
            return file.read()

    def write(self, path, text):
        os.makedirs(os.path.dirname(self.place(path)), exist_ok=True)
        with open(self.place(path), "w", encoding="utf-8") as file:
            file.write(text)

    def copy(self, source, path):
        os.makedirs(os.path.dirname(self.place(path)), exist_ok=True)
        shutil.copy(source, self.place(path))

    def listing(self):
        """What is installed and kept: each file with its size and time, and what services' keys and values say of TaskMessenger."""
        found = {}
        for top in ("C:\\Program Files\\TaskMessenger", "C:\\ProgramData\\TaskMessenger"):
            for directory, _, names in os.walk(self.place(top)):
                found[directory] = "directory"
                for name in names:
                    state = os.stat(os.path.join(directory, name))
                    found[os.path.join(directory, name)] = f"{state.st_size} {state.st_mtime_ns}"
        key = ""
        for line in self.run("reg", "query", "HKLM\\SYSTEM\\CurrentControlSet\\Services", "/s").text.splitlines():
            key = line if line.startswith("HKEY") else key
            # NSSM's own source of events is known by its value alone, the path of its program.
            if "TaskMessenger" in key or "TaskMessenger" in line:
                found[f"{key}: {line.strip()}"] = "registry"
        return found

    def processes(self, word):
        """The processes of this prefix with a word in their command line, by their numbers here."""
        found = {}
        for number in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{number}/cmdline", "rb") as file:
                    line = file.read().replace(b"\0", b" ").decode("utf-8", "replace")
                with open(f"/proc/{number}/environ", "rb") as file:
                    is_here = f"WINEPREFIX={self.root}\0".encode() in file.read() + b"\0"
            except OSError:
                continue
            if is_here and word in line and "\\" in line:
                found[int(number)] = line.strip()
        return found

    # Commands

    def run(self, *command, check=True, timeout=WINE_SECONDS, environment=None, directory=None):
        """Runs a program of Windows. Never through a pipe, which every service that it starts would inherit."""
        return self.host("wine", *command, check=check, timeout=timeout, environment=environment, directory=directory)

    def must(self, *command):
        return self.host(*command, check=True, timeout=WINE_SECONDS)

    def host(self, *command, check=True, timeout=WINE_SECONDS, environment=None, directory=None):
        """Runs a program of this machine's with the prefix as its environment."""
        with tempfile.TemporaryFile(dir=self.directory) as output:
            process = subprocess.Popen(command, env={**self.environment, **(environment or {})}, stdin=subprocess.DEVNULL,
                                       stdout=output, stderr=output, start_new_session=True, cwd=directory)
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise Failure(f"not ended within {timeout} s: {' '.join(command)}\n{text_of(output)}") from None
            text = text_of(output)
        if check and code != 0:
            raise Failure(f"ended with {code}: {' '.join(command)}\n{text}")
        return Result(code, text)

    def start(self, *command, output=subprocess.DEVNULL, environment=None):
        """Starts a program of this machine's, which ends with the test."""
        process = subprocess.Popen(command, env={**self.environment, **(environment or {})}, stdin=subprocess.DEVNULL, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
        self.started.append(process)
        return process

    def kill(self, process):
        """Ends a process of Windows by its number there, as a crash does."""
        self.run("C:\\kill.exe", str(process))

    @staticmethod
    def together(*calls):
        """Does all at the same time; what came of each."""
        with ThreadPoolExecutor(len(calls)) as pool:
            return [future.result() for future in [pool.submit(call) for call in calls]]

    # Waiting

    @staticmethod
    def wait(what, holds, seconds=60):
        """Waits until something holds; its last value."""
        end = time.monotonic() + seconds
        while True:
            value = holds()
            if value:
                return value
            if time.monotonic() > end:
                raise Failure(f"not within {seconds} s: {what}")
            time.sleep(0.2)

    # Reports

    def state(self):
        """What runs, and the ends of all logs, for a step that failed."""
        running = {**self.processes("TaskMessenger"), **self.processes("nssm.exe")}
        parts = [f"{number} {line[:200]}" for number, line in running.items()]
        for directory, _, files in os.walk(self.place("C:\\ProgramData\\TaskMessenger")):
            for name in sorted(files):
                if name.endswith(".log"):
                    with open(os.path.join(directory, name), "rb") as file:
                        lines = file.read().decode("utf-8", "replace").replace("\0", "").splitlines()
                    parts += [f"--- {name}", *(line[:300] for line in lines[-12:])]
        return "\n".join(parts) or "nothing runs, and there is no log"


def text_of(file):
    """What was written to a file; some programs of Windows write UTF-16."""
    file.seek(0)
    return file.read().replace(b"\0", b"").replace(b"\r", b"").decode("utf-8", "replace")
