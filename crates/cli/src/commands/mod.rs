//! The commands, one file each.

pub mod cancel;
pub mod demo;
pub mod drain;
pub mod list;
pub mod local;
pub mod login;
pub mod map;
pub mod purge;
pub mod result;
pub mod results;
pub mod retry;
pub mod several;
pub mod show;
pub mod skill;
pub mod status;
pub mod submit;
pub mod token;
pub mod wait;
pub mod worker;
pub mod workers;
