//! Receipts: checked before an answer counts, saved on request, and checked again offline.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Duration,
};

use lethe::{
    appliance::{Appliance, Options},
    error::{Error, Refusal},
    proxy::{Guard, NodeSettings, Nodes},
    receipts::{Archive, Demand, ReceiptFault, Receipts},
    token::Token,
};
use protocol::receipt::ReceiptError;
use serde_json::Value;

use crate::{
    fake::Fake,
    gateway::Gateway,
    notary::{Notary, ReceiptLie},
    proxy,
    reply::Reply,
    sealed::{question, streamed},
    tpm2::{self, signer::Tpm},
    translations::{MESSAGES, RESPONSES, events, message, response},
};

/// How answers and receipts travel.
const TRAVELS: [(bool, bool); 3] = [(true, true), (true, false), (false, false)];

async fn start(sealed: bool, carried: bool) -> (Fake, Arc<Notary>, Options) {
    let fake = Fake::start(vec![Reply::Stream(vec!["Hel", "lo"]), Reply::Whole("Hello")]).await;
    if sealed {
        fake.seal(Gateway::ours());
    }
    let notary = fake.give_receipts();
    *notary.carries.lock().unwrap() = carried;
    let options = Options { token: Some(Token::random().unwrap()), ..fake.options() };
    (fake, notary, options)
}

/// The lies, and what they are refused for.
fn lies() -> Vec<(ReceiptLie, ReceiptFault)> {
    vec![
        (ReceiptLie::OtherAnswer, ReceiptError::OtherResponse.into()),
        (ReceiptLie::OtherRequest, ReceiptError::OtherRequest.into()),
        (ReceiptLie::AddedMember, ReceiptError::Malformed.into()),
        (ReceiptLie::OtherKey, ReceiptError::Signature.into()),
        (ReceiptLie::OtherKeyset, ReceiptError::Keyset.into()),
        (ReceiptLie::OtherName, ReceiptFault::OtherName),
        (ReceiptLie::OtherRoute, ReceiptFault::OtherRoute),
        (ReceiptLie::OtherPlatform, ReceiptFault::OtherPlatform),
        (ReceiptLie::Lost, ReceiptFault::Unavailable { status: 404 }),
    ]
}

#[tokio::test]
async fn a_good_receipt_is_checked_however_it_comes() {
    for (sealed, carried) in TRAVELS {
        let (_fake, notary, options) = start(sealed, carried).await;
        let appliance = Appliance::open(&options).await.unwrap();
        let (text, error) = streamed(&appliance).await;
        assert!(error.is_none(), "{error:?}");
        assert_eq!(text, "Hello");
        assert_eq!(appliance.answer(&question()).await.unwrap().0, "Hello");
        assert_eq!((appliance.receipts().verified(), appliance.receipts().missing()), (2, 0));
        assert_eq!(*notary.fetched.lock().unwrap(), if carried { 0 } else { 2 });
    }
}

#[tokio::test]
async fn an_answer_with_a_bad_receipt_does_not_count() {
    for (sealed, carried) in TRAVELS {
        for (lie, fault) in lies() {
            let (_fake, notary, options) = start(sealed, carried).await;
            let appliance = Appliance::open(&options).await.unwrap();
            *notary.lie.lock().unwrap() = lie;
            let (text, error) = streamed(&appliance).await;
            assert_eq!(text, "Hello", "what came before the receipt was shown");
            let refused = |error: &Option<Error>| match error {
                Some(Error::Refused(Refusal::Receipt(fault))) => Some(*fault),
                _ => None,
            };
            assert_eq!(refused(&error), Some(fault), "{lie:?}: {error:?}");
            *notary.lie.lock().unwrap() = ReceiptLie::Nothing;
            let appliance = appliance.renewed(&options).await.unwrap();
            assert_eq!(appliance.answer(&question()).await.unwrap().0, "Hello");
            *notary.lie.lock().unwrap() = lie;
            let error = appliance.answer(&question()).await.err();
            assert_eq!(refused(&error), Some(fault), "{lie:?}, in one piece: {error:?}");
            assert_eq!(appliance.transport()["receipts"]["refused"], 2);
        }
    }
}

