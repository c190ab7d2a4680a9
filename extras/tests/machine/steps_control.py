"""The control script, as it is used every day."""

import subprocess

from fleet import MANAGER
from report import want, want_text

LOG = "/var/log/task-messenger/manager/followed.log"


def is_like_an_init_script(fleet):
    """One screen, and the exit codes of init scripts."""
    machine = fleet.machine

    def code(line):
        return machine.run(f"task-messenger-service {line}", check=False)

    done = code("status all")
    want(done.code == 0, f"exit code {done.code}\n{done.text}")
    want("\x1b" not in done.text, "colour, though there is no terminal")
    machine.run("task-messenger-service stop worker@two")
    for line, wanted in (("status worker@two", 3), ("status worker@none", 4), ("status manager", 0), ("status all", 3)):
        done = code(line)
        want(done.code == wanted, f"{line}: exit code {done.code}, not {wanted}\n{done.text}")
    machine.run("task-messenger-service start worker@two && task-messenger-service reload manager")
    fleet.ready()
    want_text(code("logs manager --since -1h"), "task-messenger-manager")


def logs_are_followed(fleet):
    """On a terminal: what is logged from now on appears, and Ctrl-C ends it; so too where the log is a file."""
    follow(fleet, "journal", lambda: fleet.machine.run(f"journalctl -q --no-pager -o cat -n 1 -u {MANAGER}").text)
    fleet.configure("manager", log={"file": LOG})
    fleet.restart(MANAGER)
    fleet.ready()
    follow(fleet, "file", lambda: fleet.machine.run(f"tail -n 1 {LOG}").text)
    fleet.configure("manager")
    fleet.restart(MANAGER)
    fleet.ready()


# A shell that is there behind it, as an administrator's: with it the terminal would end, and everything on that.
FOLLOW = 'trap : INT; task-messenger-service logs manager -f; echo "it ended with $?"; read -r line'


def follow(fleet, name, newest):
    machine, output = fleet.machine, f"follow-{name}"
    process = machine.start(["script", "-qefc", FOLLOW, "/dev/null"], output, stdin=subprocess.PIPE)
    machine.wait("what is there", lambda: newest().strip() in machine.output(output), 15)
    lines = machine.output(output).count("\n")
    machine.run(["systemctl", "reload", MANAGER])
    machine.wait("a new line", lambda: machine.output(output).count("\n") > lines, 15)
    machine.wait("the newest line", lambda: newest().strip() in machine.output(output), 15)
    want("it ended with" not in machine.output(output), f"{name}: it ended\n{machine.output(output)[-1000:]}")
    type_keys(process, b"\x03")
    machine.wait("its end", lambda: "it ended with" in machine.output(output), 15)
    want("it ended with 130" in machine.output(output), f"{name}:\n{machine.output(output)[-1000:]}")
    line = "ps -eo args= | grep -E '^(journalctl|tail) ' | grep -E -- '--follow|-F'"
    machine.wait(f"what follows the {name} to be gone", lambda: not machine.run(line, check=False).text.strip(), 5)
    type_keys(process, b"\n")
    machine.wait("the end of the terminal", lambda: process.poll() is not None, 15)
    process.stdin.close()


def type_keys(process, keys):
    process.stdin.write(keys)
    process.stdin.flush()
