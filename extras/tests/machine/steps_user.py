"""The service of one ordinary user, without root; also after a reboot without a login."""

import os

from fleet import CLIENT, MANAGER, OWN
from report import want

UNIT = "task-messenger-worker.service"


def log_in_alice(machine):
    machine.run("loginctl enable-linger alice")
    machine.wait("alice's service manager", lambda: alice_is_there(machine), 30)


def alice_is_there(machine):
    done = machine.user("alice", "systemctl --user is-system-running", check=False)
    return done.text.strip() in ("running", "degraded")


def install_for_alice(fleet, archives):
    """Installed by her from the archive in her home; enabled, not started; it joins and runs a task as her."""
    machine = fleet.machine
    archive = os.path.basename(archives.tops["worker"])
    machine.run(f"install -o alice -g alice -m 600 {fleet.token('worker')} /home/alice/worker.token; "
                f"install -o alice -g alice {OWN}/{archive}.tar.gz /home/alice/")
    machine.user("alice", f"tar -xzf {archive}.tar.gz")
    machine.user("alice", f"{archive}/scripts/install_service_linux.sh worker --user --yes --slots 1 --join worker.token")
    want(machine.user("alice", f"systemctl --user is-enabled {UNIT}", check=False).text.strip() == "enabled", "it is not enabled")
    want(machine.user("alice", f"systemctl --user is-active {UNIT}", check=False).text.strip() == "inactive", "it was started")
    machine.user("alice", "grep -q '\"http\"' .config/task-messenger/config-worker.json || "
                 "sed -i '0,/{/s//{ \"http\": null,/' .config/task-messenger/config-worker.json")
    machine.user("alice", f"systemctl --user start {UNIT}")
    runs_tasks(fleet)
    machine.run("systemctl start task-messenger-worker.service task-messenger-worker@two.service")
    fleet.ready()


def runs_tasks(fleet):
    """With no other worker there, tasks run as alice."""
    machine = fleet.machine
    machine.run("systemctl stop task-messenger-worker.service task-messenger-worker@two.service")
    fleet.ready([MANAGER])
    machine.wait("alice's worker to be connected", lambda: fleet.connected() == 1, 30)
    done = machine.run(f"{CLIENT} submit --wait -- id -un")
    want(done.text.strip() == "alice", done.text)
    home = machine.run(f"{CLIENT} submit --wait -- sh -c 'echo $HOME'").text
    want(home.startswith("/home/alice/.local/state/task-messenger/worker/"), home)


def is_back_without_login(fleet):
    machine = fleet.machine
    machine.wait("alice's service manager", lambda: alice_is_there(machine), 30)
    line = f"systemctl --user is-active {UNIT}"
    machine.wait("her worker", lambda: machine.user("alice", line, check=False).text.strip() == "active")
    runs_tasks(fleet)
    machine.run("systemctl start task-messenger-worker.service task-messenger-worker@two.service")


def remove_for_alice(machine):
    machine.user("alice", ".local/lib/task-messenger/scripts/uninstall_service_linux.sh all --user --purge --yes")
    machine.user("alice", "rm -rf worker.token task-messenger-worker-*")
    left = machine.run("find /home/alice /run/user -name '*task-messenger*'").text
    want(not left.strip(), f"left:\n{left}")
    machine.run("loginctl disable-linger alice")
