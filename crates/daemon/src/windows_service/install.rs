//! Installing a service, or bringing one that is there up to what is in this program's tree.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use sha2::{Digest, Sha256};
use task_messenger_protocol::windows_access::set_access;
use windows_registry::LOCAL_MACHINE;

use super::{
    calls::call,
    command::Wanted,
    control::{Found, Mode, Services},
    error::{ServiceError, at},
    events, kept,
    layout::{Layout, shared},
    nssm, places,
    rights::{self, Account},
    settings::{Settings, StartupType},
    status,
    together::{self, Other},
    told::Told,
    tree,
    undo::Steps,
};
use crate::say::{say, tell};

/// How long a service that ran may take to be ready again.
const READY: Duration = Duration::from_mins(1);
/// More than NSSM and Windows take themselves.
const AROUND: Duration = Duration::from_secs(30);

/// Which NSSM is taken: `share\windows-service\nssm.json`.
#[derive(serde::Deserialize)]
struct Pinned {
    version: String,
    exe_sha256: String,
}

/// Installs what is wanted. `stop` is how long the component may take to stop.
pub(super) fn install(layout: &Layout, wanted: &Wanted, stop: Duration) -> Result<(), ServiceError> {
    let services = Services::change()?;
    let source = tree::of_this_program()?;
    let service = layout.service();
    let settings = Settings::read(layout, &source, stop)?;
    let found = services.find(&service)?;
    let mode = if wanted.native { Mode::Native } else { Mode::Nssm };
    let account = match &wanted.account {
        Some(name) => Account::parse(name).map_err(ServiceError::Refused)?,
        None => kept_account(found.as_ref())
            .unwrap_or(Account::parse(&settings.service.account).map_err(ServiceError::Refused)?),
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
    for kept in [layout].into_iter().chain(mates.iter().map(|mate| &mate.layout)) {
        check_kept(kept, &program)?;
    }
    let nssm = if mode == Mode::Nssm { Some(take_nssm(layout, wanted, &source)?) } else { None };
    let sid = places::sid_of(&account)?;

    let mut steps = Steps::new(wanted.dry_run);
    let tree_changes = !tree::is_same(&source, &layout.tree());
    // Other services run from it too; while it is the same it is left alone.
    let nssm = nssm.filter(|(bytes, _)| !fs::read(layout.nssm()).is_ok_and(|there| there == *bytes));
    let is_concerned =
        |other: &Other| (tree_changes && other.shares_programs(layout)) || (nssm.is_some() && other.has_nssm());
    let ran = found.as_ref().is_some_and(Found::runs);
    let is_another = |found: &Found| found.mode != mode || Account::parse(&found.account).as_ref() != Ok(&account);
    let mut restarted = Vec::new();
    if ran && (tree_changes || nssm.is_some() || found.as_ref().is_some_and(is_another)) {
        restarted.push((layout, stop));
    }
    let concerned = others.iter().filter(|other| other.found.runs() && is_concerned(other));
    restarted.extend(concerned.map(|other| (&other.layout, Other::stop(stop))));
    for (layout, stop) in &restarted {
        let (service, place) = (layout.service(), (*layout).clone());
        steps.take(format!("stop {service}"), || services.stop(layout, *stop + AROUND))?;
        steps.or(format!("{service} is started"), move || Services::change()?.start(&place, READY));
    }
    if let Some((bytes, text)) = nssm {
        put_nssm(layout, &bytes, &text, &mut steps)?;
    }
    if tree_changes {
        // By the program that will be back then: what is to be undone first comes later.
        let itself = found.clone().map(|found| Other { layout: layout.clone(), found });
        for one in mates.iter().copied().chain(&itself) {
            let (program, words) = (layout.program(), one.installing());
            let what = format!("{} is set up as before", one.layout.service());
            steps.or(what, move || call(&program, &words).map(drop));
        }
    }
    let old = if tree_changes { put_tree(layout, &source, &mut steps)? } else { None };
    places::make(layout, sid.as_deref(), &mut steps)?;
    kept::put(layout, old.as_deref().unwrap_or(&source), &source, sid.as_deref(), wanted.slots, &mut steps)?;
    set_up(layout, &settings, &account, startup_type, mode, found.as_ref(), stop, &mut steps)?;
    if let Some(file) = &wanted.join_token_file {
        let words = ["join".to_owned(), format!("@{}", file.display())];
        steps.take(format!("join with the token in {}", file.display()), || call_component(layout, &words))?;
    }
    if tree_changes {
        for mate in mates {
            let (service, program) = (mate.layout.service(), layout.program());
            let words = mate.installing();
            steps.take(format!("bring {service} up to it too"), || call(&program, &words).map(drop))?;
        }
    }
    for (layout, stop) in restarted {
        let place = layout.clone();
        let what = format!("{} is stopped", layout.service());
        // A new version that runs, and not as it should, would hold its files.
        steps.or(what, move || Services::change()?.stop(&place, stop + AROUND).map(drop));
        steps.take(format!("start {} again", layout.service()), || {
            services.start(layout, READY)?;
            status::wait_until_ready(layout, READY)
        })?;
    }
    let dry = steps.is_dry();
    steps.keep();
    if let Some(old) = old.filter(|_| !dry) {
        // What can't be removed now, because somebody looks at it, is in nobody's way.
        let _ = fs::remove_dir_all(old);
    }
    if !dry && !ran {
        explain(layout, wanted.join_token_file.is_some());
    }
    Ok(())
}

/// An account that the operator has chosen before stays.
fn kept_account(found: Option<&Found>) -> Option<Account> {
    Account::parse(&found?.account).ok()
}

fn explain(layout: &Layout, has_joined: bool) {
    let (service, component) = (layout.service(), layout.component());
    let instance = layout.instance().map(|name| format!(" --instance {name}")).unwrap_or_default();
    let program = layout.program().display().to_string();
    tell(format_args!("{service} is installed, and not started."));
    if component == "worker" && !has_joined {
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

fn call_component(layout: &Layout, words: &[String]) -> Result<(), ServiceError> {
    let mut words = words.to_vec();
    words.extend(["--config".to_owned(), layout.configuration().display().to_string()]);
    call(&layout.program(), &words).map(tell)
}

/// NSSM's bytes, checked, and where they came from. The very bytes that were checked are those that are written.
fn take_nssm(layout: &Layout, wanted: &Wanted, source: &Path) -> Result<(Vec<u8>, String), ServiceError> {
    let file = shared(source, "nssm.json");
    let text = fs::read_to_string(&file).map_err(at(&file, "read"))?;
    let pinned: Pinned = serde_json::from_str(&text)
        .map_err(|error| ServiceError::Refused(format!("{} can't be used: {error}", file.display())))?;
    let places = match &wanted.nssm {
        Some(path) => vec![path.clone()],
        None => vec![
            layout.nssm(),
            source.join("..").join("nssm").join("nssm.exe"),
            source.join("scripts").join("nssm.exe"),
        ],
    };
    let Some(place) = places.iter().find(|place| place.is_file()) else {
        let looked = places.iter().map(|place| place.display().to_string()).collect::<Vec<_>>().join(", ");
        return Err(ServiceError::Refused(format!(
            "there is no NSSM ({looked}): name the nssm.exe of NSSM {} (https://nssm.cc) with --nssm, or install with --native",
            pinned.version
        )));
    };
    let bytes = fs::read(place).map_err(at(place, "read"))?;
    let found = Sha256::digest(&bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let allowed = wanted.nssm_sha256.as_deref().unwrap_or(&pinned.exe_sha256);
    if !found.eq_ignore_ascii_case(allowed) {
        return Err(ServiceError::Refused(format!(
            "{} is not the NSSM that is known to work: its SHA-256 is {found}, and that of NSSM {} is {allowed}",
            place.display(),
            pinned.version
        )));
    }
    Ok((bytes, place.display().to_string()))
}

fn put_nssm(layout: &Layout, bytes: &[u8], from: &str, steps: &mut Steps) -> Result<(), ServiceError> {
    let file = layout.nssm();
    let directory = file.parent().unwrap_or(layout.all_programs()).to_owned();
    let (place, before) = (layout.clone(), fs::read(&file).ok());
    steps.take(format!("copy NSSM from {from} to {}", file.display()), || {
        fs::create_dir_all(&directory).map_err(at(&directory, "made"))?;
        set_access(layout.all_programs(), &rights::programs())
            .map_err(at(layout.all_programs(), "given its access"))?;
        put_file(&file, bytes)
    })?;
    let what = format!("{} is as it was", file.display());
    steps.or(what, move || {
        if let Some(before) = before {
            return put_file(&file, &before);
        }
        events::forget_nssm(&place)?;
        tree::remove(&directory)?;
        tree::remove_if_empty(place.all_programs());
        Ok(())
    });
    Ok(())
}

/// Never half of it under its name.
fn put_file(file: &Path, bytes: &[u8]) -> Result<(), ServiceError> {
    let new = tree::beside(file, "new");
    fs::write(&new, bytes).map_err(at(&new, "written"))?;
    tree::rename(&new, file)
}

/// Puts this program's tree in place of the one that is there, which is kept beside until all is done.
fn put_tree(layout: &Layout, source: &Path, steps: &mut Steps) -> Result<Option<PathBuf>, ServiceError> {
    let (place, new, old) = (layout.tree(), tree::beside(&layout.tree(), "new"), tree::beside(&layout.tree(), "old"));
    let existed = place.is_dir();
    steps.take(format!("copy {} to {}", source.display(), place.display()), || {
        fs::create_dir_all(layout.all_programs()).map_err(at(layout.all_programs(), "made"))?;
        set_access(layout.all_programs(), &rights::programs())
            .map_err(at(layout.all_programs(), "given its access"))?;
        tree::remove(&new)?;
        tree::copy(source, &new)?;
        tree::remove(&old)?;
        if existed {
            tree::rename(&place, &old)?;
        }
        tree::rename(&new, &place).inspect_err(|_| {
            // As it was; if not even that can be done, the error says which directory is meant.
            let _ = fs::rename(&old, &place);
        })
    })?;
    let (back_place, back_old, all) = (place.clone(), old.clone(), layout.all_programs().to_owned());
    steps.or(format!("{} is as it was", place.display()), move || {
        tree::remove(&back_place)?;
        if existed {
            return tree::rename(&back_old, &back_place);
        }
        tree::remove_if_empty(&all);
        Ok(())
    });
    Ok(existed.then_some(old))
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
        match mode {
            Mode::Nssm => {
                let words = nssm::making(layout);
                steps.take(format!("nssm {}", words.join(" ")), || call(&layout.nssm(), &words).map(drop))?;
            }
            Mode::Native => steps.take(format!("make {service}"), || services.create(&told()))?,
        }
        let made = service.clone();
        steps.or(format!("{service} is removed"), move || Services::change()?.delete(&made));
    }
    let kind =
        serde_json::to_value(startup_type).ok().and_then(|text| text.as_str().map(str::to_owned)).unwrap_or_default();
    if let Some(found) = found {
        let (place, settings, before) = (layout.clone(), settings.clone(), found.clone());
        steps.or(format!("{service} is configured as before"), move || {
            let account = Account::parse(&before.account).map_err(ServiceError::Refused)?;
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
