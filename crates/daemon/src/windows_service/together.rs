//! The services that share what an installation replaces.

use std::time::Duration;

use super::{
    control::{Found, Mode, Services},
    error::ServiceError,
    layout::Layout,
};

/// How long a service may take to stop whose configuration this program hasn't read.
const LONGEST: Duration = Duration::from_mins(10);

/// A service that there is.
pub(super) struct Other {
    pub(super) layout: Layout,
    pub(super) found: Found,
}

impl Other {
    /// Whether it runs what lies in the same tree.
    pub(super) fn shares_programs(&self, layout: &Layout) -> bool {
        self.layout.component() == layout.component()
    }

    /// Whether NSSM runs it.
    pub(super) fn has_nssm(&self) -> bool {
        self.found.mode == Mode::Nssm
    }

    /// How long its stop may take, if that of the one that is installed may take `stop`.
    pub(super) fn stop(stop: Duration) -> Duration {
        stop.max(LONGEST)
    }

    /// What its own component's program is called with to bring it up to the tree that lies there, with the NSSM of `sha256` that
    /// lies there then: it was checked when it came there.
    pub(super) fn installing(&self, sha256: Option<String>) -> Vec<String> {
        let mut words = vec!["service".to_owned(), "install".to_owned(), "--part".to_owned()];
        words.extend(self.layout.instance().iter().flat_map(|name| ["--instance".to_owned(), (*name).to_owned()]));
        match (self.found.mode, sha256) {
            (Mode::Native, _) => words.push("--native".to_owned()),
            (Mode::Nssm, Some(sha256)) => words.extend(["--nssm-sha256".to_owned(), sha256]),
            (Mode::Nssm, None) => {}
        }
        words
    }
}

/// All services of TaskMessenger but the one of `layout`.
pub(super) fn others(services: &Services, layout: &Layout) -> Result<Vec<Other>, ServiceError> {
    let mut others = Vec::new();
    for name in services.all()? {
        if let (Some(other), Some(found)) = (layout.of_service(&name), services.find(&name)?)
            && other != *layout
        {
            others.push(Other { layout: other, found });
        }
    }
    Ok(others)
}
