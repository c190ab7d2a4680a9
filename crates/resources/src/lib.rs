//! What Windows shows of the programs beyond what they do: the version in a file's properties, and the texts of their events.
//!
//! For build scripts. Only a program for Windows gets any of it, and needs a resource compiler (`windres` or `rc`).

mod table;

// Where events are told: the numbers and texts are there once.
#[path = "../../daemon/src/windows_service/messages.rs"]
mod messages;

use std::{env, fs, io, path::PathBuf};

use winresource::WindowsResource;

/// Puts them into the program of the package that is being built. To be called by its build script.
///
/// # Errors
/// There is no resource compiler, or it fails.
pub fn embed(program: &str, description: &str) -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var_os("CARGO_CFG_WINDOWS").is_none() {
        return Ok(());
    }
    let table = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("messages.bin");
    fs::write(&table, table::message_table(&messages::MESSAGES))?;
    let mut resource = WindowsResource::new();
    resource.set("ProductName", "TaskMessenger").set("FileDescription", description).set("InternalName", program);
    resource.set("OriginalFilename", &format!("{program}.exe")).set("LegalCopyright", "MIT licence");
    // 11 is RT_MESSAGETABLE. A resource compiler takes a slash for a backslash, of which it would want two.
    resource.append_rc_content(&format!("1 11 \"{}\"", table.display().to_string().replace('\\', "/")));
    resource.compile_for(program)
}
