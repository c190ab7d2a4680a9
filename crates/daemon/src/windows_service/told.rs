//! What the service control manager is told of a service, as values: all of it is decided here, and told in one place.

#[cfg(test)]
mod tests;

use std::{ffi::OsString, path::PathBuf, time::Duration};

use windows_service::{
    Error,
    service::{
        Service, ServiceAction, ServiceActionType, ServiceDependency, ServiceErrorControl, ServiceFailureActions,
        ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceType,
    },
};

use super::{
    control::Mode,
    layout::Layout,
    rights::Account,
    settings::{Settings, StartupType},
};

/// Windows counts it in milliseconds, in 32 bits.
const NEVER: Duration = Duration::from_hours(24);

/// What one call tells, with what a service could not be if the call fails.
type Call = (&'static str, Box<dyn Fn(&Service) -> Result<(), Error>>);

/// All that Windows keeps of a service.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) info: ServiceInfo,
    description: String,
    /// Whether it starts after all that is automatic; not told of one that doesn't start by itself.
    delayed: Option<bool>,
    recovery: ServiceFailureActions,
    /// Whether what reports that it has stopped, with whatever code, counts as dead.
    stops_are_failures: bool,
    /// How long a shutdown waits for it; NSSM does not ask for that.
    preshutdown: Option<Duration>,
}

impl Told {
    pub(super) fn new(
        layout: &Layout,
        settings: &Settings,
        account: &Account,
        startup_type: StartupType,
        mode: Mode,
        stop: Duration,
    ) -> Self {
        let (program, arguments) = match mode {
            Mode::Nssm => (layout.nssm(), Vec::new()),
            Mode::Native => (layout.program(), native_arguments(layout)),
        };
        // With the rights of an administrator NSSM has Windows take every end for a failure (its `set_service_recovery`), also
        // that of a service which is to stay stopped.
        let is_restarted = mode == Mode::Native || *account != Account::System;
        let restarts = settings.recovery.restarts().filter(|_| is_restarted);
        let actions = restarts.map(|delay| ServiceAction { action_type: ServiceActionType::Restart, delay });
        Self {
            info: info(layout, settings, account, startup_type, program, arguments),
            description: settings.service.description.clone(),
            delayed: match startup_type {
                StartupType::DelayedAutomatic => Some(true),
                StartupType::Automatic => Some(false),
                StartupType::Manual | StartupType::Disabled => None,
            },
            recovery: ServiceFailureActions {
                reset_period: ServiceFailureResetPeriod::After(settings.recovery.reset()),
                reboot_msg: None,
                command: None,
                actions: Some(actions.collect()),
            },
            stops_are_failures: false,
            preshutdown: (mode == Mode::Native).then_some(stop.min(NEVER)),
        }
    }

    /// The calls that tell it, in their order.
    pub(super) fn calls(self) -> Vec<Call> {
        let Self { info, description, delayed, recovery, stops_are_failures, preshutdown } = self;
        let mut calls: Vec<Call> = vec![
            ("configured", Box::new(move |service| service.change_config(&info))),
            ("described", Box::new(move |service| service.set_description(&description))),
        ];
        if let Some(delayed) = delayed {
            calls.push(("started with a delay", Box::new(move |service| service.set_delayed_auto_start(delayed))));
        }
        let recovers = move |service: &Service| service.update_failure_actions(recovery.clone());
        calls.push(("restarted when it dies", Box::new(recovers)));
        let stays = move |service: &Service| service.set_failure_actions_on_non_crash_failures(stops_are_failures);
        calls.push(("left alone when it has stopped", Box::new(stays)));
        if let Some(longest) = preshutdown {
            let waits = move |service: &Service| service.set_preshutdown_timeout(longest);
            calls.push(("waited for at a shutdown", Box::new(waits)));
        }
        calls
    }
}

/// What the service control manager starts the program with.
fn native_arguments(layout: &Layout) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec!["service".into(), "run".into()];
    if let Some(instance) = layout.instance() {
        arguments.extend(["--instance".into(), instance.into()]);
    }
    arguments
}

fn info(
    layout: &Layout,
    settings: &Settings,
    account: &Account,
    startup_type: StartupType,
    program: PathBuf,
    arguments: Vec<OsString>,
) -> ServiceInfo {
    ServiceInfo {
        name: layout.service().into(),
        display_name: settings.service.display_name.clone().into(),
        service_type: ServiceType::OWN_PROCESS,
        start_type: match startup_type {
            StartupType::Manual => ServiceStartType::OnDemand,
            StartupType::Disabled => ServiceStartType::Disabled,
            StartupType::Automatic | StartupType::DelayedAutomatic => ServiceStartType::AutoStart,
        },
        error_control: ServiceErrorControl::Normal,
        executable_path: program,
        launch_arguments: arguments,
        dependencies: settings
            .service
            .dependencies
            .iter()
            .map(|name| ServiceDependency::Service(name.into()))
            .collect(),
        // Also the system's: without a name, a service that is there keeps the account that it has.
        account_name: Some(account.name().into()),
        account_password: None,
    }
}
