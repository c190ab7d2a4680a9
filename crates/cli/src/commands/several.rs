//! Doing something for each of several things that were named.

use anyhow::Result;
use task_messenger_client::Error;

use crate::failure;

/// How a command ends that goes on when it is refused something.
#[derive(Debug, Default)]
pub struct Several {
    code: u8,
}

impl Several {
    /// What came of one of them; `None` if it was refused, which is said at once. Any other error ends the command.
    pub fn take<T>(&mut self, result: Result<T, Error>) -> Result<Option<T>> {
        match result {
            Ok(done) => Ok(Some(done)),
            Err(error @ Error::Refused { .. }) => {
                let error = error.into();
                failure::report(&error);
                if self.code == 0 {
                    self.code = failure::exit_code(&error);
                }
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The exit code: that of what was refused first.
    pub fn exit_code(&self) -> u8 {
        self.code
    }
}
