"""Removing: first what can come back, then all of it."""

from report import want, want_text
from service import DATA, PROGRAMS
from steps_tasks import is_ready


def not_from_within(fleet):
    """Windows keeps the file of a program that runs: the installed one says so, and leaves all as it is."""
    before = fleet.states()
    done = fleet.manager.service("uninstall", check=False)
    want(done.code == 1, f"exit code {done.code}\n{done.text}")
    want_text(done, "uninstall_service_windows.ps1")
    want(fleet.states() == before, f"{before}\n{fleet.states()}")


def removed_and_again(fleet):
    """The manager goes, and its configuration and state stay: installed again it goes on where it was."""
    machine, service = fleet.machine, fleet.manager
    late = fleet.client.submit("true", options=("--delay", "5s"))
    kept = machine.read(service.configuration)
    service.service("uninstall", top=service.archive)
    want(service.service("status", check=False, top=service.archive).code == 4, "the service is still there")
    want(not machine.exists(f"{PROGRAMS}\\manager"), "its programs are still there")
    want(machine.exists(f"{PROGRAMS}\\worker\\bin"), "the worker's programs are gone")
    want(machine.read(service.configuration) == kept and machine.exists(f"{DATA}\\manager\\key.pem"), "not all was kept")
    want(service.service("uninstall", check=False, top=service.archive).code == 4, "exit code of a second removal")
    service.install()
    service.start()
    is_ready(service)
    fleet.client.await_state(late, "succeeded")


def the_second_goes_alone(fleet):
    """One of two workers is purged while it runs: the other one stays as it is."""
    worker = fleet.worker.pid()
    fleet.second.service("uninstall", "--purge", top=fleet.second.archive)
    want(not [name for name in fleet.machine.listing() if "two" in name], "something of it is left")
    want(fleet.worker.pid() == worker and fleet.worker.status()["state"] == "running", "the other worker does not run as before")


def purged(fleet):
    """After the last one is purged nothing has its name: no file, no key of the registry, no service, no process."""
    machine = fleet.machine
    for service in (fleet.worker, fleet.manager):
        done = service.service("uninstall", "--purge", "--dry-run", top=service.archive)
        want_text(done, f"would remove {service.state_directory}")
        service.service("uninstall", "--purge", top=service.archive)
    left = machine.listing()
    want(not left, "\n".join(left))
    for service in fleet.services:
        want(machine.run("sc", "query", service.name, check=False).code != 0, f"{service.name} is a service")
    for path in (PROGRAMS, DATA):
        want(not machine.exists(path), f"{path} is still there")
    running = {**machine.processes("task-messenger-"), **machine.processes("nssm.exe"), **fleet.family()}
    want(not running, f"still running: {running}")
