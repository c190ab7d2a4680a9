"""Crashes, hangs, reloads, stops, outages and reboots: the services come back, and no task is lost."""

import gzip
import os
import re
import time

from base import ADDRESS
from fleet import MANAGER, SECOND, UNITS, WORKER
from report import want

# Of the units: how long the watchdog waits, and how long a stop may be silent.
WATCHDOG_SECONDS = 30
STOP_SECONDS = 30
# The worker's longest pause between two tries to connect.
LONGEST_BACKOFF = 15


def killed(fleet, unit):
    """`kill -9` while tasks run: it is back, and every task ends as it should."""
    machine, main = fleet.machine, fleet.main(unit)
    load = fleet.map(60, "sleep 0.3; echo $1", "killed")
    machine.wait("tasks to run", lambda: fleet.status()["tasks"]["running"] > 0)
    machine.run(["systemctl", "kill", "--kill-who=main", "--signal=KILL", unit])
    seconds = machine.wait("a new process", lambda: machine.is_active(unit) and fleet.main(unit) not in (0, main), 30)
    fleet.end_map(load, "killed", 60)
    fleet.ready()
    return f"back after {seconds:.1f} s"


def frozen(fleet, units):
    """A process that stands still is killed by the watchdog, and another comes."""
    machine = fleet.machine
    mains = {unit: fleet.main(unit) for unit in units}
    for unit in units:
        machine.run(["systemctl", "kill", "--kill-who=main", "--signal=STOP", unit])
    seconds = machine.wait("new processes", lambda: all(
        machine.is_active(unit) and fleet.main(unit) not in (0, mains[unit]) for unit in units), WATCHDOG_SECONDS + 30)
    for unit in units:
        want("Watchdog timeout" in machine.journal(unit), f"it was not the watchdog:\n{machine.journal(unit)[-1500:]}")
    fleet.ready()
    fleet.task("true")
    return f"back after {seconds:.1f} s"


def reload_of_a_broken_configuration(fleet, unit, name):
    """It is refused, and the old one stays in effect; a right one is taken."""
    machine, main = fleet.machine, fleet.main(unit)
    fleet.configure(name, log={"level": 7})
    done = machine.run(["systemctl", "reload", unit], check=False)
    want(done.code != 0, "the broken configuration was taken")
    want("log.level" in machine.journal(unit), f"nothing says what is wrong:\n{machine.journal(unit)[-1500:]}")
    want(machine.is_active(unit) and fleet.main(unit) == main, "the service is not what it was")
    fleet.task("true")
    fleet.configure(name, log={"level": "debug"})
    machine.run(["systemctl", "reload", unit])
    line = f"journalctl -q -u {unit} -p 7..7 -n 1 -o cat --no-pager"
    machine.wait("the new level to hold", lambda: fleet.task("true") and machine.run(line).text.strip(), 20)
    fleet.configure(name)
    machine.run(["systemctl", "reload", unit])
    want(fleet.main(unit) == main, "it was restarted")


def rotated_under_load(fleet):
    """logrotate, forced again and again: no line is lost, and a task that runs goes on."""
    machine, tasks = fleet.machine, 3000
    directory = "/var/log/task-messenger"
    external = {"mode": "external"}
    log = {"level": "debug", "format": "json", "file": f"{directory}/manager/manager.log", "rotation": external}
    fleet.configure("manager", log=log)
    fleet.configure("worker", log={"file": f"{directory}/worker/worker.log", "rotation": external})
    fleet.configure("worker-two", log={"file": f"{directory}/worker-two/worker.log", "rotation": external})
    fleet.restart(*UNITS)
    fleet.ready()
    mains = {unit: fleet.main(unit) for unit in UNITS}
    beside = fleet.submit("sleep 12", "--max-attempts 1")
    fleet.await_state(beside, "running")
    load, rotations = fleet.map(tasks, "echo $1", "rotated"), 0
    while rotations < 3 or (load.poll() is None and rotations < 12):
        for name in ("manager", "worker"):
            machine.run(f"logrotate --force --state /run/logrotate-of-the-test /etc/logrotate.d/task-messenger-{name}")
        rotations += 1
        machine.wait("a new file", lambda: os.path.exists(machine.place(f"{directory}/manager/manager.log")))
    fleet.end_map(load, "rotated", tasks)
    fleet.await_state(beside, "succeeded")
    want(fleet.show(beside)["attempts"] == 1, "the task that ran was ended")
    want({unit: fleet.main(unit) for unit in UNITS} == mains, "a service was restarted")
    for name in ("manager", "worker", "worker-two"):
        found = os.listdir(machine.place(f"{directory}/{name}"))
        want(len(found) >= 2, f"{name}: {found}")
    fleet.configure("manager")
    fleet.configure("worker")
    fleet.configure("worker-two")
    fleet.restart(*UNITS)
    fleet.ready()
    all_lines_are_there(machine.place(f"{directory}/manager"), tasks)
    return f"{rotations} rotations"


