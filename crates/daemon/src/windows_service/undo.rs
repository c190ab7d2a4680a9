//! Steps that are taken back when a later one fails.

use crate::{exit::chain, say::say};

use super::error::ServiceError;

type Undo = Box<dyn FnOnce() -> Result<(), ServiceError>>;

/// What has been done, and how each of it is undone.
#[derive(Default)]
pub(super) struct Steps {
    undo: Vec<(String, Undo)>,
    /// Only tells what it would do.
    dry: bool,
}

impl Steps {
    pub(super) fn new(dry: bool) -> Self {
        Self { undo: Vec::new(), dry }
    }

    /// Whether nothing is really done.
    pub(super) fn is_dry(&self) -> bool {
        self.dry
    }

    /// Does something after having said so, if it isn't to be said only.
    pub(super) fn take<T: Default>(
        &mut self,
        what: impl Into<String>,
        work: impl FnOnce() -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let what = what.into();
        crate::say::tell(if self.dry { format!("would {what}") } else { what });
        if self.dry { Ok(T::default()) } else { work() }
    }

    /// Does what belongs to the step before, and needs no word of its own.
    pub(super) fn silently(&self, work: impl FnOnce() -> Result<(), ServiceError>) -> Result<(), ServiceError> {
        if self.dry { Ok(()) } else { work() }
    }

    /// How a step is undone, which may have been done in part only.
    pub(super) fn or(&mut self, what: impl Into<String>, undo: impl FnOnce() -> Result<(), ServiceError> + 'static) {
        if !self.dry {
            self.undo.push((what.into(), Box::new(undo)));
        }
    }

    /// All is done: nothing is undone any more.
    pub(super) fn keep(mut self) {
        self.undo.clear();
    }
}

impl Drop for Steps {
    /// Undoes all, the last first. What can't be undone is told, and the rest is undone all the same.
    fn drop(&mut self) {
        while let Some((what, undo)) = self.undo.pop() {
            say(format_args!("undoing: {what}"));
            if let Err(error) = undo() {
                say(format_args!("error: this could not be undone: {what}: {}", chain(&error)));
            }
        }
    }
}
