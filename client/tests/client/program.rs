//! The program itself: its exit status, and what it writes where.

use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

use crate::{
    fake::{Fake, Lie},
    proxy::{CHAT, HOST, ask},
    reply::Reply,
};

/// Runs the program without blocking the appliance of this process.
pub async fn lethe(arguments: &[&str], input: &'static str) -> Output {
    let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    tokio::task::spawn_blocking(move || {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lethe"))
            .args(arguments)
            .env_remove("LETHE_TOKEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap()
}

/// A well-formed one.
const PIN: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The line of a report that begins with a word.
fn line_of<'a>(word: &str, output: &'a Output) -> &'a str {
    let mut lines = text(&output.stdout).lines();
    lines.find(|line| line.split_whitespace().next() == Some(word)).unwrap()
}

#[tokio::test]
async fn the_answer_alone_is_on_standard_output() {
    let fake = Fake::start(vec![Reply::Stream(vec!["Hello", " there"])]).await;
    let output = lethe(&["chat", &fake.url(), "--allow-no-tee", "--ask", "Hi"], "").await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "Hello there\n");
    assert!(text(&output.stderr).contains(&format!("note: TLS key {}", fake.pin())));
    assert!(text(&output.stderr).contains("warning: platform `none`"));
}

#[tokio::test]
async fn without_the_flag_platform_none_is_exit_status_3_and_explained() {
    let fake = Fake::start(vec![Reply::Whole("secret")]).await;
    for command in ["chat", "verify", "status", "proxy"] {
        let url = fake.url();
        let mut arguments = vec![command, url.as_str()];
        match command {
            "chat" => arguments.extend(["--ask", "Hi"]),
            "proxy" => arguments.extend(["--listen", "127.0.0.1:0"]),
            _ => {}
        }
        let output = lethe(&arguments, "").await;
        assert_eq!(output.status.code(), Some(3), "{command}");
        let said = text(&output.stderr);
        assert!(said.contains("error: the appliance runs without a TEE"), "{said}");
        assert!(said.contains("help: ") && said.contains("--allow-no-tee"), "{said}");
    }
    assert_eq!(fake.state.questions().len(), 0);
}

#[tokio::test]
async fn a_wrong_pin_is_exit_status_3_and_the_right_one_0() {
    let fake = Fake::start(vec![]).await;
    let wrong = format!("sha256:{}", "00".repeat(32));
    let output = lethe(&["verify", &fake.url(), "--allow-no-tee", "--pin", &wrong], "").await;
    assert_eq!(output.status.code(), Some(3));
    assert!(line_of("keys", &output).contains("refused"));
    let right = fake.pin().to_string();
    let output = lethe(&["verify", &fake.url(), "--allow-no-tee", "--pin", &right], "").await;
    assert_eq!(output.status.code(), Some(0));
    assert!(line_of("keys", &output).contains("accepted"));
}

#[tokio::test]
async fn the_report_has_six_labels_for_people_and_for_programs() {
    let fake = Fake::start(vec![]).await;
    let output = lethe(&["verify", &fake.url(), "--allow-no-tee"], "").await;
    for label in ["hardware", "image", "configuration", "model", "keys", "freshness"] {
        assert!(line_of(label, &output).contains("not proven"), "{}", text(&output.stdout));
    }
    let nonce = "0f".repeat(32);
    let output = lethe(&["verify", &fake.url(), "--json", "--nonce", &nonce], "").await;
    assert_eq!(output.status.code(), Some(3));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verdict"], "refused");
    assert_eq!(report["nonce"], nonce);
    assert_eq!(report["labels"][0]["subject"], "hardware");
    assert_eq!(report["labels"][0]["outcome"], "refused");
    fake.lie(Lie::OtherReportData);
    let output = lethe(&["verify", &fake.url(), "--json", "--allow-no-tee"], "").await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["labels"][5]["outcome"]), (Some(3), &Value::from("refused")));
}

