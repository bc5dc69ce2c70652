//! Machines that answer: through QEMU's loader and through OVMF with a TPM, with random weights and with a real model.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this package is test code: what cannot go on says why and ends"
)]

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use lethe_tests::guest::free_port;
use lethe_tests::machine::Machine;
use lethe_tests::{document, program};
use tempfile::TempDir;

/// A cache that is small enough to be cleared quickly in emulation.
const SMALL: &str = "[engine]\ncontext_tokens = 256\nparallel_sequences = 1\n";

/// One greedy answer, after a system message as short as can be: a token takes seconds in emulation.
fn ask(url: &str, text: &str, tokens: &str) -> String {
    let arguments = [
        "chat",
        url,
        "--allow-no-tee",
        "--ask",
        text,
        "--max-tokens",
        tokens,
        "--temperature",
        "0",
        "--wait",
        "60",
        "--system",
        ".",
    ];
    let output = program::run("lethe", &arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("an answer is UTF-8")
}

/// The same program in host mode, ended when the test ends.
struct Host {
    process: Child,
    url: String,
    _directory: TempDir,
}

impl Host {
    fn serve(model: &Path, tables: &str) -> Self {
        let directory = TempDir::new().expect("a directory for the document");
        let config = directory.path().join("lethe.toml");
        std::fs::write(&config, document::for_model(model, tables)).expect("the document is written");
        let listen = format!("127.0.0.1:{}", free_port());
        let process = Command::new(program::program("lethe-appliance"))
            .args(["serve", "--listen", &listen, "--insecure-host", "--config"])
            .args([config.as_os_str(), "--model".as_ref(), model.as_os_str()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("lethe-appliance starts");
        Self { process, url: format!("https://{listen}"), _directory: directory }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a program printed this anywhere.
fn says(output: &Output, text: &str) -> bool {
    [&output.stdout, &output.stderr].into_iter().any(|bytes| String::from_utf8_lossy(bytes).contains(text))
}

#[test]
fn a_machine_from_qemus_loader_answers_and_stops() {
    let start = Instant::now();
    let machine = Machine::boot("kernel", &program::tiny_model(), "", &[]);
    eprintln!("lethe-image boot to ready, tiny model: {:.2} s", start.elapsed().as_secs_f64());
    let answer = ask(&machine.url, "hello", "8");
    assert_eq!(answer, ask(&machine.url, "hello", "8"), "a greedy answer repeats");
    let refused = program::run("lethe", &["verify", &machine.url]);
    assert_eq!(refused.status.code(), Some(3), "a machine without evidence is refused unless told otherwise");
    let accepted = program::run("lethe", &["verify", &machine.url, "--allow-no-tee"]);
    assert_eq!(accepted.status.code(), Some(0), "{}", String::from_utf8_lossy(&accepted.stderr));
    assert!(!says(&accepted, "--insecure-host"), "a machine locks its memory");
    let stopped = program::run("lethe-image", &["stop", &machine.name]);
    assert!(stopped.status.success(), "{}", String::from_utf8_lossy(&stopped.stderr));
    let gone = program::run("lethe", &["verify", &machine.url, "--allow-no-tee"]);
    assert_eq!(gone.status.code(), Some(4), "nobody answers after a stop");
}

#[test]
fn a_machine_from_ovmf_with_a_tpm_answers() {
    let start = Instant::now();
    let machine = Machine::boot("ovmf", &program::tiny_model(), "", &["--firmware", "ovmf", "--tee", "tpm2"]);
    eprintln!("lethe-image boot to ready, OVMF and swtpm, tiny model: {:.2} s", start.elapsed().as_secs_f64());
    let question = r#"{"model": "test/model", "max_tokens": 8, "messages": [{"role": "user", "content": "hello"}]}"#;
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--fail", "--insecure", "--max-time", "60"])
        .args(["--header", "content-type: application/json", "--data", question])
        .arg(format!("{}/v1/chat/completions", machine.url))
        .output()
        .expect("curl is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).expect("an answer is JSON");
    assert!(answer["usage"]["completion_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{answer}");
}

#[test]
fn a_host_whose_memory_is_not_locked_says_so_to_its_clients() {
    let host = Host::serve(&program::tiny_model(), "");
    let output = program::run("lethe", &["verify", &host.url, "--allow-no-tee", "--wait", "60"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(says(&output, "--insecure-host"));
}

#[test]
fn a_real_model_answers_in_the_machine_as_it_does_outside() {
    let model = program::real_model();
    let question = "What is the capital of France? Answer in one sentence.";
    // the same kernels on both sides: others round otherwise, and a close second word can win
    let same = format!("{SMALL}kernels = \"baseline\"\n");
    let host = Host::serve(&model, &same);
    let outside = ask(&host.url, question, "8");
    drop(host);
    let start = Instant::now();
    let machine = Machine::boot("real", &model, &same, &[]);
    eprintln!("lethe-image boot to ready, SmolLM2: {:.2} s", start.elapsed().as_secs_f64());
    let inside = ask(&machine.url, question, "8");
    eprintln!("and to the whole answer: {:.2} s", start.elapsed().as_secs_f64());
    for line in machine.log().lines().filter(|line| line.contains("stage model") || line.contains("lethe: ready")) {
        eprintln!("{line}");
    }
    assert!(inside.contains("Paris"), "{inside}");
    assert_eq!(inside, outside);
}

#[test]
fn a_real_model_from_ovmf_answers_two_at_once_as_it_answers_each() {
    let questions = ["What is the capital of France?", "Name a colour."];
    let two = "[engine]\ncontext_tokens = 256\nparallel_sequences = 2\n";
    let machine = Machine::boot("real-ovmf", &program::real_model(), two, &["--firmware", "ovmf"]);
    let alone = questions.map(|question| ask(&machine.url, question, "4"));
    let together = thread::scope(|scope| {
        let asked = questions.map(|question| scope.spawn(|| ask(&machine.url, question, "4")));
        asked.map(|thread| thread.join().expect("an answer"))
    });
    assert_eq!(together, alone);
    assert_ne!(alone[0], alone[1]);
}

#[test]
fn an_attached_machine_ends_with_its_program() {
    let model = program::tiny_model();
    let directory = TempDir::new().expect("a directory for the document");
    let config = directory.path().join("lethe.toml");
    std::fs::write(&config, document::for_model(&model, "")).expect("the document is written");
    let port = free_port().to_string();
    let name = format!("test-attached-{}", std::process::id());
    let mut process = Command::new(program::program("lethe-image"))
        .args(["boot", "--name", &name, "--port", &port, "--image"])
        .args([
            program::image().as_os_str(),
            "--model".as_ref(),
            model.as_os_str(),
            "--config".as_ref(),
            config.as_os_str(),
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("lethe-image starts");
    let url = format!("https://127.0.0.1:{port}");
    ask(&url, "hello", "4");
    process.kill().expect("SIGKILL is sent");
    process.wait().expect("it ends");
    let gone = (0..10)
        .map(|_| {
            thread::sleep(Duration::from_millis(500));
            program::run("lethe", &["verify", &url, "--allow-no-tee"])
        })
        .find(|gone| gone.status.code() == Some(4));
    let _ = program::run("lethe-image", &["delete", &name, "--force"]);
    assert!(gone.is_some(), "QEMU does not outlive the program that started it");
}
