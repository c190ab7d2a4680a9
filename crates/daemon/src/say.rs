//! Lines for whoever started the program. A terminal or pipe that is gone must not end it, so they are written as far as
//! that is possible.

use std::{
    fmt::Display,
    io::{self, Write},
};

/// A line on standard error: what happens meanwhile, warnings, errors.
pub fn say(text: impl Display) {
    // Where it should have been said is gone.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A line on standard output: what was asked for.
pub fn tell(text: impl Display) {
    let mut stdout = io::stdout().lock();
    // As above.
    let _ = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
}
