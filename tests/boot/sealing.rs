//! Secrets that outlive a restart on a machine with a TPM: the same machine with the same image and document opens them without its
//! operator, and nothing else does.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this package is test code: what cannot go on says why and ends"
)]

use std::process::Command;
use std::time::{Duration, Instant};

use lethe_tests::machine::{Machine, TPM};
use lethe_tests::{document, program};
use serde_json::Value;
use tempfile::TempDir;

/// What the host does that hands a file over.
fn with_file(file: &str) -> Vec<&str> {
    [&TPM[..], &["--sealed", file]].concat()
}

/// Runs `lethe` to a good end.
#[track_caller]
fn lethe(arguments: &[&str]) -> String {
    let output = program::run("lethe", arguments);
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// Status and body of a request, with a token or without.
fn get(machine: &Machine, path: &str, token: &str) -> (u16, Value) {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--max-time", "60", "--write-out", "\n%{http_code}"])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        .arg(format!("{}{path}", machine.url))
        .output()
        .expect("curl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let (body, status) = text.rsplit_once('\n').expect("a status behind the body");
    (status.parse().expect("a number"), serde_json::from_str(body).expect("JSON"))
}

/// The console's line with this word, which may come shortly after the machine is ready.
#[track_caller]
fn shows(machine: &Machine, what: &str) {
    let start = Instant::now();
    while !machine.log().lines().any(|line| line.contains(what)) {
        assert!(start.elapsed() < Duration::from_secs(20), "no {what:?}:\n{}", machine.log());
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// It was given a file that it cannot open: it could seal one of its own, and waits for its operator.
#[track_caller]
fn waits(machine: &Machine, token: &str) {
    shows(machine, "event not-unsealed");
    shows(machine, "stage keys seals=yes");
    let (status, health) = get(machine, "/health", token);
    assert_eq!((status, &health["waiting_for"]), (503, &"secrets".into()), "{health}");
    let (status, refused) = get(machine, "/v1/models", token);
    assert_eq!((status, &refused["error"]["code"]), (503, &"waiting_for_secrets".into()), "{refused}");
}

#[test]
fn a_restart_of_the_same_machine_image_and_document_needs_no_operator_and_nothing_else_opens_the_file() {
    let directory = TempDir::new().expect("a directory");
    let path = |name: &str| directory.path().join(name).to_str().expect("a path in UTF-8").to_owned();
    let (key, sealed, config) = (path("operator.key"), path("secrets.sealed"), path("lethe.toml"));
    let printed = lethe(&["secrets", "keygen", "--out", &key]);
    let operator = printed.lines().find(|line| line.starts_with("operator_keys")).expect("a line for the document");
    let model = program::tiny_model();
    let toml = document::for_model(&model, &format!("[secrets]\n{operator}\nrequired = true\n"))
        .replace("access = \"anyone\"", "access = \"token\"");
    std::fs::write(&config, &toml).expect("the document is written");
    let made: Value = serde_json::from_str(&lethe(&["token", "new", "--json"])).expect("JSON");
    let token = made["token"].as_str().expect("a token").to_owned();
    std::fs::write(path("token"), &token).expect("the token is written");

    let mut machine = Machine::boot_with("sealing", &model, toml.as_bytes(), &TPM);
    shows(&machine, "stage keys seals=yes");
    assert_eq!(get(&machine, "/v1/models", &token).0, 503, "nobody is served before an operator came");
    let manifest = program::root().join("out/lethe.manifest.json");
    let manifest = manifest.to_str().expect("a path in UTF-8");
    // The operator brings the token, to this image with this document on this TPM and to no other.
    let operate = |machine: &Machine, command: &str, more: &[&str]| {
        let ak =
            machine.ak.as_ref().and_then(|path| path.to_str()).expect("a machine with a TPM has a file with its key");
        let trust = ["--measurements", manifest, "--ak", ak, "--document", &config, "--operator-key", &key];
        lethe(&[&["secrets", command, &machine.url], &trust[..], more].concat())
    };
    assert_eq!(operate(&machine, "set", &["-e", &format!("TOKEN=@{}", path("token"))]), "TOKEN\n");
    assert_eq!(get(&machine, "/v1/models", &token).0, 200);
    operate(&machine, "seal", &["--out", &sealed]);
    let file = std::fs::read(&sealed).expect("a file");
    assert!(file.starts_with(b"LETHESEC"));

    let image = program::image();
    machine.again(&image, &model, toml.as_bytes(), &with_file(&sealed));
    assert_eq!(get(&machine, "/v1/models", &token).0, 200, "the token, without the operator:\n{}", machine.log());
    assert_eq!(get(&machine, "/health", "").0, 200);
    assert_eq!(get(&machine, "/v1/models", &format!("{token}x")).0, 401, "and no other");
    shows(&machine, "event unsealed");
    assert_eq!(operate(&machine, "list", &[]), "TOKEN\n");

    let other = format!("{toml}# another document\n");
    machine.again(&image, &model, other.as_bytes(), &with_file(&sealed));
    waits(&machine, &token);
    machine.again(&program::other_image(directory.path()), &model, toml.as_bytes(), &with_file(&sealed));
    waits(&machine, &token);
    drop(machine);
    let fresh = Machine::boot_with("sealing-elsewhere", &model, toml.as_bytes(), &with_file(&sealed));
    waits(&fresh, &token);
}
