"""The PowerShell scripts as an administrator calls them, by a PowerShell for Windows that runs under Wine."""

import os
import shutil

from report import want
from service import DOWNLOADS, PROGRAMS

# Somebody's own directory, with a blank and letters beyond ASCII in its name.
MINE = f"{DOWNLOADS}\\für später"
SECONDS = 200


def powershell():
    """`pwsh-wine` on PATH, or what PWSH_WINE names; None if there is none."""
    return os.environ.get("PWSH_WINE") or shutil.which("pwsh-wine")


def quoted(text):
    """As PowerShell takes a text as it is."""
    return "'" + text.replace("'", "''") + "'"


class Scripts:
    """The scripts of one machine. `top` is where they lie: an unpacked archive, or what is installed."""

    def __init__(self, machine):
        self.machine = machine
        self.environment = {
            # The runtime of .NET can't load a thing where mscoree is turned off.
            "WINEDLLOVERRIDES": "",
            # It is unpacked there once, and not for each machine.
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
        }

    def powershell(self, *words, check=True):
        return self.machine.host(powershell(), "-NoProfile", "-NonInteractive", *words, check=check, timeout=SECONDS,
                                 environment=self.environment)

    def prepare(self):
        """PowerShell wants a newer Windows than Wine is by itself."""
        self.machine.run("reg", "add", "HKCU\\Software\\Wine", "/v", "Version", "/d", "win10", "/f")
        return self.powershell("-Command", "\"PowerShell $($PSVersionTable.PSVersion)\"").text.strip()

    def script(self, top, name, *words):
        return self.powershell("-File", f"{top}\\scripts\\{name}.ps1", *words, check=False)

    def call(self, top, name, *words, code=0, says=()):
        """Runs a script, which has to end with a code and to say something."""
        done = self.script(top, name, *words)
        want(done.code == code, f"{name} {' '.join(words)}: exit code {done.code}, not {code}\n{done.text}")
        for text in says:
            want(text in done.text, f"{name} {' '.join(words)}: it does not say '{text}'\n{done.text}")
        return done.text

    def install(self, service, *words, top=None, code=0, says=()):
        """Wine has no other account than LocalSystem."""
        return self.call(top or service.archive, "install_service_windows", "-Component", service.component,
                         *instance_of(service), "-Account", "LocalSystem", *words, code=code, says=says)

    def control(self, verb, *words, code=0, says=()):
        return self.call(f"{PROGRAMS}\\manager", "service_control", verb, *words, code=code, says=says)

    def try_control(self, verb, *words):
        """The same, whatever comes of it."""
        return self.script(f"{PROGRAMS}\\manager", "service_control", verb, *words)

    def uninstall(self, top, component, *words, code=0, says=()):
        return self.call(top, "uninstall_service_windows", "-Component", component, *words, code=code, says=says)

    def refused(self, calls):
        """Calls of scripts, one after the other in one PowerShell, as at a prompt: each a script's path, its arguments as they
        are typed, its exit code and a part of what it says."""
        lines = [f"$global:LASTEXITCODE = -1; & {quoted(path)} {words}; \"it ended with $LASTEXITCODE\""
                 for path, words, _, _ in calls]
        text = self.powershell("-Command", "; ".join(lines), check=False).text
        said = [line for line in text.splitlines() if line.startswith("it ended with ")]
        wanted = [f"it ended with {code}" for _, _, code, _ in calls]
        want(said == wanted, f"exit codes:\n{said}\nand not\n{wanted}\n{text}")
        begin = 0
        for path, words, _, part in calls:
            # Their complaints are in the order of the calls.
            found = text.find(part, begin)
            want(found >= 0, f"{path} {words}: it does not say '{part}'\n{text}")
            begin = found + len(part)

    def follow(self, words, file, process):
        """Has `service_control logs` write to a file of drive C, until its process, whose number is in another one, is ended."""
        script = f"{PROGRAMS}\\manager\\scripts\\service_control.ps1"
        command = (f"[IO.File]::WriteAllText({quoted(process)}, \"$PID\"); & {quoted(script)} logs {words} -Follow | "
                   f"ForEach-Object {{ [IO.File]::AppendAllText({quoted(file)}, \"$_`n\") }}")
        # By `env`, because a process that is started gets the machine's environment.
        variables = [f"{name}={value}" for name, value in self.environment.items()]
        return self.machine.start("env", *variables, powershell(), "-NoProfile", "-NonInteractive", "-Command", command)


def instance_of(service):
    return ["-Instance", service.instance[1]] if service.instance else []
