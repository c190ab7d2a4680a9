"""Installing: enabled, not started; twice; ready soon; not joined; joined."""

from files import differences, listing
from fleet import MANAGER, OWN, SECOND, UNITS, WORKER
from report import want, want_text

READY_SECONDS = 10


def is_enabled_and_not_started(machine, unit):
    enabled = machine.run(["systemctl", "is-enabled", unit], check=False).text.strip()
    want(enabled == "enabled", f"{unit} is {enabled}")
    active = machine.run(["systemctl", "is-active", unit], check=False).text.strip()
    want(active == "inactive", f"{unit} is {active}")


def changes_nothing(machine, install):
    """Whatever is installed again: no file is another, nothing was restarted."""
    def times():
        return {unit: machine.show(unit, "ActiveEnterTimestampMonotonic") + machine.show(unit, "MainPID") for unit in UNITS}
    files, starts = listing(machine.root), times()
    install()
    changed = differences(files, listing(machine.root), allowed=False)
    want(not changed, "\n".join(changed))
    want(times() == starts, "a service was restarted")


def manager_is_ready(fleet):
    """From the start to READY, as the one who waits for `systemctl start` sees it."""
    fleet.configure("manager")
    seconds = fleet.start(MANAGER)
    want(seconds < READY_SECONDS, f"READY after {seconds} s")
    fleet.log_in()
    return f"READY after {seconds:.2f} s"


def not_joined(fleet, unit):
    """A worker that has not joined ends with 78, says how to join, and is not started again."""
    machine = fleet.machine
    done = machine.run(["systemctl", "start", unit], check=False)
    want(done.code != 0, "the start succeeded")
    machine.wait("the failure", lambda: machine.show(unit, "ActiveState") == "failed", 20)
    status, restarts = machine.show(unit, "ExecMainStatus"), machine.show(unit, "NRestarts")
    want((status, restarts) == ("78", "0"), f"exit code {status}, {restarts} restarts\n{machine.journal(unit)}")
    want("join" in machine.journal(unit), f"nothing says how to join:\n{machine.journal(unit)}")


def worker_joins(fleet):
    machine = fleet.machine
    fleet.configure("worker")
    machine.run(f"task-messenger-worker join @{fleet.token('worker')}")
    is_private(machine, "worker")
    seconds = fleet.start(WORKER)
    want(seconds < READY_SECONDS, f"READY after {seconds} s")
    fleet.ready([MANAGER, WORKER])
    return f"READY after {seconds:.2f} s"


def second_worker(fleet, join):
    """Another worker of the same machine."""
    join()
    is_private(fleet.machine, "worker-two")
    fleet.configure("worker-two")
    fleet.start(SECOND)
    fleet.ready()
    for name in ("worker", "worker-two"):
        mode = fleet.machine.run(f"stat -c '%A %U' /var/lib/task-messenger/{name}").text.strip()
        want(mode == "drwx------ task-messenger-worker", f"{name}: {mode}")


def is_private(machine, name):
    mode = machine.run(f"stat -c '%a %U:%G' /etc/task-messenger/{name}.credential").text.strip()
    want(mode == "600 root:root", f"the credential is {mode}")


def modes(machine):
    """Owners and modes of what is shared and what is not."""
    places = {
        "/etc/task-messenger": "755 root:root",
        "/etc/task-messenger/config-manager.json": "640 root:task-messenger",
        "/etc/task-messenger/config-worker.json": "640 root:task-messenger-worker",
        "/etc/task-messenger/config-worker-two.json": "640 root:task-messenger-worker",
        "/var/lib/task-messenger": "755 root:root",
        "/var/lib/task-messenger/manager": "700 task-messenger:task-messenger",
        "/var/log/task-messenger/manager": "750 task-messenger:task-messenger",
        "/var/log/task-messenger/worker-two": "750 task-messenger-worker:task-messenger-worker",
    }
    wrong = []
    for place, wanted in places.items():
        found = machine.run(f"stat -c '%a %U:%G' {place}", check=False).text.strip()
        if found != wanted:
            wrong.append(f"{place}: {found}, not {wanted}")
    want(not wrong, "\n".join(wrong))


def end_to_end(fleet):
    """Tasks run on both workers."""
    output = fleet.client("map --input /dev/stdin -- sh -c 'sleep 0.2; echo $HOME'",
                          stdin="".join(f"{number}\n" for number in range(40)))
    for name in ("worker", "worker-two"):
        want_text(output, f"/var/lib/task-messenger/{name}/scratch/")
    lines = [line for line in output.text.splitlines() if line.startswith("/")]
    want(len(lines) == 40, f"{len(lines)} lines:\n{output.text}")


def gates(machine, units):
    """The scores, and that systemd has nothing to say about the units."""
    scores = []
    for unit in units:
        limit = 11 if unit == MANAGER else 14
        done = machine.run(f"systemd-analyze security --no-pager --threshold={limit} {unit} | tail -1; exit $PIPESTATUS",
                           check=False)
        want(done.code == 0, f"{unit}: {done.text}")
        scores.append(done.text.split(":")[1].split()[0])
    done = machine.run(f"systemd-analyze verify --man=no {' '.join(units)} task-messenger.target")
    want(not done.text.strip(), done.text)
    # What systemd says of units as it reads them has a unit file's name and line in it.
    line = "journalctl -q -p warning _PID=1 -o cat --no-pager | grep -E 'task-messenger.*:[0-9]+:'"
    warned = machine.run(line, check=False).text
    want(not warned.strip(), warned)
    return "scores " + ", ".join(scores)


def clean(machine):
    machine.run(f"rm -rf {OWN}")
