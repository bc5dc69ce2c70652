//! The binary as an ordinary program, with the tiny model, over its sockets and its exit status.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed helper is a failed test")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol::{bhttp, ohttp};
use sha2::{Digest, Sha256};
// Every program of this package is linked with the wiping heap's arguments, so this one needs the heap too.
use wipe as _;

const PROGRAM: &str = env!("CARGO_BIN_EXE_lethe-appliance");
const GATEWAY: &str = "/.well-known/ohttp-gateway";
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/models/tiny-random-llama.gguf");

/// A directory with a deployment document for a model file, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("lethe-host-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        let place = Self(path);
        place.write_document("");
        place
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write_document(&self, more: &str) {
        let model = fs::read(MODEL).unwrap();
        let text = format!(
            "version = 1\n[model]\nname = \"tiny\"\nsha256 = \"{}\"\nsize_bytes = {}\n[engine]\ncontext_tokens = 512\n\
             [clients]\naccess = \"anyone\"\n{more}",
            hex::encode(Sha256::digest(&model)),
            model.len()
        );
        fs::write(self.file("config.toml"), text).unwrap();
    }

    /// `serve` with this place's document; memory limits differ from machine to machine, so `--insecure-host`.
    fn serve(&self, model: &Path, more: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command.arg("serve").arg("--config").arg(self.file("config.toml")).arg("--model").arg(model);
        command.arg("--insecure-host").args(more);
        command
    }

    fn listen_unix(&self) -> String {
        format!("--listen=unix:{}", self.file("s").display())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running server; killed if a test ends before it.
struct Server {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let output = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, seen: Vec::new() }
    }

    /// The first line from now on that begins so.
    fn line(&mut self, start: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(60)).unwrap_or_else(|_| {
                panic!("no line {start:?} after {:#?}", self.seen);
            });
            self.seen.push(line.clone());
            if line.starts_with(start) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    fn end(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The exit status and last line of a command that refuses.
fn refusal(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text.lines().last().unwrap_or_default().to_owned())
}

fn ask(mut stream: impl Read + Write, method: &str, path: &str, body: &str) -> String {
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

const QUESTION: &str =
    r#"{"model":"tiny","messages":[{"role":"user","content":"hello"}],"max_tokens":4,"temperature":0}"#;

#[test]
fn it_answers_on_its_socket_and_leaves_nothing_behind() {
    let place = Place::new();
    let mut server = Server::start(place.serve(Path::new(MODEL), &[&place.listen_unix()]));
    server.line("lethe: ready port=unix");
    let socket = place.file("s");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let answer = ask(UnixStream::connect(&socket).unwrap(), "POST", "/v1/chat/completions", QUESTION);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("\"completion_tokens\":4") || answer.contains("\"finish_reason\":\"stop\""), "{answer}");
    server.signal(Signal::SIGTERM);
    server.line("lethe: event ended");
    assert_eq!(server.end().code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn its_log_and_health_and_evidence_say_that_nothing_vouches() {
    let place = Place::new();
    let mut server = Server::start(place.serve(Path::new(MODEL), &[&place.listen_unix()]));
    server.line("lethe: stage platform platform=none");
    server.line("lethe: warning: host mode");
    server.line("lethe: ready");
    let health = ask(UnixStream::connect(place.file("s")).unwrap(), "GET", "/health", "");
    assert!(health.contains("\"platform\":\"none\"") && health.contains("\"host_mode\":true"), "{health}");
    let nonce = "00".repeat(32);
    let path = format!("/v1/aci/attestation?nonce={nonce}");
    let report = ask(UnixStream::connect(place.file("s")).unwrap(), "GET", &path, "");
    assert!(report.contains("\"none\"") && report.contains("\"host_mode\":true"), "{report}");
}

#[test]
fn nothing_of_a_request_is_in_the_log() {
    let place = Place::new();
    let mut server = Server::start(place.serve(Path::new(MODEL), &[&place.listen_unix()]));
    server.line("lethe: ready");
    let body = QUESTION.replace("hello", "xyzzy-secret");
    ask(UnixStream::connect(place.file("s")).unwrap(), "POST", "/v1/chat/completions?token=xyzzy-secret", &body);
    ask(UnixStream::connect(place.file("s")).unwrap(), "POST", "/v1/chat/completions", &body);
    ask(UnixStream::connect(place.file("s")).unwrap(), "GET", "/xyzzy-secret", "");
    // an event comes after its answer, and a server that is told to stop does not wait for its log
    for _ in 0..3 {
        server.line("lethe: event request");
    }
    server.signal(Signal::SIGINT);
    server.line("lethe: event ended");
    assert!(!server.seen.iter().any(|line| line.contains("xyzzy")), "{:#?}", server.seen);
}

#[test]
fn a_tcp_port_speaks_tls_and_nothing_else() {
    let place = Place::new();
    let mut server = Server::start(place.serve(Path::new(MODEL), &["--listen", "127.0.0.1:0"]));
    let ready = server.line("lethe: ready port=");
    let port: u16 = ready.split(['=', ' ']).nth(3).unwrap().parse().expect(&ready);
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "plain text was answered");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.end().code(), Some(0));
}