#[tokio::test]
async fn an_answer_without_a_receipt_is_what_the_user_says() {
    let (_fake, notary, options) = start(true, true).await;
    *notary.lie.lock().unwrap() = ReceiptLie::Never;
    let with = |demand| Options { receipts: Receipts::demanding(demand), ..options.clone() };
    let check = Appliance::open(&with(Demand::Check)).await.unwrap();
    assert_eq!(streamed(&check).await.0, "Hello");
    assert_eq!((check.receipts().verified(), check.receipts().missing()), (0, 1));
    let require = Appliance::open(&with(Demand::Require)).await.unwrap();
    let error = require.answer(&question()).await.err();
    assert!(matches!(error, Some(Error::Refused(Refusal::NoReceipt))), "{error:?}");
    *notary.lie.lock().unwrap() = ReceiptLie::OtherAnswer;
    let off = Appliance::open(&with(Demand::Off)).await.unwrap();
    assert_eq!(off.answer(&question()).await.unwrap().0, "Hello");
    assert_eq!(off.transport()["receipts"]["verified"], 0);
}

#[tokio::test]
async fn a_receipt_of_the_next_epoch_is_checked_against_the_next_keyset_and_of_another_boot_refused() {
    for (sealed, carried) in TRAVELS {
        let (fake, _, options) = start(sealed, carried).await;
        *fake.state.replies.lock().unwrap() = [Reply::Slow(vec!["Hel", "lo"])].into();
        let appliance = Appliance::open(&options).await.unwrap();
        let mut stream = appliance.answer_stream(&question()).await.unwrap();
        assert_eq!(stream.next().await.unwrap().as_deref(), Some("Hel"));
        fake.state.next_epoch();
        assert_eq!(stream.next().await.unwrap().as_deref(), Some("lo"));
        assert_eq!(stream.next().await.unwrap(), None);
        assert_eq!((appliance.receipts().verified(), fake.state.attested()), (1, 2));

        let (fake, other, options) = start(sealed, carried).await;
        *fake.state.replies.lock().unwrap() = [Reply::Slow(vec!["Hel", "lo"])].into();
        let appliance = Appliance::open(&options).await.unwrap();
        let mut stream = appliance.answer_stream(&question()).await.unwrap();
        assert_eq!(stream.next().await.unwrap().as_deref(), Some("Hel"));
        *other.seed.lock().unwrap() = 10;
        assert_eq!(stream.next().await.unwrap().as_deref(), Some("lo"));
        let error = stream.next().await.err();
        assert!(matches!(error, Some(Error::Refused(Refusal::Receipt(ReceiptFault::OtherBoot)))), "{error:?}");
    }
}

/// Sends a question through a proxy of its own, and gives the answer and the proxy's status.
async fn ask(options: &Options, stream: bool) -> (String, Value) {
    ask_at(options, proxy::CHAT, &format!("{{\"stream\":{stream}}}")).await
}

async fn ask_at(options: &Options, path: &str, body: &str) -> (String, Value) {
    let (nodes, _) = Nodes::open(vec![options.clone()], NodeSettings::default()).await.unwrap();
    let address = proxy::serve(nodes, Guard::default());
    let (_, answer) = proxy::ask(address, "POST", path, proxy::HOST, body).await;
    let (_, status) = proxy::ask(address, "GET", "/lethe/status", proxy::HOST, "").await;
    (answer, serde_json::from_str(status.split("\r\n\r\n").nth(1).unwrap()).unwrap())
}

