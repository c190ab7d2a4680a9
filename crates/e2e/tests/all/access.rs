//! Tokens, logging in, joining.

use task_messenger_client::{Client, EncodedTemplate, Error, LinkStatus, LoneOptions, Target, Template};
use task_messenger_protocol::token::Token;

use crate::harness::{DEADLINE, Ended, Held, Site, json, said, until, wait_until};

fn create(site: &Site, options: &[&str]) -> String {
    site.administer(&[&["token", "create"], options].concat()).ended_with(0).text().trim().to_owned()
}

fn list(site: &Site) -> Vec<serde_json::Value> {
    site.administer(&["token", "list", "--json"]).ended_with(0).json().as_array().unwrap().clone()
}

fn log_in(site: &Site, token: &str) -> Ended {
    site.run_with(&["login", "-"], Some(token.as_bytes()))
}

#[test]
fn tokens_are_made_and_revoked_with_and_without_a_running_manager_and_survive_its_restarts() {
    let mut site = Site::start();
    let running = create(&site, &["--role", "client", "--label", "made while it runs"]);
    site.stop_manager();
    let stopped = create(&site, &["--role", "client", "--label", "made while it is stopped"]);
    let worthless = create(&site, &["--role", "client", "--label", "revoked while it is stopped"]);
    let number = Token::parse(&worthless).unwrap().number.to_string();
    site.administer(&["token", "revoke", &number]).ended_with(0);
    site.start_manager();
    site.kill_manager();
    site.start_manager();
    let labels: Vec<_> = list(&site).iter().map(|token| token["label"].as_str().unwrap().to_owned()).collect();
    assert_eq!(labels, ["made while it runs", "made while it is stopped", "revoked while it is stopped"]);
    for token in [&running, &stopped] {
        log_in(&site, token).ended_with(0);
        site.run(&["status"]).ended_with(0);
    }
    log_in(&site, &worthless).ended_with(78).saying(&["the token was revoked", "token create"]);
    assert_ne!(Token::parse(&running).unwrap().secret, Token::parse(&stopped).unwrap().secret);

    // An administrator's token does the same from anywhere; a client's does not.
    site.run(&["token", "list"]).ended_with(2).saying(&["administrator"]);
    log_in(&site, &create(&site, &["--role", "admin"])).ended_with(0);
    let number = Token::parse(&running).unwrap().number.to_string();
    site.run(&["token", "revoke", &number]).ended_with(0);
    assert_eq!(list(&site)[0]["revoked"], json!(true));
    log_in(&site, &running).ended_with(78);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn revoking_a_token_ends_its_clients_sessions_at_once() {
    let site = Site::start();
    let token = create(&site, &["--role", "client"]);
    let client = site.client_with(&token, site.address()).await;
    let other = site.client().await;
    let template = EncodedTemplate::new(&Template::of_skill("none")).unwrap();
    let task = client.submit_one(&template, b"{}", LoneOptions::default()).await.unwrap();
    let mut following = client.follow(Target::Task(task)).unwrap();
    site.administer(&["token", "revoke", &Token::parse(&token).unwrap().number.to_string()]).ended_with(0);
    let ended = tokio::time::timeout(DEADLINE, following.next()).await.expect("the client is told");
    let error = ended.unwrap_err();
    assert!(matches!(error, Error::Link { .. }) && said(&error).contains("revoked"), "{}", said(&error));
    assert!(matches!(*client.status_of_link().borrow(), LinkStatus::Ended(_)));
    other.status().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_expired_token_lets_nobody_in_and_whoever_enrolled_with_it_stays() {
    let site = Site::start();
    let expiring = create(&site, &["--role", "client", "--expires", "1s"]);
    let lasting = create(&site, &["--role", "client", "--expires", "30d"]);
    let join = create(&site, &["--role", "worker", "--expires", "3s"]);
    let mut worker = site.joined_worker_by(&join, "early", json!({}));
    wait_until("the tokens have expired", || {
        let table = site.administer(&["token", "list"]).ended_with(0);
        table.text().lines().filter(|line| line.ends_with("expired")).count() == 2
    });
    log_in(&site, &expiring).ended_with(78).saying(&["expired"]);
    log_in(&site, &lasting).ended_with(0);
    let late = site.path("late");
    let arguments = ["worker", "join", "-", "--state-dir", late.to_str().unwrap()];
    site.run_with(&arguments, Some(join.as_bytes())).ended_with(78).saying(&["expired"]);
    assert!(!late.join("worker.credential").exists());
    worker.start();
    let client: Client = site.client().await;
    until("the worker is there", || async { client.workers().await.unwrap().iter().any(|worker| worker.connected) })
        .await;
}

#[test]
fn a_token_is_never_taken_from_the_command_line() {
    let site = Site::start();
    let (worker, client) = (site.token("worker"), site.token("client"));
    site.run(&["worker", "join", &worker]).ended_with(64).saying(&["argument", "@FILE"]);
    site.run(&["login", &client]).ended_with(64).saying(&["argument", "@FILE"]);
    // From a file it is, with or without a newline; and one of another role is turned away before anybody is asked.
    std::fs::write(site.path("token"), format!("{client}\n")).unwrap();
    let source = format!("@{}", site.path("token").display());
    site.run(&["login", &source]).ended_with(0).saying(&[]);
    site.run(&["worker", "join", &source]).ended_with(64).saying(&["a client's token", "a worker's"]);
    log_in(&site, &worker).ended_with(64).saying(&["a worker's token", "a client's"]);
    log_in(&site, &client[..client.len() / 2]).ended_with(64).saying(&["cut off"]);
}

#[test]
fn a_worker_that_has_not_joined_says_how_and_is_not_to_be_started_again() {
    let site = Site::start();
    site.run(&["worker", "run"]).ended_with(78).saying(&["has not joined", "token create", "join"]);
    let fresh = site.path("fresh");
    let state = fresh.to_str().unwrap();
    let token = site.token("worker");
    let join = |options: &[&str]| {
        site.run_with(&[&["worker", "join", "-", "--state-dir", state], options].concat(), Some(token.as_bytes()))
    };
    join(&["--manager", "127.0.0.1:1"]).ended_with(69).saying(&["127.0.0.1:1", "has not joined", "--wait"]);
    join(&[]).ended_with(0);
    join(&[]).ended_with(1).saying(&["has joined already", "--force"]);
}

#[test]
fn a_credential_that_the_service_manager_hands_over_is_used_and_none_in_it_is_none() {
    let site = Site::start();
    site.log_in();
    let mut worker = site.joined_worker("one", json!({"credential_file": site.path("not-there")}));
    let handed = site.path("handed");
    std::fs::create_dir(&handed).unwrap();
    let credential = handed.join("worker.credential");
    worker.set_variable("CREDENTIALS_DIRECTORY", handed.to_str().unwrap());

    std::fs::rename(site.path("not-there"), site.path("joined")).unwrap();
    std::fs::write(&credential, "none\n").unwrap();
    worker.start();
    assert_eq!(worker.wait().code(), Some(78));
    assert!(worker.log().contains("has not joined"), "{}", worker.log());

    std::fs::rename(site.path("joined"), &credential).unwrap();
    worker.start();
    site.run(&["submit", "--wait", "--", "true"]).ended_with(0);
}

#[test]
fn joining_waits_for_the_manager_when_it_is_told_to_and_happens_by_itself_with_a_token_file() {
    let mut site = Site::start();
    let token = site.token("worker");
    site.kill_manager();
    let waiting_state = site.path("waiting");
    let arguments = ["worker", "join", "-", "--wait", "--state-dir", waiting_state.to_str().unwrap()];
    let mut waiting = site.invoke(&arguments, Some(token.as_bytes()));
    wait_until("it says that it waits", || waiting.errors_so_far().contains("waiting for the manager"));

    let file = site.path("join.token");
    std::fs::write(&file, &token).unwrap();
    let mut image = site.unjoined_worker("image", json!({"join_token_file": file}));
    image.start();
    wait_until("it says that it waits", || image.log().contains("can't join yet"));
    assert!(!waiting.has_ended() && !image.process().has_ended());
    site.start_manager();
    waiting.wait().ended_with(0);
    site.log_in();
    wait_until("the worker has joined and is connected", || {
        let workers = site.run(&["workers", "--json"]).ended_with(0).json();
        workers.as_array().unwrap().iter().any(|worker| worker["name"] == "image" && worker["connected"] == true)
    });
    // What it keeps is its own, and the token's file is of no more use to it.
    std::fs::remove_file(&file).unwrap();
    image.kill();
    let before = image.log().len();
    image.start();
    wait_until("it runs again", || image.log()[before..].contains("runs"));
    assert!(!image.process().has_ended());
}

#[test]
fn a_second_worker_or_manager_on_the_same_state_directory_is_refused() {
    let site = Site::start();
    let worker = site.worker("one");
    wait_until("the worker runs", || worker.log().contains("runs"));
    let run = |arguments: &[&str]| {
        let mut command = site.program(arguments);
        // Its port may be a real one's.
        command.env("TASK_MESSENGER_HTTP", "null");
        site.invoke_command(command, None).wait()
    };
    let state = worker.state().to_str().unwrap();
    run(&["worker", "run", "--state-dir", state]).ended_with(1).saying(&["another worker", state]);
    let state = site.path("manager");
    let second = ["manager", "run", "--listen", "127.0.0.1:0", "--state-dir", state.to_str().unwrap()];
    run(&second).ended_with(1).saying(&["a manager runs on this state directory already"]);
    // Which harmed neither.
    site.log_in();
    let held = Held::new(&site.path("held"));
    held.let_go();
    let arguments = held.arguments("a");
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    site.run(&[&["submit", "--wait", "--", "sh"], &words[..]].concat()).ended_with(0);
}
