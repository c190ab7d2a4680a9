//! The configuration file of a service: the default with an installation's own places.

use std::fmt::Write;

use super::layout::Layout;

/// Where the default says that everything lies.
const DEFAULT_DATA: &str = r"C:\ProgramData\TaskMessenger";

/// The default of a tree, with this layout's places, and as many slots as wanted. An instance answers no HTTP: the port is the
/// first worker's.
pub(super) fn adapted(default: &str, layout: &Layout, slots: Option<u32>) -> String {
    let quoted = |path: &str| path.replace('\\', r"\\");
    let component = layout.component();
    let mut text = default.to_owned();
    for place in [format!(r"logs\{component}"), component.to_owned()] {
        let own = place.replace(component, &layout.name());
        let from = quoted(&format!(r"{DEFAULT_DATA}\{place}"));
        let to = quoted(&layout.all_data().join(own).display().to_string());
        text = replace_place(&text, &from, &to);
    }
    let mut more = String::new();
    if let Some(slots) = slots {
        let _ = write!(more, "  \"slots\": {slots},\n\n");
    }
    if layout.instance().is_some() {
        more.push_str("  // Several workers can't answer at one port: give each its own.\n  \"http\": null,\n\n");
    }
    text.replacen("{\n", &format!("{{\n{more}"), 1)
}

/// Replaces a path where it stands for itself or for the directory of what follows.
fn replace_place(text: &str, from: &str, to: &str) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once(from) {
        replaced.push_str(before);
        replaced.push_str(if behind.starts_with(['"', '\\']) { to } else { from });
        rest = behind;
    }
    replaced + rest
}