#[tokio::test]
async fn the_certificate_of_an_accepted_appliance_alone_is_saved() {
    let fake = Fake::start(vec![]).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cert.pem");
    let name = path.to_str().unwrap();
    assert_eq!(lethe(&["verify", &fake.url(), "--save-cert", name], "").await.status.code(), Some(3));
    assert!(!path.exists());
    assert_eq!(lethe(&["verify", &fake.url(), "--allow-no-tee", "--save-cert", name], "").await.status.code(), Some(0));
    let pem = std::fs::read_to_string(&path).unwrap();
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----\n") && pem.ends_with("-----END CERTIFICATE-----\n"));
    let nowhere = folder.path().join("no/such/folder");
    let output = lethe(&["verify", &fake.url(), "--allow-no-tee", "--save-cert", nowhere.to_str().unwrap()], "").await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn wrong_usage_is_exit_status_2() {
    for arguments in [
        &["chat", "http://127.0.0.1:1", "--ask", "Hi"][..],
        &["chat", "127.0.0.1:1", "--ask", "Hi"],
        &["chat", "https://127.0.0.1:1", "--ask", "Hi", "--token", "sk-wrong"],
        &["chat", "https://127.0.0.1:1", "--ask", "Hi", "--token-file", "/no/such/file"],
        &["chat", "https://127.0.0.1:1", "--ask", " "],
        &["chat", "https://127.0.0.1:1", "--json"],
        &["verify", "https://127.0.0.1:1", "--pin", "sha256:00"],
        &["verify", "unix:/no/such/socket", "--allow-no-tee", "--pin", PIN],
        &["verify", "https://127.0.0.1:1", "--nonce", "00"],
        &["proxy", "https://127.0.0.1:1", "--listen", "0.0.0.0:0"],
        &["proxy"],
        &["proxy", "https://127.0.0.1:1", "https://127.0.0.1:2", "--pin", PIN],
        &["proxy", "https://127.0.0.1:1", "https://127.0.0.1:2", "--ohttp-relay", "http://127.0.0.1:3/relay"],
        &["proxy", "https://127.0.0.1:1", "https://127.0.0.1:1/v1"],
        &["proxy", "https://127.0.0.1:1", "--balance", "fair"],
        &["proxy", "https://127.0.0.1:1", "--budget", "0"],
        &["token", "new", "--name", "a b"],
        &["nonsense"],
        &[],
    ] {
        let output = lethe(arguments, "").await;
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {}", text(&output.stderr));
        assert!(!text(&output.stderr).contains("sk-wrong"), "a secret is not repeated");
    }
}

#[tokio::test]
async fn no_server_and_a_broken_answer_are_exit_status_4() {
    let output = lethe(&["verify", "https://127.0.0.1:1"], "").await;
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("caused by:"), "{}", text(&output.stderr));
    // one appliance may have a relay; nobody listens here
    let relayed =
        ["proxy", "https://127.0.0.1:1", "--ohttp-relay", "http://127.0.0.1:3/relay", "--listen", "127.0.0.1:0"];
    let output = lethe(&relayed, "").await;
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    let fake = Fake::start(vec![Reply::Unfinished(vec!["half"])]).await;
    let output = lethe(&["chat", &fake.url(), "--allow-no-tee", "--ask", "Hi"], "").await;
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(text(&output.stdout), "half\n");
    assert!(text(&output.stderr).contains("without [DONE]"));
}

#[tokio::test]
async fn a_hostile_model_does_not_drive_the_terminal() {
    let hostile = "a\u{1b}[2J\u{9b}31mb\r\u{7}c\u{7f}";
    let message = "no\u{1b}[2J\nerror: forged";
    let refused = Reply::Status { status: 400, retry_after: None, code: "x\u{1b}", message };
    let fake = Fake::start(vec![
        Reply::Stream(vec![hostile, "\u{1b}", "]0;title\u{7}"]),
        Reply::Whole(hostile),
        Reply::Whole(hostile),
        refused,
    ])
    .await;
    let url = fake.url();
    let ask = |more: &'static str| {
        let url = url.clone();
        async move { lethe(&["chat", &url, "--allow-no-tee", "--ask", "Hi", more], "").await }
    };
    assert_eq!(text(&ask("--max-tokens=9").await.stdout), "a[2J31mbc]0;title\n");
    assert_eq!(text(&ask("--no-stream").await.stdout), "a[2J31mbc\n");
    let json = lethe(&["chat", &url, "--allow-no-tee", "--ask", "Hi", "--json", "--no-stream"], "").await;
    assert!(!text(&json.stdout).chars().any(|character| character.is_control() && character != '\n'));
    assert_eq!(serde_json::from_slice::<Value>(&json.stdout).unwrap()["answer"], hostile);
    let output = ask("--no-stream").await;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(4), ""));
    assert!(!text(&output.stderr).contains('\u{1b}'));
    assert!(!text(&output.stderr).lines().any(|line| line.starts_with("error: forged")));
}

