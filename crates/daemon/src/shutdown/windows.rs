//! What happens to the console.
//!
//! `CTRL_SHUTDOWN` is not listened to: Windows sends it to no process that has loaded user32, as this one has.

use std::io;

use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, ctrl_break, ctrl_c, ctrl_close};
use windows::Win32::UI::WindowsAndMessaging::{GetSystemMetrics, SM_SHUTTINGDOWN};

use super::Cause;

pub(super) struct Signals {
    ctrl_c: CtrlC,
    ctrl_break: CtrlBreak,
    close: CtrlClose,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { ctrl_c: ctrl_c()?, ctrl_break: ctrl_break()?, close: ctrl_close()? })
    }

    pub(super) async fn next(&mut self) -> Cause {
        tokio::select! {
            _ = self.ctrl_c.recv() => of_ctrl_c(is_shutting_down()),
            _ = self.ctrl_break.recv() => Cause::Interrupt,
            _ = self.close.recv() => Cause::Closing,
        }
    }
}

/// NSSM sends it, also when Windows shuts down: neither it nor the program has the usual time then.
fn of_ctrl_c(is_shutting_down: bool) -> Cause {
    if is_shutting_down { Cause::Closing } else { Cause::Interrupt }
}

#[expect(unsafe_code, reason = "the system's own functions")]
fn is_shutting_down() -> bool {
    // SAFETY: it takes a number and gives one.
    unsafe { GetSystemMetrics(SM_SHUTTINGDOWN) != 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ctrl_c_while_windows_shuts_down_leaves_little_time() {
        assert_eq!(of_ctrl_c(true), Cause::Closing);
        assert_eq!(of_ctrl_c(false), Cause::Interrupt);
        assert!(!is_shutting_down(), "it runs");
    }
}
