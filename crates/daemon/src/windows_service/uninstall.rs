//! Removing a service; what it has kept stays, unless it is purged.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    alone::Alone, control::Services, error::ServiceError, events, kept, layout::Layout, profile, tree, undo::Steps,
};

/// More than NSSM and Windows take themselves.
const AROUND: Duration = Duration::from_secs(30);

/// Removes a service, and the programs with the last one of their component. Nothing is undone when a step fails: what is gone
/// is gone, and the next run goes on.
pub(super) fn uninstall(layout: &Layout, purge: bool, dry: bool, stop: Duration) -> Result<(), ServiceError> {
    let services = Services::change()?;
    let _alone = if dry { None } else { Some(Alone::wait(layout)?) };
    let service = layout.service();
    let found = services.find(&service)?;
    found.as_ref().map_or(Ok(()), |found| found.check(layout))?;
    let is_there = found.is_some();
    let mut others = services.all()?;
    others.retain(|name| *name != service);
    let of_component = Layout::new(layout.component(), None, Path::new(""), Path::new("")).service();
    let is_last = !others.iter().any(|name| name.starts_with(&of_component));
    // Programs alone are what a removal that failed has left.
    let left = trees(layout).into_iter().chain(others.is_empty().then(|| layout.nssm_directory()));
    let is_left = is_last && layout.instance().is_none() && left.into_iter().any(|tree| tree.exists());
    if !is_there && !purge && !is_left {
        return Err(ServiceError::NotInstalled(service));
    }
    if is_last && !dry && runs_in(&layout.tree()) {
        return Err(ServiceError::Refused(format!(
            "Windows keeps the file of a program that runs, and so {} can't remove itself: \
             use scripts\\uninstall_service_windows.ps1, or the program in an archive that was unpacked elsewhere",
            layout.program().display()
        )));
    }
    let mut steps = Steps::new(dry);
    if is_there {
        steps.take(format!("stop {service}"), || services.stop(layout, stop + AROUND).map(drop))?;
        steps.take(format!("remove {service}"), || services.delete(&service))?;
    }
    steps.take(format!("remove {service} as a source of events"), || events::forget(layout))?;
    if is_last {
        steps.take(format!("remove {}", layout.tree().display()), || remove_programs(layout))?;
    }
    if others.is_empty() {
        let nssm = layout.nssm_directory();
        steps.take(format!("remove {}", nssm.display()), || {
            events::forget_nssm(layout)?;
            tree::remove(&nssm)
        })?;
        if !dry {
            tree::remove_if_empty(layout.all_programs());
        }
    }
    if purge {
        purge_data(layout, &mut steps)?;
    }
    steps.keep();
    Ok(())
}

fn purge_data(layout: &Layout, steps: &mut Steps) -> Result<(), ServiceError> {
    for directory in [layout.state(), layout.logs()].iter().filter(|directory| directory.exists()) {
        steps.take(format!("remove {}", directory.display()), || tree::remove(directory))?;
    }
    let file = layout.configuration();
    for file in [file.clone(), file.with_added_extension("new")].iter().filter(|file| file.exists()) {
        steps.take(format!("remove {}", file.display()), || kept::remove(file))?;
    }
    steps.take(format!("remove the profile of {}, if it has one", layout.service()), || {
        profile::remove(layout);
        Ok(())
    })?;
    if !steps.is_dry() {
        for directory in [layout.data_below("logs"), layout.configurations(), layout.all_data().to_owned()] {
            tree::remove_if_empty(&directory);
        }
    }
    Ok(())
}

/// Whether this very program lies in a directory.
fn runs_in(directory: &Path) -> bool {
    let program = std::env::current_exe().and_then(|program| program.canonicalize());
    matches!((program, directory.canonicalize()), (Ok(program), Ok(directory)) if program.starts_with(&directory))
}

fn remove_programs(layout: &Layout) -> Result<(), ServiceError> {
    trees(layout).iter().try_for_each(|tree| tree::remove(tree))
}

/// The programs, and what an installation that was killed has left of them.
fn trees(layout: &Layout) -> [PathBuf; 3] {
    let tree = layout.tree();
    [tree::beside(&tree, "new"), tree::beside(&tree, "old"), tree]
}
