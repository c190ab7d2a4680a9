//! Programs that can't be started.

use std::{io, os::unix::fs::PermissionsExt, path::Path};

use rustix::io::Errno;

use super::*;

fn make(path: &Path, content: &str, mode: u32) -> String {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn reason(bench: &Bench, command: &Command, payload: &[u8]) -> String {
    let outcome = bench.run(command, payload, None).await;
    assert_eq!(outcome.ending(), Ending::Error, "{outcome:?}");
    outcome.text
}

#[tokio::test]
async fn a_program_that_cannot_start_says_why_and_what_to_do() {
    let bench = Bench::new();
    let path = |name| bench.state.path().join(name);
    let locked = make(&path("locked"), "#!/bin/sh\n", 0o644);
    let orphan = make(&path("orphan"), "#!/no/such/interpreter\n", 0o755);
    let prose = make(&path("prose"), "Once upon a time\n", 0o755);
    let below_file = format!("{prose}/program");
    let directory = bench.state.path().to_str().unwrap().to_owned();
    let dangling = path("dangling");
    std::os::unix::fs::symlink("/no/such/file", &dangling).unwrap();
    let cases = [
        ("no-such-program", ["is not in the worker's PATH", "install it"]),
        ("/no/such/program", ["is not there", "on the worker's machine"]),
        (dangling.to_str().unwrap(), ["is not there", "on the worker's machine"]),
        (&below_file, ["can't be reached", "Not a directory"]),
        (&directory, ["is a directory", "not a program"]),
        ("/dev/null", ["/dev/null", "is not a file"]),
        (&locked, ["is not executable", "see its permissions"]),
        (&orphan, ["can't be started", "the interpreter that its first line names"]),
        (&prose, ["can't be started", "a script needs a first line"]),
        ("", ["\"\"", "can't be the name of a program"]),
        ("a\0b", ["a\\0b", "can't be the name of a program"]),
    ];
    for (program, expected) in cases {
        let text = reason(&bench, &command(program, &[], Use::None), b"").await;
        assert!(expected.iter().all(|words| text.contains(words)), "{program:?}: {text}");
    }
}

#[tokio::test]
async fn what_is_too_large_for_the_kernel_is_named_with_its_size() {
    let bench = Bench::new();
    let large = "x".repeat(200_000);
    let mut environment = command("true", &[], Use::None);
    environment.environment.insert("LARGE".to_owned(), large.clone());
    let mut many = command("true", &[], Use::None);
    many.environment.extend((0..2_000).map(|number| (format!("V{number}"), "x".repeat(5_000))));
    let argument = command("true", &["{}"], Use::Argument);
    for (command, payload, size) in [(environment, "", "200006"), (many, "", "5006"), (argument, &*large, "200000")] {
        let text = reason(&bench, &command, payload.as_bytes()).await;
        assert!(text.contains(size) && text.contains("on standard input or in files"), "{text}");
        assert!(text.len() < 1_000, "it doesn't repeat what is too large");
    }
    // Up to there it works.
    let outcome = bench.run(&command("true", &["{}"], Use::Argument), "x".repeat(100_000).as_bytes(), None).await;
    assert_eq!(outcome.code, 0);
}

#[test]
fn what_happens_between_looking_and_starting_is_explained() {
    let directory = tempfile::tempdir().unwrap();
    let program = make(&directory.path().join("program"), "#!/bin/sh\n", 0o755);
    let command = command(&program, &[], Use::None);
    let launch = Launch::prepare(&command, NAME, Bytes::new()).unwrap();
    let explained = |number: Errno| failure::explain(&launch, &io::Error::from(number));
    assert!(explained(Errno::TXTBSY).contains("open for writing"));
    assert!(explained(Errno::ACCESS).contains("the worker's user may not run it"));
    assert!(explained(Errno::AGAIN).contains("no room for another process"));
    assert!(explained(Errno::MFILE).contains("too many files open"));
    fs::remove_file(&program).unwrap();
    let text = explained(Errno::NOENT);
    assert!(text.contains("was removed") && text.contains(&program), "{text}");
}

#[tokio::test]
async fn a_program_that_is_deleted_while_it_runs_finishes() {
    let bench = Bench::new();
    let program = make(&bench.state.path().join("program"), "#!/bin/sh\nrm \"$0\"\necho \"$(cat)\"\n", 0o755);
    let outcome = bench.run(&command(&program, &[], Use::Stdin), b"still here", None).await;
    assert_eq!((outcome.code, text(&outcome.output)), (0, "still here"));
    assert!(reason(&bench, &command(&program, &[], Use::Stdin), b"").await.contains("is not there"));
}
