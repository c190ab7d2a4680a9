//! A manager with its operator's certificate.

use std::fs;

use task_messenger_protocol::private_file;

use crate::harness::{Process, Site, json, wait_until};

/// A certificate for this name and its key, from an authority that is made for it and is alone in `roots.pem`.
fn write_certificate(site: &Site, name: &str) {
    let root_key = rcgen::KeyPair::generate().unwrap();
    let mut root = rcgen::CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_certificate = root.self_signed(&root_key).unwrap();
    let issuer = rcgen::Issuer::new(root, root_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new([name.to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    fs::write(site.path("roots.pem"), root_certificate.pem()).unwrap();
    fs::write(site.path("operators.pem"), certificate.pem()).unwrap();
    let _ = fs::remove_file(site.path("operators.key"));
    private_file::write(&site.path("operators.key"), key.serialize_pem().as_bytes()).unwrap();
}

#[test]
fn peers_verify_an_operators_certificate_by_its_authority_and_name_and_take_a_renewed_one() {
    let mut site = Site::prepare(json!({}));
    write_certificate(&site, "manager.example");
    let (chain, key) = (site.path("operators.pem"), site.path("operators.key"));
    site.configure(json!({"certificate": {"chain": chain, "key": key, "name": "manager.example"}}));
    site.start_manager();
    let (client, joining) = (site.token("client"), site.token("worker"));

    // Nobody here knows that authority.
    let stranger = site.run_with(&["login", "-"], Some(client.as_bytes()));
    assert_ne!(stranger.saying(&["certificate"]).code(), 0);

    let roots = format!("SSL_CERT_FILE={}", site.path("roots.pem").display());
    site.start_programs_by(&["env", &roots]);
    site.run_with(&["login", "-"], Some(client.as_bytes())).ended_with(0);
    let _joined = site.joined_worker_by(&joining, "one", json!({}));
    let (config, log) = (site.path("config-one.json"), site.path("one.log"));
    let start = |site: &Site| {
        let command = site.program(&["worker", "run", "--config", config.to_str().unwrap()]);
        Process::start("the worker", command, &log, &log)
    };
    let mut worker = start(&site);
    assert_eq!(site.run(&["submit", "--wait", "--", "echo", "trusted"]).ended_with(0).text(), "trusted\n");

    // The authority, key and certificate change, the name stays: nobody needs a new token.
    site.stop_manager();
    worker.kill();
    write_certificate(&site, "manager.example");
    site.start_manager();
    let mut worker = start(&site);
    assert_eq!(site.run(&["submit", "--wait", "--", "echo", "renewed"]).ended_with(0).text(), "renewed\n");

    // One for another name is not the manager.
    site.stop_manager();
    worker.kill();
    write_certificate(&site, "other.example");
    site.start_manager();
    let mut worker = start(&site);
    let refused = || fs::read_to_string(&log).unwrap_or_default().contains("manager.example");
    wait_until("the worker says that it is not trusted", refused);
    assert_ne!(site.run(&["status"]).code(), 0);
    worker.kill();
}
