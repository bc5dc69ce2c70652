//! A virtual machine under test, started straight from its QEMU command line.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use lethe_image::machine::arguments::arguments;
use lethe_image::machine::description::{Accel, Attack, Bus, Firmware, Load, Machine, Network, Tee};
use lethe_image::machine::name::Name;
use tempfile::TempDir;

/// How long an emulated machine may go on without a sign of progress. On a busy computer it is slow, but it moves.
pub const LIMIT: Duration = Duration::from_secs(120);
/// How long it may take in all.
const WHOLE: Duration = Duration::from_secs(600);
/// What QEMU itself says.
const LOG: &str = "qemu.log";

/// A plan of a machine, to be changed before it starts.
pub struct Plan {
    /// The machine as `lethe-image` would describe it.
    pub machine: Machine,
    /// The model's disk is an NVMe one in the place of virtio-blk.
    pub nvme_model: bool,
    /// UDP ports that carry raw frames (ours, QEMU's) in the place of the forwarded port.
    pub wire: Option<(u16, u16)>,
    /// What else QEMU is told.
    pub extra: Vec<OsString>,
    directory: TempDir,
}

/// A running machine.
pub struct Guest {
    process: Child,
    console: Arc<Mutex<Vec<u8>>>,
    /// Port on 127.0.0.1 that reaches the server.
    pub port: u16,
    directory: TempDir,
}

/// A wait that lasts as long as the console moves.
struct Patience {
    start: Instant,
    moved: Instant,
    length: usize,
}

impl Patience {
    fn new() -> Self {
        let now = Instant::now();
        Self { start: now, moved: now, length: 0 }
    }

    /// Whether to go on waiting when the console has this many bytes; sleeps a little then.
    fn lasts(&mut self, length: usize) -> bool {
        if length != self.length {
            (self.moved, self.length) = (Instant::now(), length);
        }
        thread::sleep(Duration::from_millis(20));
        self.moved.elapsed() < LIMIT && self.start.elapsed() < WHOLE
    }
}

impl Plan {
    /// The image as QEMU's `-kernel`, with a document given through fw_cfg.
    ///
    /// # Panics
    /// When a file of the machine cannot be written.
    #[must_use]
    pub fn new(image: &Path, model: &Path, document: Option<&[u8]>) -> Self {
        let directory = TempDir::new().expect("a directory for the machine");
        let document = document.map(|bytes| {
            let path = directory.path().join("lethe.toml");
            fs::write(&path, bytes).expect("the document is written");
            path
        });
        let machine = Machine {
            name: "test".parse::<Name>().expect("a name"),
            accel: Accel::Tcg,
            cpus: 2,
            memory_mib: 1024,
            firmware: Firmware::None,
            load: Load::Kernel(image.to_path_buf()),
            tee: Tee::None,
            launch: None,
            model: model.to_path_buf(),
            document,
            endorsements: None,
            sealed: None,
            network: Network { host_port: free_port(), guest_port: 8443, fixed: None },
            attack: Attack::default(),
        };
        Self { machine, nvme_model: false, wire: None, extra: Vec::new(), directory }
    }