#[test]
fn sockets_of_a_service_manager_are_used() {
    let place = Place::new();
    let listener = UnixListener::bind(place.file("handed")).unwrap();
    let serve = place.serve(Path::new(MODEL), &[]);
    // The shell gives its process id to the program it becomes, and its standard input the number 3.
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3<&0"]).arg(PROGRAM).args(serve.get_args());
    command.stdin(OwnedFd::from(listener));
    let mut server = Server::start(command);
    server.line("lethe: ready port=unix");
    let answer = ask(UnixStream::connect(place.file("handed")).unwrap(), "GET", "/health", "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.signal(Signal::SIGTERM);
    assert_eq!(server.end().code(), Some(0));
    assert!(place.file("handed").exists(), "it belongs to the service manager");
}

#[test]
fn a_descriptor_that_is_no_listening_socket_is_refused() {
    let place = Place::new();
    let serve = place.serve(Path::new(MODEL), &[]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$0\" \"$@\" 3</dev/null"])
        .arg(PROGRAM)
        .args(serve.get_args());
    let (status, line) = refusal(&mut command);
    assert_eq!(status, Some(3));
    assert!(line.starts_with("lethe: refused: listen-fds "), "{line}");
}

#[test]
fn a_second_server_on_the_same_socket_is_refused_and_the_first_goes_on() {
    let place = Place::new();
    let mut server = Server::start(place.serve(Path::new(MODEL), &[&place.listen_unix()]));
    server.line("lethe: ready");
    let (status, line) = refusal(&mut place.serve(Path::new(MODEL), &[&place.listen_unix()]));
    assert_eq!(status, Some(3));
    assert!(line.starts_with("lethe: refused: socket-busy "), "{line}");
    let answer = ask(UnixStream::connect(place.file("s")).unwrap(), "GET", "/health", "");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[test]
fn models_that_are_not_the_documents_are_refused_and_no_socket_stays() {
    let place = Place::new();
    let good = fs::read(MODEL).unwrap();
    let mut bit = good.clone();
    *bit.last_mut().unwrap() ^= 1;
    let mut longer = good.clone();
    longer.extend_from_slice(&[0; 512]);
    let cases: [(&str, &[u8], Option<&str>); 3] = [
        ("one bit", &bit, Some("lethe: refused: model-digest ")),
        ("short", good.split_last().unwrap().1, Some("lethe: refused: model-short ")),
        ("padded", &longer, None),
    ];
    for (name, bytes, expected) in cases {
        let model = place.file(name);
        fs::write(&model, bytes).unwrap();
        let mut command = place.serve(&model, &[&place.listen_unix()]);
        match expected {
            Some(expected) => {
                let (status, line) = refusal(&mut command);
                assert_eq!(status, Some(3), "{name}");
                assert!(line.starts_with(expected), "{name}: {line}");
            }
            None => {
                let mut server = Server::start(command);
                server.line("lethe: ready");
                server.signal(Signal::SIGTERM);
                assert_eq!(server.end().code(), Some(0));
            }
        }
        assert!(!place.file("s").exists(), "{name}");
    }
}

#[test]
fn a_file_that_is_no_model_is_refused_although_its_digest_is_the_documents() {
    let place = Place::new();
    let text = b"not a model at all, whatever its digest says".repeat(100);
    fs::write(place.file("m"), &text).unwrap();
    let document = fs::read_to_string(place.file("config.toml")).unwrap();
    let good = fs::read(MODEL).unwrap();
    let document = document
        .replace(&hex::encode(Sha256::digest(&good)), &hex::encode(Sha256::digest(&text)))
        .replace(&format!("size_bytes = {}", good.len()), &format!("size_bytes = {}", text.len()));
    fs::write(place.file("config.toml"), document).unwrap();
    let (status, line) = refusal(&mut place.serve(&place.file("m"), &[&place.listen_unix()]));
    assert_eq!(status, Some(3));
    assert!(line.starts_with("lethe: refused: gguf-magic "), "{line}");
}

#[test]
fn an_unknown_key_is_refused_by_name() {
    let place = Place::new();
    place.write_document("[limits]\nbody_byte = 5\n");
    let (status, line) = refusal(&mut place.serve(Path::new(MODEL), &[&place.listen_unix()]));
    assert_eq!(status, Some(3));
    assert!(line.starts_with("lethe: refused: document-invalid ") && line.contains("body_byte"), "{line}");
}

#[test]
fn a_memory_limit_is_refused_with_the_line_that_mends_it() {
    let place = Place::new();
    fs::set_permissions(&place.0, fs::Permissions::from_mode(0o755)).unwrap();
    let serve = place.serve(Path::new(MODEL), &["--listen", "127.0.0.1:0"]);
    let arguments = serve.get_args().filter(|argument| *argument != "--insecure-host");
    // Root may raise the limit again, so the program runs as nobody where the test runs as root.
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "ulimit -l 64; if [ \"$(id -u)\" = 0 ]; then exec setpriv --reuid=65534 --regid=65534 --clear-groups \"$0\" \"$@\"; fi; exec \"$0\" \"$@\"",
    ]);
    let (status, line) = refusal(command.arg(PROGRAM).args(arguments));
    assert_eq!(status, Some(3), "{line}");
    assert!(line.starts_with("lethe: refused: memory-limit ") && line.contains("ulimit -l unlimited"), "{line}");
}