#[tokio::test]
async fn questions_come_from_standard_input() {
    let fake =
        Fake::start(vec![Reply::Stream(vec!["one"]), Reply::Stream(vec!["two"]), Reply::Stream(vec!["three"])]).await;
    let output = lethe(&["chat", &fake.url(), "--allow-no-tee", "--ask", "-"], "many\nlines\n").await;
    assert_eq!(text(&output.stdout), "one\n");
    let talk =
        lethe(&["chat", &fake.url(), "--allow-no-tee", "--system", "Be short."], "first\n\nsecond\n/quit\nnever\n")
            .await;
    assert_eq!(text(&talk.stdout), "two\nthree\n");
    let questions = fake.state.questions();
    let messages = |index: usize| {
        let body: Value = serde_json::from_slice(&questions[index].body).unwrap();
        let list = body["messages"].as_array().unwrap().clone();
        list.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(messages(0), ["many\nlines\n"]);
    assert_eq!(messages(1), ["Be short.", "first"]);
    assert_eq!(messages(2), ["Be short.", "first", "two", "second"]);
    assert_eq!(questions.len(), 3);
}

#[tokio::test]
async fn reset_forgets_the_conversation_and_not_the_instructions() {
    let fake = Fake::start(vec![Reply::Stream(vec!["answer"])]).await;
    lethe(&["chat", &fake.url(), "--allow-no-tee", "--system", "Be short."], "first\n/reset\nsecond\n").await;
    let body: Value = serde_json::from_slice(&fake.state.questions()[1].body).unwrap();
    assert_eq!(body["messages"].as_array().unwrap().len(), 2);
    assert_eq!(body["messages"][1]["content"], "second");
}

#[tokio::test]
async fn the_token_is_sent_from_file_argument_or_environment() {
    let fake = Fake::start(vec![Reply::Whole("hi")]).await;
    let made = lethe(&["token", "new", "--name", "alice", "--json"], "").await;
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let token = made["token"].as_str().unwrap();
    assert_eq!(made["sha256"], hex::encode(<sha2::Sha256 as sha2::Digest>::digest(token)));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{token}\n")).unwrap();
    let url = fake.url();
    let question = ["chat", &url, "--allow-no-tee", "--no-stream", "--ask", "Hi"];
    for more in [["--token", token], ["--token-file", file.path().to_str().unwrap()]] {
        let output = lethe(&[&question[..], &more[..]].concat(), "").await;
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    }
    lethe(&question, "").await;
    let sent: Vec<_> = fake.state.questions().iter().map(|asked| asked.headers.get("authorization").cloned()).collect();
    assert_eq!(sent[0].as_ref().unwrap().to_str().unwrap(), format!("Bearer {token}"));
    assert_eq!(sent[0], sent[1]);
    assert_eq!(sent[2], None);
}

#[tokio::test]
async fn a_token_comes_with_lines_that_a_document_takes() {
    let output = lethe(&["token", "new", "--name", "alice"], "").await;
    let printed = text(&output.stdout);
    let (token, lines) = printed.split_once("\n\n").unwrap();
    let document = format!(
        "version = 1\n[model]\nname = \"m\"\nsha256 = \"{}\"\nsize_bytes = 1\n[clients]\naccess = \"token\"\n{lines}",
        "ab".repeat(32)
    );
    let document = deployment::parse(document.as_bytes()).unwrap();
    assert_eq!(document.clients.tokens[0].name, "alice");
    assert_eq!(document.clients.tokens[0].sha256, deployment::token::digest(token).unwrap());
}

#[tokio::test]
async fn status_is_4_while_the_appliance_is_not_ready() {
    let fake = Fake::start(vec![]).await;
    let status = || async { lethe(&["status", &fake.url(), "--allow-no-tee", "--json"], "").await };
    let output = status().await;
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["ready"], true);
    fake.state.ready.store(false, std::sync::atomic::Ordering::SeqCst);
    let output = status().await;
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["ready"], false);
}

