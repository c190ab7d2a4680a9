//! NSSM, which runs a program that knows nothing of services as one.

use std::path::Path;

use super::{
    layout::Layout,
    settings::{Settings, Value},
};

/// What `nssm.exe` is told to make a service.
pub(super) fn making(layout: &Layout) -> Vec<String> {
    vec!["install".to_owned(), layout.service(), layout.program().display().to_string()]
}

/// What it is told, call by call, to set all that is of NSSM's own.
pub(super) fn setting(layout: &Layout, settings: &Settings) -> Vec<Vec<String>> {
    let call = |name: &str, values: &[String]| {
        let mut words = vec!["set".to_owned(), layout.service(), name.to_owned()];
        words.extend_from_slice(values);
        words
    };
    let mut calls = Vec::new();
    for (name, value) in &settings.nssm {
        match value {
            Value::Number(number) => calls.push(call(name, &[number.to_string()])),
            Value::Text(text) => calls.push(call(name, std::slice::from_ref(text))),
            Value::List(texts) => calls.push(call(name, texts)),
            Value::Each(texts) => calls.extend(texts.iter().map(|(of, text)| call(name, &[of.clone(), text.clone()]))),
        }
    }
    calls
}

/// What NSSM prints: UTF-16, as it is when its output is no console.
pub(super) fn text_of(output: &[u8]) -> String {
    let is_wide = output.iter().skip(1).step_by(2).filter(|byte| **byte == 0).count() * 4 > output.len();
    let text = if is_wide {
        let units: Vec<u16> = output.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    } else {
        String::from_utf8_lossy(output).into_owned()
    };
    text.replace('\r', "").trim().to_owned()
}

/// Whether a service's command line is NSSM's.
pub(super) fn is_nssm(executable: &Path) -> bool {
    let text = executable.to_string_lossy();
    let name = text.trim_matches('"').rsplit(['\\', '/']).next().unwrap_or_default().to_lowercase();
    name == "nssm.exe" || name == "nssm"
}
