//! How a service is, for people and for programs.

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant, SystemTime},
};

use serde::Serialize;
use serde_json::Value;
use windows_service::service::ServiceState;

use super::{
    calls::call,
    child::child_of,
    control::{Found, Mode, Services},
    error::ServiceError,
    layout::Layout,
    said::{End, newest_error},
    settings::StartupType,
    tree,
};
use crate::exit;

/// How long the daemon may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(200);
/// Nothing longer is read of an answer, or of the end of a log.
const LONGEST: u64 = 64 << 10;

impl Found {
    /// Whether it is meant to run just now.
    pub(super) fn runs(&self) -> bool {
        self.state != ServiceState::Stopped
    }

    /// Whether it has ended at once, and is tried again and again.
    pub(super) fn crash_loops(&self) -> bool {
        word(self.state, self.mode) == CRASH_LOOPING
    }
}

/// What is known of a service.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    service: String,
    component: &'static str,
    instance: Option<String>,
    installed: bool,
    mode: Option<Mode>,
    state: &'static str,
    since: Option<String>,
    pid: Option<u32>,
    exit_code: Option<u32>,
    next_try: Option<String>,
    startup_type: Option<StartupType>,
    account: Option<String>,
    version: Option<String>,
    ready: Option<bool>,
    says: Option<String>,
    last_error: Option<String>,
    logs: Vec<PathBuf>,
}

impl Status {
    /// Asks Windows, and the daemon itself if it answers HTTP at `http`.
    pub(super) fn ask(layout: &Layout, http: Option<SocketAddr>) -> Result<Self, ServiceError> {
        let found = Services::look()?.find(&layout.service())?;
        let state = found.as_ref().map_or("stopped", |found| word(found.state, found.mode));
        let report = if state == "running" { http.and_then(ask_daemon) } else { None };
        let logs: Vec<PathBuf> = layout.log_files().into_iter().collect();
        Ok(Self {
            service: layout.service(),
            component: layout.component(),
            instance: layout.instance().map(str::to_owned),
            installed: found.is_some(),
            mode: found.as_ref().map(|found| found.mode),
            state,
            since: report.as_ref().and_then(since),
            pid: found.as_ref().and_then(|found| process_of(found, layout)),
            exit_code: found.as_ref().and_then(|found| found.exit_code),
            next_try: if state == CRASH_LOOPING { next_try(&logs) } else { None },
            startup_type: found.as_ref().map(|found| found.startup_type),
            account: found.map(|found| found.account),
            version: version(layout),
            ready: report.as_ref().and_then(|report| report["ok"].as_bool()),
            says: report.as_ref().map(says),
            last_error: last_error(layout),
            logs,
        })
    }

    /// As a control script's: 0 it runs, 3 it does not, 4 there is none.
    pub(super) fn exit_code(&self) -> u8 {
        match self.state {
            _ if !self.installed => exit::NOT_INSTALLED,
            "running" => exit::SUCCESS,
            _ => exit::NOT_RUNNING,
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        if !self.installed {
            return format!("{}: not installed", self.service);
        }
        let mut lines = vec![format!("{}: {}", self.service, self.state)];
        let mut line = |name: &str, value: Option<String>| {
            lines.extend(value.map(|value| format!("  {name:<9} {value}")));
        };
        line("since", self.since.clone());
        line("process", self.pid.map(|pid| pid.to_string()));
        line("exit code", self.exit_code.map(|code| code.to_string()));
        line("next try", self.next_try.as_ref().map(|time| format!("at the latest {time}")));
        line("version", self.version.clone());
        line("account", self.account.clone());
        line("says", self.says.clone());
        // While all is well nobody has to look at what is over.
        line("error", self.last_error.clone().filter(|_| self.state != "running" || self.ready == Some(false)));
        for file in &self.logs {
            line("log", Some(file.display().to_string()));
        }
        lines.join("\n")
    }
}

/// That of the installed program, which need not be the one that asks.
fn version(layout: &Layout) -> Option<String> {
    let program = layout.program();
    if std::env::current_exe().is_ok_and(|own| tree::is_same(&own, &program)) {
        return Some(env!("CARGO_PKG_VERSION").to_owned());
    }
    let said = call(&program, &["--version".to_owned()]).ok()?;
    said.split_whitespace().last().map(str::to_owned)
}

/// The program's own process.
fn process_of(found: &Found, layout: &Layout) -> Option<u32> {
    match found.mode {
        Mode::Native => found.process,
        Mode::Nssm => child_of(found.process?, &layout.program()),
    }
}

const CRASH_LOOPING: &str = "crash-looping";
/// NSSM doubles its waits up to this, and says nowhere how far it is.
const LONGEST_WAIT: Duration = Duration::from_secs(128);

/// When the program is started again at the latest: its last try ended when a log was last written.
fn next_try(logs: &[PathBuf]) -> Option<String> {
    let ends = logs.iter().filter_map(|file| file.metadata().ok()?.modified().ok());
    let next = ends.max()?.checked_add(LONGEST_WAIT)?.max(SystemTime::now());
    Some(humantime::format_rfc3339_seconds(next).to_string())
}

/// NSSM pauses a service between its tries.
fn word(state: ServiceState, mode: Mode) -> &'static str {
    match state {
        ServiceState::Running => "running",
        ServiceState::StartPending | ServiceState::ContinuePending => "starting",
        ServiceState::StopPending => "stopping",
        ServiceState::Paused | ServiceState::PausePending if mode == Mode::Nssm => CRASH_LOOPING,
        ServiceState::Stopped | ServiceState::Paused | ServiceState::PausePending => "stopped",
    }
}

