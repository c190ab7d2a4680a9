"""What the scripts refuse, before anything is changed."""

import json
import os
import shutil

from report import want
from scripts import MINE, quoted
from service import DATA
from unsafe import NOT_TRIED, UNSAFE, unsafe

INSTALL = "scripts\\install_service_windows.ps1"
CONTROL = "scripts\\service_control.ps1"
UNINSTALL = "scripts\\uninstall_service_windows.ps1"


def unchanged(work):
    """Nothing of it may leave a trace."""
    def step(scripted):
        before = scripted.machine.listing()
        note = work(scripted)
        after = scripted.machine.listing()
        want(after == before, f"it left: {sorted(set(after.items()) ^ set(before.items()))}")
        return note
    return step


@unchanged
def command_lines(scripted):
    manager, worker = scripted.manager.archive, scripted.worker.archive
    install = f"{worker}\\{INSTALL}"
    missing = f"{MINE}\\kein Token.txt"
    scripted.scripts.refused([
        (f"{manager}\\{INSTALL}", "-Component manager -Instance gpu -Native", 64, "-Instance is for workers"),
        (f"{manager}\\{INSTALL}", "-Component manager -Slots 4 -Native", 64, "-Slots is for workers"),
        (f"{manager}\\{INSTALL}", f"-Component manager -JoinTokenFile {quoted(missing)} -Native", 64, "-JoinTokenFile is for workers"),
        (install, "-Component worker -Instance 'Zwei Wörter' -Native", 64, "-Instance wants a-z, 0-9 and -"),
        (install, "-Component worker -Native -NssmPath nssm.exe", 64, "-Native is without NSSM"),
        (install, "-Component worker -Native -AllowOtherNssm", 64, "-Native is without NSSM"),
        (install, f"-Component worker -Native -JoinTokenFile {quoted(missing)}", 1, f"there is no file {missing}"),
        # What PowerShell refuses itself sets no exit code at a prompt.
        (install, "-Component client", -1, "Cannot validate argument on parameter 'Component'"),
        (install, "-Component worker -StartupType Boot", -1, "Cannot validate argument on parameter 'StartupType'"),
        (install, "-Component worker -Slots 0", -1, "Cannot validate argument on parameter 'Slots'"),
        (install, "-Component worker -Native -JoinTokenFile $null", -1, "Cannot validate argument on parameter 'JoinTokenFile'"),
        (f"{worker}\\{CONTROL}", "status -Component manager -Instance gpu", 64, "-Instance is for workers"),
        (f"{worker}\\{CONTROL}", "status -Follow", 64, "-Follow is for logs"),
        (f"{worker}\\{CONTROL}", "enable", -1, "Cannot validate argument on parameter 'Verb'"),
        (f"{worker}\\{UNINSTALL}", "-Component all -Instance gpu", 64, "-Instance is for workers"),
        (f"{worker}\\{UNINSTALL}", "-Component worker -Instance $null -Purge", -1, "Cannot validate argument on parameter 'Instance'"),
    ])
    scripted.scripts.call(worker, "install_service_windows", "-Component", "client", code=1)


@unchanged
def another_nssm(scripted):
    """One byte more, and it isn't NSSM: neither named nor beside the script, nor in a ZIP."""
    machine, archive = scripted.machine, scripted.manager.archive
    other, beside = f"{MINE}\\nssm.exe", f"{archive}\\scripts\\nssm.exe"
    zip_file = f"{MINE}\\nssm.zip"
    machine.write(zip_file, "no ZIP")
    for place in (other, beside):
        shutil.copy(machine.tools.nssm, machine.place(place))
        with open(machine.place(place), "ab") as file:
            file.write(b"\n")
    script = f"{archive}\\{INSTALL}"
    try:
        scripted.scripts.refused([
            (script, f"-Component manager -NssmPath {quoted(other)}", 1, f"{other} is not NSSM 2.24-101-g897c7ad: its SHA-256 is "),
            (script, "-Component manager", 1, f"{beside} is not NSSM 2.24-101-g897c7ad: its SHA-256 is "),
            (script, f"-Component manager -NssmPath {quoted(zip_file)}", 1, f"{zip_file} is not the ZIP of NSSM"),
            (script, f"-Component manager -NssmPath {quoted(zip_file)} -AllowOtherNssm", 1, f"{zip_file} is not the ZIP of NSSM"),
            (script, f"-Component manager -NssmPath {quoted(MINE)}", 1, f"there is no file {MINE}"),
        ])
    finally:
        os.remove(machine.place(beside))


@unchanged
def archives(scripted):
    """A checkout has no programs, an archive without services no data, and the worker's archive no manager."""
    machine, archive = scripted.machine, scripted.manager.archive
    data = machine.place(f"{archive}\\share\\windows-service\\nssm.json")
    os.rename(data, f"{data}.moved")
    try:
        scripted.scripts.refused([
            (f"{scripted.worker.archive}\\{INSTALL}", "-Component manager -Native", 1, "task-messenger-manager.exe is missing"),
            (f"{archive}\\{INSTALL}", "-Component manager", 1, "nssm.json is missing"),
        ])
    finally:
        os.rename(f"{data}.moved", data)


@unchanged
def machines(scripted):
    """What the program itself refuses is passed on: directories of others, an account that isn't there, a wrong configuration."""
    machine, scripts, manager = scripted.machine, scripted.scripts, scripted.manager

    def refuses(*says, code=1):
        # If it isn't refused, nothing may come of it.
        scripts.install(manager, "-Native", "-DryRun", code=code, says=says)

    for directory, make, says in UNSAFE:
        with unsafe(machine, directory, make):
            refuses(f"error: {directory} {says}")
    scripts.call(manager.archive, "install_service_windows", "-Component", "manager", "-Native", "-DryRun", "-Account", ".\\kein Konto",
                 code=1, says=["is no account that works without a password"])
    # Kept by an earlier installation.
    machine.write(manager.configuration, json.dumps({"no such key": 1}))
    try:
        refuses("no such key", code=78)
    finally:
        shutil.rmtree(machine.place(DATA))
    return NOT_TRIED


@unchanged
def nothing_is_there(scripted):
    """Where nothing is installed, to ask and to change say so, and to remove is no failure."""
    script = f"{scripted.worker.archive}\\{CONTROL}"
    scripted.scripts.refused([
        (script, "status", 4, "no service of TaskMessenger is installed here"),
        (script, "start -Component worker", 4, "worker is not installed here (installed: nothing)"),
        (script, "stop -Instance gpu", 4, "worker@gpu is not installed here"),
        (script, "restart", 4, "no service of TaskMessenger is installed here"),
        (script, "reload -Component all", 4, "no service of TaskMessenger is installed here"),
        (script, "logs", 4, "no service of TaskMessenger is installed here"),
    ])
    scripted.scripts.uninstall(scripted.worker.archive, "all", says=["manager is not installed."])
