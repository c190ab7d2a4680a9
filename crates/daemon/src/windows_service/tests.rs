use std::{path::Path, time::Duration};

use super::{
    configuration::adapted,
    layout::Layout,
    nssm::{is_nssm, making, setting, text_of},
    rights::{Account, service_sid},
    settings::{Settings, SettingsError, StartupType},
};

const REPOSITORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn layout(component: &'static str, instance: Option<&str>) -> Layout {
    Layout::new(component, instance, Path::new("P"), Path::new("D"))
}

fn text(file: &str) -> String {
    std::fs::read_to_string(Path::new(REPOSITORY).join("extras").join(file)).unwrap()
}

fn settings(layout: &Layout) -> Settings {
    let file = format!("windows-service/{}.toml", layout.component());
    Settings::parse(&text(&file), &file, layout, Duration::from_secs(75)).unwrap()
}

#[test]
fn a_services_layout_is_found_by_its_name() {
    for (component, instance) in [("manager", None), ("worker", None), ("worker", Some("gpu-2"))] {
        let wanted = layout(component, instance);
        assert_eq!(layout("worker", Some("other")).of_service(&wanted.service()), Some(wanted));
    }
    for foreign in ["TaskMessenger", "TaskMessengerWorkers", "TaskMessengerWorker-", "Spooler"] {
        assert_eq!(layout("manager", None).of_service(foreign), None, "{foreign}");
    }
}

