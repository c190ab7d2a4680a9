"""The control script, as it is used every day."""

import json
import re
import socket
import time

from report import want
from scripts import MINE

FOLLOWED, FOLLOWER = f"{MINE}\\verfolgt.txt", f"{MINE}\\Nummer.txt"


def lines_of(text, key):
    """The lines of one service's screen."""
    found = re.search(rf"^{re.escape(key)}  .*(?:\n  .*)*", text, re.MULTILINE)
    want(found, f"nothing of {key} in\n{text}")
    return found.group(0)


def wait_for_workers(scripted):
    workers = (scripted.worker, scripted.gpu)
    scripted.machine.wait("both workers at work", lambda: all(service.status()["ready"] for service in workers))


def status(scripted):
    """One screen for all, without colour where there is no screen."""
    wait_for_workers(scripted)
    text = scripted.scripts.control("status")
    want("\x1b" not in text, "colour, though there is no screen")
    want([line.split()[0] for line in text.splitlines() if line and line[0] != " "] == ["manager", "worker", "worker@gpu"], text)
    for key, startup in (("manager", "automatic"), ("worker", ""), ("worker@gpu", "manual")):
        screen = lines_of(text, key)
        want(screen.startswith(f"{key}  running, since 20"), screen)
        for part in ("  ready       yes", "  version     ", "  process     ", "  kept by     NSSM", f"  at boot     {startup}"):
            want(part in screen, f"no '{part}' in\n{screen}")
    one = scripted.scripts.control("status", "-Instance", "gpu")
    want(one.startswith("worker@gpu  running") and "manager" not in one.splitlines()[0], one)
    scripted.scripts.control("status", "-Component", "worker", "-Instance", "none", code=4,
                             says=["worker@none is not installed here (installed: manager worker worker@gpu)"])


def task(scripted):
    scripted.new_token("client")
    client = f"{scripted.manager.archive}\\bin\\task-messenger.exe"
    scripted.machine.run(client, "login", f"@{scripted.token}")
    want("it works" in scripted.task(), "no task runs")


def logs(scripted):
    """The newest lines of each file, each under its path."""
    text = scripted.scripts.control("logs")
    for service in (scripted.manager, scripted.worker, scripted.gpu):
        want(f"--- {service.log}" in text, f"no {service.log} in\n{text}")
    newest = scripted.machine.read(scripted.manager.log).splitlines()[-3:]
    want(all(line in text for line in newest), f"not the newest lines:\n{newest}\n{text}")
    one = scripted.scripts.control("logs", "-Component", "worker", "-Instance", "gpu")
    want([line for line in one.splitlines() if line.startswith("--- ")] == [f"--- {scripted.gpu.log}"], one)


def logs_are_followed(scripted):
    """What is logged from now on comes, of whichever service."""
    machine = scripted.machine
    reader = scripted.scripts.follow("", FOLLOWED, FOLLOWER)

    def said():
        try:
            return machine.read(FOLLOWED)
        except FileNotFoundError:
            return ""

    newest = machine.read(scripted.gpu.log).splitlines()[-1]
    machine.wait("what is there already", lambda: newest in said())
    for service in (scripted.worker, scripted.manager):
        before = said().count("loaded anew")
        # Twice the same service writes without its path in between.
        service.call("reload")
        machine.wait(f"a new line of {service.name}", lambda: said().count("loaded anew") > before)
        newest = machine.read(service.log).splitlines()[-1]
        machine.wait(f"its newest line: {newest}", lambda: newest in said())
    want(f"--- {scripted.worker.log}" in said().split(f"--- {scripted.gpu.log}")[-1], f"the worker's log isn't named again:\n{said()}")
    want(reader.poll() is None, "it does not go on")
    machine.kill(int(machine.read(FOLLOWER)))
    machine.wait("its end", lambda: reader.poll() is not None)


def reload(scripted):
    """A new configuration counts at once; a wrong one is refused, and what runs goes on with the old one."""
    scripted.manager.configure(lease={"grace": "45s"})
    scripted.scripts.control("reload", "-Component", "manager", says=["lease.grace"])
    scripted.scripts.control("reload", says=["changed: nothing"])
    scripted.machine.write(scripted.manager.configuration, json.dumps({"no such key": 1}))
    done = scripted.scripts.try_control("reload", "-Component", "manager")
    want(done.code == 1 and "no such key" in done.text, f"exit code {done.code}\n{done.text}")
    want(scripted.manager.status()["state"] == "running", "it does not run any more")
    scripted.manager.configure()
    scripted.scripts.control("reload", "-Component", "manager", says=["lease.grace"])


def crash_looping(scripted):
    """Its port is taken: NSSM tries again and again, and status says so; as soon as it is free the manager is back by itself."""
    machine, manager = scripted.machine, scripted.manager
    done = scripted.scripts.powershell("-Command", f"(Get-Process {manager.program[:-len('.exe')]}).Id")
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        machine.kill(int(done.text))
        machine.wait("its port", lambda: is_bound(taken, manager.port), 4)
        taken.listen()
        machine.wait("its end", lambda: manager.status()["state"] == "crash-looping")
        end = time.monotonic() + 60
        while True:
            # It is starting at times, too.
            done = scripted.scripts.try_control("status", "-Component", "manager")
            if re.match(r"manager  crash-looping, next try (now|in \d+ s at the latest)\n", done.text):
                break
            want(time.monotonic() < end, f"it does not say that it is crash-looping:\n{done.text}")
        want(done.code == 3, f"exit code {done.code}\n{done.text}")
    machine.wait("the manager back", lambda: manager.status()["ready"])
    wait_for_workers(scripted)


def is_bound(listener, port):
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def wrong_configuration(scripted):
    """It stays stopped, and status says why; with the right one it starts."""
    scripts, gpu = scripted.scripts, scripted.gpu
    scripts.control("stop", "-Component", "worker", "-Instance", "gpu", says=[f"{gpu.name} has stopped"])
    scripts.control("status", "-Instance", "gpu", code=3, says=["worker@gpu  stopped\n"])
    scripted.machine.write(gpu.configuration, json.dumps({"no such key": 1}))
    try:
        done = scripts.try_control("start", "-Instance", "gpu")
        want(done.code == 1, f"exit code {done.code}\n{done.text}")
        scripts.control("status", "-Instance", "gpu", code=3, says=[
            "worker@gpu  stopped, with exit code 78", "the same start can't succeed", "last error ", "the configuration can't be used"])
    finally:
        gpu.configure()
    scripts.control("start", "-Instance", "gpu", says=[f"{gpu.name} runs"])


def restart_and_stop(scripted):
    """The manager first, and last to stop."""
    scripts, names = scripted.scripts, [service.name for service in (scripted.manager, scripted.worker, scripted.gpu)]
    done = scripts.control("restart", "-Component", "worker", "-Instance", "gpu")
    want(done.split("\n")[0] == f"{scripted.gpu.name} runs", done)
    done = scripts.control("stop")
    want(re.findall("(TaskMessenger[^ ]*) has stopped", done) in ([names[2], names[1], names[0]],), done)
    scripts.control("status", code=3, says=["manager  stopped\n", "worker  stopped\n", "worker@gpu  stopped\n"])