/// `lethe proxy`, listening, until it is dropped.
struct Listening {
    child: Child,
    /// What it wrote to standard error until it listened.
    said: String,
}

impl Listening {
    async fn start(arguments: &[&str]) -> Self {
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        tokio::task::spawn_blocking(move || {
            let mut child = Command::new(env!("CARGO_BIN_EXE_lethe"))
                .args(["proxy", "--listen", "127.0.0.1:0", "--allow-no-tee"])
                .args(arguments)
                .env_remove("LETHE_TOKEN")
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut said = String::new();
            for line in BufReader::new(child.stderr.take().unwrap()).lines() {
                said += &(line.unwrap() + "\n");
                if said.contains("forwards to") {
                    break;
                }
            }
            Self { child, said }
        })
        .await
        .unwrap()
    }

    fn address(&self) -> SocketAddr {
        let (_, rest) = self.said.split_once("http://").unwrap();
        rest.split_once("/v1 forwards to").unwrap().0.parse().unwrap()
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the proxy writes to standard error until it listens.
async fn proxy_until_it_listens(arguments: &[&str]) -> String {
    Listening::start(arguments).await.said.clone()
}

#[tokio::test]
async fn a_proxy_that_saves_says_so_and_one_that_is_not_told_to_writes_nothing() {
    let fake = Fake::start(vec![Reply::Whole("an answer")]).await;
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("transcripts");
    let files = || {
        let entries = std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = entries.filter(|path| path.extension().is_none_or(|end| end != "bundle")).collect();
        files.sort();
        files
    };
    let saving = Listening::start(&[&fake.url(), "--save", place.to_str().unwrap()]).await;
    assert!(saving.said.contains(&format!("are saved in the clear in {}", place.display())), "{}", saving.said);
    let question = "{\"messages\":[\"a question\"]}";
    assert_eq!(ask(saving.address(), "POST", CHAT, HOST, question).await.0, 200);
    let saved = files();
    let [request, response] = saved.as_slice() else { panic!("{saved:?}") };
    assert_eq!(std::fs::read_to_string(request).unwrap(), question);
    assert!(std::fs::read_to_string(response).unwrap().contains("an answer"));
    for path in [&place, request, response] {
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }

    let silent = Listening::start(&[&fake.url()]).await;
    assert!(!silent.said.contains("saved"), "{}", silent.said);
    assert_eq!(ask(silent.address(), "POST", CHAT, HOST, question).await.0, 200);
    assert_eq!((fake.count(), files()), (2, saved));
}

#[tokio::test]
async fn the_proxy_says_loudly_which_node_is_not_verified() {
    let (good, bad) = (Fake::start(vec![]).await, Fake::start(vec![]).await);
    let said = proxy_until_it_listens(&[&good.url(), &bad.url()]).await;
    assert!(!said.contains("NOT verified") && said.contains(&format!("note: {} is verified", bad.url())), "{said}");
    bad.lie(Lie::OtherSpki);
    let said = proxy_until_it_listens(&[&good.url(), &bad.url()]).await;
    assert!(said.contains(&format!("warning: {} is NOT verified", bad.url())), "{said}");
    assert!(said.contains("error: the TLS key of this connection is not in the attested keyset"), "{said}");
    assert!(said.contains("forwards to"));
    let output =
        lethe(&["proxy", "--allow-no-tee", "--all", "--listen", "127.0.0.1:0", &good.url(), &bad.url()], "").await;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(&bad.url()));
}

#[tokio::test]
async fn every_command_explains_itself() {
    for command in ["chat", "verify", "proxy", "status"] {
        let output = lethe(&[command, "--help"], "").await;
        assert_eq!(output.status.code(), Some(0));
        assert!(text(&output.stdout).contains("lethe "), "{command}");
        assert!(text(&output.stdout).contains("xample"), "{command}");
    }
    assert!(text(&lethe(&["completions", "bash"], "").await.stdout).contains("_lethe"));
}
