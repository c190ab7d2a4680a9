"""What the services may and may not, as tasks see it: the table of commands that work, and all that is out of reach."""

from fleet import MANAGER, SECOND, WORKER
from report import Failure, Skip, want

PROGRAM = '#include <stdio.h>\nint main(void) { puts("compiled"); return 0; }\n'

# Name, a line of the shell, what it must say. Each is a task.
WORKS = [
    ("sh", "echo shell $((6 * 7))", "shell 42"),
    ("python3", "python3 -c 'import multiprocessing as m; p = m.Pool(2); print(sum(p.map(abs, [-20, 22])))'", "42"),
    ("node", "node -e 'console.log([20, 22].reduce((a, b) => a + b))'", "42"),
    ("java", "java -version 2>&1", "Runtime Environment"),
    ("gcc", f"printf '%s' '{PROGRAM}' >a.c && gcc -O1 -o a a.c && ./a", "compiled"),
    ("git", "git init -q r && cd r && git -c user.name=a -c user.email=a@b commit -q --allow-empty -m first && "
            "git log --format=%s", "first"),
    ("tar", "mkdir d && echo inside >d/f && tar -czf d.tgz d && rm -r d && tar -xzf d.tgz && cat d/f", "inside"),
    ("curl", "curl -sS http://127.0.0.1:7480/healthz -o out -w 'code %{http_code}'", "code 200"),
    ("taskset", "taskset -c 0 nproc", "1"),
    ("free", "free -m", "Mem:"),
    ("ip addr", "ip addr", "10.99.0.1"),
]

# A line of the shell that must fail when it runs as a task. MAIN stands for the manager's main process.
OUT_OF_REACH = [
    ("list the manager's state", "ls /var/lib/task-messenger/manager"),
    ("read the manager's state", "cat /var/lib/task-messenger/manager/*"),
    ("read the manager's configuration", "cat /etc/task-messenger/config-manager.json"),
    ("list the manager's logs", "ls /var/log/task-messenger/manager"),
    ("list the manager's runtime directory", "ls /run/task-messenger/manager"),
    ("list the manager's processes", "ps -e -o args= | grep -v grep | grep task-messenger-manager"),
    ("look into the manager's process", "ls /proc/MAIN/"),
    ("signal the manager", "kill -0 MAIN"),
    ("stop the manager's process", "kill -STOP MAIN"),
    ("signal any process of the manager's user", "pkill -0 -u task-messenger"),
    ("read the worker's credential file", "cat /etc/task-messenger/worker.credential"),
    ("become root", "setpriv --reuid 0 true"),
    ("become the manager's user", "setpriv --reuid task-messenger true"),
    ("make a namespace", "unshare -U true"),
    ("mount", "mount -t tmpfs tmpfs ."),
    ("see a home", "ls /home/alice"),
    ("see root's home", "ls /root"),
    ("list homes", "ls -A /home | grep ."),
    ("open a device", "head -c 1 /dev/kmsg"),
    ("write a control group that is not its own", "mkdir /sys/fs/cgroup/system.slice/mine"),
    ("write a setting of the kernel", "echo 1 >/proc/sys/kernel/sysrq"),
    ("make a set-user-id file", "cp /bin/true t && chmod u+s t"),
]
NOT_WRITABLE = ["/", "/boot", "/etc", "/etc/task-messenger", "/home", "/mnt", "/opt", "/root", "/srv", "/usr",
                "/usr/bin", "/var", "/var/lib", "/var/lib/task-messenger", "/var/log", "/var/log/task-messenger",
                "/run", "/run/task-messenger"]


def works(fleet, line, says):
    done = fleet.task(line)
    want(says in done.text, f"'{says}' is not in\n{done.text}")


def is_out_of_reach(fleet, line):
    done = fleet.task(line.replace("MAIN", str(fleet.main(MANAGER))), check=False)
    want(done.code not in (0, 125, 126), f"exit code {done.code}\n{done.text}")
    want(fleet.machine.is_active(MANAGER), "the manager is not active any more")


def tasks_write_nowhere_else(fleet, programs):
    places = " ".join(NOT_WRITABLE + [programs])
    done = fleet.task(f"for d in {places}; do ! touch $d/mine 2>/dev/null || echo can write: $d; done; touch mine && echo own")
    want(done.text.strip() == "own", done.text)


