//! The program itself, where no manager is needed: usage, exit codes, what to do next.

use std::{
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

/// Runs the program with nothing of this environment's own configuration.
fn run(home: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_task-messenger"))
        .args(arguments)
        .env_remove("TASK_MESSENGER_CREDENTIAL")
        .env("XDG_CONFIG_HOME", home)
        .env("APPDATA", home)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that doesn't read its input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[track_caller]
fn expect(arguments: &[&str], input: &str, code: i32, said: &[&str]) {
    let home = tempfile::tempdir().unwrap();
    let output = run(home.path(), arguments, input);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
    for text in said {
        assert!(errors.contains(text), "{arguments:?} should say {text:?}: {errors}");
    }
    assert!(output.stdout.is_empty(), "nothing but results belongs on standard output");
    assert!(std::fs::read_dir(home.path()).unwrap().next().is_none(), "nothing is kept");
}

#[test]
fn a_wrong_command_line_exits_with_64_and_says_what_is_wanted() {
    expect(&[], "", 64, &["Usage", "login"]);
    expect(&["sumbit"], "", 64, &["submit"]);
    expect(&["submit"], "", 64, &["PROGRAM"]);
    expect(&["submit", "--slots", "0", "--", "true"], "", 64, &["--slots"]);
    // Every other exit code may be the program's own; what stands behind `--` is the program's.
    expect(&["submit", "--wait", "--slots", "0", "--", "true"], "", 125, &["--slots"]);
    expect(&["submit", "--slots", "0", "--", "x", "--wait"], "", 64, &["--slots"]);
    expect(&["submit", "--env", "novalue", "--", "true"], "", 64, &["NAME=VALUE"]);
    expect(&["submit", "--timeout", "soon", "--", "true"], "", 64, &["--timeout"]);
    expect(&["submit", "--priority", "9999", "--", "true"], "", 64, &["priority", "1000"]);
    expect(&["map", "--keep-order", "--results", "d", "--", "true"], "", 64, &["--keep-order", "--results"]);
    expect(&["show", "twelve"], "", 64, &["12.345"]);
    expect(&["list", "1", "--state", "lost"], "", 64, &["succeeded", "expired"]);
    expect(&["list", "--since", "yesterday"], "", 64, &["2h", "2026-"]);
    expect(&["list", "1", "--since", "2h"], "", 64, &["--since"]);
    expect(&["cancel"], "", 64, &["JOB|TASK"]);
    expect(&["retry", "all"], "", 64, &["12.345"]);
    expect(&["drain"], "", 64, &["WORKER"]);
    expect(&["submit", "--delay", "2m", "--deadline", "90s", "--", "true"], "", 64, &["--delay 2m", "next:"]);
    expect(&["worker", "remove", "3"], "", 64, &["no terminal", "--yes"]);
    expect(&["skill", "dgemm", "--json", "{"], "", 64, &["not JSON", "next:"]);
    expect(&["status", "--manager", "nowhere"], "", 78, &["login"]);
}

#[test]
fn a_token_is_never_taken_from_the_command_line_and_a_bad_one_is_explained() {
    expect(&["login", "tm1c_secret"], "", 64, &["not given as an argument", "`-` reads it from standard input"]);
    expect(&["login", "-"], "tm1c_secret", 64, &["the whole token"]);
    expect(&["login", "-"], "", 64, &["not a token"]);
    expect(&["login", "@/no/such/file"], "", 2, &["/no/such/file can't be read"]);
}

#[test]
fn without_a_credential_or_a_manager_it_is_said_what_to_do() {
    let commands: [&[&str]; 14] = [
        &["status"],
        &["list"],
        &["workers"],
        &["token", "list"],
        &["wait", "1"],
        &["result", "1.0"],
        &["results", "1"],
        &["results", "1", "--follow"],
        &["cancel", "1"],
        &["retry", "1"],
        &["drain", "1"],
        &["pause", "1"],
        &["resume", "1"],
        &["worker", "remove", "--yes", "1"],
    ];
    for command in commands {
        expect(command, "", 78, &["not logged in", "task-messenger login"]);
    }
    expect(&["map", "--", "true"], "a\n", 78, &["not logged in"]);
    expect(&["submit", "--", "true"], "", 78, &["not logged in"]);
    // Every other exit code may be the program's own.
    expect(&["submit", "--wait", "--", "true"], "", 125, &["not logged in"]);
}

#[test]
fn a_manager_that_does_not_answer_is_unavailable() {
    use task_messenger_client::ClientCredential;
    use task_messenger_core::record::Role;
    use task_messenger_protocol::{
        secret::Secret,
        tls::{Fingerprint, Trust},
    };
    // A port that nobody listens on any more.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("client.json");
    let credential = ClientCredential {
        addresses: vec![address.to_string()],
        trust: Trust::Pin(Fingerprint([1; 32])),
        token: 1,
        secret: Secret::random().unwrap(),
        role: Role::Client,
    };
    credential.save(&path).unwrap();
    let output = run(home.path(), &["status", "--credential", path.to_str().unwrap()], "");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(69), "{errors}");
    assert!(errors.contains("nothing listens there") && errors.contains("next: is the manager running"), "{errors}");
}

#[test]
fn every_help_text_has_examples_and_the_main_one_the_exit_codes() {
    let home = tempfile::tempdir().unwrap();
    let help = |arguments: &[&str]| {
        let output = run(home.path(), arguments, "");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let main = help(&["--help"]);
    let commands = [
        "login", "submit", "map", "skill", "list", "show", "result", "results", "wait", "cancel", "retry", "status",
        "workers", "drain", "pause", "resume", "token",
    ];
    for command in commands {
        assert!(main.contains(&format!("\n  {command} ")), "{command} is not in {main}");
        let text = help(&[command, "--help"]);
        assert!(text.contains("Examples:\n  "), "{text}");
        assert!(!text.contains("The arguments of"), "{text}");
    }
    // `worker` alone is the daemon.
    assert!(help(&["worker", "remove", "--help"]).contains("Examples:\n  "));
    assert!(help(&["worker", "--help"]).contains("join"));
    for code in ["64", "69", "70", "78"] {
        assert!(main.contains(code), "{main}");
    }
    assert!(help(&["--version"]).starts_with("task-messenger 0."));
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let home = tempfile::tempdir().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_task-messenger"))
        .arg("--help")
        .env("XDG_CONFIG_HOME", home.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0));
}
