//! A running server.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deployment::{Access, Clients, Document, Keys, Limits, Receipts, Secrets, Token, Wires, token};
use lethe_appliance::api::{Event, EventSink, Listener, Parts, Render, RenderFailure, State, serve};
use lethe_appliance::identity::{Ground, Identity, Origin};
use serde_json::Value;
use tee::{Binding, NoTee, Tee};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::engine::{Engine, Script};

/// The model's name; a slash is part of it.
pub const MODEL: &str = "Org/Model-1.5";
pub const ALIAS: &str = "small";

/// A text that must never show up anywhere but in prompts and answers.
pub const MARK: &str = "MARK-OF-A-PROMPT";

/// Events in memory.
#[derive(Default)]
pub struct Kept(Mutex<Vec<Event>>);

impl Kept {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(Event::to_string).collect()
    }

    /// Waits for a line with all of `parts`.
    pub async fn line(&self, parts: &[&str]) -> String {
        for _ in 0..200 {
            if let Some(line) = self.lines().into_iter().find(|line| parts.iter().all(|part| line.contains(part))) {
                return line;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no event with {parts:?} in {:?}", self.lines());
    }
}

impl EventSink for Kept {
    fn event(&self, event: Event) {
        self.0.lock().unwrap().push(event);
    }
}

/// A template that writes the messages as JSON, and refuses a conversation that begins with the assistant.
struct Plain;

impl Render for Plain {
    fn render(&self, messages: &Value) -> Result<Zeroizing<String>, RenderFailure> {
        match messages[0]["role"].as_str() {
            Some("assistant") => Err(RenderFailure::Refused { words: Some("begin with a question".to_owned()) }),
            _ => Ok(Zeroizing::new(messages.to_string())),
        }
    }
}

/// What a test may want otherwise.
pub struct Setup {
    pub script: Script,
    pub limits: Limits,
    pub tokens: Vec<String>,
    pub clients: Option<Clients>,
    pub template: bool,
    /// The chat template's source, as the engine gives it.
    pub source: Option<&'static str>,
    pub keys: Keys,
    pub receipts: Receipts,
    pub wires: Wires,
    pub secrets: Secrets,
    pub machine: Option<Arc<dyn Tee>>,
    pub sealed: Option<Vec<u8>>,
    pub names: Vec<String>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            script: Script::Say(vec!["Hel", "lo"], lethe_appliance::inference::Finish::Stop),
            limits: Limits::default(),
            tokens: Vec::new(),
            clients: None,
            template: true,
            source: None,
            keys: Keys::default(),
            receipts: Receipts::default(),
            wires: Wires::default(),
            secrets: Secrets::default(),
            machine: None,
            sealed: None,
            names: Vec::new(),
        }
    }
}

pub struct Server {
    pub address: SocketAddr,
    pub unix: PathBuf,
    pub identity: Arc<Identity>,
    pub state: Arc<State>,
    pub engine: Arc<Engine>,
    pub events: Arc<Kept>,
    stop: Option<oneshot::Sender<()>>,
    pub served: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub fn say(pieces: &[&'static str]) -> Self {
        let script = Script::Say(pieces.to_vec(), lethe_appliance::inference::Finish::Stop);
        Self::start(Setup { script, ..Setup::default() })
    }

    pub fn script(script: Script) -> Self {
        Self::start(Setup { script, ..Setup::default() })
    }

    pub fn limits(script: Script, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        Self::start(Setup { script, limits, ..Setup::default() })
    }

    pub fn start(setup: Setup) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let document = Arc::new(document(&setup));
        let origin = Origin { host_mode: true, insecure_host: false, document_sha256: [5; 32] };
        let machine = setup.machine.clone().unwrap_or_else(|| Arc::new(NoTee));
        let ground = Ground { machine, binding: Binding::None, document: Vec::new(), endorsements: None };
        let identity = Arc::new(Identity::on(&document, origin, ground).expect("identity"));
        let engine = Engine::new(setup.script.clone(), setup.source);
        let events = Arc::new(Kept::default());
        let template: Option<Arc<dyn Render>> = if setup.template { Some(Arc::new(Plain)) } else { None };
        let state = State::new(Parts {
            document,
            identity: Arc::clone(&identity),
            submit: Arc::clone(&engine) as _,
            template,
            events: Arc::clone(&events) as _,
            sealed: setup.sealed.clone(),
        });
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
        let address = tcp.local_addr().expect("address");
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let unix = std::env::temp_dir().join(format!("lethe-api-{}-{number}.sock", std::process::id()));
        let _ = fs::remove_file(&unix);
        let socket = std::os::unix::net::UnixListener::bind(&unix).expect("socket");
        let listeners = vec![Listener::Tls(tcp, identity.tls().server_config().expect("TLS")), Listener::Unix(socket)];
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(serve(listeners, Arc::clone(&state), async {
            let _ = stopped.await;
        }));
        Self { address, unix, identity, state, engine, events, stop: Some(stop), served }
    }

    /// Tells the server to stop.
    pub fn stop(&mut self) {
        let _ = self.stop.take().expect("not stopped").send(());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.unix);
        self.served.abort();
    }
}

fn document(setup: &Setup) -> Document {
    let text = format!(
        "version = 1\n[model]\nname = \"{MODEL}\"\naliases = [\"{ALIAS}\"]\nsha256 = \"{}\"\nsize_bytes = 1\n\
         [clients]\naccess = \"anyone\"\n",
        "ab".repeat(32)
    );
    let mut document = deployment::parse(text.as_bytes()).expect("document");
    document.limits = setup.limits.clone();
    document.keys = setup.keys.clone();
    document.receipts = setup.receipts.clone();
    document.wires = setup.wires.clone();
    document.secrets = setup.secrets.clone();
    document.listen.names = setup.names.clone();
    if !setup.tokens.is_empty() {
        let entry = |text: &String| Token { name: "t".to_owned(), sha256: token::digest(text).expect("token") };
        document.clients = Clients { tokens: setup.tokens.iter().map(entry).collect(), ..Clients::of(Access::Token) };
    }
    if let Some(clients) = &setup.clients {
        document.clients = clients.clone();
    }
    document
}
