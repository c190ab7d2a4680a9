"""Stopping: running tasks finish first, or are given back; nothing of them is left."""

import time

from fleet import TASK
from report import want, want_text
from steps_tasks import LOG, is_ready

GRACE_SECONDS = 2
# Windows leaves a process whose console is closed five seconds; so does the worker, and here it takes some to close it too.
CLOSING_SECONDS = 15


def stop_drains(fleet):
    """A task that runs finishes before its worker stops; the manager has all that it had when it starts again."""
    machine, client = fleet.machine, fleet.linux_client
    running = client.submit(TASK, "wait", "6", "done", options=("--max-attempts", "1"))
    client.await_state(running, "running")
    waiting = fleet.client.submit("true", options=("--delay", "1h"))
    begin = time.monotonic()
    machine.together(fleet.worker.stop, fleet.manager.stop)
    seconds = time.monotonic() - begin
    shown = client.show(running)
    want((shown["state"], shown["attempts"]) == ("succeeded", 1), f"the task that ran: {shown}")
    want(seconds > 3, f"it took only {seconds:.1f} s")
    for service in (fleet.worker, fleet.manager):
        status = service.status()
        want((status["state"], status["exit_code"]) == ("stopped", None), str(status))
        want(service.service("status", check=False).code == 3, "exit code of status")
        want(service.call("reload", *service.instance, check=False).code == 3, "exit code of reload")
        want(not machine.processes(f"{service.component}\\bin\\{service.program}"), f"{service.program} still runs")
        want("stop" in service.said(), f"{service.name} says nothing of it")
    return f"drained for {seconds:.0f} s; {waiting} waits"


def console_events_drain(fleet):
    """Ctrl-Break lets a task that runs finish; when the console is closed it is given back uncharged, before Windows would end
    the process. The service then stays stopped."""
    client, worker = fleet.linux_client, fleet.worker
    task, drained = stopped_by(fleet, "break", "3")
    shown = client.show(task)
    want((shown["state"], shown["attempts"]) == ("succeeded", 1), f"break: {shown}")
    task, closed = stopped_by(fleet, "close", "60")
    shown = client.show(task)
    want((shown["state"], shown["failures"]) == ("queued", 0), f"close: {shown}")
    want(closed < CLOSING_SECONDS, f"close: it took {closed:.1f} s")
    client.call("cancel", task)
    worker.start()
    client.connected(1)
    return f"break {drained:.1f} s, close {closed:.1f} s"


def stopped_by(fleet, event, seconds):
    """A task that takes so long, and how long the worker ran on after an event of its console. It is not started again by itself."""
    machine, client, worker = fleet.machine, fleet.linux_client, fleet.worker
    if worker.status()["state"] != "running":
        worker.start()
        client.connected(1)
    task = client.submit(TASK, "wait", seconds, "done", options=("--max-attempts", "1"))
    client.await_state(task, "running")
    program = f"{worker.component}\\bin\\{worker.program}"
    begin = time.monotonic()
    machine.run(machine.windows(machine.tools.path("console.exe")), event, str(worker.pid()))
    machine.wait("the worker's end", lambda: not machine.processes(program), 30)
    took = time.monotonic() - begin
    status = worker.wait_for("stopped")
    want(status["exit_code"] is None, f"{event}: {status}")
    return task, took


def others_start(fleet):
    """The manager again, with its queue, and another worker of this machine instead of the first."""
    machine = fleet.machine
    fleet.second.configure(slots=4, http=None, shutdown={"grace": f"{GRACE_SECONDS}s"}, kill_after="1s", log=log_of_second(fleet))
    fleet.second.join(fleet.linux_manager.token("worker"))
    machine.together(fleet.manager.start, fleet.second.start)
    is_ready(fleet.manager)
    fleet.linux_client.connected(1)
    fleet.client.connected(1)
    want(fleet.client.status()["tasks"]["scheduled"] == 1, "the queue is not what it was")
    want_text(fleet.linux_client.task(TASK, "say", "x"), "x")
    kept = [f"{fleet.second.state_directory}\\worker.credential", *([] if fleet.mode == "nssm" else [fleet.second.log])]
    want(all(machine.exists(path) for path in kept), f"not all of {kept} is there")


def log_of_second(fleet):
    """Under NSSM it has no file of its own."""
    return {"level": "debug", "format": "json"} if fleet.mode == "nssm" else {"file": fleet.second.log, **LOG}


def stop_ends_what_takes_too_long(fleet):
    """A task with children that does not end within the grace is ended with all of them, and given back uncharged."""
    machine, client = fleet.machine, fleet.linux_client
    task = client.submit(TASK, "family", "600", options=("--max-attempts", "1"))
    machine.wait("a family of three", lambda: len(fleet.family()) == 3, 30)
    begin = time.monotonic()
    fleet.second.stop()
    seconds = time.monotonic() - begin
    want(seconds >= GRACE_SECONDS, f"it took only {seconds:.1f} s")
    want(not fleet.family(), f"processes of the task still run: {fleet.family()}")
    shown = client.show(task)
    want((shown["state"], shown["failures"]) == ("queued", 0), f"the task: {shown}")
    client.call("cancel", task)
    return f"after {seconds:.1f} s"


def all_start(fleet):
    """Both workers run beside each other."""
    fleet.machine.together(fleet.worker.start, fleet.second.start)
    fleet.linux_client.connected(2)