#[test]
fn wrong_usage_has_a_status_of_its_own() {
    let output = Command::new(PROGRAM).args(["serve", "--modle", "x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--modle"));
    let help = Command::new(PROGRAM).arg("--help").output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("--config FILE"));
}

/// How often `needle` lies in a process's writable memory. Another user's process can be looked at by root alone, and a look that is
/// refused shows nothing: it is a failure.
fn occurrences(process: u32, needle: &[u8]) -> usize {
    let memory = fs::File::open(format!("/proc/{process}/mem")).expect("the memory of a process: run this as root");
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("the maps of a process: run this as root");
    let mut found = 0;
    for line in maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|rights| rights.starts_with("rw"))) {
        let (start, end) = line.split(' ').next().unwrap().split_once('-').expect(line);
        let (start, end) = (u64::from_str_radix(start, 16).expect(line), u64::from_str_radix(end, 16).expect(line));
        let mut bytes = vec![0; usize::try_from(end - start).expect("an address")];
        memory.read_exact_at(&mut bytes, start).expect(line);
        found += bytes.windows(needle.len()).filter(|window| *window == needle).count();
    }
    found
}

/// Asks through the OHTTP gateway and gives the whole answer inside.
fn ask_sealed(place: &Place, body: &str) -> bhttp::Response {
    use protocol::hpke::{Aead, Random};
    let mut stream = BufReader::new(UnixStream::connect(place.file("s")).unwrap());
    let mut random = Random(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap());
    let (status, keys) = kept(&mut stream, "GET", GATEWAY, "", b"");
    assert_eq!(status, "200");
    let key = ohttp::decode_list(&keys).expect("keys").remove(0);
    let head = bhttp::RequestHead {
        method: "POST".to_owned(),
        scheme: "https".to_owned(),
        authority: "x".to_owned(),
        path: "/v1/chat/completions".to_owned(),
        fields: vec![bhttp::Field::new("content-type", "application/json")],
    };
    let request = bhttp::Request { head, content: body.as_bytes().to_vec(), trailers: Vec::new() };
    let (message, pending) =
        ohttp::seal_request(&key, Aead::Aes128Gcm, &request.encode(), &mut random).expect("sealed");
    let (status, answer) = kept_as(&mut stream, "POST", GATEWAY, "", (ohttp::REQUEST_TYPE, &message));
    assert_eq!(status, "200");
    bhttp::Response::decode(&pending.open(&answer).expect("opened"), bhttp::Limits::default()).expect("a response")
}

