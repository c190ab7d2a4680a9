"""Starting, joining, and tasks from one end to the other."""

import time

from fleet import TASK, WORDS
from report import want, want_text

LOG = {"level": "debug", "format": "json", "rotation": {"size": "128KiB", "keep": 1000}}


def all_are_ready(fleet):
    """Manager and worker start at the same time; each of them has a peer on Linux."""
    machine = fleet.machine
    fleet.linux_manager.start()
    machine.wait("the manager on Linux", fleet.linux_manager.listens)
    fleet.linux_client.log_in(fleet.linux_manager.token("client"))
    fleet.worker.configure(slots=4)
    fleet.worker.join(fleet.linux_manager.token("worker"))
    fleet.manager.configure(log={"file": fleet.manager.log, **LOG})
    begin = time.monotonic()
    machine.together(fleet.manager.start, fleet.worker.start)
    seconds = time.monotonic() - begin
    is_ready(fleet.manager)
    is_ready(fleet.worker)
    fleet.client.log_in(fleet.token("client"))
    fleet.linux_worker.join(fleet.token("worker"))
    fleet.linux_worker.start()
    fleet.client.connected(1)
    fleet.linux_client.connected(1)
    return f"after {seconds:.1f} s"


def is_ready(service, seconds=30):
    status = service.machine.wait(f"{service.name} to be ready", lambda: service.status()["ready"] and service.status(), seconds)
    want(status["state"] == "running" and status["says"], str(status))
    done = service.service("status")
    want_text(done, "running", "says")


def on_windows(fleet, client=None):
    """Tasks of a manager on Linux run on the worker here."""
    client = client or fleet.linux_client
    done = client.task(TASK, "say", *WORDS)
    want(done.text.split("\n")[:-1] == WORDS, f"{WORDS} became\n{done.text}")
    done = client.task("cmd", "/c", "echo %LANG% %TASK_MESSENGER_TASK%& exit 7", check=False)
    want(done.code == 7 and "C.UTF-8 " in done.text, f"exit code {done.code}\n{done.text}")
    done = client.task("C:\\Werk zeug\\there is none.exe", check=False)
    want(done.code == 126, f"exit code {done.code}\n{done.text}")
    skills(client)


def on_linux(fleet):
    """Tasks of the manager here run on a worker on Linux."""
    done = fleet.client.task("printf", "%s\n", *WORDS)
    want(done.text.split("\n")[:-1] == WORDS, f"{WORDS} became\n{done.text}")
    done = fleet.client.task("sh", "-c", "exit 7", check=False)
    want(done.code == 7, f"exit code {done.code}\n{done.text}")
    skills(fleet.client)


def skills(client):
    want_text(client.call("skill", "string-reversal", "--json", '{"text": "Maß 日本"}'), "本日 ßaM")


def client_of_windows(fleet):
    """The client of the archive, as a person on Windows uses it."""
    machine, program = fleet.machine, f"{fleet.worker.archive}\\bin\\task-messenger.exe"
    machine.write("C:\\Größe und Maß\\client.txt", fleet.linux_manager.token("client"))
    machine.run(program, "login", "@C:\\Größe und Maß\\client.txt")
    done = machine.run(program, "submit", "--wait", "--", TASK, "say", *WORDS)
    want(done.text.split("\n")[:-1] == WORDS, f"{WORDS} became\n{done.text}")


def nothing_of_a_task_is_left(fleet):
    """A task's children end with it, also those that have cut themselves loose; so do those of one that is cancelled."""
    client, machine = fleet.linux_client, fleet.machine
    task = client.submit(TASK, "family", "3")
    machine.wait("a family of three", lambda: len(fleet.family()) == 3, 30)
    client.await_state(task, "succeeded")
    machine.wait("its end", lambda: not fleet.family(), 10)
    task = client.submit(TASK, "family", "600")
    machine.wait("a family of three", lambda: len(fleet.family()) == 3, 30)
    client.call("cancel", task)
    client.await_state(task, "cancelled")
    machine.wait("its end", lambda: not fleet.family(), 10)
