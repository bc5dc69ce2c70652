//! `lethe secrets`: what is sent, to whom, and what is said of it.

use std::{os::unix::fs::PermissionsExt, path::PathBuf, sync::atomic::Ordering};

use crate::{
    fake::{Fake, Held, Lie},
    program::{lethe, text},
    tpm2::{self, signer::Tpm},
};

/// A text that shows up where it is sealed to and nowhere else.
const MARK: &str = "MARK-OF-A-SECRET";

struct Place {
    folder: tempfile::TempDir,
    fake: Fake,
    operator: [u8; 32],
}

impl Place {
    /// An appliance whose document names the operator with this key.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let operator = lethe::operator::new_key(&folder.path().join("key")).unwrap();
        let fake = Fake::start(vec![]).await;
        *fake.state.held.lock().unwrap() = Some(Held::of(operator));
        Self { folder, fake, operator }
    }

    /// Another boot of the machine, which waits for its secrets: other keys, counted from the start.
    fn boot_again(&self) {
        let mut held = Held::of(self.operator);
        held.required = true;
        *self.fake.state.held.lock().unwrap() = Some(held);
        self.fake.restart();
    }

    /// `lethe secrets watch URL --operator-key … -e TOKEN=MARK TRUST…`, until it is stopped.
    fn watch(&self, trust: &[&str]) -> Watching {
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_lethe"))
            .args(["secrets", "watch", &self.fake.url(), "--offline", "--interval", "1", "--operator-key"])
            .arg(self.file("key"))
            .args(["-e", &format!("TOKEN={MARK}")])
            .args(trust)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        Watching(child)
    }

    async fn eventually_has(&self, what: &str) {
        crate::fake::eventually(what, || self.values() == [pair("TOKEN", MARK)]).await;
    }

    /// Waits until it was looked at twice more, which is once whole.
    async fn is_looked_at(&self) {
        let reports =
            || self.fake.state.asked.lock().unwrap().iter().filter(|asked| asked.path.contains("nonce=")).count();
        let before = reports();
        crate::fake::eventually("two more looks", || reports() >= before + 2).await;
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `lethe secrets COMMAND URL --operator-key … --allow-no-tee MORE…`
    async fn secrets(&self, command: &str, more: &[&str]) -> std::process::Output {
        let (url, key) = (self.fake.url(), self.file("key").display().to_string());
        let first = ["secrets", command, &url, "--operator-key", &key, "--allow-no-tee", "--offline"];
        lethe(&[&first, more].concat(), "").await
    }

    fn values(&self) -> Vec<(String, String)> {
        self.fake.state.held.lock().unwrap().as_ref().unwrap().values.clone().into_iter().collect()
    }

    /// Nothing but reports was asked for.
    fn sent_nothing(&self) -> bool {
        let asked = self.fake.state.asked.lock().unwrap();
        asked.iter().all(|asked| asked.path.starts_with("/v1/aci/attestation") && asked.body.is_empty())
    }
}

/// A watch that goes on.
struct Watching(std::process::Child);

