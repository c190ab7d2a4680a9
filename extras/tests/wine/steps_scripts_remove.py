"""Removing with the scripts; and services without NSSM."""

import os

from report import want
from service import DATA, PROGRAMS


def one(scripted):
    """The worker goes while it runs, by the installed script; the other one, and what it had itself, stay."""
    scripts, worker, machine = scripted.scripts, scripted.worker, scripted.machine
    installed = f"{PROGRAMS}\\worker"
    before = machine.listing()
    scripts.uninstall(installed, "worker", "-DryRun", says=[f"would remove {worker.name}"])
    want(set(machine.listing()) == set(before), "the dry run changed something")
    scripts.uninstall(installed, "worker", says=[f"remove {worker.name}"])
    scripts.control("status", "-Component", "worker", code=4, says=["worker is not installed here (installed: manager worker@gpu)"])
    for path in (worker.configuration, f"{worker.state_directory}\\worker.credential", f"{PROGRAMS}\\worker\\bin\\{worker.program}"):
        want(os.path.exists(machine.place(path)), f"{path} is gone")
    left = [name for name in os.listdir(machine.place(PROGRAMS)) if name.startswith("uninstall-")]
    want(not left, f"the copy that removed it is still there: {left}")
    scripts.uninstall(installed, "worker")


def purged(scripted):
    """All of it, also what the worker that is gone has left: no file, no key of the registry, no service, no process."""
    scripts = scripted.scripts
    scripts.control("start", "-Component", "manager")
    scripts.uninstall(scripted.worker.archive, "all", "-Purge", "-DryRun", says=["would remove"])
    scripts.uninstall(scripted.worker.archive, "all", "-Purge")
    nothing_is_left(scripted)


def nothing_is_left(scripted, before=()):
    """No more than there was before."""
    machine = scripted.machine
    left = set(machine.listing()) - set(before)
    want(not left, f"left: {sorted(left)}")
    for path in (PROGRAMS, DATA):
        want(not os.path.exists(machine.place(path)), f"{path} is still there")
    done = scripted.scripts.powershell("-Command", "Get-Process | ForEach-Object { $_.ProcessName }; "
                                       "[IO.Directory]::GetFileSystemEntries([IO.Path]::GetTempPath(), 'task-messenger*')")
    want("task-messenger" not in done.text and "nssm" not in done.text.split(), f"left:\n{done.text}")


def native(scripted):
    """The same without NSSM: nothing of NSSM comes to the machine."""
    scripts, manager = scripted.scripts, scripted.manager
    before = scripted.machine.listing()
    scripts.install(manager, "-Native", says=[f"{manager.name} is installed, and not started."])
    want(not os.path.exists(scripted.machine.place(f"{PROGRAMS}\\nssm")), "NSSM was installed")
    manager.configure()
    scripts.control("start", says=[f"{manager.name} runs"])
    scripts.control("status", says=["manager  running, since ", "ready       yes", "kept by     Windows itself (native)"])
    scripts.control("reload", says=["changed: nothing"])
    scripts.control("logs", says=[f"--- {manager.log}", "the manager is ready"])
    scripts.control("restart", says=[f"{manager.name} runs"])
    scripts.control("stop", says=[f"{manager.name} has stopped"])
    scripts.control("status", code=3, says=["manager  stopped\n"])
    scripts.uninstall(manager.archive, "manager", "-Purge", says=[f"remove {manager.name}"])
    nothing_is_left(scripted, before)