    /// Puts a file of these bytes into the machine's directory.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.directory.path().join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).expect("its directory is made");
        }
        fs::write(&path, bytes).expect("the file is written");
        path
    }

    /// Boots through OVMF instead of QEMU's own loader; the image stays as `-kernel`.
    ///
    /// # Panics
    /// When OVMF is not installed.
    pub fn ovmf(&mut self) -> &mut Self {
        let vars = fs::read("/usr/share/OVMF/OVMF_VARS_4M.fd").expect("the package ovmf is installed");
        let vars = self.file("vars.fd", &vars);
        self.machine.firmware = Firmware::Ovmf { code: "/usr/share/OVMF/OVMF_CODE_4M.fd".into(), vars };
        self
    }

    /// Boots from an EFI system partition with these files, not with `-kernel`.
    pub fn esp(&mut self, files: &[(&str, &[u8])]) -> &mut Self {
        for (name, bytes) in files {
            self.file(&format!("esp/{name}"), bytes);
        }
        self.machine.load = Load::Esp(self.directory.path().join("esp"));
        self
    }

    /// Boots from a raw disk of these bytes and with no other document, not with `-kernel`.
    pub fn disk(&mut self, disk: &[u8], bus: Bus) -> &mut Self {
        self.machine.load = Load::Disk { file: self.file("disk.raw", disk), bus };
        self.machine.document = None;
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When QEMU is not installed.
    #[must_use]
    pub fn start(mut self) -> Guest {
        // As late as can be: files were written since the plan was made, and a port is not kept.
        self.machine.network.host_port = free_port();
        let mut list = arguments(&self.machine);
        if let Some((ours, theirs)) = self.wire {
            carry_frames(&mut list, ours, theirs);
        }
        if self.nvme_model {
            let model = list.iter_mut().find(|option| option.to_string_lossy().ends_with("serial=lethe-model"));
            *model.expect("the model has a disk") = "nvme,drive=model,serial=lethe-model".into();
        }
        list.extend(self.extra);
        let log = File::create(self.directory.path().join(LOG)).expect("a log for QEMU");
        let mut process = Command::new("qemu-system-x86_64")
            .args(&list)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("qemu-system-x86_64 starts");
        let console = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&console);
        let mut pipe = process.stdout.take().expect("the console is a pipe");
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                sink.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&buffer[..count]);
            }
        });
        Guest { process, console, port: self.machine.network.host_port, directory: self.directory }
    }
}

impl Guest {
    /// Everything the console has shown.
    #[must_use]
    pub fn console(&self) -> String {
        String::from_utf8_lossy(&self.console.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Waits for a console line that contains `text`, and gives the line back.
    ///
    /// # Panics
    /// With QEMU's log and the whole console, when the machine ends before, or nothing moves for [`LIMIT`].
    pub fn line(&mut self, text: &str) -> String {
        let mut patience = Patience::new();
        loop {
            let ended = self.ended();
            if ended.is_some() {
                thread::sleep(Duration::from_millis(100)); // the reader drains the pipe
            }
            let console = self.console();
            if let Some(line) = console.lines().find(|line| line.contains(text)) {
                return line.trim().to_owned();
            }
            if let Some(status) = ended {
                panic!("the machine ended ({status}) before it said {text:?}\n{}", self.remains());
            }
            assert!(patience.lasts(console.len()), "no line {text:?} after {}", self.waited(&patience));
        }
    }

    /// Waits until the machine has switched itself off, and gives the whole console back.
    ///
    /// # Panics
    /// With QEMU's log and the whole console, when nothing moves for [`LIMIT`], or QEMU failed.
    pub fn off(&mut self) -> String {
        let mut patience = Patience::new();
        loop {
            if let Some(status) = self.ended() {
                thread::sleep(Duration::from_millis(100)); // the reader drains the pipe
                assert!(status.success(), "QEMU failed ({status})\n{}", self.remains());
                return self.console();
            }
            let length = self.console().len();
            assert!(patience.lasts(length), "still running after {}", self.waited(&patience));
        }
    }

    fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    fn waited(&self, patience: &Patience) -> String {
        let (all, still) = (patience.start.elapsed().as_secs(), patience.moved.elapsed().as_secs());
        format!("{all} s, the last {still} s without a new byte\n{}", self.remains())
    }

    /// Everything that can explain a machine that did not do what it should.
    fn remains(&self) -> String {
        let log = fs::read_to_string(self.directory.path().join(LOG)).unwrap_or_else(|error| error.to_string());
        format!("--- QEMU's log\n{log}\n--- console\n{}\n---", self.console())
    }

    /// Whether the machine still runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A TCP port on 127.0.0.1 that nobody uses now.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a free port").port()
}

/// Two UDP sockets' worth of ports for a wire: ours, bound, and the number of QEMU's.
///
/// # Errors
/// When no port is free.
pub fn wire_ports() -> io::Result<(UdpSocket, u16)> {
    let ours = UdpSocket::bind("127.0.0.1:0")?;
    let theirs = UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port();
    Ok((ours, theirs))
}

/// Replaces the user network with raw frames over UDP.
fn carry_frames(list: &mut [OsString], ours: u16, theirs: u16) {
    let Some(place) = list.iter().position(|option| option == "-netdev") else { panic!("no -netdev in {list:?}") };
    if let Some(value) = list.get_mut(place + 1) {
        *value = format!("socket,id=net,udp=127.0.0.1:{ours},localaddr=127.0.0.1:{theirs}").into();
    }
}
