use super::*;
use crate::shutdown::Shutdown;

#[test]
fn a_stop_and_a_shutdown_have_the_program_stop() {
    for control in [ServiceControl::Stop, ServiceControl::Preshutdown, ServiceControl::Shutdown] {
        let (shutdown, trigger) = Shutdown::manual();
        assert!(matches!(heed(control, &trigger), ServiceControlHandlerResult::NoError), "{control:?}");
        assert!(shutdown.is_requested(), "{control:?}");
    }
}

#[test]
fn nothing_else_has_it_stop() {
    let (shutdown, trigger) = Shutdown::manual();
    assert!(matches!(heed(ServiceControl::Interrogate, &trigger), ServiceControlHandlerResult::NoError));
    for control in [ServiceControl::Pause, ServiceControl::Continue, ServiceControl::ParamChange] {
        assert!(matches!(heed(control, &trigger), ServiceControlHandlerResult::NotImplemented), "{control:?}");
    }
    assert!(!shutdown.is_requested());
}

#[test]
fn what_takes_long_is_told_with_checkpoints() {
    let mut progress = Progress { state: ServiceState::StartPending, checkpoint: 0 };
    let mut tell = |state| {
        let told = progress.next(state, HINT, ServiceExitCode::NO_ERROR)?;
        assert_eq!((told.current_state, told.wait_hint), (state, HINT));
        let accepts = ServiceControlAccept::STOP | ServiceControlAccept::PRESHUTDOWN;
        let ends = state == ServiceState::Stopped;
        assert_eq!(told.controls_accepted, if ends { ServiceControlAccept::empty() } else { accepts });
        Some(told.checkpoint)
    };
    assert_eq!([(); 2].map(|()| tell(ServiceState::StartPending)), [Some(1), Some(2)]);
    assert_eq!(tell(ServiceState::Running), Some(0));
    assert_eq!([(); 3].map(|()| tell(ServiceState::StopPending)), [Some(0), Some(1), Some(2)]);
    assert_eq!(tell(ServiceState::Running), None, "what stops does not run again");
    assert_eq!(tell(ServiceState::Stopped), Some(0));
    assert_eq!(tell(ServiceState::StopPending), None, "it would count as a crash");
}