fn since(report: &Value) -> Option<String> {
    let checks = report["checks"].as_array()?;
    checks.iter().filter_map(|check| check["since"].as_str()).min().map(str::to_owned)
}

/// What is wrong, or how the first thing that is needed is.
fn says(report: &Value) -> String {
    let checks = report["checks"].as_array().map(Vec::as_slice).unwrap_or_default();
    let detail = |check: &Value| check["detail"].as_str().unwrap_or_default().to_owned();
    let wrong: Vec<String> = checks.iter().filter(|check| check["ok"] == false).map(detail).collect();
    if wrong.is_empty() { checks.first().map(detail).unwrap_or_default() } else { wrong.join("; ") }
}

/// The daemon's report of its readiness (`/readyz`).
fn ask_daemon(address: SocketAddr) -> Option<Value> {
    // Of all of its addresses a machine answers itself at this one; Windows connects to no unspecified one.
    let own = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(own, address.port()), ANSWER).ok()?;
    stream.set_read_timeout(Some(ANSWER)).ok()?;
    stream.set_write_timeout(Some(ANSWER)).ok()?;
    write!(stream, "GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).ok()?;
    let answer = String::from_utf8_lossy(&answer);
    let (_, body) = answer.split_once("\r\n\r\n")?;
    // Some answers come in chunks.
    serde_json::from_str(body.get(body.find('{')?..=body.rfind('}')?)?).ok()
}

/// The end of a log.
fn end_of(file: &PathBuf) -> Option<End> {
    let mut opened = fs::File::open(file).ok()?;
    let metadata = opened.metadata().ok()?;
    opened.seek(SeekFrom::Start(metadata.len().saturating_sub(LONGEST))).ok()?;
    let mut end = Vec::new();
    opened.take(LONGEST).read_to_end(&mut end).ok()?;
    Some(End { text: String::from_utf8_lossy(&end).into_owned(), written: metadata.modified().ok()? })
}

/// Why a service has ended: what its logs say.
pub(super) fn last_error(layout: &Layout) -> Option<String> {
    newest_error(layout.log_files().iter().filter_map(end_of).collect::<Vec<_>>().iter())
}

/// Waits until a service that was started stays up: what ends at once is not there any more.
pub(super) fn wait_until_ready(layout: &Layout, patience: Duration) -> Result<(), ServiceError> {
    let services = Services::look()?;
    let begin = Instant::now();
    let mut steady = Instant::now();
    while steady.elapsed() < STEADY {
        if !services.stays_up(layout)? {
            steady = Instant::now();
        }
        if begin.elapsed() > patience {
            let (service, logs) = (layout.service(), layout.logs());
            return Err(ServiceError::Late { service, wanted: "ready", seconds: patience.as_secs(), logs });
        }
        sleep(LOOK);
    }
    Ok(())
}

/// NSSM calls a program running when it has lived for its throttle, which is ten seconds.
const STEADY: Duration = Duration::from_secs(5);
