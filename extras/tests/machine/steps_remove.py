"""Removing: one component, all of it; nothing is left."""

from files import differences, listing
from fleet import MANAGER, SECOND, UNITS, WORKER
from report import want
from steps_install import is_enabled_and_not_started


STAYS = ["/etc/task-messenger/config-manager.json", "/etc/task-messenger/config-worker-two.json",
         "/etc/task-messenger/worker.credential", "/var/lib/task-messenger/manager"]


def removed_and_again(fleet, remove, install):
    """Removing keeps configuration, state and users; installed again it goes on where it was."""
    machine = fleet.machine
    late = fleet.submit("true", "--delay 5s")
    users = machine.run("getent passwd task-messenger task-messenger-worker").text
    remove()
    want(machine.run("getent passwd task-messenger task-messenger-worker").text == users, "the users are gone")
    for path in STAYS:
        want(machine.run(["test", "-e", path], check=False).code == 0, f"{path} is gone")
    for unit in UNITS:
        want(not machine.is_active(unit), f"{unit} is active")
    gone = machine.run("command -v task-messenger-manager", check=False).text
    want(not gone.strip(), f"{gone} is still there")
    install()
    for unit in (MANAGER, WORKER):
        is_enabled_and_not_started(machine, unit)
    machine.run(["systemctl", "start", *UNITS])
    fleet.ready()
    fleet.await_state(late, "succeeded")


def purge_of_the_workers_leaves_the_manager(fleet, purge):
    machine, main = fleet.machine, fleet.main(MANAGER)
    purge()
    want(machine.is_active(MANAGER) and fleet.main(MANAGER) == main, "the manager does not run as before")
    want(fleet.client("status --json", check=False).code == 0, "the manager does not answer")
    for unit in (WORKER, SECOND):
        want(not machine.is_active(unit), f"{unit} is active")
    left = machine.run("find / -xdev -name '*task-messenger-worker*' -not -path '/root/*' -not -path '/var/lib/dpkg/*'; "
                       "find /etc/task-messenger /var/lib/task-messenger /var/log/task-messenger -name '*worker*'; "
                       "getent passwd task-messenger-worker", check=False).text
    want(not left.strip(), f"left:\n{left}")


def nothing_is_left(machine, before):
    """The files are as before the install, nobody's files are there, and nothing has the name."""
    machine.run("rm -rf /root/test /run/logrotate-of-the-test; systemctl daemon-reload")
    changed = differences(before, listing(machine.root))
    want(not changed, "\n".join(changed))
    nobodys = machine.run("find / /run /tmp -xdev \\( -nouser -o -nogroup \\) -print").text
    want(not nobodys.strip(), f"nobody's:\n{nobodys}")
    named = machine.run("find / /run /dev/shm /tmp -xdev -name '*task-messenger*'; "
                        "systemctl list-unit-files --no-pager --no-legend '*task-messenger*'; "
                        "systemctl list-units --all --no-pager --no-legend '*task-messenger*'; "
                        "(getent passwd; getent group) | grep task-messenger; "
                        "ps -eo args= | grep -v grep | grep task-messenger", check=False).text
    want(not named.strip(), f"left:\n{named}")
