"""What the machine that the test runs on must have: Wine, a compiler for Windows, the real NSSM."""

import os
import shutil
import subprocess
import sys

import host

HERE = os.path.dirname(os.path.realpath(__file__))
PROGRAMS = {"wine": ["wine", "wine64"], "x86_64-w64-mingw32-gcc": ["gcc-mingw-w64-x86-64"]}
BUILT = {"bcryptprimitives.dll": ["-shared", "-ladvapi32"], "kill.exe": [], "console.exe": [], "message.exe": ["-municode"],
         "task.exe": ["-municode"], "broken.exe": ["-municode"]}
MISSING = 77


def refuse(*reasons):
    """Ends with 77: nothing was tested, and that must not look like success."""
    for reason in reasons:
        sys.stderr.write(f"SKIPPED: the Wine test can't run: {reason}\n")
    sys.exit(MISSING)


def prepare():
    """Installs what is missing where that may be done."""
    if missing() and may_install():
        host.install({package for program in missing() for package in PROGRAMS[program]})
    if missing():
        refuse(*(f"there is no {program} (packages {' '.join(PROGRAMS[program])})" for program in missing()))


def may_install():
    """Whether there is apt and the right to it."""
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def missing():
    return [program for program in PROGRAMS if shutil.which(program) is None]


class Tools:
    """The test's own programs for Windows, built into a directory, and NSSM where it is wanted."""

    def __init__(self, directory, nssm=True):
        self.directory = directory
        for name, options in BUILT.items():
            source = os.path.join(HERE, "tools", os.path.splitext(name)[0] + ".c")
            flags = [option for option in options if not option.startswith("-l")]
            libraries = [option for option in options if option.startswith("-l")]
            subprocess.run(["x86_64-w64-mingw32-gcc", "-O2", *flags, "-o", self.path(name), source, *libraries], check=True)
        self.nssm = find_nssm() if nssm else None

    def path(self, name):
        return os.path.join(self.directory, name)


def find_nssm():
    """Where NSSM is. Only where it is neither named nor kept from an earlier run, pip has to fetch it."""
    done = said_by(os.path.join(HERE, "../windows/get_nssm"))
    if done.returncode != 0 and said_by(sys.executable, "-m", "pip", "--version").returncode != 0 and may_install():
        host.install({"python3-pip"})
        done = said_by(os.path.join(HERE, "../windows/get_nssm"))
    if done.returncode != 0:
        refuse(f"the real NSSM can't be had (NSSM names one): {done.stderr.strip()[-500:]}")
    return done.stdout.strip()


def said_by(*command):
    return subprocess.run(command, check=False, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