def all_lines_are_there(directory, tasks):
    """Each task was submitted and has finished, in one line each."""
    told = {"submitted": [], "finished": []}
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        with gzip.open(path, "rt") if name.endswith(".gz") else open(path, encoding="utf-8") as file:
            for line in file:
                want(line.startswith("{") and line.endswith("}\n"), f"a line is not whole: {line}")
                message, task = re.search(r'"message":"([^"]*)"', line), re.search(r'"task":"([0-9.]+)"', line)
                if message and task and message.group(1) in told:
                    told[message.group(1)].append(task.group(1))
    for message, names in told.items():
        # One more: the long one beside them.
        want(len(names) == len(set(names)) == tasks + 1, f"{message}: {len(names)} lines about {len(set(names))} tasks")


def stop_drains(fleet):
    """A task that takes longer than a stop may be silent finishes; what it left behind is gone; nothing is killed too early."""
    machine, takes = fleet.machine, STOP_SECONDS + 12
    machine.run(["systemctl", "stop", SECOND])
    fleet.ready([MANAGER, WORKER])
    task = fleet.submit(f"setsid sleep 1000 & sleep {takes}; echo finished", "--max-attempts 1")
    fleet.await_state(task, "running")
    stop = machine.start(["systemctl", "stop", WORKER], "stop")
    machine.wait("the worker to say that it stops", lambda: "stopping" in fleet.said(WORKER), 10)
    begin = time.monotonic()
    machine.wait("the end of the stop", lambda: stop.poll() is not None, takes + 30)
    seconds = time.monotonic() - begin
    want(stop.returncode == 0 and machine.show(WORKER, "Result") == "success",
         f"{machine.output('stop')}{machine.show(WORKER, 'Result')}")
    shown = fleet.show(task)
    want(shown["state"] == "succeeded" and shown["attempts"] == 1, f"the task: {shown}")
    want(seconds > STOP_SECONDS, f"it took only {seconds:.1f} s")
    left = machine.run("ps -u task-messenger-worker -o pid=,args=", check=False).text.strip()
    want(not left, f"orphans:\n{left}")
    machine.run(["systemctl", "start", WORKER, SECOND])
    fleet.ready()
    return f"drained for {seconds:.0f} s"


def manager_unreachable(fleet, seconds=60):
    """The manager's address is away: the workers wait, whatever it takes, and are back within one step of their back-off."""
    machine = fleet.machine
    mains = {unit: fleet.main(unit) for unit in (WORKER, SECOND)}
    restarts = {unit: machine.show(unit, "NRestarts") for unit in mains}
    machine.run(f"ip addr del {ADDRESS}/32 dev lo")
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for unit in mains:
            want(machine.is_active(unit), f"{unit} is {machine.show(unit, 'ActiveState')}")
            want(machine.show(unit, "NRestarts") == restarts[unit], f"{unit} was restarted")
    said = fleet.said(WORKER)
    want("waiting for manager" in said or "connecting" in said, f"the worker says: {said}")
    machine.run(f"ip addr add {ADDRESS}/32 dev lo")
    back = machine.wait("the workers to be connected", lambda: all(
        fleet.said(unit).startswith("connected") for unit in mains), LONGEST_BACKOFF * 1.5 + 5)
    want({unit: fleet.main(unit) for unit in mains} == mains, "a worker was restarted")
    fleet.ready()
    fleet.task("true")
    return f"back after {back:.1f} s"