impl Watching {
    /// Ends it, and gives what it said.
    fn stop(mut self) -> String {
        self.0.kill().unwrap();
        std::io::read_to_string(self.0.stderr.take().unwrap()).unwrap()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

#[tokio::test]
async fn secrets_are_set_listed_and_unset_and_travel_sealed() {
    let place = Place::new().await;
    std::fs::write(place.file("value"), "from a file\n").unwrap();
    let in_file = format!("TOKEN_B=@{}", place.file("value").display());
    let output = place.secrets("set", &["-e", &format!("TOKEN={MARK}"), "-e", &in_file]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "TOKEN\nTOKEN_B\n");
    assert_eq!(place.values(), [pair("TOKEN", MARK), pair("TOKEN_B", "from a file")]);
    assert!(!text(&output.stderr).contains(MARK));
    let asked = place.fake.state.asked.lock().unwrap().clone();
    assert!(asked.iter().all(|asked| !String::from_utf8_lossy(&asked.body).contains(MARK)), "sealed inside of TLS too");

    let output = place.secrets("unset", &["TOKEN"]).await;
    assert_eq!(text(&output.stdout), "TOKEN_B\n");
    let output = place.secrets("list", &[]).await;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "TOKEN_B\n"));
    assert_eq!(place.fake.state.held.lock().unwrap().as_ref().unwrap().counter, 3, "each message has the next counter");
    let output = place.secrets("seal", &["--out", &place.file("sealed").display().to_string()]).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(std::fs::metadata(place.file("sealed")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read(place.file("sealed")).unwrap(), b"\"sealed\"");
}

#[tokio::test]
async fn nothing_is_sent_to_an_appliance_that_is_not_verified() {
    let place = Place::new().await;
    let (url, key) = (place.fake.url(), place.file("key").display().to_string());
    let secret = format!("TOKEN={MARK}");
    let arguments = ["secrets", "set", &url, "--operator-key", &key, "-e", &secret, "--offline"];
    let output = lethe(&arguments, "").await;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let watch = [&["secrets", "watch", "--once"][..], &arguments[2..]].concat();
    assert_eq!(lethe(&watch, "").await.status.code(), Some(3));
    let pin = format!("sha256:{}", "11".repeat(32));
    let pinned = [&arguments[..], &["--allow-no-tee", "--pin", &pin]].concat();
    assert_eq!(lethe(&pinned, "").await.status.code(), Some(3));
    place.fake.lie(Lie::OtherReportData);
    let output = place.secrets("set", &["-e", &secret]).await;
    assert_eq!(output.status.code(), Some(3));
    assert!(place.sent_nothing());
    assert!(!text(&output.stderr).contains(MARK));
    place.fake.lie(Lie::None);
    *place.fake.state.held.lock().unwrap() = None;
    let output = place.secrets("set", &["-e", &secret]).await;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("names no operator"));
    assert!(place.sent_nothing());
}

#[tokio::test]
async fn a_key_that_others_may_read_is_refused_and_so_are_secrets_out_of_form() {
    let place = Place::new().await;
    for (values, says) in [
        (&["-e", "token=MARK-OF-A-SECRET"][..], "capital letter"),
        (&["-e", "TOKEN="], "1 to 16384 bytes"),
        (&["-e", "TOKEN=MARK-OF-A-SECRET", "-e", "TOKEN=MARK-OF-A-SECRET"], "TOKEN is given twice"),
        (&["-e", "LETHE_NO_SUCH_VARIABLE"], "in the environment"),
    ] {
        let output = place.secrets("set", values).await;
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
        assert!(text(&output.stderr).contains(says), "{}", text(&output.stderr));
        assert!(!text(&output.stderr).contains(MARK), "{}", text(&output.stderr));
    }
    std::fs::set_permissions(place.file("key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = place.secrets("set", &["-e", "TOKEN=x"]).await;
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("nobody else may read"), "{}", text(&output.stderr));
    assert!(place.fake.state.asked.lock().unwrap().is_empty(), "nobody was connected to");
}

#[tokio::test]
async fn another_operators_key_is_refused_by_the_appliance() {
    let place = Place::new().await;
    std::fs::remove_file(place.file("key")).unwrap();
    let file = place.file("key").display().to_string();
    let output = lethe(&["secrets", "keygen", "--out", &file], "").await;
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("operator_keys = [\""), "{}", text(&output.stdout));
    assert_eq!(lethe(&["secrets", "keygen", "--out", &file], "").await.status.code(), Some(2), "never over another");
    let output = place.secrets("set", &["-e", &format!("TOKEN={MARK}")]).await;
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("other operators"), "{}", text(&output.stderr));
    assert!(place.values().is_empty());
}

#[tokio::test]
async fn a_watch_brings_secrets_to_those_that_wait_and_to_no_successor_that_nothing_vouches_for() {
    let place = Place::new().await;
    let secret = format!("TOKEN={MARK}");
    let watch = async || place.secrets("watch", &["--once", "--interval", "1", "-e", &secret]).await;
    let output = watch().await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(place.values().is_empty(), "it does not wait");
    place.fake.state.held.lock().unwrap().as_mut().unwrap().required = true;
    let output = watch().await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(place.values(), [pair("TOKEN", MARK)]);
    assert!(text(&output.stderr).contains("has its secrets") && !text(&output.stderr).contains(MARK));

    // while it watches, the machine restarts with another TLS key that nothing vouches for
    let watching = place.watch(&["--allow-no-tee"]);
    let forget = || place.fake.state.held.lock().unwrap().as_mut().unwrap().values.clear();
    forget();
    place.eventually_has("the secrets").await;
    // the same key: an epoch later
    place.fake.state.next_epoch();
    forget();
    place.eventually_has("the secrets again").await;
    place.boot_again();
    place.is_looked_at().await;
    assert!(place.values().is_empty(), "nothing for a key that nobody vouches for");
    let said = watching.stop();
    assert!(said.contains("the TLS key is not the pinned one"), "{said}");
    assert!(!said.contains(MARK));
    assert!(place.fake.state.ready.load(Ordering::SeqCst));
}

