"""Crashes, reloads, rotated logs, reboots: services come back, and neither a task nor a line of a log is lost."""

import json
import os
import time

from fleet import TASK
from report import want, want_text
from steps_failing import RESTART_SECONDS
from steps_tasks import is_ready


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
    """A broken configuration is refused by manager and worker, and the old one holds; a right one is taken at once."""
    reload_of(fleet.manager, lambda: fleet.client.task("true"))
    reload_of(fleet.worker, lambda: fleet.linux_client.task(TASK, "say", "x"))


def reload_of(service, task):
    pid, good = service.pid(), json.loads(service.machine.read(service.configuration))
    tells = good["log"].get("level") == "debug"
    told_more(service, task, tells)
    has_level(service, good, 7)
    done = service.call("reload", *service.instance, check=False)
    want(done.code == 1, f"{service.name}: exit code {done.code}\n{done.text}")
    want_text(done, "log.level")
    told_more(service, task, tells)
    has_level(service, good, "info" if tells else "debug")
    want_text(service.call("reload", *service.instance), "changed: log.level")
    told_more(service, task, not tells)
    service.configure(**good)
    want_text(service.call("reload", *service.instance), "changed: log.level")
    told_more(service, task, tells)
    want(service.pid() == pid, f"{service.name} was restarted")


def has_level(service, good, level):
    service.configure(**{**good, "log": {**good["log"], "level": level}})


def told_more(service, task, wanted):
    """Whether a task brings forth lines of the level `debug`."""
    def lines():
        return service.said().count("DEBUG")
    before = lines()
    task()
    if wanted:
        service.machine.wait(f"{service.name} to say more", lambda: lines() > before, 10)
    else:
        want(lines() == before, f"{service.name} says what it should not")


def rotated_by_the_program(fleet):
    """The program turns its own log over: of each task of many it tells in whole lines, whichever file they are in."""
    service, tasks = fleet.manager, 600
    before = len(files_of(service, service.program[:-len(".exe")]))
    fleet.client.map(tasks, "echo", "{}").end()
    found = files_of(service, service.program[:-len(".exe")])
    want(len(found) >= before + 2, f"the log was not turned over: {found}")
    all_is_told(found, tasks, "submitted", "finished")
    return f"{len(found) - before} times"


def rotated_by_nssm(fleet):
    """NSSM turns over, while it is written, what the other worker says, which has no log of its own."""
    service, client, tasks = fleet.second, fleet.linux_client, 120
    load, times = client.map(tasks, TASK, "say", "{}"), 0
    while load.runs() or times < 2:
        fleet.nssm("rotate", service.name)
        times += 1
    load.end()
    fleet.machine.wait("all to be told", lambda: service.said().count('"message":"ended"') >= tasks, 10)
    found = files_of(service, "service")
    want(len(found) >= 3, f"it was not turned over: {found}")
    all_is_told(found, tasks, "received", "started", "ended")
    return f"{len(found)} files"


def files_of(service, begin):
    directory = service.machine.place(service.logs)
    return [os.path.join(directory, name) for name in sorted(os.listdir(directory)) if name.startswith(begin)]


def all_is_told(paths, tasks, *messages):
    """Each message once for each task of the last job, and each line is whole. (A task that waits too long is given back, and may be
    received again under another lease.)"""
    text = ""
    for path in paths:
        with open(path, encoding="utf-8", newline="") as file:
            text += file.read().replace("\r", "")
    broken = [line for line in text.splitlines() if not (line.startswith("{") and line.endswith("}"))]
    want(not broken, f"lines that are not whole: {broken[:3]}")
    for message in messages:
        lines = [json.loads(line) for line in text.splitlines() if f'"message":"{message}"' in line]
        last = max((line["job"] for line in lines), default=0)
        about = [(line["task"], line.get("lease")) for line in lines if line["job"] == last]
        told = {task for task, _ in about}
        want(len(about) == len(set(about)) and len(told) == tasks, f"{message}: {len(about)} lines about {len(told)} of {tasks} tasks")


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


def killed_and_rebooted(fleet):
    """Manager and worker crash while a task runs. Wine carries out no recovery, which is Windows' own: a reboot does."""
    machine = fleet.machine
    running = fleet.linux_client.submit(TASK, "wait", "3", "done")
    fleet.linux_client.await_state(running, "running")
    late = [fleet.client.submit("true", options=("--delay", "3s")) for _ in range(20)]
    machine.together(fleet.manager.kill, fleet.worker.kill)
    machine.wait("only the other worker to be left", lambda: len(machine.processes("task-messenger-")) == 1, 10)
    machine.reboot()
    for service in (fleet.manager, fleet.worker):
        service.wait_for("running", 60)
        is_ready(service)
    shown = fleet.linux_client.await_state(running, "succeeded")
    want(shown["attempts"] == 2, f"the task that ran: {shown}")
    for task in late:
        want(fleet.client.await_state(task, "succeeded")["attempts"] == 1, f"{task} ran more than once")
