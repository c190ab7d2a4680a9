"""Installing with the scripts, and upgrades."""

import hashlib
import json
import os
import shutil

from report import want
from scripts import MINE
from service import PROGRAMS
from steps_scripts_refused import unchanged

KNOWN = "NSSM 2.24-101-g897c7ad, SHA-256 as expected: "


def real_nssm(scripted):
    """The real one in a path that is hard to hand on."""
    path = f"{MINE}\\nssm 2.exe"
    scripted.machine.write(path, "")
    shutil.copy(scripted.machine.tools.nssm, scripted.machine.place(path))
    return path


@unchanged
def dry_run_changes_nothing(scripted):
    scripts, nssm = scripted.scripts, real_nssm(scripted)
    scripts.install(scripted.manager, "-NssmPath", nssm, "-DryRun", says=[KNOWN + nssm, f"would nssm install {scripted.manager.name}"])
    scripts.install(scripted.gpu, "-Native", "-StartupType", "Automatic", "-Slots", "3", "-DryRun",
                    says=[f"would make {scripted.gpu.name}", "account LocalSystem, start automatic"])


def manager(scripted):
    """With the NSSM that is named; nothing is started by itself."""
    scripts, service = scripted.scripts, scripted.manager
    scripts.install(service, "-NssmPath", real_nssm(scripted), "-StartupType", "Automatic",
                    says=[KNOWN, f"{service.name} is installed, and not started."])
    scripts.control("status", code=3, says=["manager  stopped", "kept by     NSSM", "at boot     automatic", "account     LocalSystem"])
    service.configure()


def again_changes_nothing(scripted):
    """The same once more, from the same archive: the configuration and what was chosen stay."""
    service = scripted.manager
    kept, before = scripted.machine.read(service.configuration), service.status()
    scripted.scripts.install(service, says=[f"{KNOWN}{PROGRAMS}\\nssm\\nssm.exe"])
    want(scripted.machine.read(service.configuration) == kept, "the configuration was changed")
    want(service.status() == before, f"{before}\n{service.status()}")


def manager_starts(scripted):
    scripted.scripts.control("start", "-Component", "manager", says=[f"{scripted.manager.name} runs"])
    scripted.scripts.control("status", says=["manager  running, since ", "ready       yes"])


@unchanged
def another_nssm_is_allowed(scripted):
    """The installed one is taken when none is named; one that was changed only when it is asked for."""
    scripts, worker = scripted.scripts, scripted.worker
    other = f"{MINE}\\nssm.exe"
    scripts.install(worker, "-DryRun", says=[f"{KNOWN}{PROGRAMS}\\nssm\\nssm.exe"])
    done = scripts.install(worker, "-NssmPath", other, "-AllowOtherNssm", "-DryRun",
                           says=["is another NSSM than the one that was tested", f"would copy NSSM from {other}"])
    with open(scripted.machine.place(other), "rb") as file:
        want(hashlib.sha256(file.read()).hexdigest() in done.replace("\n", ""), f"its SHA-256 isn't told\n{done}")


def workers(scripted):
    """Two of them, each with a token of its own, which stands in a file."""
    scripts = scripted.scripts
    for service, options in ((scripted.worker, ["-Slots", "2"]), (scripted.gpu, ["-StartupType", "Manual"])):
        scripted.new_token("worker")
        scripts.install(service, "-JoinTokenFile", scripted.token, *options, says=["joined as worker"])
        if service is scripted.worker:
            text = scripted.machine.read(service.configuration)
            want('"slots": 2' in text, f"-Slots did not come into the configuration:\n{text}")
        want(scripted.machine.read(scripted.token).strip() not in scripted.machine.read(service.configuration), "the token is kept")
        service.configure()
    scripts.control("start", "-Component", "all", says=[f"{service.name} runs" for service in (scripted.worker, scripted.gpu)])


def newer(scripted, name):
    """An archive of the worker's in which the README is another one."""
    machine, archive = scripted.machine, f"{MINE}\\{name}"
    shutil.copytree(machine.place(scripted.worker.archive), machine.place(archive))
    readme = machine.read(f"{archive}\\README.md")
    contents = machine.read(f"{archive}\\CONTENTS")
    machine.write(f"{archive}\\README.md", readme + "\nAnother version.\n")
    sums = [hashlib.sha256(text.encode()).hexdigest() for text in (readme, readme + "\nAnother version.\n")]
    want(sums[0] in contents, "CONTENTS has not the sum of README.md")
    machine.write(f"{archive}\\CONTENTS", contents.replace(*sums))
    return archive


def upgrade(scripted):
    """Over what runs: it is stopped, replaced and started again, and its identity stays."""
    worker, scripts = scripted.worker, scripted.scripts
    kept = scripted.machine.read(worker.configuration)
    scripts.install(worker, top=newer(scripted, "neu"), says=[f"stop {worker.name}", f"start {worker.name} again"])
    want("Another version." in scripted.machine.read(f"{PROGRAMS}\\worker\\README.md"), "the new version is not there")
    want(scripted.machine.read(worker.configuration) == kept, "the configuration was changed")
    left = [name for name in os.listdir(scripted.machine.place(PROGRAMS)) if name not in ("manager", "worker", "nssm")]
    want(not left, f"left: {left}")
    worker.wait_for("running")
    want("it works" in scripted.task(), "no task runs any more")


def refused_upgrade(scripted):
    """The new version does not take the configuration that is kept: all stays as it is, and runs."""
    worker, machine = scripted.worker, scripted.machine
    right, readme = machine.read(worker.configuration), machine.read(f"{PROGRAMS}\\worker\\README.md")
    machine.write(worker.configuration, json.dumps({"no such key": 1}))
    try:
        scripted.scripts.install(worker, code=78, says=["no such key"])
    finally:
        machine.write(worker.configuration, right)
    want(machine.read(f"{PROGRAMS}\\worker\\README.md") == readme, "something was replaced")
    want(worker.status()["state"] == "running", "it does not run any more")