#[test]
fn nothing_of_a_prompt_is_left_in_memory_after_its_answer() {
    const MARK: &str = "xyzzyplughmarker";
    const SEALED_MARK: &str = "plughxyzzysealed";
    // The document's own texts stay, which shows that the search finds what is there.
    const ALIAS: &str = "frotzozmoalias";
    let place = Place::new();
    let document = fs::read_to_string(place.file("config.toml")).unwrap();
    let aliases = format!("name = \"tiny\"\naliases = [\"{ALIAS}\"]");
    fs::write(place.file("config.toml"), document.replace("name = \"tiny\"", &aliases)).unwrap();
    let mut server = Server::start(place.serve(Path::new(MODEL), &[&place.listen_unix()]));
    server.line("lethe: ready");
    let prompt = format!("{MARK} ").repeat(10);
    for stream in ["false", "true"] {
        let body = QUESTION
            .replace("hello", &prompt)
            .replace("\"max_tokens\"", &format!("\"stream\":{stream},\"max_tokens\""));
        let answer = ask(UnixStream::connect(place.file("s")).unwrap(), "POST", "/v1/chat/completions", &body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        server.line("lethe: event request");
    }
    let sealed = format!("{SEALED_MARK} ").repeat(10);
    let answer = ask_sealed(&place, &QUESTION.replace("hello", &sealed));
    assert_eq!(answer.head.status, 200);
    server.line("lethe: event request");
    server.line("lethe: event request");
    let process = server.child.id();
    assert!(occurrences(process, ALIAS.as_bytes()) > 0, "the search finds nothing at all");
    // The engine clears its last batch when it has been idle for a moment.
    let within = Instant::now() + Duration::from_secs(5);
    let left = || [MARK, SEALED_MARK].map(|mark| occurrences(process, mark.as_bytes()));
    while Instant::now() < within && left() != [0; 2] {
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(left(), [0; 2]);
}

/// One request on a connection that stays open: status and body.
fn kept(stream: &mut BufReader<UnixStream>, method: &str, path: &str, token: &str, body: &[u8]) -> (String, Vec<u8>) {
    kept_as(stream, method, path, token, ("application/json", body))
}

/// As [`kept`], with a body of any type.
fn kept_as(
    stream: &mut BufReader<UnixStream>,
    method: &str,
    path: &str,
    token: &str,
    (kind, body): (&str, &[u8]),
) -> (String, Vec<u8>) {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: {kind}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    // In one piece: a refusal does not wait for the rest of a body, and what is then missing ends the connection.
    stream.get_mut().write_all(&[head.as_bytes(), body].concat()).unwrap();
    let (mut status, mut length) = (String::new(), 0);
    stream.read_line(&mut status).unwrap();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().unwrap(),
            Some(_) => {}
            None => break,
        }
    }
    let mut answer = vec![0; length];
    stream.read_exact(&mut answer).unwrap();
    (status.split(' ').nth(1).unwrap_or_default().to_owned(), answer)
}

