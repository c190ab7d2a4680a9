"""A machine: a container that boots a real systemd on a copy of the base."""

import os
import shlex
import shutil
import signal
import subprocess
import time

import host
from cgroup import Groups
from report import Failure, Result

BOOT_SECONDS = 60
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Machine:
    """One machine. It ends with the test, and is not to be seen outside."""

    def __init__(self, name, base, workplace):
        self.name = name
        self.process = None
        self.leader = None
        self.started = []
        self.directory = os.path.join(workplace.disk, name)
        self.root = os.path.join(self.directory, "root")
        for part in ("upper", "work", "root"):
            os.makedirs(os.path.join(self.directory, part))
        self.console = open(os.path.join(self.directory, "console"), "wb")  # pylint: disable=consider-using-with
        self.full_name = f"task-messenger-{workplace.run}-{name}"
        self.groups = Groups(workplace.run, name)
        layers = f"lowerdir={base},upperdir={self.directory}/upper,workdir={self.directory}/work"
        host.mount("-t", "overlay", "overlay", "-o", layers, self.root)

    # Power

    def boot(self):
        """Boots, and waits until everything that belongs to that is there."""
        environment = dict(os.environ, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY="1")
        command = ["setpriv", "--pdeathsig", "TERM", "systemd-nspawn", "--quiet", "--directory", self.root,
                   f"--machine={self.full_name}", "--hostname=machine", "--register=no",
                   *self.groups.options(), "--private-network", "--link-journal=no", "--resolv-conf=off", "--timezone=off",
                   "--console=pipe", "--boot"]
        self.process = subprocess.Popen(self.groups.inside(command), env=environment, stdin=subprocess.DEVNULL,
                                        stdout=self.console, stderr=subprocess.STDOUT, start_new_session=True)
        self.wait("its first process", self.find_leader, BOOT_SECONDS)
        self.wait("the end of its boot", self.has_booted, BOOT_SECONDS)
        state = self.run("systemctl is-system-running", check=False).text.strip()
        if state != "running":
            raise Failure(f"the machine is {state}\n{self.run('systemctl --failed', check=False).text}")

    def find_leader(self):
        if self.process.poll() is not None:
            raise Failure(f"systemd-nspawn ended with {self.process.returncode}\n{self.console_text()}")
        for child in children(self.process.pid):
            if is_first(child):
                self.leader = child
                return True
        return False

    def has_booted(self):
        state = self.run("systemctl is-system-running", check=False, timeout=10).text.strip()
        return state in ("running", "degraded")

    def reboot(self):
        """Shuts down as an administrator does, and boots again; the seconds until it was down."""
        begin = time.monotonic()
        self.run("systemctl reboot", check=False)
        self.await_end()
        down = time.monotonic() - begin
        self.boot()
        return down

    def await_end(self):
        if not self.has_ended(180):
            raise Failure(f"the machine is not down after 180 s\n{self.console_text()}")

    def end(self):
        """Ends it, gently if that is quick."""
        for started in self.started:
            started.kill()
            started.wait()
        if self.process and self.process.poll() is None:
            if not (self.signal(signal.SIGRTMIN + 4) and self.has_ended(15)):
                # With the first process of a namespace all others end; that of systemd-nspawn does not do as much.
                self.signal(signal.SIGKILL)
                if not self.has_ended(15):
                    self.process.kill()
                    self.process.wait()
        self.console.close()
        host.remove(self.directory)
        self.groups.remove()

    def signal(self, number):
        """Sends a signal to the first process, if there is one."""
        if self.leader is None or not is_first(self.leader):
            return False
        os.kill(self.leader, number)
        return True

    def has_ended(self, seconds):
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    # Commands

    def enter(self, command):
        if isinstance(command, str):
            command = ["/bin/bash", "-c", command]
        return ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-C", "--",
                "env", "-i", f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", "NO_COLOR=1", *command]

    def run(self, command, check=True, stdin=None, timeout=120):
        """Runs a command as root: words, or a line for the shell."""
        try:
            done = subprocess.run(self.enter(command), check=False, input=stdin, timeout=timeout, text=True, errors="replace",
                                  cwd="/", stdin=None if stdin is not None else subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        except subprocess.TimeoutExpired as late:
            raise Failure(f"$ {shown(command)}\nno end after {timeout} s\n{text_of(late.stdout)}") from late
        if check and done.returncode != 0:
            raise Failure(f"$ {shown(command)}\n{done.stdout}\nexit code {done.returncode}")
        return Result(done.returncode, done.stdout)

    def start(self, command, output, stdin=subprocess.DEVNULL):
        """Starts a command beside the test; its output goes to a file of the workplace."""
        with open(os.path.join(self.directory, output), "wb") as file:
            self.started.append(subprocess.Popen(self.enter(command), cwd="/", stdin=stdin, stdout=file,
                                                 stderr=subprocess.STDOUT))
        return self.started[-1]

    def output(self, name):
        with open(os.path.join(self.directory, name), encoding="utf-8", errors="replace") as file:
            return file.read()

    def user(self, name, command, **options):
        """Runs a line of the shell as an ordinary user, who is logged in as far as systemd is concerned."""
        inner = f"export XDG_RUNTIME_DIR=/run/user/$(id -u) HOME=/home/{name}; cd; {command}"
        return self.run(["runuser", "-u", name, "--", "bash", "-c", inner], **options)

    def wait(self, what, condition, seconds=30):
        """Waits until a condition holds; how long that took."""
        begin = time.monotonic()
        while not condition():
            if time.monotonic() - begin > seconds:
                raise Failure(f"waited {seconds} s for {what}")
            time.sleep(0.05)
        return time.monotonic() - begin

    # Files

    def place(self, path):
        return self.root + path

    def write(self, path, text, mode=0o644):
        os.makedirs(os.path.dirname(self.place(path)), exist_ok=True)
        with open(self.place(path), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.place(path), mode)

    def copy(self, source, path):
        os.makedirs(os.path.dirname(self.place(path)), exist_ok=True)
        shutil.copy(source, self.place(path))

    # Units

    def show(self, unit, name):
        return self.run(["systemctl", "show", "--value", "-p", name, unit]).text.strip()

    def is_active(self, unit):
        return self.run(["systemctl", "is-active", unit], check=False).text.strip() == "active"

    def journal(self, unit):
        return self.run(["journalctl", "-q", "--no-pager", "-o", "cat", "-u", unit], check=False).text

    def state(self):
        """What somebody looks at after a failure."""
        if self.process is None or self.process.poll() is not None or self.leader is None:
            return self.console_text()
        units = "'task-messenger*'"
        command = (f"systemctl --no-pager -l -n 0 status {units}; systemctl --failed --no-pager; "
                   f"journalctl -q --no-pager -n 60 -u {units}; journalctl -q --no-pager -n 15 -p warning")
        try:
            return self.run(command, check=False, timeout=30).text
        except Failure as failure:
            return str(failure)

    def console_text(self):
        return self.output("console")[-4000:]


def children(process):
    found = []
    try:
        for thread in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{thread}/children", encoding="utf-8") as file:
                found += [int(word) for word in file.read().split()]
    except OSError:
        pass
    return found


def is_first(process):
    """Whether a process is the first one of a namespace of processes."""
    try:
        with open(f"/proc/{process}/status", encoding="utf-8") as file:
            spaces = next(line for line in file if line.startswith("NSpid:")).split()[1:]
    except (OSError, StopIteration):
        return False
    return len(spaces) > 1 and spaces[-1] == "1"


def shown(command):
    return command if isinstance(command, str) else shlex.join(command)


def text_of(output):
    if output is None:
        return ""
    return output if isinstance(output, str) else output.decode(errors="replace")
