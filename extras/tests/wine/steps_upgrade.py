"""Another version over it: what is kept, what runs again, and the way back."""

import hashlib
import os
import shutil

import steps_install as install
from fleet import TASK
from report import want, want_text
from steps_tasks import is_ready


def variant(service, name, change):
    """An unpacked archive that is another one: `change` gets its place, and its list of contents is made anew."""
    top = f"{service.archive} {name}"
    place = service.machine.place(top)
    shutil.copytree(service.machine.place(service.archive), place)
    change(place)
    contents = os.path.join(place, "CONTENTS")
    with open(contents, encoding="utf-8") as file:
        names = [line.rstrip("\n").split("  ", 1)[1] for line in file]
    with open(contents, "w", encoding="utf-8") as file:
        file.writelines(f"{sum_of(os.path.join(place, name))}  {name}\n" for name in names)
    return top


def sum_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def installed(service):
    """The installed files, with what is in them."""
    top = service.machine.place(f"C:\\Program Files\\TaskMessenger\\{service.component}")
    return {os.path.join(directory, name)[len(top):]: sum_of(os.path.join(directory, name))
            for directory, _, names in os.walk(top) for name in names}


def another_readme(place):
    with open(os.path.join(place, "README.md"), "a", encoding="utf-8") as file:
        file.write("another version\n")


def another_default(place):
    """Another default configuration too: it comes beside the one that is kept."""
    another_readme(place)
    path = os.path.join(place, "etc", "config-worker.json")
    with open(path, encoding="utf-8") as file:
        text = file.read()
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace('"slots": 4', '"slots": 5'))


def newer(fleet):
    """Newer versions of both: configuration and queue are kept, and what ran runs again."""
    machine = fleet.machine
    tops = [variant(fleet.manager, "newer", another_readme), variant(fleet.worker, "newer", another_default)]
    services = [fleet.manager, fleet.worker]
    kept = [machine.read(service.configuration) for service in services]
    old = [service.pid() for service in services]
    late = fleet.client.submit("true", options=("--delay", "5s"))
    running = fleet.linux_client.submit(TASK, "wait", "4", "done", options=("--max-attempts", "1"))
    fleet.linux_client.await_state(running, "running")
    machine.together(*(lambda s=s, t=t: s.install(top=t) for s, t in zip(services, tops)))
    for service, text, pid in zip(services, kept, old):
        is_ready(service)
        want(service.pid() not in (None, pid), f"{service.name} was not started anew")
        want(machine.read(service.configuration) == text, "the configuration was changed")
        readme = machine.read(f"C:\\Program Files\\TaskMessenger\\{service.component}\\README.md")
        want("another version" in readme, f"{service.name} is not the newer one")
    want('"slots": 5' in machine.read(fleet.worker.configuration + ".new"), "the new default is not beside the configuration")
    want_it(fleet.linux_client.await_state(running, "succeeded"))
    want_it(fleet.client.await_state(late, "succeeded"))


def want_it(shown):
    want(shown["attempts"] == 1, f"it ran more than once: {shown}")


def one_that_can_not_run(fleet):
    """Its program ends at once: all is as it was, and the old one runs again."""
    machine, service = fleet.machine, fleet.manager

    def break_it(place):
        program = os.path.join(place, "bin", service.program)
        os.rename(program, os.path.join(place, "bin", "real.exe"))
        shutil.copy(machine.tools.path("broken.exe"), program)

    top = variant(service, "broken", break_it)
    before, pid = installed(service), service.pid()
    done = service.install(top=top, check=False, program="real.exe")
    want(done.code == 1, f"exit code {done.code}\n{done.text}")
    want_text(done, f"undoing: {service.name} is started", f"the service {service.name}")
    want(installed(service) == before, f"the programs are not the old ones\n{done.text}")
    is_ready(service)
    want(service.pid() not in (None, pid), f"the other version was not even tried\n{done.text}")
    fleet.client.connected(1)


def one_that_refuses_the_configuration(fleet):
    """Nothing is changed when the new program does not take the configuration that is kept."""
    service = fleet.worker
    good = fleet.machine.read(service.configuration)
    top = variant(service, "refused", another_readme)
    service.configure(slots="many")
    before, pid = fleet.machine.listing(), service.pid()
    done = service.install(top=top, check=False)
    want(done.code != 0, f"it was taken\n{done.text}")
    want_text(done, "slots")
    after = fleet.machine.listing()
    changed = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name) and ".log" not in name]
    want(not changed, "\n".join(changed))
    want(service.pid() == pid, "the worker was restarted")
    fleet.machine.write(service.configuration, good)


def to_native_and_back(fleet):
    """The worker without NSSM, then with it again: each is installed over what runs, and it goes on with what it has."""
    service, credential = fleet.worker, f"{fleet.worker.state_directory}\\worker.credential"
    kept = [fleet.machine.read(path) for path in (service.configuration, credential)]
    for mode in ("native", "nssm"):
        old, service.mode = service.pid(), mode
        service.install()
        is_ready(service)
        want(service.status()["mode"] == mode, f"{mode}: {service.status()}")
        want(service.pid() not in (None, old), f"{mode}: it was not started anew")
        install.service_is_in_the_registry(fleet, service)
        want_text(fleet.linux_client.task(TASK, "say", "x"), "x")
    install.same_in_nssm(fleet, service)
    want([fleet.machine.read(path) for path in (service.configuration, credential)] == kept, "not all was kept")