def rebooted(fleet):
    """All is back by itself, the queue as it was; a task that ran was let finish."""
    machine = fleet.machine
    running = fleet.submit("sleep 6", "--max-attempts 1")
    fleet.await_state(running, "running")
    late = [fleet.submit("echo late", "--delay 20s") for _ in range(20)]
    down = machine.reboot()
    fleet.ready()
    shown = fleet.show(running)
    want(shown["state"] == "succeeded" and shown["attempts"] == 1, f"the task that ran: {shown}")
    for task in late:
        fleet.await_state(task, "succeeded", 60)
        want(fleet.show(task)["attempts"] == 1, f"{task} ran more than once")
    for unit in UNITS:
        want(machine.show(unit, "NRestarts") == "0", f"{unit} failed at boot:\n{machine.journal(unit)[-1500:]}")
    return f"down after {down:.1f} s"


def each_drop_in(fleet, name, directory):
    """A drop-in, loaded as its first lines say: systemd has nothing to say about it, and it gives what it is for."""
    machine = fleet.machine
    units = [MANAGER] if name == "low-ports" else [MANAGER, WORKER] if name == "container" else [WORKER]
    machine.run(["systemctl", "stop", SECOND])
    for unit in units:
        machine.run(f"mkdir -p /etc/systemd/system/{unit}.d && cp {directory}/{name}.conf /etc/systemd/system/{unit}.d/")
    if name == "low-ports":
        fleet.configure("manager", listen=["[::]:7400", "[::]:443"])
    machine.run("systemctl daemon-reload")
    verify = machine.run(f"systemd-analyze verify --man=no {' '.join(units)}")
    want(not verify.text.strip(), verify.text)
    fleet.restart(*units)
    fleet.ready([MANAGER, WORKER])
    DROP_INS[name](fleet)
    for unit in units:
        machine.run(f"rm -r /etc/systemd/system/{unit}.d")
    fleet.configure("manager")
    machine.run("systemctl daemon-reload")
    fleet.restart(*units)
    machine.run(["systemctl", "start", SECOND])
    fleet.ready()


def relaxed(fleet):
    for line in ("unshare -Ur true", "setarch -R true", "strace -o trace true && test -s trace", "test $(ulimit -c) = unlimited"):
        fleet.task(line)
    for line in ("touch /etc/mine", "ls /home/alice", "cat /etc/task-messenger/config-manager.json"):
        want(fleet.task(line, check=False).code not in (0, 125, 126), f"a task can: {line}")


def gpu(fleet):
    groups = fleet.machine.run(f"grep ^Groups: /proc/{fleet.main(WORKER)}/status").text
    for name in ("video", "render"):
        number = fleet.machine.run(f"getent group {name} | cut -d: -f3").text.strip()
        want(number in groups.split(), f"the worker is not in {name}: {groups}")
    # The machine's own /dev, not one with only the harmless ones; this one of all can't be opened.
    fleet.task("test -e /dev/pts && ! head -c 1 /dev/kmsg")


def container(fleet):
    machine = fleet.machine
    for unit in (MANAGER, WORKER):
        for space in ("mnt", "user", "ipc", "uts"):
            line = f"test $(readlink /proc/1/ns/{space}) = $(readlink /proc/{fleet.main(unit)}/ns/{space})"
            want(machine.run(line, check=False).code == 0, f"{unit} has a namespace of its own: {space}")
    fleet.task("true")


def low_ports(fleet):
    fleet.client("--manager 127.0.0.1:443 submit --wait -- true")


DROP_INS = {"relaxed": relaxed, "gpu": gpu, "container": container, "low-ports": low_ports}