#[tokio::test]
async fn through_the_proxy_a_bad_receipt_is_an_error_event_in_the_place_of_done() {
    for (sealed, carried) in TRAVELS {
        let (_fake, _, options) = start(sealed, carried).await;
        let (answer, status) = ask(&options, true).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("data: [DONE]\n\n"), "{answer}");
        assert!(answer.contains("x-receipt-id: rcpt-0") && !answer.contains("\"error\""));
        assert_eq!(status["transport"]["receipts"]["verified"], 1);
        let (answer, _) = ask(&options, false).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Hello"), "{answer}");

        let (_fake, other, options) = start(sealed, carried).await;
        *other.lie.lock().unwrap() = ReceiptLie::OtherAnswer;
        let (answer, status) = ask(&options, true).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("lo"), "{answer}");
        assert!(!answer.contains("[DONE]"), "{answer}");
        assert!(answer.contains("data: {\"error\":") && answer.contains("receipt_refused"), "{answer}");
        assert_eq!(status["transport"]["receipts"]["refused"], 1);
        let (answer, _) = ask(&options, false).await;
        assert!(answer.starts_with("HTTP/1.1 502") && answer.contains("receipt_refused"), "{answer}");
        assert!(!answer.contains("Hello"), "{answer}");
    }
}

#[tokio::test]
async fn in_other_peoples_formats_a_bad_receipt_is_their_error_in_the_place_of_their_end() {
    type Question = fn(bool) -> String;
    let formats: [(_, Question, _, _); 2] =
        [(MESSAGES, message, "message_stop", "error"), (RESPONSES, response, "response.completed", "response.failed")];
    for ((sealed, carried), (path, question, end, failed)) in
        TRAVELS.into_iter().flat_map(|travel| formats.map(|format| (travel, format)))
    {
        let (_fake, _, options) = start(sealed, carried).await;
        let (answer, status) = ask_at(&options, path, &question(true)).await;
        assert_eq!(events(&answer).last().unwrap().0, end, "{answer}");
        assert_eq!(status["transport"]["receipts"]["verified"], 1);
        let (answer, _) = ask_at(&options, path, &question(false)).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Hello"), "{answer}");

        let (_fake, notary, options) = start(sealed, carried).await;
        *notary.lie.lock().unwrap() = ReceiptLie::OtherAnswer;
        let (answer, status) = ask_at(&options, path, &question(true)).await;
        let said = events(&answer);
        let names: Vec<&str> = said.iter().map(|(name, _)| name.as_str()).collect();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("Hel"), "it streams: {answer}");
        assert_eq!(names.last(), Some(&failed), "{answer}");
        assert!(names.contains(&"error") && answer.contains("the receipt of the answer is refused"), "{answer}");
        for other in [end, "message_delta", "response.incomplete", "response.output_text.done"] {
            assert!(!names.contains(&other), "{other}: {answer}");
        }
        assert_eq!(status["transport"]["receipts"]["refused"], 1);
        let (answer, _) = ask_at(&options, path, &question(false)).await;
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
        assert!(answer.contains("the receipt of the answer is refused") && !answer.contains("Hello"), "{answer}");
    }
}

#[tokio::test]
async fn the_first_piece_of_an_answer_does_not_wait_for_its_receipt() {
    let fake = Fake::start(vec![Reply::Endless]).await;
    fake.seal(Gateway::ours());
    fake.give_receipts();
    let appliance = Appliance::open(&fake.options()).await.unwrap();
    let mut stream = appliance.answer_stream(&question()).await.unwrap();
    let first = tokio::time::timeout(Duration::from_secs(5), stream.next()).await.unwrap();
    assert_eq!(first.unwrap().as_deref(), Some("again "));
}

