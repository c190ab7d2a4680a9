"""Installing: first told, then done; what is set; twice; what is refused."""

import os
import re
import tomllib

from report import want, want_text
from service import DATA, NSSM, PROGRAMS
from unsafe import NOT_TRIED, UNSAFE, unsafe

SERVICES = "HKLM\\SYSTEM\\CurrentControlSet\\Services"

EVENTS = {"0x40000001": "The service has started", "0x40000002": "The service stops",
          "0xC0000010": "The service can't work as it is set up", "0xC0000011": "The service has failed"}

# Of what is set, Wine 8 keeps no delayed start (it says that the start is automatic), no recovery actions, and no dependencies
# for NSSM, which are looked up in the registry instead.


def dry_run_changes_nothing(fleet):
    before = fleet.machine.listing()
    done = fleet.manager.install("--dry-run")
    want_text(done, "would copy", "would make", f"would register {fleet.manager.name}")
    want(fleet.machine.listing() == before, "something was changed")
    want(fleet.manager.service("status", check=False, top=fleet.manager.archive).code == 4, "there is a service")


def unsafe_directories_are_refused(fleet):
    """Programs that others can change, and data of somebody else's; nothing is left of it."""
    machine = fleet.machine
    for directory, make, says in UNSAFE:
        with unsafe(machine, directory, make):
            before = machine.listing()
            done = fleet.manager.install(check=False)
            want(machine.listing() == before, f"something is left\n{done.text}")
        want(done.code == 1, f"exit code {done.code}\n{done.text}")
        want_text(done, f"error: {directory} {says}")
    return NOT_TRIED


def installed_and_not_started(fleet):
    for service in fleet.services:
        done = service.install()
        want_text(done, f"{service.name} is installed, and not started.", "service start",
                  "warning: LocalSystem may do everything on this machine")
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
    return f"{sum(same_in_nssm(fleet, service) for service in fleet.services)} settings"


def same_in_nssm(fleet, service):
    """How many settings there are."""
    wanted = wanted_of_nssm(fleet, service)
    found = fleet.machine.together(*(asking(fleet, service, name) for name in wanted))
    wrong = [f"{service.name} {' '.join(name)}: {got!r}, not {value!r}"
             for (name, value), got in zip(wanted.items(), found) if got != value]
    want(not wrong, "\n".join(wrong))
    return len(wanted)


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


def events_are_told(fleet):
    """What the program gives to the Event Log: Wine keeps nothing of it, but says what it was given."""
    machine, manager = fleet.machine, fleet.manager
    program = f"{PROGRAMS}\\{manager.component}\\bin\\{manager.program}"
    run = (program, "run", "--config", manager.configuration)
    environment = {"WINEDEBUG": "+eventlog", "TASK_MESSENGER_SERVICE": manager.name}
    good = machine.read(manager.configuration)
    manager.configure(retain="soon")
    done = machine.run(*run, check=False, environment=environment)
    want(done.code == 78 and events_in(done.text) == ["0xc0000010"], f"exit code {done.code}\n{done.text}")
    manager.configure()
    path = os.path.join(machine.directory, "events")
    with open(path, "wb") as output:
        process = machine.start("wine", *run, output=output, environment=environment)
    machine.wait("the event of a start", lambda: told(path) == ["0x40000001"], 30)
    machine.run(machine.windows(machine.tools.path("console.exe")), "break", manager.program)
    want(process.wait(30) == 0, f"exit code {process.returncode}")
    want(told(path) == ["0x40000001", "0x40000002"], f"events: {told(path)}")
    machine.write(manager.configuration, good)
    manager.remove_logs()


def told(path):
    with open(path, "rb") as file:
        return events_in(file.read().decode("utf-8", "replace"))


def events_in(text):
    """The numbers of the events that Wine was given (`trace:eventlog:ReportEventW (handle,type,category,number,…)`)."""
    return re.findall(r"ReportEventW \(\S+?,0x\w+,0x\w+,(0x\w+),", text)


def settings_are_in_the_registry(fleet):
    for service in fleet.services:
        service_is_in_the_registry(fleet, service)


def service_is_in_the_registry(fleet, service):
    """What Windows' own service manager is told of a service, and the Event Log of its texts."""
    data, program = data_of(fleet, service)["service"], f"{PROGRAMS}\\{service.component}\\bin\\{service.program}"
    starts = f'"{NSSM}"' if service.mode == "nssm" else " ".join([f'"{program}" service run', *service.instance])
    wanted = {"ImagePath": starts, "DisplayName": data["display_name"], "Description": data["description"],
              "ObjectName": "LocalSystem", "Start": "0x2", "Type": "0x10",
              "DependOnService": "\\0".join(data["dependencies"])}
    if service.mode == "native":
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


def secrets_are_private(fleet):
    """Others have none of what holds a secret. Wine shows access lists as modes, and a file without one as others may read it."""
    secrets = [fleet.manager.configuration, fleet.worker.configuration, f"{DATA}\\manager\\key.pem",
               f"{DATA}\\worker\\worker.credential"]
    exposed = [path for path in [*secrets, f"{DATA}\\manager\\store\\store.json"] if fleet.machine.mode(path) & 0o007]
    want(exposed == [f"{DATA}\\manager\\store\\store.json"], f"others can read {exposed}")
    for service in (fleet.manager, fleet.worker):
        os.chmod(fleet.machine.place(service.configuration), 0o666)
        # By the installed program, which replaces nothing: what runs goes on.
        service.install(top=f"{PROGRAMS}\\{service.component}")
    exposed = [path for path in secrets if fleet.machine.mode(path) & 0o007]
    want(not exposed, f"installed again, others can read {exposed}")
