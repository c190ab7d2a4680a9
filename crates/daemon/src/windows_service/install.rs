//! Installing a service, or bringing one that is there up to what is in this program's tree.

use std::{fs, path::Path, time::Duration};

use windows_registry::LOCAL_MACHINE;

use super::{
    alone::Alone,
    calls::call,
    command::Wanted,
    control::{Found, Mode, Services},
    error::ServiceError,
    events, kept,
    layout::Layout,
    nssm,
    nssm_file::{self, Nssm},
    places,
    rights::Account,
    settings::{Settings, StartupType},
    status,
    together::{self, Other},
    told::Told,
    tree,
    undo::Steps,
};
use crate::{
    exit::chain,
    say::{say, tell},
};

/// How long a service that ran may take to be ready again.
const READY: Duration = Duration::from_mins(1);
/// More than NSSM and Windows take themselves.
const AROUND: Duration = Duration::from_secs(30);

/// Installs what is wanted. `stop` is how long the component may take to stop.
pub(super) fn install(layout: &Layout, wanted: &Wanted, stop: Duration) -> Result<(), ServiceError> {
    let services = Services::change()?;
    let _alone = if wanted.part || wanted.dry_run { None } else { Some(Alone::wait(layout)?) };
    let source = tree::of_this_program()?;
    let service = layout.service();
    let settings = Settings::read(layout, &source, stop)?;
    let found = services.find(&service)?;
    found.as_ref().map_or(Ok(()), |found| found.check(layout))?;
    kept::check(layout, &source)?;
    let mode = if wanted.native { Mode::Native } else { Mode::Nssm };
    let account = match &wanted.account {
        Some(name) => Account::parse(name).map_err(ServiceError::Refused)?,
        None => account_of(found.as_ref().map_or(&settings.service.account, |found| &found.account))?,
    };
    if account == Account::System {
        say(
            "warning: LocalSystem may do everything on this machine, and so may every task: the service's own account is safer",
        );
    }
    let startup_type =
        wanted.startup_type.or(found.as_ref().map(|found| found.startup_type)).unwrap_or(settings.service.startup_type);
    places::check(layout)?;
    let program = layout.program_in(&source);
    let others = together::others(&services, layout)?;
    let mates: Vec<&Other> = others.iter().filter(|other| other.shares_programs(layout)).collect();
    check_kept(layout, &program)?;
    for mate in &mates {
        mate.found.check(&mate.layout)?;
        account_of(&mate.found.account)?;
        check_kept(&mate.layout, &program)?;
    }
    let nssm = if mode == Mode::Nssm { Some(Nssm::take(layout, wanted, &source)?) } else { None };
    let sid = places::sid_of(&account)?;

    let mut steps = Steps::new(wanted.dry_run);
    let tree_changes = !tree::is_same(&source, &layout.tree()) && !tree::has_same_content(&source, &layout.tree());
    // Other services run from it too; while it is the same it is left alone.
    let nssm = nssm.filter(|nssm| !nssm.is_installed(layout));
    let is_concerned =
        |other: &Other| (tree_changes && other.shares_programs(layout)) || (nssm.is_some() && other.has_nssm());
    let ran = found.as_ref().is_some_and(Found::runs);
    let is_another = |found: &Found| found.mode != mode || Account::parse(&found.account).as_ref() != Ok(&account);
    let mut restarted = Vec::new();
    if let Some(found) = &found
        && ran
        && (tree_changes || nssm.is_some() || is_another(found))
    {
        restarted.push(Restarted::of(layout, stop, found));
    }
    let concerned = others.iter().filter(|other| other.found.runs() && is_concerned(other));
    restarted.extend(concerned.map(|other| Restarted::of(&other.layout, Other::stop(stop), &other.found)));
    for one in &restarted {
        if one.is_disabled {
            let service = one.layout.service();
            return Err(ServiceError::Refused(format!(
                "{service} runs, and is disabled: it could not be started again. Stop it, or let it be started (sc.exe config \
                 {service} start= demand)"
            )));
        }
    }
    for one in &restarted {
        // Also when it stops too late for this.
        let (place, loops) = (one.layout.clone(), one.loops);
        steps.or(format!("{} is started", one.layout.service()), move || start_again(&place, loops));
        steps.take(format!("stop {}", one.layout.service()), || services.stop(one.layout, one.stop + AROUND))?;
    }
    if tree_changes && layout.program().is_file() {
        // By the program and the NSSM that will be back then: what is to be undone first comes later.
        let itself = found.clone().map(|found| Other { layout: layout.clone(), found });
        for one in mates.iter().copied().chain(&itself) {
            let (program, words) = (layout.program(), one.installing(nssm_file::installed(layout)));
            let what = format!("{} is set up as before", one.layout.service());
            steps.or(what, move || call(&program, &words).map(drop));
        }
    }
    if let Some(nssm) = nssm {
        nssm.put(layout, &mut steps)?;
    }
    let old = if tree_changes { tree::put(layout, &source, &mut steps)? } else { None };
    // A run that changes nothing finds the old tree still in its place.
    let old_tree = old.clone().filter(|_| !wanted.dry_run).unwrap_or_else(|| layout.tree());
    places::make(layout, sid.as_deref(), &mut steps)?;
    kept::put(layout, &old_tree, &source, sid.as_deref(), wanted.slots, &mut steps)?;
    set_up(layout, &settings, &account, startup_type, mode, found.as_ref(), stop, &mut steps)?;
    if let Some(file) = &wanted.join_token_file {
        join(layout, file, &mut steps)?;
    }
    if tree_changes {
        for mate in mates {
            let (service, program) = (mate.layout.service(), layout.program());
            let sid = places::sid_of(&account_of(&mate.found.account)?)?;
            kept::put(&mate.layout, &old_tree, &source, sid.as_deref(), None, &mut steps)?;
            let words = mate.installing(nssm_file::installed(layout));
            steps.take(format!("bring {service} up to it too"), || call(&program, &words).map(drop))?;
        }
    }
    for one in restarted {
        let (place, stop) = (one.layout.clone(), one.stop);
        let what = format!("{} is stopped", one.layout.service());
        // A new version that runs, and not as it should, would hold its files.
        steps.or(what, move || Services::change()?.stop(&place, stop + AROUND).map(drop));
        steps.take(format!("start {} again", one.layout.service()), || start_again(one.layout, one.loops))?;
    }
    let dry = steps.is_dry();
    steps.keep();
    if let Some(old) = old.filter(|_| !dry) {
        // What can't be removed now, because somebody looks at it, is in nobody's way.
        let _ = fs::remove_dir_all(old);
    }
    if !dry && !ran {
        explain(layout);
    }
    Ok(())
}

