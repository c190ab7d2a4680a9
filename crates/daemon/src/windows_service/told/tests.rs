use std::path::Path;

use super::*;

const MINUTES: Duration = Duration::from_mins(10);

fn told(account: &str, startup_type: StartupType, mode: Mode, instance: Option<&str>) -> Told {
    let layout = Layout::new("worker", instance, Path::new(r"C:\Program Files"), Path::new(r"C:\ProgramData"));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../extras/windows-service/worker.toml");
    let settings = Settings::parse(&std::fs::read_to_string(file).unwrap(), "", &layout, MINUTES).unwrap();
    Told::new(&layout, &settings, &Account::parse(account).unwrap(), startup_type, mode, MINUTES)
}

fn calls(told: Told) -> Vec<&'static str> {
    told.calls().into_iter().map(|(call, _)| call).collect()
}

#[test]
fn a_service_of_nssm_starts_nssm() {
    let told = told(r"NT SERVICE\TaskMessengerWorker", StartupType::Automatic, Mode::Nssm, None);
    assert_eq!(told.info.executable_path, Path::new(r"C:\Program Files\TaskMessenger\nssm\nssm.exe"));
    assert_eq!(told.info.launch_arguments, [""; 0]);
    assert_eq!(told.info.account_name, Some(r"NT SERVICE\TaskMessengerWorker".into()));
    assert_eq!((told.info.start_type, told.delayed), (ServiceStartType::AutoStart, Some(false)));
    assert_eq!(told.preshutdown, None);
    let dependencies = ["Tcpip", "Dnscache"].map(|name| ServiceDependency::Service(name.into()));
    assert_eq!(told.info.dependencies, dependencies);
    assert!(!calls(told).contains(&"waited for at a shutdown"));
}

#[test]
fn a_native_service_starts_the_program_and_is_waited_for_at_a_shutdown() {
    let told = told("LocalSystem", StartupType::DelayedAutomatic, Mode::Native, Some("gpu"));
    let program = r"C:\Program Files\TaskMessenger\worker\bin\task-messenger-worker.exe";
    assert_eq!(told.info.executable_path, Path::new(program));
    assert_eq!(told.info.launch_arguments, ["service", "run", "--instance", "gpu"]);
    assert_eq!((told.info.start_type, told.delayed), (ServiceStartType::AutoStart, Some(true)));
    assert_eq!(told.preshutdown, Some(MINUTES));
    assert_eq!(
        calls(told),
        [
            "configured",
            "described",
            "started with a delay",
            "restarted when it dies",
            "left alone when it has stopped",
            "waited for at a shutdown"
        ]
    );
}

/// Windows keeps what it isn't told: it has to be told also of the account that it would take by itself.
#[test]
fn a_service_can_be_given_back_to_the_system() {
    let told = told("LocalSystem", StartupType::Manual, Mode::Native, None);
    assert_eq!(told.info.account_name, Some("LocalSystem".into()));
    assert_eq!((told.info.start_type, told.delayed), (ServiceStartType::OnDemand, None));
    assert!(!calls(told).contains(&"started with a delay"));
    let disabled = self::told("LocalSystem", StartupType::Disabled, Mode::Native, None);
    assert_eq!((disabled.info.start_type, disabled.delayed), (ServiceStartType::Disabled, None));
}

#[test]
fn what_dies_is_restarted_after_5_s_then_30_s_then_5_minutes() {
    for mode in [Mode::Nssm, Mode::Native] {
        let told = told(r"NT SERVICE\TaskMessengerWorker", StartupType::Automatic, mode, None);
        assert!(!told.stops_are_failures, "78 stays stopped");
        let recovery = told.recovery;
        let actions = recovery.actions.unwrap();
        assert!(actions.iter().all(|action| action.action_type == ServiceActionType::Restart), "{actions:?}");
        // In milliseconds, as Windows takes them (winsvc.h, `SC_ACTION`).
        assert_eq!(actions.iter().map(|action| action.to_raw().Delay).collect::<Vec<_>>(), [5_000, 30_000, 300_000]);
        // In seconds (`SERVICE_FAILURE_ACTIONSW`).
        assert_eq!(recovery.reset_period.to_raw(), 86_400);
        assert_eq!((recovery.command, recovery.reboot_msg), (None, None));
    }
}

/// NSSM has Windows take its end with 78 for a failure where it may.
#[test]
fn nssm_as_the_system_is_not_restarted_by_windows() {
    let told = told("LocalSystem", StartupType::Automatic, Mode::Nssm, None);
    assert_eq!(told.recovery.actions, Some(Vec::new()));
}
