"""What the machine that the test runs on must have: Wine, a compiler for Windows, the real NSSM."""

import os
import shutil
import subprocess
import sys

import host

HERE = os.path.dirname(os.path.realpath(__file__))
PROGRAMS = {"wine": ["wine", "wine64"], "x86_64-w64-mingw32-gcc": ["gcc-mingw-w64-x86-64"], "pip3": ["python3-pip"]}
BUILT = {"bcryptprimitives.dll": ["-shared", "-ladvapi32"], "kill.exe": [], "console.exe": [], "message.exe": ["-municode"],
         "task.exe": ["-municode"], "broken.exe": ["-municode"]}
MISSING = 77


def refuse(*reasons):
    """Ends with 77: nothing was tested, and that must not look like success."""
    for reason in reasons:
        sys.stderr.write(f"SKIPPED: the Wine test can't run: {reason}\n")
    sys.exit(MISSING)


def prepare():
    """Installs what is missing where there is apt and the right to it."""
    if missing() and shutil.which("apt-get") and os.geteuid() == 0:
        host.install({package for program in missing() for package in PROGRAMS[program]})
    if missing():
        refuse(*(f"there is no {program} (packages {' '.join(PROGRAMS[program])})" for program in missing()))


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
    done = subprocess.run([os.path.join(HERE, "../windows/get_nssm")], check=False, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)
    if done.returncode != 0:
        refuse(f"the real NSSM can't be had (NSSM names one): {done.stderr.strip()[-500:]}")
    return done.stdout.strip()