/// A service that is stopped for an installation, and started again behind it.
struct Restarted<'a> {
    layout: &'a Layout,
    stop: Duration,
    /// It has not stayed up before either.
    loops: bool,
    is_disabled: bool,
}

impl<'a> Restarted<'a> {
    fn of(layout: &'a Layout, stop: Duration, found: &Found) -> Self {
        Self { layout, stop, loops: found.crash_loops(), is_disabled: found.startup_type == StartupType::Disabled }
    }
}

/// Starts a service, and sees that it stays up; of one that has not done so before that is not expected.
fn start_again(layout: &Layout, loops: bool) -> Result<(), ServiceError> {
    let started = Services::change()?.start(layout, READY).and_then(|()| status::wait_until_ready(layout, READY));
    match started {
        Err(error) if loops => {
            say(format_args!("warning: as before: {}", chain(&error)));
            Ok(())
        }
        started => started,
    }
}

/// An account that the operator has chosen before stays, or has to be changed by them.
fn account_of(name: &str) -> Result<Account, ServiceError> {
    Account::parse(name).map_err(|error| ServiceError::Refused(format!("{error}: name one of them with --account")))
}

fn explain(layout: &Layout) {
    let (service, component) = (layout.service(), layout.component());
    let instance = layout.instance().map(|name| format!(" --instance {name}")).unwrap_or_default();
    let program = layout.program().display().to_string();
    tell(format_args!("{service} is installed, and not started."));
    if component == "worker" && !layout.credential().exists() {
        tell(format_args!("Let it join:  & '{program}' join{instance}"));
    }
    tell(format_args!("Start it:     & '{program}' service start{instance}"));
    tell(format_args!("Look at it:   & '{program}' service status{instance}"));
}

