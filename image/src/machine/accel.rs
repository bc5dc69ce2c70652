//! Which accelerator to use: `auto` boots the tiny guest once per kernel and processor, and remembers the answer.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::Error;
use super::description::Accel;
use super::process::{self, Bound};
use super::record::now_unix_s;
use super::store::user_directory;
use super::tiny_guest;

/// A working processor ends the tiny guest in a fraction of a second.
const LIMIT: Duration = Duration::from_secs(3);

/// What the command line asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Choice {
    /// KVM where a guest really runs in it, else emulation.
    Auto,
    /// KVM.
    Kvm,
    /// Emulation.
    Tcg,
}

/// What was chosen, and for `auto` why it is emulation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// The accelerator.
    pub accel: Accel,
    /// Why not KVM, where KVM would have been preferred.
    pub fallback: Option<String>,
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The guest ran to its end in this time.
    Works(Duration),
    /// It did not.
    Fails(String),
}

/// The answers of earlier probes, a small JSON file.
#[derive(Debug, Clone)]
pub struct Cache {
    file: Option<PathBuf>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Answers {
    answers: Vec<Answer>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Answer {
    kernel: String,
    processor: String,
    works: bool,
    why: String,
    probed_unix_s: u64,
}

/// Answers that are kept; older ones go first.
const KEPT: usize = 32;

/// Decides on an accelerator; `probe` is asked only if the cache has no answer for this kernel and processor.
///
/// # Errors
/// [`Error::NoKvm`] if KVM is demanded and its device does not open.
pub fn choose(choice: Choice, cache: &Cache, probe: impl FnOnce() -> Finding) -> Result<Chosen, Error> {
    let works = Chosen { accel: Accel::Kvm, fallback: None };
    match choice {
        Choice::Tcg => Ok(Chosen { accel: Accel::Tcg, fallback: None }),
        Choice::Kvm => device().map(|()| works).map_err(|why| Error::NoKvm { why }),
        Choice::Auto => {
            let finding = match device() {
                // Not remembered: a permission or a module can change at any time.
                Err(why) => Finding::Fails(why),
                Ok(()) => cache.answer(&kernel(), &processor(), probe),
            };
            Ok(match finding {
                Finding::Works(_) => works,
                Finding::Fails(why) => Chosen { accel: Accel::Tcg, fallback: Some(why) },
            })
        }
    }
}

/// Boots the tiny guest under `accel` and waits for its end, a few seconds at most.
#[must_use]
pub fn probe(helper: &Path, qemu: &Path, accel: Accel) -> Finding {
    probe_with(helper, qemu, accel, &tiny_guest::counting())
}

/// As [`probe`], with another guest; see [`tiny_guest::rom`].
#[must_use]
pub fn probe_with(helper: &Path, qemu: &Path, accel: Accel, rom: &[u8]) -> Finding {
    run_guest(helper, qemu, accel, rom).unwrap_or_else(|error| Finding::Fails(error.to_string()))
}

fn run_guest(helper: &Path, qemu: &Path, accel: Accel, guest: &[u8]) -> Result<Finding, Error> {
    let directory = tempfile::tempdir().map_err(Error::file("create", std::env::temp_dir()))?;
    let rom = directory.path().join("guest.rom");
    fs::write(&rom, guest).map_err(Error::file("write", &rom))?;
    let cpu = if accel == Accel::Kvm { "host" } else { "max" };
    let exit_device = format!("isa-debug-exit,iobase={:#x},iosize=1", tiny_guest::EXIT_PORT);
    let arguments = [
        ["-machine", "q35,usb=off,sata=off"],
        ["-accel", accel.as_str()],
        ["-cpu", cpu],
        ["-display", "none"],
        ["-m", "16"],
        ["-bios", "guest.rom"],
        ["-device", &exit_device],
    ];
    let arguments: Vec<_> =
        ["-nodefaults", "-no-user-config"].iter().chain(arguments.iter().flatten()).map(Into::into).collect();
    let start = Instant::now();
    let mut guest = process::spawn(helper, qemu, &arguments, directory.path(), [Stdio::null(), Stdio::null()])?;
    Ok(judge(&mut guest, start))
}

fn judge(guest: &mut Bound, start: Instant) -> Finding {
    match guest.wait_for(LIMIT) {
        Ok(Some(status)) if status.code() == Some(tiny_guest::EXIT_STATUS) => Finding::Works(start.elapsed()),
        Ok(Some(status)) => Finding::Fails(format!("QEMU could not run a guest in it ({status})")),
        Ok(None) => {
            guest.end(Duration::ZERO);
            Finding::Fails(format!("a tiny guest did not get to its end in {} s", LIMIT.as_secs()))
        }
        Err(error) => Finding::Fails(error.to_string()),
    }
}

/// Whether the device opens; the reason if not.
fn device() -> Result<(), String> {
    let opened = OpenOptions::new().read(true).write(true).open("/dev/kvm");
    opened.map(drop).map_err(|error| format!("/dev/kvm does not open: {error}"))
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// Model and stepping of the first processor.
fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |key: &str| {
        let line = info.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == key));
        line.and_then(|line| line.split(':').nth(1)).unwrap_or_default().trim().to_owned()
    };
    format!(
        "{} family {} model {} stepping {}",
        field("model name"),
        field("cpu family"),
        field("model"),
        field("stepping")
    )
}

