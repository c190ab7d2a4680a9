"""Services that end by themselves: what no restart can mend stays stopped, all else is tried again."""

import re
import time
from datetime import datetime

from report import want, want_text

# NSSM's delay for a program that has run for a while, and its waits for one that ends at once, which go on to 128 s.
RESTART_SECONDS = 5
WAITS_SECONDS = (5, 5, 8, 16)
A_FILE = "C:\\a file"
# What a program that fails so says of it, in its log and elsewhere.
END, REASON = "this is the end", "the state directory"


def not_joined(fleet):
    """A worker that has not joined ends with 78, and says how to join."""
    fleet.worker.configure()
    ends_with_78(fleet.worker, "join")


def wrong_configuration(fleet):
    """A manager with a wrong configuration ends with 78, and says what is wrong."""
    fleet.manager.configure(retain="soon")
    ends_with_78(fleet.manager, "retain")
    done = fleet.manager.call("reload", check=False)
    want(done.code == 3, f"reload of what is stopped: exit code {done.code}\n{done.text}")


def ends_with_78(service, *words):
    done = service.service("start", check=False)
    want(done.code == 78, f"exit code {done.code}\n{done.text}")
    want_text(done, *words)
    status = service.status()
    want((status["state"], status["exit_code"]) == ("stopped", 78), str(status))
    want(all(word in (status["last_error"] or "") for word in words), str(status))
    want_text(service.service("status", check=False), "stopped", "exit code 78", *words)


def are_not_tried_again(fleet):
    """What ended with 78 is still stopped when its restart's delay is over, and has said so once."""
    end = time.monotonic() + RESTART_SECONDS + 2
    while time.monotonic() < end:
        for service in (fleet.manager, fleet.worker):
            status, tries = service.status(), service.said().count("error: ")
            want((status["state"], status["exit_code"], tries) == ("stopped", 78, 1), f"{tries} tries, {status}\n{service.said()}")


def always_crashes(fleet):
    """The other worker ends with 1 at each start. NSSM goes on trying, and it is paused in between."""
    service = fleet.second
    can_not_run(service)
    done = service.service("start", check=False)
    want(done.code == 1, f"exit code {done.code}\n{done.text}")
    want_text(done, "has ended at once", REASON)
    want_text(service.service("status", check=False), "crash-looping", "next try", REASON)


def waits_grow(fleet):
    """Its pauses grow, by what its log says of each try. (Other steps went on meanwhile.) Stopped, it is not tried any more."""
    service = fleet.second
    fleet.machine.wait("five tries", lambda: len(tries_of(service)) > len(WAITS_SECONDS), 60)
    status = service.wait_for("crash-looping", 10)
    tries = tries_of(service)
    pauses = [(later - earlier).total_seconds() for earlier, later in zip(tries, tries[1:])]
    want(all(pause >= seconds - 1 for pause, seconds in zip(pauses, WAITS_SECONDS)), f"tried again too soon: {pauses}")
    want(status["next_try"], str(status))
    service.stop()
    want(service.status()["state"] == "stopped", str(service.status()))
    service.remove_logs()
    return ", ".join(f"{pause:.1f} s" for pause in pauses)


def tries_of(service):
    """When each of its starts failed."""
    found = re.findall(rf"^(\S+)Z .*{END}", service.machine.read(service.log), re.MULTILINE)
    return [datetime.fromisoformat(moment) for moment in found]


def one_that_fails_says_no_word(fleet):
    """A program that fails does not report that it has stopped: to Windows that is a crash, after which it starts it again.

    Wine does not look at processes that end: what was reported last is all that it knows."""
    machine, service = fleet.machine, fleet.manager
    can_not_run(service)
    machine.run("sc", "start", service.name)
    machine.wait("its end", lambda: REASON in service.said() and not machine.processes(service.program), 20)
    done = machine.run("sc", "query", service.name)
    want(re.search(r"STATE .*START_PENDING", done.text), done.text)
    want(REASON in (service.status()["last_error"] or ""), str(service.status()))
    service.remove_logs()


def can_not_run(service):
    """Its state directory is a file."""
    service.machine.write(A_FILE, "")
    service.configure(state_directory=A_FILE)