/// Runs the program.
async fn lethe(arguments: Vec<String>) -> (Option<i32>, String, String) {
    let output = tokio::task::spawn_blocking(move || {
        Command::new(env!("CARGO_BIN_EXE_lethe")).args(arguments).env_remove("LETHE_TOKEN").output().unwrap()
    })
    .await
    .unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[tokio::test]
async fn chat_with_a_bad_receipt_is_exit_status_3() {
    let (fake, notary, _) = start(true, true).await;
    let chat = || lethe(words(&format!("chat {} --allow-no-tee --ask Hi", fake.url())));
    let (status, answer, said) = chat().await;
    assert_eq!((status, answer.as_str()), (Some(0), "Hello\n"), "{said}");
    *notary.lie.lock().unwrap() = ReceiptLie::OtherKey;
    let (status, _, said) = chat().await;
    assert_eq!(status, Some(3), "{said}");
    assert!(said.contains("error: the receipt of the answer is refused") && said.contains("help: "), "{said}");
    *notary.lie.lock().unwrap() = ReceiptLie::Never;
    assert!(chat().await.2.contains("note: the answer has no receipt"));
}

/// A folder of transcripts with the one of a streamed answer.
async fn saved(fake: &Fake) -> tempfile::TempDir {
    saved_with(fake, "--allow-no-tee").await
}

async fn saved_with(fake: &Fake, trust: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let save = folder.path().join("transcripts");
    let chat = format!("chat {} {trust} --ask Hi --save {}", fake.url(), save.display());
    let (status, _, said) = lethe(words(&chat)).await;
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("saved in the clear"), "{said}");
    folder
}

fn bundle_in(folder: &Path) -> PathBuf {
    let mut entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.find(|path| path.extension().is_some_and(|end| end == "bundle")).unwrap()
}

/// `lethe receipt verify` on a transcript.
async fn verify(folder: &Path, more: &str) -> (Option<i32>, Value) {
    let folder = folder.join("transcripts");
    let path = |name: &str| folder.join(name).display().to_string();
    let arguments = format!(
        "receipt verify {} --bundle {} --request {} --response {} --json{more}",
        path("rcpt-0.receipt"),
        bundle_in(&folder).display(),
        path("rcpt-0.request"),
        path("rcpt-0.response"),
    );
    let (status, out, said) = lethe(words(&arguments)).await;
    (status, serde_json::from_str(&out).unwrap_or_else(|_| panic!("{said}")))
}

fn outcome(found: &Value, subject: &str) -> String {
    let labels = found["receipt"]["labels"].as_array().unwrap();
    labels.iter().find(|label| label["subject"] == subject).unwrap()["outcome"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_saved_transcript_is_verified_offline() {
    let (fake, _notary, _) = start(true, true).await;
    let folder = saved(&fake).await;
    let place = folder.path().join("transcripts");
    assert!(std::fs::read_to_string(place.join("rcpt-0.response")).unwrap().ends_with("data: [DONE]\n\n"));
    assert!(std::fs::read_to_string(place.join("rcpt-0.request")).unwrap().contains("Hi"));
    let (status, found) = verify(folder.path(), " --allow-no-tee").await;
    assert_eq!((status, &found["verdict"]), (Some(0), &Value::from("accepted")), "{found}");
    assert_eq!((outcome(&found, "request"), outcome(&found, "answer")), ("accepted".to_owned(), "accepted".to_owned()));
    assert_eq!(outcome(&found, "signature"), "not_proven", "nothing vouches for a machine without a TEE");
    assert_eq!(found["receipt"]["facts"]["usage"]["completion_tokens"], 4);
    assert_eq!(found["bundle"]["labels"].as_array().unwrap().len(), 6);
    assert_eq!(verify(folder.path(), "").await.0, Some(3), "platform none is refused unless told otherwise");
}

#[tokio::test]
async fn a_changed_transcript_is_refused_by_the_label_it_is_about() {
    let (fake, _notary, _) = start(true, true).await;
    for (file, from, to, label) in [
        ("rcpt-0.request", "Hi", "Ho", "request"),
        ("rcpt-0.response", "Hel", "Hal", "answer"),
        ("rcpt-0.receipt", "{", "{\"added\":1,", "signature"),
        ("rcpt-0.receipt", "\"completion_tokens\":4", "\"completion_tokens\":5", "signature"),
    ] {
        *fake.state.replies.lock().unwrap() = [Reply::Stream(vec!["Hel", "lo"])].into();
        *fake.state.notary.lock().unwrap() = Some(Arc::new(Notary::new()));
        let folder = saved(&fake).await;
        let path = folder.path().join("transcripts").join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        let changed = text.replacen(from, to, 1);
        assert_ne!(text, changed, "{file}");
        std::fs::write(&path, changed).unwrap();
        let (status, found) = verify(folder.path(), " --allow-no-tee").await;
        assert_eq!((status, outcome(&found, label).as_str()), (Some(3), "refused"), "{file}: {found}");
    }
    // a bundle of another keyset
    let folder = saved(&fake).await;
    let bundle = bundle_in(&folder.path().join("transcripts"));
    fake.state.next_epoch();
    let other = lethe(words(&format!("verify {} --allow-no-tee --save {}", fake.url(), bundle.display()))).await;
    assert_eq!(other.0, Some(0));
    let (status, found) = {
        let first = std::fs::read_dir(folder.path().join("transcripts")).unwrap();
        let receipt =
            first.map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|end| end == "receipt"));
        let name = receipt.unwrap().with_extension("");
        for end in ["receipt", "request", "response"] {
            std::fs::rename(name.with_extension(end), name.with_file_name("rcpt-0").with_extension(end)).unwrap();
        }
        verify(folder.path(), " --allow-no-tee").await
    };
    assert_eq!((status, outcome(&found, "signature").as_str()), (Some(3), "refused"), "{found}");
}