impl Cache {
    /// The cache of this user: `$XDG_CACHE_HOME/lethe/accel.json`, or below `~/.cache`.
    #[must_use]
    pub fn of_user() -> Self {
        Self { file: user_directory("XDG_CACHE_HOME", ".cache").map(|root| root.join("lethe/accel.json")) }
    }

    /// A cache in this file.
    #[must_use]
    pub fn at(file: PathBuf) -> Self {
        Self { file: Some(file) }
    }

    /// The remembered answer, or that of `probe`, which is then remembered. A cache that cannot be used is no failure.
    fn answer(&self, kernel: &str, processor: &str, probe: impl FnOnce() -> Finding) -> Finding {
        let mut known = self.read();
        if let Some(answer) = known.answers.iter().find(|a| a.kernel == kernel && a.processor == processor) {
            return if answer.works { Finding::Works(Duration::ZERO) } else { Finding::Fails(answer.why.clone()) };
        }
        let finding = probe();
        let why = match &finding {
            Finding::Works(_) => String::new(),
            Finding::Fails(why) => why.clone(),
        };
        known.answers.push(Answer {
            kernel: kernel.to_owned(),
            processor: processor.to_owned(),
            works: matches!(finding, Finding::Works(_)),
            why,
            probed_unix_s: now_unix_s(),
        });
        let surplus = known.answers.len().saturating_sub(KEPT);
        known.answers.drain(..surplus);
        self.write(&known);
        finding
    }

    fn read(&self) -> Answers {
        let file = self.file.as_ref().and_then(|path| File::open(path).ok());
        file.and_then(|file| serde_json::from_reader(file).ok()).unwrap_or_default()
    }

    fn write(&self, answers: &Answers) {
        let write = |path: &Path| -> std::io::Result<()> {
            let directory = path.parent().unwrap_or(path);
            fs::create_dir_all(directory)?;
            let mut file = tempfile::NamedTempFile::new_in(directory)?;
            file.write_all(&serde_json::to_vec_pretty(answers)?)?;
            file.persist(path)?;
            Ok(())
        };
        if let Some(path) = &self.file {
            // Without a cache the next boot probes again, which costs seconds and nothing else.
            let _ = write(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails() -> Finding {
        Finding::Fails("a guest hung".to_owned())
    }

    #[test]
    fn an_answer_is_remembered_for_its_kernel_and_processor() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path().join("below/accel.json"));
        assert_eq!(cache.answer("6.1", "A", fails), fails());
        assert_eq!(cache.answer("6.1", "A", || panic!("asked again")), fails());
        assert_eq!(cache.answer("6.2", "A", || Finding::Works(LIMIT)), Finding::Works(LIMIT));
        assert_eq!(cache.answer("6.1", "B", || Finding::Works(LIMIT)), Finding::Works(LIMIT));
        assert!(matches!(cache.answer("6.2", "A", || panic!("asked again")), Finding::Works(_)));
    }

    #[test]
    fn a_damaged_cache_is_asked_anew_and_mended() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("accel.json");
        fs::write(&file, "{\"answers\": 7").unwrap();
        let cache = Cache::at(file);
        assert_eq!(cache.answer("6.1", "A", fails), fails());
        assert_eq!(cache.answer("6.1", "A", || panic!("asked again")), fails());
    }

    #[test]
    fn a_cache_that_cannot_be_written_still_answers() {
        let cache = Cache::at("/proc/nowhere/accel.json".into());
        assert_eq!(cache.answer("6.1", "A", fails), fails());
        assert_eq!(Cache { file: None }.answer("6.1", "A", fails), fails());
    }

    #[test]
    fn the_cache_stays_small() {
        let directory = tempfile::tempdir().unwrap();
        let cache = Cache::at(directory.path().join("accel.json"));
        for number in 0..KEPT + 5 {
            cache.answer(&number.to_string(), "A", fails);
        }
        assert_eq!(cache.read().answers.len(), KEPT);
        assert_eq!(cache.read().answers.last().unwrap().kernel, (KEPT + 4).to_string());
    }

    #[test]
    fn emulation_is_taken_without_a_probe_when_asked_for() {
        let cache = Cache { file: None };
        let chosen = choose(Choice::Tcg, &cache, || panic!("probed")).unwrap();
        assert_eq!(chosen, Chosen { accel: Accel::Tcg, fallback: None });
    }

    #[test]
    fn this_computer_has_a_kernel_and_a_processor() {
        assert!(!kernel().is_empty());
        assert!(processor().contains("family"));
    }
}