/// Sees that the new program takes what is kept.
fn check_kept(layout: &Layout, program: &Path) -> Result<(), ServiceError> {
    let file = layout.configuration();
    if !file.exists() {
        return Ok(());
    }
    call(program, &["--check-state".to_owned(), "--config".to_owned(), file.display().to_string()]).map(drop)
}

/// Has a worker join, unless it has joined before: installing it again makes no other worker.
fn join(layout: &Layout, token: &Path, steps: &mut Steps) -> Result<(), ServiceError> {
    let credential = layout.credential();
    if credential.exists() {
        let (service, credential) = (layout.service(), credential.display());
        say(format_args!("{service} has joined already ({credential}): the token changes nothing"));
        return Ok(());
    }
    let made = credential.clone();
    steps.or(format!("{} is removed", credential.display()), move || kept::remove(&made));
    let words = ["join".to_owned(), format!("@{}", token.display())];
    steps.take(format!("join with the token in {}", token.display()), || call_component(layout, &words))
}

fn call_component(layout: &Layout, words: &[String]) -> Result<(), ServiceError> {
    let mut words = words.to_vec();
    words.extend(["--config".to_owned(), layout.configuration().display().to_string()]);
    call(&layout.program(), &words).map(tell)
}

/// NSSM makes only services that there are not; one that is there is its own once its program is in the registry.
fn adopt(layout: &Layout) -> Result<(), ServiceError> {
    let service = layout.service();
    let write = || {
        let key = LOCAL_MACHINE.create(format!(r"SYSTEM\CurrentControlSet\Services\{service}\Parameters"))?;
        key.set_expand_string("Application", layout.program().display().to_string())
    };
    write().map_err(|error| ServiceError::Windows {
        service: service.clone(),
        action: "made known to NSSM",
        source: std::io::Error::from(error),
    })
}

#[expect(clippy::too_many_arguments, reason = "all that makes a service")]
fn set_up(
    layout: &Layout,
    settings: &Settings,
    account: &Account,
    startup_type: StartupType,
    mode: Mode,
    found: Option<&Found>,
    stop: Duration,
    steps: &mut Steps,
) -> Result<(), ServiceError> {
    let services = Services::change()?;
    let service = layout.service();
    let told = || Told::new(layout, settings, account, startup_type, mode, stop);
    if found.is_none() {
        let made = service.clone();
        steps.or(format!("{service} is removed"), move || match Services::change()?.delete(&made) {
            Err(ServiceError::NotInstalled(_)) => Ok(()),
            done => done,
        });
        match mode {
            Mode::Nssm => {
                let words = nssm::making(layout);
                steps.take(format!("nssm {}", words.join(" ")), || call(&layout.nssm(), &words).map(drop))?;
            }
            Mode::Native => steps.take(format!("make {service}"), || services.create(&told()))?,
        }
    }
    let kind =
        serde_json::to_value(startup_type).ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default();
    if let Some(found) = found {
        let (place, settings, before, given) = (layout.clone(), settings.clone(), found.clone(), account.clone());
        steps.or(format!("{service} is configured as before"), move || {
            // One with a password can't be given back.
            let account = Account::parse(&before.account).unwrap_or(given);
            let told = Told::new(&place, &settings, &account, before.startup_type, before.mode, stop);
            Services::change()?.configure(told)
        });
        if mode == Mode::Nssm && found.mode == Mode::Native {
            steps.take(format!("make {service} known to NSSM"), || adopt(layout))?;
        }
    }
    let what = format!("configure {service}: account {}, start {kind}", account.name());
    steps.take(what, || services.configure(told()))?;
    if mode == Mode::Nssm {
        for words in nssm::setting(layout, settings) {
            steps.take(format!("nssm {}", words.join(" ")), || call(&layout.nssm(), &words).map(drop))?;
        }
    }
    steps.take(format!("register {service} as a source of events"), || events::register(layout))?;
    if found.is_none() {
        let place = layout.clone();
        steps.or(format!("{service} is no source of events"), move || events::forget(&place));
    }
    Ok(())
}
