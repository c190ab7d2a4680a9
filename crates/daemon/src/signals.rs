//! Signals that ask for something while the program goes on. (Those that ask it to stop are [`crate::shutdown`]'s.)

use std::io;

/// Has `act` done for every SIGUSR1, which asks for log files to be opened anew, from now on; on a thread of its own, whatever
/// the rest of the process is doing. Without this the signal ends the process, so it is called even by those who have no log
/// file. Where there is no such signal this does nothing.
pub fn on_reopen(act: impl FnMut() + Send + 'static) -> io::Result<()> {
    #[cfg(unix)]
    return watch("reopen", tokio::signal::unix::SignalKind::user_defined1(), act);
    #[cfg(not(unix))]
    {
        drop(act);
        Ok(())
    }
}

#[cfg(unix)]
fn watch(name: &str, kind: tokio::signal::unix::SignalKind, mut act: impl FnMut() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let mut signals = {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(kind)?
    };
    let watch = async move {
        while signals.recv().await.is_some() {
            act();
        }
    };
    std::thread::Builder::new().name(name.to_owned()).spawn(move || runtime.block_on(watch)).map(drop)
}

#[cfg(all(test, unix))]
#[test]
fn each_signal_is_acted_on_and_the_process_goes_on() {
    use rustix::process::{Signal, getpid, kill_process};

    let (sender, heard) = std::sync::mpsc::channel();
    on_reopen(move || sender.send(()).unwrap()).unwrap();
    for _ in 0..3 {
        kill_process(getpid(), Signal::USR1).unwrap();
        heard.recv_timeout(std::time::Duration::from_mins(1)).unwrap();
    }
}