#[test]
fn a_service_of_somebody_elses_is_not_taken_for_ours() {
    let worker = layout("worker", None);
    let (program, nssm) = (worker.program().display().to_string(), worker.nssm().display().to_string());
    for command in [&program, &nssm, &format!("\"{program}\" service run"), &format!("\"{}\"", nssm.to_uppercase())] {
        assert!(worker.is_its_command(command), "{command}");
    }
    for command in
        ["notepad.exe", "", r#""C:\nssm\nssm.exe""#, &layout("manager", None).program().display().to_string()]
    {
        assert!(!worker.is_its_command(command), "{command}");
    }
}

#[test]
fn what_is_shipped_sets_up_each_component_as_it_should_be() {
    for (component, instance, service) in [
        ("manager", None, "TaskMessengerManager"),
        ("worker", None, "TaskMessengerWorker"),
        ("worker", Some("gpu"), "TaskMessengerWorker-gpu"),
    ] {
        let layout = layout(component, instance);
        assert_eq!(layout.service(), service);
        let settings = settings(&layout);
        assert_eq!(settings.service.account, format!("NT SERVICE\\{service}"));
        assert_eq!(settings.service.startup_type, StartupType::DelayedAutomatic);
        let restarts: Vec<u64> = settings.recovery.restarts().map(|delay| delay.as_secs()).collect();
        assert_eq!(restarts, [5, 30, 300]);
        assert_eq!(making(&layout)[..2], ["install", service]);
        let calls: Vec<String> = setting(&layout, &settings).iter().map(|words| words.join(" ")).collect();
        let config = layout.configuration().display().to_string();
        for wanted in [
            format!(
                "set {service} AppEnvironmentExtra TASK_MESSENGER_CONFIG={config} TASK_MESSENGER_SERVICE={service}"
            ),
            format!("set {service} AppExit 0 Exit"),
            format!("set {service} AppExit 78 Exit"),
            format!("set {service} AppExit Default Restart"),
            format!("set {service} AppParameters run"),
            format!("set {service} AppRestartDelay 5000"),
            format!("set {service} AppStopMethodConsole 75000"),
            format!("set {service} AppStopMethodSkip 6"),
            format!("set {service} AppKillProcessTree 1"),
        ] {
            assert!(calls.contains(&wanted), "{wanted}: {calls:#?}");
        }
        assert!(calls.iter().all(|call| !call.contains(['{', '}'])), "{calls:#?}");
    }
}

#[test]
fn a_setting_that_is_not_known_or_stands_for_nothing_is_refused() {
    let worker = layout("worker", None);
    let good = text("windows-service/worker.toml");
    let parse = |text: &str| Settings::parse(text, "worker.toml", &worker, Duration::ZERO).unwrap_err();
    let wrong = parse(&good.replace("display_name", "displayname"));
    assert!(matches!(wrong, SettingsError::Wrong { .. }), "{wrong}");
    let name = parse(&good.replace("{logs}", "{log}"));
    assert_eq!(name.to_string(), "worker.toml: {log} stands for nothing here");
}

#[test]
fn the_shipped_configurations_are_adapted_to_where_things_lie() {
    for component in ["manager", "worker"] {
        let default = text(&format!("etc/windows/config-{component}.json"));
        let there = Layout::new(component, None, Path::new("P"), Path::new(r"E:\Däta"));
        let adapted = adapted(&default, &there, None);
        assert!(!adapted.contains("ProgramData"), "{adapted}");
        assert!(adapted.contains(r"E:\\Däta"), "{adapted}");
    }
    let default = text("etc/windows/config-worker.json");
    let gpu = Layout::new("worker", Some("gpu"), Path::new("P"), Path::new(r"C:\ProgramData"));
    let adapted = adapted(&default, &gpu, Some(3));
    assert!(adapted.contains("\"slots\": 3,") && adapted.contains("\"http\": null,"), "{adapted}");
    assert!(!adapted.contains(r"TaskMessenger\\worker\\"), "{adapted}");
    assert_eq!(adapted.matches("worker-gpu").count(), 2, "{adapted}");
}

/// As `sc.exe showsid` prints them.
#[test]
fn a_services_own_account_is_known_before_there_is_one() {
    let installer = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";
    assert_eq!(service_sid("TrustedInstaller"), installer);
    assert_eq!(service_sid("trustedinstaller"), installer);
}

#[test]
fn only_accounts_that_need_no_password_are_taken() {
    assert_eq!(Account::parse("LocalSystem"), Ok(Account::System));
    assert_eq!(Account::parse("NT AUTHORITY\\NetworkService").unwrap().name(), "NT AUTHORITY\\NetworkService");
    assert_eq!(Account::parse("nt service\\TaskMessengerWorker").unwrap().name(), "NT SERVICE\\TaskMessengerWorker");
    assert_eq!(Account::parse("FARM\\tasks$").unwrap().name(), "FARM\\tasks$");
    for name in ["", "ann", ".\\ann", "FARM\\ann", "NT SERVICE\\"] {
        assert!(Account::parse(name).unwrap_err().contains("without a password"), "{name}");
    }
}

#[test]
fn what_nssm_prints_is_read_however_it_is_written() {
    let wide: Vec<u8> = "SERVICE_RUNNING\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(text_of(&wide), "SERVICE_RUNNING");
    assert_eq!(text_of(b"done\r\n"), "done");
    assert!(is_nssm(Path::new(r#""C:\Program Files\TaskMessenger\nssm\nssm.exe""#)));
    assert!(!is_nssm(Path::new(r"C:\Program Files\TaskMessenger\worker\bin\task-messenger-worker.exe service run")));
}

/// The lists that an installation sets, and what they let whom do.
#[cfg(windows)]
#[test]
fn a_service_writes_its_own_directories_and_nobody_else_does() {
    use task_messenger_protocol::windows_access::{ADMINISTRATORS, SYSTEM, changers, may_serve, strangers};

    use super::rights;

    let (own, other) = (service_sid("TaskMessengerWorker"), service_sid("TaskMessengerManager"));
    assert_eq!(changers(&rights::programs()), [""; 0]);
    assert_eq!(changers(&rights::data()), [""; 0]);
    assert_eq!(changers(&rights::read_by(Some(&own))), [""; 0], "a service can't change its own configuration");
    for list in [rights::written_by(Some(&own)), rights::secret_of(Some(&own))] {
        assert_eq!(changers(&list), [own.as_str()], "{list}");
    }
    for list in [rights::written_by(None), rights::secret_of(None), rights::read_by(None)] {
        assert_eq!(changers(&list), [""; 0], "{list}");
    }
    // A secret of the worker's, and who else may read it: not the manager, not the users of the machine.
    let state = rights::written_by(Some(&own));
    assert_eq!(strangers(&rights::secret_of(Some(&own)), &state, &own), [""; 0]);
    assert_eq!(strangers(&rights::read_by(Some(&own)), &state, &own), [""; 0]);
    assert_eq!(
        strangers(&rights::data(), &state, &own),
        ["S-1-5-32-545"],
        "all pass through the directory of all data"
    );
    assert!([SYSTEM, ADMINISTRATORS, &own].iter().all(|owner| may_serve(owner, &state, "S-1-5-21-1-2-3-1001")));
    assert!(!may_serve(&other, &state, "S-1-5-21-1-2-3-1001"));
    // Nothing comes from the directory above, and what is made in them gets the same, but for what is only passed through.
    for list in [rights::programs(), rights::data(), state, rights::read_by(Some(&own)), rights::secret_of(None)] {
        assert!(list.starts_with("D:P(") && list.contains(";SY)") && list.contains(";BA)"), "{list}");
    }
    assert!(rights::programs().contains("(A;OICI;0x1200a9;;;BU)") && rights::data().contains("(A;;0x1200a9;;;BU)"));
}
