"""Installing: first told, then done; what is set; twice; what can't start."""

import re
import tomllib

from report import want, want_text
from service import DATA, NSSM, PROGRAMS

SERVICES = "HKLM\\SYSTEM\\CurrentControlSet\\Services"

EVENTS = {"0x40000001": "The service has started", "0x40000002": "The service stops",
          "0xC0000010": "The configuration can't be used", "0xC0000011": "The service has failed"}

# Of what is set, Wine 8 keeps no delayed start (it says that the start is automatic), no recovery actions, and no dependencies
# for NSSM, which are looked up in the registry instead.


def dry_run_changes_nothing(fleet):
    before = fleet.machine.listing()
    done = fleet.manager.install("--dry-run")
    want_text(done, "would copy", "would make", f"would register {fleet.manager.name}")
    want(fleet.machine.listing() == before, "something was changed")
    want(fleet.manager.service("status", check=False, top=fleet.manager.archive).code == 4, "there is a service")


def installed_and_not_started(fleet):
    for service in fleet.services:
        done = service.install()
        want_text(done, f"{service.name} is installed, and not started.", "service start")
        done = service.service("status", check=False)
        want(done.code == 3, f"{service.name}: exit code {done.code}\n{done.text}")
    found = fleet.machine.processes("task-messenger-")
    want(not found, f"something runs: {found}")


def again_changes_nothing(fleet):
    """Each is installed once more: no file and no setting is another, and nothing has started."""
    before, states = fleet.machine.listing(), fleet.states()
    for service in fleet.services:
        service.install()
    after = fleet.machine.listing()
    changed = [name for name in sorted({*before, *after})
               if without_time(name, before.get(name)) != without_time(name, after.get(name))]
    want(not changed, "\n".join(f"{name}: {before.get(name)} -> {after.get(name)}" for name in changed))
    want(fleet.states() == states, f"{states}\n{fleet.states()}")


def without_time(name, what):
    """The programs are copied anew, and have the same size."""
    return what.split()[0] if what and "/Program Files/" in name else what


def settings_are_those_of_the_data(fleet):
    """Each setting, as NSSM gives it back, is what share\\windows-service says."""
    wrong, looked = [], 0
    for service in fleet.services:
        wanted = wanted_of_nssm(fleet, service)
        found = fleet.machine.together(*(asking(fleet, service, name) for name in wanted))
        looked += len(wanted)
        wrong += [f"{service.name} {' '.join(name)}: {got!r}, not {value!r}"
                  for (name, value), got in zip(wanted.items(), found) if got != value]
    want(not wrong, "\n".join(wrong))
    return f"{looked} settings"


def asking(fleet, service, name):
    return lambda: fleet.nssm("get", service.name, *name).text.strip()


def wanted_of_nssm(fleet, service):
    """By the words that NSSM is asked for each."""
    data = data_of(fleet, service)
    wanted = {}
    for name, value in data["nssm"].items():
        if isinstance(value, dict):
            wanted |= {(name, of): text for of, text in value.items()}
        else:
            wanted[(name,)] = "\n".join(value) if isinstance(value, list) else str(value)
    # By default NSSM says so in its own words.
    wanted[("AppExit", "Default")] = data["nssm"]["AppExit"]["Default"]
    wanted |= {("DisplayName",): data["service"]["display_name"], ("Description",): data["service"]["description"],
               ("ObjectName",): "LocalSystem", ("Start",): "SERVICE_AUTO_START", ("Type",): "SERVICE_WIN32_OWN_PROCESS"}
    return wanted


def one_that_fails_leaves_nothing(fleet):
    """Its last step fails, for a token that is none: all before it is undone."""
    machine = fleet.machine
    machine.write("C:\\token.txt", "tm1w_half")
    before = machine.listing()
    done = fleet.worker.install("--join-token-file", "C:\\token.txt", check=False)
    want(done.code == 1, f"exit code {done.code}\n{done.text}")
    want_text(done, "undoing", "the token has a wrong character")
    want(machine.listing() == before, f"something is left\n{done.text}")


