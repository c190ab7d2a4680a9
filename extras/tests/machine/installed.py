"""How TaskMessenger comes onto a machine: from archives, or as Debian packages. Both can be had in another version."""

import glob
import hashlib
import os
import re
import shutil
import subprocess

from fleet import OWN
from report import Failure

TEST_VERSION = "99.0.0"


def find(dist, pattern):
    found = sorted(glob.glob(os.path.join(dist, pattern)))
    if len(found) != 1:
        raise Failure(f"there must be one {pattern} in {dist}, not {len(found)}: {found}")
    return found[0]


class Archives:
    """The archives, with their installer."""

    programs = "/opt/task-messenger/bin"
    drop_ins = "/opt/task-messenger/share/systemd/drop-ins"

    def __init__(self, machine, dist):
        self.machine = machine
        self.tops = {}
        # Of the last version that was installed.
        self.installed = {}
        for component in ("manager", "worker"):
            archive = find(dist, f"task-messenger-{component}-v*-linux-*.tar.gz")
            machine.copy(archive, f"{OWN}/{os.path.basename(archive)}")
            self.tops[component] = f"{OWN}/{os.path.basename(archive)[:-len('.tar.gz')]}"

    def unpack(self, component):
        self.machine.run(f"tar -xzf {self.tops[component]}.tar.gz -C {OWN}")

    def install(self, component, options="", top=None, check=True):
        top = top or self.tops[component]
        done = self.machine.run(f"{top}/scripts/install_service_linux.sh {component} --yes {options}", check=check, timeout=300)
        if done.code == 0:
            self.installed[component] = top
        return done

    def sums(self):
        """What tells one version of the programs that are installed from another."""
        return self.machine.run(f"sha256sum {self.programs}/*").text

    def uninstall(self, what, options="", check=True):
        return self.machine.run(f"/opt/task-messenger/scripts/uninstall_service_linux.sh {what} --yes {options}", check=check,
                                timeout=300)

    def variant(self, component, name, change):
        """An archive, unpacked, in which `change` has changed something; its list of contents is right again."""
        source, top = self.tops[component], f"{OWN}/{name}/{os.path.basename(self.tops[component])}"
        place = self.machine.place(top)
        shutil.copytree(self.machine.place(source), place, symlinks=True)
        change(place)
        with open(f"{place}/CONTENTS", encoding="utf-8") as file:
            lines = file.read().splitlines()
        with open(f"{place}/CONTENTS", "w", encoding="utf-8") as file:
            for line in lines:
                path = line.split(None, 2)[2]
                with open(f"{place}/{path}", "rb") as content:
                    file.write(hashlib.sha256(content.read()).hexdigest() + line[64:] + "\n")
        return top


class Packages:
    """The Debian packages."""

    programs = "/usr/bin"
    drop_ins = "/usr/share/task-messenger/drop-ins"

    def __init__(self, machine, dist):
        self.machine = machine
        self.files, self.newer_files = {}, {}
        for name in ("task-messenger", "task-messenger-manager", "task-messenger-worker"):
            package = find(dist, f"{name}_*.deb")
            machine.copy(package, f"{OWN}/{os.path.basename(package)}")
            self.files[name] = f"{OWN}/{os.path.basename(package)}"

    def install(self, *names, check=True, files=None):
        files = files or self.files
        return self.machine.run("DEBIAN_FRONTEND=noninteractive dpkg -i " + " ".join(files[name] for name in names),
                                check=check, timeout=300)

    def remove(self, verb, *names):
        return self.machine.run(f"DEBIAN_FRONTEND=noninteractive dpkg --{verb} {' '.join(names)}", timeout=300)

    def newer(self):
        """The same packages with a higher version and programs that are not byte by byte the same."""
        for name, package in self.files.items():
            if name in self.newer_files:
                continue
            tree = f"{OWN}/newer/{name}"
            self.machine.run(f"mkdir -p {OWN}/newer; dpkg-deb -R {package} {tree}")
            control = self.machine.place(f"{tree}/DEBIAN/control")
            with open(control, encoding="utf-8") as file:
                text = file.read()
            version = re.search(r"^Version: (.*)$", text, re.MULTILINE).group(1)
            with open(control, "w", encoding="utf-8") as file:
                file.write(text.replace(version, TEST_VERSION))
            program = self.machine.place(f"{tree}/usr/bin/{name}")
            touch_program(program)
            self.machine.run(f"dpkg-deb --root-owner-group -Zgzip -z1 -b {tree} {tree}.deb")
            self.newer_files[name] = f"{tree}.deb"
        return self.newer_files


def touch_program(path):
    """Bytes behind a program's end make it another file that does the same; always another one."""
    with open(path, "ab") as file:
        file.write(os.urandom(16))


def build(checkout, out):
    """Builds archives and packages of a checkout."""
    script = os.path.join(checkout, "extras/scripts/build_distribution.sh")
    if not os.path.exists(script):
        raise Failure(f"there is no {script}: name ready packages with --dist")
    subprocess.run([script, "all", "--deb", "--out", out], check=True, stdin=subprocess.DEVNULL)
