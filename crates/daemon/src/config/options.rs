//! What both daemons' command lines can ask of a configuration.

use clap::Args;

use super::{ConfigError, Configuration, Loaded, PrintFormat, print};

/// The options.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct ConfigOptions {
    /// Check the configuration and end
    #[arg(long, global = true)]
    check_config: bool,
    /// Check the configuration, and that this program knows the formats of what is kept, as before an upgrade, and end
    #[arg(long, global = true, conflicts_with_all = ["check_config", "print_config"])]
    check_state: bool,
    /// Print the configuration as it is in effect, with where each value comes from, and end; `json` for programs
    #[arg(
        long,
        global = true,
        value_name = "text|json",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text"
    )]
    print_config: Option<PrintFormat>,
}

impl ConfigOptions {
    /// Whether anything was asked for.
    pub fn is_asked(self) -> bool {
        self.check_config || self.check_state || self.print_config.is_some()
    }

    /// Whether what is kept is to be checked. That is the component's to do, after [`Self::answer`] had nothing to say.
    pub fn checks_state(self) -> bool {
        self.check_state
    }

    /// What is to be printed instead of anything else, if that is what was asked for.
    ///
    /// # Errors
    /// As of [`print`].
    pub fn answer<T: Configuration>(self, loaded: &Loaded<T>) -> Result<Option<String>, ConfigError> {
        match self.print_config {
            Some(format) => print(loaded, format).map(Some),
            None => Ok(self.check_config.then(|| "the configuration is valid".to_owned())),
        }
    }
}