#[tokio::test]
async fn a_watch_brings_secrets_after_each_restart_that_hardware_vouches_for_and_after_no_other() {
    let place = Place::new().await;
    let tpm = Tpm::new();
    std::fs::write(place.file("ak"), tpm.ak()).unwrap();
    place.fake.state.have_tpm(tpm.clone());
    place.boot_again();
    let [ak, measurements, document] = [place.file("ak"), tpm2::file("manifest.json"), tpm2::file("document.toml")]
        .map(|path| path.display().to_string());
    let watching = place.watch(&["--ak", &ak, "--measurements", &measurements, "--document", &document]);
    place.eventually_has("the secrets").await;
    for restart in ["the secrets after a restart", "the secrets after another"] {
        let before = place.fake.pin();
        place.boot_again();
        assert_ne!(place.fake.pin(), before);
        place.eventually_has(restart).await;
    }
    // a restart in front of a quote that is about other keys
    let mut other = tpm;
    other.stuck = Some([7; 32]);
    place.fake.state.have_tpm(other);
    place.boot_again();
    place.is_looked_at().await;
    assert!(place.values().is_empty());
    let said = watching.stop();
    assert!(said.contains("has its secrets") && said.contains("the evidence is about other keys"), "{said}");
    assert!(!said.contains(MARK), "{said}");
}

#[tokio::test]
async fn a_request_for_a_certificate_is_drawn_from_a_verified_appliance_with_names_or_without() {
    let place = Place::new().await;
    let url = place.fake.url();
    let output = lethe(&["tls", "csr", &url, "--offline"], "").await;
    assert_eq!(output.status.code(), Some(3));
    assert!(place.sent_nothing());
    let output = lethe(&["tls", "csr", &url, "--offline", "--allow-no-tee"], "").await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("\n/v1/operator/csr\n"), "{}", text(&output.stdout));
    let out = place.file("csr").display().to_string();
    let named = [
        "tls",
        "csr",
        &url,
        "--offline",
        "--allow-no-tee",
        "--name",
        "a.example",
        "--name",
        "192.0.2.7",
        "--out",
        &out,
    ];
    assert_eq!(lethe(&named, "").await.status.code(), Some(0));
    let request = std::fs::read_to_string(out).unwrap();
    assert!(request.contains("\n/v1/operator/csr?names=a.example,192.0.2.7\n"), "{request}");
    let output = lethe(&["tls", "csr", &url, "--offline", "--allow-no-tee", "--name", "a,b"], "").await;
    assert_eq!(output.status.code(), Some(2));
}

#[tokio::test]
async fn a_chain_is_installed_for_the_verified_key_and_for_no_other() {
    let place = Place::new().await;
    let (url, key, file) = (place.fake.url(), place.file("key").display().to_string(), place.file("chain.pem"));
    let install = async |chain: &str| {
        std::fs::write(&file, chain).unwrap();
        let chain = file.display().to_string();
        let first = ["tls", "install", &url, "--operator-key", &key, "--chain", &chain];
        lethe(&[&first[..], &["--offline", "--allow-no-tee"]].concat(), "").await
    };
    let pem = place.fake.certificate_pem();
    let output = install(&pem).await;
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(place.values(), [pair("TLS_CHAIN", &pem)]);
    let counter = || place.fake.state.held.lock().unwrap().as_ref().unwrap().counter;
    let other = Fake::start(vec![]).await.certificate_pem();
    let output = install(&other).await;
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    for chain in ["", "x", &pem.replacen("MII", "MIA", 1), &(pem.clone() + "-----BEGIN PRIVATE KEY-----\n")] {
        assert_eq!(install(chain).await.status.code(), Some(2), "{chain}");
    }
    assert_eq!(counter(), 1, "nothing of these was sent");
}
