//! What packages carry beside a program, made from its own command line: manual page and completions.

use std::{fmt::Write as _, io};

use clap::{Command, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

/// What can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Generated {
    /// A manual page with all subcommands, in roff.
    Man,
    /// Completions for bash.
    Bash,
    /// Completions for zsh.
    Zsh,
    /// Completions for fish.
    Fish,
}

/// Makes one of them for a program, which is found under its command's name.
///
/// # Errors
/// Only what writing to memory can fail with.
pub fn generate(mut command: Command, what: Generated) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let shell = match what {
        Generated::Man => {
            manual(command, &mut out)?;
            return Ok(out);
        }
        Generated::Bash => Shell::Bash,
        Generated::Zsh => Shell::Zsh,
        Generated::Fish => Shell::Fish,
    };
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut out);
    Ok(out)
}

/// One page: man-pages(7) wants no page a subcommand, and a reader searches in one.
fn manual(mut command: Command, out: &mut Vec<u8>) -> io::Result<()> {
    command.build();
    // Daemons are the administrator's (man-pages(7)).
    let section = if command.get_name() == "task-messenger" { "1" } else { "8" };
    let page = Man::new(command.clone()).section(section).source(String::new()).manual("TaskMessenger");
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    let mut commands = String::from(".SH COMMANDS\n");
    describe(&command, &mut commands);
    out.extend_from_slice(commands.as_bytes());
    page.render_extra_section(out)?;
    if command.get_version().is_some() {
        page.render_version_section(out)?;
    }
    Ok(())
}

/// Describes all subcommands below a command, each under its whole name.
fn describe(command: &Command, out: &mut String) {
    for subcommand in command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help")
    {
        let name = subcommand.get_bin_name().unwrap_or(subcommand.get_name());
        let about = subcommand.get_long_about().or(subcommand.get_about()).map(ToString::to_string).unwrap_or_default();
        // Writing to a string can't fail.
        let _ = writeln!(out, ".SS \"{}\"\n{}", escaped(name), escaped(&about));
        for argument in
            subcommand.get_arguments().filter(|argument| !argument.is_hide_set() && !argument.is_global_set())
        {
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            if argument.get_id() != "help" {
                let _ = writeln!(out, ".TP\n\\fB{}\\fR\n{}", escaped(&argument.to_string()), escaped(&help));
            }
        }
        if let Some(after) = subcommand.get_after_help() {
            let _ = writeln!(out, ".PP\n.nf\n{}\n.fi", escaped(&after.to_string()));
        }
        describe(subcommand, out);
    }
}

/// Text that roff shows as it is: no line may begin like a request, no hyphen may become a dash (`groff_char(7)`).
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    text.lines()
        .map(|line| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() })
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use clap::Arg;

    use super::*;

    #[test]
    fn everything_that_is_shown_is_in_the_page_and_nothing_that_is_hidden() {
        let inner = Command::new("store").about("Looks").arg(Arg::new("deep").long("deep").help(".so everything\\"));
        let hidden = Command::new("secret").hide(true);
        let command = Command::new("task-manager").about("Keeps").subcommand(inner).subcommand(hidden);
        let page = String::from_utf8(generate(command.clone(), Generated::Man).unwrap()).unwrap();
        assert!(page.contains("task\\-manager store\"\nLooks\n.TP\n"), "{page}");
        assert!(page.contains("\n\\&.so everything\\e\n"), "{page}");
        assert!(page.contains(" 8 ") && !page.contains("secret"), "{page}");
        for shell in [Generated::Bash, Generated::Zsh, Generated::Fish] {
            let text = String::from_utf8(generate(command.clone(), shell).unwrap()).unwrap();
            assert!(text.contains("task-manager") && text.contains("deep"), "{text}");
        }
    }
}