#[tokio::test]
async fn hardware_image_document_model_and_answer_are_separate_labels() {
    let pinned = "0ef160e6ef968689cea343bcbac53781b90924a0e3630665efc4535273538e72";
    let (fake, ..) = start(true, true).await;
    let tpm = Tpm::new();
    let measured = tpm.evidence(&[0; 32])["tpm2"]["pcrs"]["sha256"]["4"].as_str().unwrap().to_owned();
    let ak = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(ak.path(), tpm.ak()).unwrap();
    fake.state.have_tpm(tpm);
    let trust = format!(
        "--ak {} --measurements {} --document {}",
        ak.path().display(),
        tpm2::file("manifest.json").display(),
        tpm2::file("document.toml").display()
    );
    for (measurement, weights, launch, model) in [
        (measured.as_str(), pinned, "accepted", "accepted"),
        (&"00".repeat(32), pinned, "refused", "accepted"),
        (&measured, &"ab".repeat(32), "accepted", "refused"),
    ] {
        *fake.state.replies.lock().unwrap() = [Reply::Stream(vec!["Hel", "lo"])].into();
        let notary = fake.give_receipts();
        *notary.measurement.lock().unwrap() = Some(measurement.to_owned());
        hex::decode_to_slice(weights, &mut *notary.weights.lock().unwrap()).unwrap();
        let folder = saved_with(&fake, &trust).await;
        let (status, found) = verify(folder.path(), &format!(" {trust}")).await;
        assert_eq!(
            (outcome(&found, "launch").as_str(), outcome(&found, "weights").as_str()),
            (launch, model),
            "{found}"
        );
        let refused = [launch, model].contains(&"refused");
        assert_eq!(status, Some(if refused { 3 } else { 0 }), "{found}");
        let reason = found["reason"].as_str().unwrap_or_default();
        assert_eq!(reason.contains("another launch"), launch == "refused", "{found}");
        assert_eq!(reason.contains("another model"), model == "refused", "{found}");
        for label in ["signature", "request", "answer", "epoch"] {
            assert_eq!(outcome(&found, label), "accepted");
        }
        assert_eq!(found["bundle"]["verdict"], "accepted");
    }
}

#[tokio::test]
async fn a_proxy_saves_what_it_passes_on_even_where_the_receipt_is_bad() {
    let (_fake, notary, mut options) = start(true, true).await;
    let folder = tempfile::tempdir().unwrap();
    options.receipts.archive = Some(Arc::new(Archive::open(folder.path()).unwrap()));
    *notary.lie.lock().unwrap() = ReceiptLie::OtherAnswer;
    assert!(ask(&options, true).await.0.contains("receipt_refused"));
    let mut names: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("rcpt-0."))
        .collect();
    names.sort();
    assert_eq!(names, ["rcpt-0.receipt", "rcpt-0.request", "rcpt-0.response"]);
}
