"""Crashes, reloads, rotated logs, reboots: services come back, and neither a task nor a line of a log is lost."""

import json
import os
import time

from fleet import TASK, numbers_of, want, want_text
from steps_tasks import LOG, is_ready

RESTART_SECONDS = 5


def killed(fleet):
    """Manager and worker crash while their tasks run: each is back after its delay, and every task ends as it should."""
    machine = fleet.machine
    here = fleet.linux_client.submit(TASK, "wait", "4", "done")
    there = fleet.client.submit("sh", "-c", "sleep 4")
    late = [fleet.client.submit("true", options=("--delay", "8s")) for _ in range(5)]
    fleet.linux_client.await_state(here, "running")
    fleet.client.await_state(there, "running")
    begin = time.monotonic()
    old = machine.together(fleet.manager.kill, fleet.worker.kill)
    want_text(machine.wait("the worker's pause", lambda: crashed(fleet.worker), 5), "crash-looping")
    backs = machine.together(*(lambda s=s, o=o: back(s, o, begin) for s, o in zip((fleet.manager, fleet.worker), old)))
    want(all(seconds >= RESTART_SECONDS - 1 for seconds in backs), f"back after {backs} s, before the delay is over")
    shown = fleet.linux_client.await_state(here, "succeeded")
    want(shown["attempts"] == 2, f"the task of the worker that crashed: {shown}")
    shown = fleet.client.await_state(there, "succeeded")
    want(shown["attempts"] == 1, f"the task that ran while its manager crashed: {shown}")
    for task in late:
        fleet.client.await_state(task, "succeeded")
    return "back after " + " and ".join(f"{seconds:.1f} s" for seconds in backs)


def crashed(service):
    done = service.service("status", check=False)
    return done.code == 3 and "crash-looping" in done.text and done


def back(service, old, begin):
    service.machine.wait(f"another process of {service.name}", lambda: service.pid() not in (None, old), 40)
    return time.monotonic() - begin


def reloads(fleet):
    """A broken configuration is refused by manager and worker, a right one is taken; what can't change waits."""
    said = {}
    for service in (fleet.manager, fleet.worker):
        pid = service.pid()
        with open(fleet.machine.place(service.configuration), encoding="utf-8") as file:
            good = json.load(file)
        level = good["log"].get("level", "info")
        service.configure(**{**good, "log": {**good["log"], "level": 7}})
        done = service.call("reload", *service.instance, check=False)
        want(done.code == 1, f"{service.name}: exit code {done.code}\n{done.text}")
        want_text(done, "log.level")
        service.configure(**good)
        want_text(service.call("reload", *service.instance), "changed: nothing")
        other = "trace" if level == "debug" else "debug"
        service.configure(**{**good, "log": {**good["log"], "level": other}})
        want_text(service.call("reload", *service.instance), "changed: log.level")
        want(service.pid() == pid, f"{service.name} was restarted")
        said[service] = (good, other)
    fleet.linux_client.task(TASK, "say", "x")
    fleet.client.task("true")
    for service, (good, other) in said.items():
        fleet.machine.wait(f"lines of level {other}", lambda s=service, o=other: o.upper() in s.said(), 10)
        service.configure(**good)
        service.call("reload", *service.instance)


def rotated_by_the_program(fleet):
    """Each task of many was submitted and has finished, in one whole line each, whichever file they are in."""
    before = len(files_of(fleet.manager, "task-messenger-manager.log"))
    tasks = 600
    load = fleet.client.map(tasks, "echo", "{}")
    load.end()
    found = files_of(fleet.manager, "task-messenger-manager.log")
    want(len(found) >= before + 2, f"the log was not rotated: {found}")
    jobs = all_lines_are_there(fleet, found, tasks)
    return f"{len(found)} files, {jobs} tasks"


def files_of(service, begin):
    directory = service.machine.place(service.logs)
    return [os.path.join(directory, name) for name in sorted(os.listdir(directory)) if name.startswith(begin)]


def all_lines_are_there(fleet, paths, tasks):
    """What the manager says of each task of the last map."""
    text = ""
    for path in paths:
        with open(path, encoding="utf-8") as file:
            text += file.read()
    broken = [line for line in text.splitlines() if not (line.startswith("{") and line.endswith("}"))]
    want(not broken, f"lines that are not whole: {broken[:3]}")
    for message in ("submitted", "finished"):
        names = numbers_of(text, message)
        want(len(names) == len(set(names)), f"{message}: {len(names)} lines about {len(set(names))} tasks")
        job = [name for name in names if name.startswith(f"{last_job(names)}.")]
        want(len(job) == tasks, f"{message}: {len(job)} of {tasks} tasks")
    return tasks


def last_job(names):
    return max((int(name.split(".")[0]) for name in names), default=0)


def rotated_by_nssm(fleet):
    """What the other worker says, which has no log of its own, goes to files that NSSM turns over while it runs."""
    service, client = fleet.second, fleet.linux_client
    load, rotations = client.map(120, TASK, "say", "{}"), 0
    while load.runs() or rotations < 2:
        fleet.nssm("rotate", service.name)
        rotations += 1
    load.end()
    found = files_of(service, "service")
    want(len(found) >= 3, f"{found}")
    text = "".join(open(path, encoding="utf-8").read() for path in found)
    broken = [line for line in text.splitlines() if not (line.startswith("{") and line.endswith("}"))]
    want(not broken, f"lines that are not whole: {broken[:3]}")
    return f"{len(found)} files"


def rebooted(fleet):
    """The power fails while a task runs: all is back by itself, and the queue is as it was."""
    machine = fleet.machine
    running = fleet.linux_client.submit(TASK, "wait", "3", "done")
    fleet.linux_client.await_state(running, "running")
    late = [fleet.client.submit("true", options=("--delay", "10s")) for _ in range(20)]
    begin = time.monotonic()
    machine.reboot()
    machine.together(*(lambda s=s: s.wait_for("running", 90) for s in (fleet.manager, fleet.worker)))
    is_ready(fleet.manager)
    is_ready(fleet.worker)
    seconds = time.monotonic() - begin
    shown = fleet.linux_client.await_state(running, "succeeded")
    want(shown["attempts"] == 2, f"the task that ran: {shown}")
    for task in late:
        shown = fleet.client.await_state(task, "succeeded", 60)
        want(shown["attempts"] == 1, f"{task} ran more than once")
    return f"back after {seconds:.1f} s"
