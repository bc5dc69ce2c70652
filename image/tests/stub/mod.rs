//! A place to boot stub guests in: ROMs that print what they are told and then halt or reset.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lethe_image::machine::record::Record;
use lethe_image::machine::tiny_guest;
use sha2::{Digest as _, Sha256};

/// The program under test.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_lethe-image");
/// What a guest prints when it is ready.
pub const READY: &str = "lethe: stage console ms=1\n\
    lethe: spki sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n\
    lethe: ready port=8443 ms=2\n";

/// What a stub guest does after it has printed its text.
#[derive(Clone, Copy)]
pub enum Then {
    Halt,
    Reset,
}

/// State, cache and inputs of one test, in a directory of its own.
pub struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// A place whose firmware is a stub guest.
    pub fn with_guest(says: &str, then: Then) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        let model = b"weights";
        std::fs::write(place.path("model.gguf"), model).unwrap();
        let digest = hex::encode(Sha256::digest(model));
        let document = format!(
            "version = 1\n[model]\nname = \"stub\"\nsha256 = \"{digest}\"\nsize_bytes = {}\n[clients]\naccess = \"anyone\"\n",
            model.len()
        );
        std::fs::write(place.path("config.toml"), document).unwrap();
        // QEMU looks for a kernel header and finds an old one; the stub firmware never asks for it.
        let mut image = vec![0; 64 * 1024];
        image[..2].copy_from_slice(b"MZ");
        std::fs::write(place.path("lethe.efi"), image).unwrap();
        std::fs::write(place.path("stub.rom"), guest(says, then)).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// `lethe-image` with this place as its home.
    pub fn program(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .stdin(Stdio::null());
        command
    }

    /// `lethe-image boot` of the stub guest.
    pub fn boot(&self, extra: &[&str]) -> Command {
        let mut command = self.program(&["boot", "--accel", "tcg", "--cpus", "1", "--memory", "64M"]);
        for (option, file) in [
            ("--model", "model.gguf"),
            ("--config", "config.toml"),
            ("--image", "lethe.efi"),
            ("--firmware", "stub.rom"),
        ] {
            command.arg(option).arg(self.path(file));
        }
        command.args(extra).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a command that succeeds; its stdout.
    pub fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.program(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// All machines, as `list --json` shows them.
    pub fn machines(&self) -> Vec<Record> {
        serde_json::from_str(&self.succeed(&["list", "--json"])).unwrap()
    }

    /// Waits until the first machine satisfies a condition.
    pub fn wait_for_machine(&self, what: &str, condition: impl Fn(&Record) -> bool) -> Record {
        let start = Instant::now();
        loop {
            if let Some(record) = self.machines().into_iter().find(&condition) {
                return record;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "no machine became {what}: {:?}", self.machines());
            sleep(Duration::from_millis(20));
        }
    }
}

/// A ROM that prints a text on the first serial port.
fn guest(says: &str, then: Then) -> Vec<u8> {
    let mut code = vec![
        0xfa, // cli
        0xfc, // cld
        0xbe, 0x00, 0x01, // mov $0x100, %si     the text stands behind the code
        0xba, 0xf8, 0x03, // mov $0x3f8, %dx
        0x2e, 0xac, // cs lodsb
        0x84, 0xc0, // test %al, %al
        0x74, 0x03, // jz +3
        0xee, // out %al, (%dx)
        0xeb, 0xf7, // jmp -9
    ];
    if matches!(then, Then::Reset) {
        code.extend([0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee]); // mov $0xcf9, %dx; mov $6, %al; out %al, (%dx)
    }
    code.extend([0xf4, 0xeb, 0xfd]); // hlt; jmp -3
    code.resize(0x100, 0);
    code.extend(says.replace('\n', "\r\n").bytes());
    code.push(0);
    tiny_guest::rom(&code)
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Sends a signal by name to a process.
pub fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap().success());
}

/// Ends a command with a signal and collects its output.
pub fn end(child: Child, name: &str) -> Output {
    signal(child.id(), name);
    child.wait_with_output().unwrap()
}

/// Processes whose working directory or arguments lie in a place: nothing else can belong to its machines.
pub fn processes_of(place: &Place) -> Vec<String> {
    let directory = place.directory.path().to_str().unwrap().to_owned();
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        if !entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        let cwd = std::fs::read_link(entry.path().join("cwd")).unwrap_or_default();
        let arguments = text(&std::fs::read(entry.path().join("cmdline")).unwrap_or_default());
        if cwd.starts_with(&directory) || arguments.contains(&directory) {
            found.push(format!("{} {}", entry.file_name().to_string_lossy(), arguments.replace('\0', " ")));
        }
    }
    found
}

/// Waits until nothing of a place runs.
pub fn nothing_is_left(place: &Place) {
    let start = Instant::now();
    while !processes_of(place).is_empty() {
        assert!(start.elapsed() < Duration::from_secs(10), "still running: {:#?}", processes_of(place));
        sleep(Duration::from_millis(20));
    }
}

/// Whether a path exists below a directory.
pub fn is_empty(directory: &Path) -> bool {
    std::fs::read_dir(directory).map_or(true, |mut entries| entries.next().is_none())
}