def services_have_no_capability(fleet):
    for unit in (MANAGER, WORKER, SECOND):
        text = fleet.machine.run(f"grep -E '^(Cap|NoNewPrivs|Seccomp:|Uid)' /proc/{fleet.main(unit)}/status").text
        fields = dict(line.split(":", 1) for line in text.splitlines())
        for name, value in fields.items():
            if name.startswith("Cap"):
                want(int(value, 16) == 0, f"{unit} has a capability:\n{text}")
        want(fields["NoNewPrivs"].strip() == "1" and fields["Seccomp"].strip() == "2", f"{unit}:\n{text}")
        want("0" not in fields["Uid"].split(), f"{unit} runs as root")


def services_see_little(fleet, programs):
    """Even root, in the services' view of the files, could not write, nor see a home."""
    machine = fleet.machine
    for unit in (MANAGER, WORKER):
        inside = f"nsenter -t {fleet.main(unit)} -m --"
        done = machine.run(f"for d in /etc /usr /var/lib {programs}; do ! {inside} touch $d/mine 2>/dev/null || echo $d; done; "
                           f"{inside} ls -A /home /root | grep -v :; true")
        want(not done.text.strip(), f"{unit} can write, or see:\n{done.text}")


def task_has_its_own_group(fleet):
    done = fleet.task("cat /proc/self/cgroup")
    group = done.text.strip().splitlines()[-1].partition("::")[2]
    want(".service/task-" in group, f"the task was in\n{done.text}")
    main = fleet.machine.run(f"cat /proc/{fleet.main(WORKER)}/cgroup").text
    want("/supervisor" in main, f"the worker is in\n{main}")


HIDES = """
import ctypes, os, time
if os.fork() == 0:
    os.setsid()
    ctypes.CDLL(None).prctl(4, 0)
    if os.fork() == 0:
        os.execv("/bin/sleep", ["hidden-by-the-test", "1000"])
    os._exit(0)
os.wait()
"""


def nothing_outlives_its_task(fleet):
    """Neither in another session, nor without a parent, nor hidden from its own user."""
    for text in (HIDES, HIDES.replace('os.execv("/bin/sleep", ["hidden-by-the-test", "1000"])', "time.sleep(1000)")):
        fleet.task(["python3", "-c", text])
    fleet.task("setsid sleep 1000 >/dev/null 2>&1 & exit 0")
    await_no_process(fleet.machine, "$1 !~ /^Z/", "tasks' processes to be gone")


def what_has_ended_is_reaped(fleet):
    """The step before has left processes that had hidden."""
    await_no_process(fleet.machine, "1", "tasks' processes that have ended to be reaped")


def await_no_process(machine, which, what):
    processes = "ps -u task-messenger-worker -o stat=,args="
    line = f"{processes} | awk '{which} && !/task-messenger-worker run$/'"
    try:
        machine.wait(what, lambda: not machine.run(line).text.strip(), 15)
    except Failure as failure:
        raise Failure(f"{failure}\n{machine.run(processes).text}") from failure


def out_of_memory_ends_one_task(fleet):
    controllers = fleet.machine.run("cat /sys/fs/cgroup/cgroup.controllers", check=False).text.split()
    if "memory" not in controllers:
        raise Skip("this kernel has its memory controller in cgroup v1 (hybrid): memory limits and OOM can't be shown")
    machine, main = fleet.machine, fleet.main(WORKER)
    machine.run(f"systemctl set-property --runtime {WORKER} MemoryMax=400M MemorySwapMax=0; systemctl stop {SECOND}")
    beside = fleet.submit("sleep 8; echo fine", "--max-attempts 1")
    fleet.await_state(beside, "running")
    done = fleet.task(["python3", "-c", "b = bytearray(2 << 30); print(len(b))"], check=False)
    want(done.code != 0, "a task had more memory than the limit")
    fleet.await_state(beside, "succeeded")
    want(fleet.main(WORKER) == main, "the worker was ended too")
    machine.run(f"systemctl set-property --runtime {WORKER} MemoryMax=infinity MemorySwapMax=infinity; systemctl start {SECOND}")
    fleet.ready()