#[test]
fn an_operator_replaces_a_token_while_the_server_runs() {
    use protocol::hpke::{Kem, PublicKey, Random};
    use protocol::secrets::{Change, OperatorKey, seal};

    let (place, operator) = (Place::new(), OperatorKey::from_seed(&[7; 32]));
    place.write_document(&format!(
        "[secrets]\noperator_keys = [\"{}\"]\nrequired = true\n",
        hex::encode(operator.public())
    ));
    let by_token = fs::read_to_string(place.file("config.toml")).unwrap().replace("\"anyone\"", "\"token\"");
    fs::write(place.file("config.toml"), by_token).unwrap();
    let mut server = Server::start(place.serve(Path::new(MODEL), &[&place.listen_unix()]));
    server.line("lethe: ready port=unix");
    let (old, new) = (deployment::token::text(&[1; 32]), deployment::token::text(&[2; 32]));
    let mut stream = BufReader::new(UnixStream::connect(place.file("s")).unwrap());
    let mut ask = |token: &str| kept(&mut stream, "POST", "/v1/chat/completions", token, QUESTION.as_bytes()).0;
    assert_eq!(ask(&old), "503", "it waits for its secrets");

    let mut control = BufReader::new(UnixStream::connect(place.file("s")).unwrap());
    let report = kept(&mut control, "GET", "/v1/aci/attestation", "", b"").1;
    let report: serde_json::Value = serde_json::from_slice(&report).unwrap();
    let keys = report["attestation"]["workload_keyset"]["e2ee_public_keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["algo"] == "lethe.secrets.x25519").unwrap();
    let public = hex::decode(key["public_key"].as_str().unwrap()).unwrap();
    let public = PublicKey::from_bytes(Kem::X25519, &public).unwrap();
    let mut change = |counter, set: &[(&str, &str)], unset: &[&str]| {
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned().into())).collect();
        let change = Change { set, unset: unset.iter().map(|name| (*name).to_owned()).collect() };
        let mut random = Random(|bytes: &mut [u8]| getrandom::fill(bytes).unwrap());
        let kid = key["key_id"].as_str().unwrap();
        let message = seal(kid, &public, &change, counter, &operator, &mut random).unwrap();
        let (status, body) = kept(&mut control, "POST", "/v1/operator/secrets", "", &message);
        (status, String::from_utf8(body).unwrap())
    };
    assert_eq!(change(1, &[("TOKEN", &old)], &[]).0, "200");
    assert_eq!((ask(&old), ask(&new)), ("200".to_owned(), "401".to_owned()));
    assert_eq!(change(2, &[("TOKEN", &new)], &[]).0, "200");
    assert_eq!((ask(&old), ask(&new)), ("401".to_owned(), "200".to_owned()), "on the connection that stayed open");
    assert_eq!(change(2, &[("TOKEN", &old)], &[]).0, "409", "played again");
    let (status, names) = change(3, &[], &[]);
    assert_eq!((status.as_str(), names.contains(r#""names":["TOKEN"]"#)), ("200", true), "{names}");
    assert_eq!(change(4, &[], &["TOKEN"]).0, "200");
    assert_eq!(ask(&new), "503", "none is left");
    server.signal(Signal::SIGTERM);
    server.line("lethe: event ended");
    assert!(!server.seen.join("\n").contains("lth_"), "{:#?}", server.seen);
}
