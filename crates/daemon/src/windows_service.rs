//! Windows services: `service install`, `uninstall`, `start`, `stop`, `restart`, `status` of both programs, and running as one.
//!
//! A service is the program under NSSM, or the program itself. Either way it is set up by the data of
//! `extras/windows-service`, with a layout's own names ([`layout`]). What decides is text and is tested on every system; the
//! rest is Windows' alone.
#![cfg_attr(not(windows), allow(dead_code, reason = "only the tests of what decides are built elsewhere"))]

#[cfg(windows)]
mod alone;
#[cfg(windows)]
mod calls;
#[cfg(windows)]
pub(crate) mod caught;
#[cfg(windows)]
mod child;
#[cfg(windows)]
mod command;
mod configuration;
#[cfg(windows)]
mod control;
mod error;
#[cfg(windows)]
pub mod events;
#[cfg(windows)]
mod install;
#[cfg(windows)]
mod kept;
pub mod layout;
#[cfg(windows)]
mod messages;
#[cfg(windows)]
pub(crate) mod native;
mod nssm;
#[cfg(windows)]
mod nssm_file;
#[cfg(windows)]
mod places;
#[cfg(windows)]
mod process;
#[cfg(windows)]
mod profile;
mod rights;
mod said;
mod settings;
#[cfg(windows)]
mod status;
#[cfg(test)]
mod tests;
#[cfg(windows)]
mod together;
#[cfg(windows)]
mod told;
#[cfg(windows)]
mod tree;
#[cfg(windows)]
mod undo;
#[cfg(windows)]
mod uninstall;

#[cfg(windows)]
pub use self::command::{Of, ServiceCommand, code_of_silence, execute};
pub use self::{error::ServiceError, settings::SettingsError};