def events_have_texts(fleet):
    """What Event Viewer looks for in the program, by the numbers that events are told by. (Wine keeps no events.)"""
    tool = fleet.machine.windows(fleet.machine.tools.path("message.exe"))
    for service in fleet.services:
        program = f"{PROGRAMS}\\{service.component}\\bin\\{service.program}"
        for number, text in EVENTS.items():
            said = fleet.machine.run(tool, program, number, "Größe 5").text.strip()
            want(said == f"{text}: Größe 5", f"event {number} of {service.name}: {said}")


def settings_are_in_the_registry(fleet):
    """What Windows' own service manager is told of each service, and the Event Log of its texts."""
    for service in fleet.services:
        data, program = data_of(fleet, service)["service"], f"{PROGRAMS}\\{service.component}\\bin\\{service.program}"
        starts = f'"{NSSM}"' if fleet.mode == "nssm" else " ".join([f'"{program}" service run', *service.instance])
        wanted = {"ImagePath": starts, "DisplayName": data["display_name"], "Description": data["description"],
                  "ObjectName": "LocalSystem", "Start": "0x2", "Type": "0x10",
                  "DependOnService": "\\0".join(data["dependencies"])}
        if fleet.mode == "native":
            wanted["PreshutdownTimeout"] = hex(int(grace_of(service)))
        same_in_registry(fleet, service, f"{SERVICES}\\{service.name}", wanted)
        same_in_registry(fleet, service, f"{SERVICES}\\EventLog\\Application\\{service.name}",
                         {"EventMessageFile": program, "TypesSupported": "0x7"})


def same_in_registry(fleet, service, key, wanted):
    lines = fleet.machine.run("reg", "query", key).text.splitlines()
    found = dict(re.split(r"\s{4}REG_\w+\s{4}", line.strip(), maxsplit=1) for line in lines if "REG_" in line)
    wrong = [f"{name}: {found.get(name)!r}, not {value!r}" for name, value in wanted.items() if found.get(name) != value]
    want(not wrong, f"{service.name}\n" + "\n".join(wrong))


def grace_of(service):
    """How long a stop may take, in milliseconds: the manager's time for a last snapshot, the worker's for its tasks and last words."""
    return "600000" if service.component == "manager" else "87000"


def data_of(fleet, service):
    """The settings' file, with this service's own names in it."""
    instance = f" {service.instance[1]}" if service.instance else ""
    names = {"service": service.name, "instance": instance, "config": service.configuration, "logs": service.logs,
             "bin": f"{PROGRAMS}\\{service.component}\\bin", "stop_milliseconds": grace_of(service),
             "program": f"{PROGRAMS}\\{service.component}\\bin\\{service.program}"}
    text = fleet.machine.read(f"{PROGRAMS}\\{service.component}\\share\\windows-service\\{service.component}.toml")
    return tomllib.loads(re.sub(r"^([^#\n]*)", lambda line: filled(line.group(1), names), text, flags=re.MULTILINE))


def filled(line, names):
    return re.sub(r"\{(\w+)\}", lambda name: names[name.group(1)], line)


def not_there(fleet):
    """Exit codes of what is asked for a service that is not installed."""
    for words in (["service", "uninstall"], ["service", "start"], ["service", "stop"], ["service", "status"], ["reload"]):
        done = fleet.manager.call(*words, check=False, top=fleet.manager.archive)
        want(done.code == 4, f"{' '.join(words)}: exit code {done.code}\n{done.text}")


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


def was_tried_once(fleet):
    """What ended with 78 was not started again, though its restart's delay is over by far."""
    for service in (fleet.manager, fleet.worker):
        tries = service.said().count("error: ")
        want(tries == 1, f"{service.name} was tried {tries} times\n{service.said()}")


def configuration_is_private(fleet):
    """Wine shows a file's access list as its mode, and others have none of it."""
    for path in (fleet.manager.configuration, fleet.worker.configuration, f"{DATA}\\manager\\key.pem",
                 f"{DATA}\\worker\\worker.credential"):
        mode = fleet.machine.mode(path)
        want(mode & 0o007 == 0, f"{path} has mode {mode:o}")
