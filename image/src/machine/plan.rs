//! From the arguments of `boot` to a machine that is ready to be started.

use std::path::{Path, PathBuf};
use std::time::Duration;

use deployment::{Document, ENDORSEMENTS_MAX_BYTES, SEALED_MAX_BYTES};

use super::accel;
use super::boot::{Args, FirmwareChoice, LoadChoice};
use super::description::{Accel, Attack, Firmware, Load, Machine, Tee};
use super::inputs::{self, MemoryMib};
use super::name::Name;
use super::process::this_program;
use super::record::{Record, State, now_unix_s};
use super::store::{Claim, Store};
use super::supervise::Job;
use super::{Error, arguments, disks, tee, tools};
use crate::host_check::Facts;
use crate::progress::Progress;

/// Inputs that were checked, before anything is written.
pub(super) struct Plan {
    image: PathBuf,
    image_sha256: String,
    model: PathBuf,
    model_bytes: u64,
    document: Option<Given>,
    firmware: FirmwareChoice,
    ovmf: Option<(PathBuf, PathBuf)>,
    qemu: PathBuf,
    tpm: Option<(PathBuf, PathBuf)>,
    accel: Accel,
    tee: Tee,
}

impl Plan {
    pub(super) fn make(args: &Args, progress: &Progress) -> Result<Self, Error> {
        let qemu = tools::qemu()?;
        let tee = args.tee.resolve(could_be_confidential(args), Facts::gather);
        if args.tee == tee::Choice::Auto {
            progress.status("Choosing", format!("--tee {} (see lethe-image host-check)", tee.as_str()));
        }
        let firmware = firmware(args, tee)?;
        let ovmf = if firmware == FirmwareChoice::Ovmf { Some(tools::ovmf()?) } else { None };
        let tpm = if tee == Tee::Tpm2 { Some(tools::swtpm()?) } else { None };
        let (image, image_sha256) = image(args, progress)?;
        let model = inputs::existing_file("the model", "--model", &args.model)?;
        let model_bytes = model.metadata().map_err(Error::file("read the model", &model))?.len();
        let document = document(args)?;
        if let Some(Given { parsed: Some(document), .. }) = &document
            && !args.no_check
        {
            inputs::check_model(&model, document, progress)?;
        }
        let accel = accelerator(args, tee, &qemu, progress)?;
        Ok(Self { image, image_sha256, model, model_bytes, document, firmware, ovmf, qemu, tpm, accel, tee })
    }

    fn parsed(&self) -> Option<&Document> {
        self.document.as_ref().and_then(|given| given.parsed.as_ref())
    }

    /// Emulated processors have no matrix instructions, so nothing is laid out anew for them.
    fn memory_mib(&self) -> u64 {
        // Devices reach a confidential machine through bounce buffers of its own.
        let bounce_mib = if self.tee.is_confidential() { 128 } else { 0 };
        inputs::memory_for(&self.model, self.model_bytes, self.parsed(), self.accel != Accel::Tcg) + bounce_mib
    }

    /// The machine, its paths relative to its directory where its files lie there.
    fn machine(&self, args: &Args, name: Name) -> Result<Machine, Error> {
        let firmware = match (&self.firmware, &self.ovmf) {
            (FirmwareChoice::Path(path), _) => {
                Firmware::Path(inputs::existing_file("the firmware", "--firmware", path)?)
            }
            (_, Some((code, _))) => Firmware::Ovmf { code: code.clone(), vars: disks::OVMF_VARS.into() },
            _ => Firmware::None,
        };
        let load = match (args.load, &args.esp, &firmware) {
            _ if args.disk.is_some() => Load::Disk { file: self.image.clone(), bus: args.disk_bus },
            (_, Some(esp), _) => Load::Esp(esp.canonicalize().map_err(Error::file("read", esp))?),
            // Trust domains measure what their firmware loads; through `-kernel` it would be the image as QEMU patched it.
            (None, None, _) if self.tee == Tee::Tdx => Load::Esp(disks::ESP.into()),
            (Some(LoadChoice::Esp), None, _) | (None, None, Firmware::Ovmf { .. }) => Load::Esp(disks::ESP.into()),
            _ => Load::Kernel(self.image.clone()),
        };
        let initrd = match &args.initrd {
            Some(path) => Some(inputs::existing_file("the initrd", "--initrd", path)?),
            None => None,
        };
        let network = inputs::network(self.parsed(), args.port)?;
        let memory = args.memory.map(|MemoryMib(mib)| mib);
        let launch = tee::launch(self.tee, &load, args, self.document.as_ref().map(|given| given.bytes.as_slice()))?;
        Ok(Machine {
            name,
            accel: self.accel,
            cpus: args.cpus.unwrap_or_else(processors),
            memory_mib: memory.unwrap_or_else(|| self.memory_mib()),
            firmware,
            load,
            tee: self.tee,
            launch,
            model: self.model.clone(),
            document: self.document.as_ref().filter(|given| !given.on_disk).map(|_| disks::DOCUMENT.into()),
            endorsements: handed(
                "the endorsements",
                "--endorsements",
                args.endorsements.as_deref(),
                ENDORSEMENTS_MAX_BYTES,
            )?,
            sealed: handed("the sealed secrets", "--sealed", args.sealed.as_deref(), SEALED_MAX_BYTES)?,
            network,
            attack: Attack { initrd, cmdline: args.cmdline.clone() },
        })
    }

    /// Takes the machine's directory and fills it.
    pub(super) fn into_job(self, args: &Args, progress: &Progress) -> Result<Job, Error> {
        let store = Store::of_user()?;
        store.sweep();
        let (name, claim) = match &args.name {
            Some(name) => (name.clone(), store.claim(name)?),
            None => store.claim_any()?,
        };
        let machine = self.machine(args, name)?;
        self.fill(&claim, &machine)?;
        let how = format!(
            "{} {}, {} CPU, {} MiB",
            machine.accel.as_str(),
            machine.firmware.as_str(),
            machine.cpus,
            machine.memory_mib
        );
        progress.status("Booting", format!("{} ({how})", machine.name));
        Ok(Job {
            record: self.record(args, &machine),
            machine,
            claim,
            ready_timeout: Duration::from_secs(args.ready_timeout.unwrap_or(120 + self.model_bytes / 10_000_000)),
            qemu: self.qemu,
            tpm: self.tpm,
            detached: args.supervised,
            json: args.json,
        })
    }

    /// QEMU and its arguments, one a line.
    pub(super) fn command(&self, args: &Args) -> Result<String, Error> {
        let name = match &args.name {
            Some(name) => name.clone(),
            None => "lethe-1".parse().map_err(|_| Error::NoHome)?,
        };
        let mut text = format!("{}\n", self.qemu.display());
        for argument in arguments::arguments(&self.machine(args, name)?) {
            text.push_str(&format!("  {}\n", argument.to_string_lossy()));
        }
        Ok(text)
    }

    fn fill(&self, claim: &Claim, machine: &Machine) -> Result<(), Error> {
        let directory = claim.directory();
        disks::clear_run_files(directory)?;
        if let Some(given) = self.document.as_ref().filter(|given| !given.on_disk) {
            disks::write_document(directory, &given.bytes)?;
        }
        if let Some((_, vars)) = &self.ovmf {
            disks::make_vars(directory, vars)?;
        }
        if machine.load == Load::Esp(disks::ESP.into()) {
            disks::make_esp(directory, &self.image)?;
        }
        Ok(())
    }

    fn record(&self, args: &Args, machine: &Machine) -> Record {
        let port = machine.network.host_port;
        Record {
            name: machine.name.clone(),
            state: State::Starting,
            started_unix_s: now_unix_s(),
            ephemeral: args.name.is_none() && !args.supervised,
            url: format!("https://127.0.0.1:{port}"),
            port,
            spki: None,
            ak: None,
            ready_ms: None,
            refused: None,
            image: self.image.clone(),
            image_sha256: self.image_sha256.clone(),
            model: self.model.clone(),
            document_sha256: self.document.as_ref().map(Given::sha256),
            firmware: machine.firmware.as_str().to_owned(),
            tee: machine.tee,
            accel: machine.accel,
            cpus: machine.cpus,
            memory_mib: machine.memory_mib,
            command: Vec::new(),
            supervisor: None,
            qemu: None,
        }
    }
}

/// KVM, where the processor has to keep the host out; else what works here.
fn accelerator(args: &Args, tee: Tee, qemu: &Path, progress: &Progress) -> Result<Accel, Error> {
    if tee.is_confidential() {
        return match args.accel {
            accel::Choice::Tcg => Err(Error::Input {
                what: format!("nothing emulates {}", tee.as_str()),
                help: "leave --accel out, on a host for which `lethe-image host-check` finds nothing missing"
                    .to_owned(),
            }),
            _ => Ok(Accel::Kvm),
        };
    }
    let cache = accel::Cache::of_user();
    let chosen = accel::choose(args.accel, &cache, || {
        progress.status("Probing", "whether KVM runs guests on this computer (once per kernel)");
        accel::probe(this_program(), qemu, Accel::Kvm)
    })?;
    if let Some(why) = chosen.fallback {
        progress.warning(format!("KVM is not used ({why}); the machine is emulated, which is slow"));
    }
    Ok(chosen.accel)
}

/// The image or the disk that is booted, and its SHA-256.
fn image(args: &Args, progress: &Progress) -> Result<(PathBuf, String), Error> {
    if let Some(disk) = &args.disk {
        let disk = inputs::existing_file("the disk", "--disk", disk)?;
        let sha256 = inputs::digest_disk(&disk, progress)?;
        return Ok((disk, sha256));
    }
    let image = inputs::existing_file("the image", "--image", &args.image).map_err(|error| no_image(args, error))?;
    let sha256 = inputs::digest_image(&image)?;
    Ok((image, sha256))
}

/// Whether the command line leaves room for a machine that keeps its host out.
fn could_be_confidential(args: &Args) -> bool {
    matches!(args.firmware, Some(FirmwareChoice::Path(_))) && args.disk.is_none() && args.accel != accel::Choice::Tcg
}

/// `tpm2` needs firmware that measures, and a disk needs firmware that reads it, so they bring OVMF with them.
fn firmware(args: &Args, tee: Tee) -> Result<FirmwareChoice, Error> {
    match (&args.firmware, tee) {
        (Some(FirmwareChoice::Path(_)), _) if tee.is_confidential() => {
            Ok(args.firmware.clone().unwrap_or(FirmwareChoice::None))
        }
        (_, Tee::SevSnp | Tee::Tdx) => Err(Error::Input {
            what: format!(
                "a machine of the kind {} is started by firmware that is measured, and none is named",
                tee.as_str()
            ),
            help: format!("make it with `lethe-image firmware {}` and give it with --firmware FILE", tee.as_str()),
        }),
        (None, Tee::None) if args.disk.is_none() => Ok(FirmwareChoice::None),
        (None, _) => Ok(FirmwareChoice::Ovmf),
        (Some(FirmwareChoice::None), _) if args.disk.is_some() => Err(Error::Input {
            what: "without UEFI firmware nothing reads the disk".to_owned(),
            help: "leave --firmware out: --disk boots with OVMF".to_owned(),
        }),
        (Some(FirmwareChoice::None), Tee::Tpm2) if args.load.is_none() => Err(Error::Input {
            what: "without UEFI firmware nothing measures the image into the TPM".to_owned(),
            help: "leave --firmware out: --tee tpm2 boots with OVMF".to_owned(),
        }),
        (Some(choice), _) => Ok(choice.clone()),
    }
}

/// The deployment document that was given: its bytes and, unless that is left to the machine, what they say.
struct Given {
    bytes: Vec<u8>,
    parsed: Option<Document>,
    /// The machine finds it on the disk it boots from, and is given no other.
    on_disk: bool,
}

impl Given {
    fn sha256(&self) -> String {
        hex::encode(deployment::digest_sha256(&self.bytes))
    }
}

fn document(args: &Args) -> Result<Option<Given>, Error> {
    match (&args.config, &args.disk, found_on_disk(args)?) {
        (Some(_), Some(disk), Some(_)) if !args.no_check => Err(Error::Input {
            what: format!("the disk {} has a deployment document of its own", disk.display()),
            help: "leave --config out: a machine with two documents refuses to boot".to_owned(),
        }),
        (Some(path), _, _) => given(args, path, inputs::read_document(path)?, false).map(Some),
        (None, Some(disk), Some(bytes)) => given(args, disk, bytes, true).map(Some),
        (None, _, _) => Ok(None),
    }
}

/// The document on the disk; a damaged disk is left to the machine when nothing is to be checked here.
fn found_on_disk(args: &Args) -> Result<Option<Vec<u8>>, Error> {
    let Some(disk) = &args.disk else { return Ok(None) };
    match inputs::document_on_disk(disk) {
        Err(_) if args.no_check => Ok(None),
        found => found,
    }
}

fn given(args: &Args, path: &Path, bytes: Vec<u8>, on_disk: bool) -> Result<Given, Error> {
    let parsed = match inputs::parse_document(path, &bytes) {
        Ok(document) => Some(document),
        Err(_) if args.no_check => None,
        Err(Error::Document { source, .. }) if on_disk => {
            return Err(Error::Input {
                what: format!("the deployment document on the disk {} is refused: {source}", path.display()),
                help: "write the disk anew with `lethe-image disk`".to_owned(),
            });
        }
        Err(error) => return Err(error),
    };
    Ok(Given { bytes, parsed, on_disk })
}

/// A file that the machine is handed as it is: not read here, but no longer than the machine takes.
fn handed(
    what: &'static str,
    option: &'static str,
    path: Option<&Path>,
    most: usize,
) -> Result<Option<PathBuf>, Error> {
    let Some(path) = path else { return Ok(None) };
    let path = inputs::existing_file(what, option, path)?;
    let bytes = path.metadata().map_err(Error::file("read", &path))?.len();
    if bytes > most as u64 {
        return Err(Error::Input {
            what: format!("{what} {}: {bytes} bytes, a machine takes {most}", path.display()),
            help: "give the file as `lethe` wrote it".to_owned(),
        });
    }
    Ok(Some(path))
}

fn no_image(args: &Args, error: Error) -> Error {
    match error {
        Error::Input { what, .. } if args.image == Path::new("out/lethe.efi") => {
            Error::Input { what, help: "make it with `lethe-image build`, or name one with --image FILE".to_owned() }
        }
        error => error,
    }
}

/// How many processors a machine gets for which none are named: those of this computer.
pub(crate) fn processors() -> u32 {
    std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::boot::tests::args;
    use crate::machine::description::Bus;

    fn chosen(args: &Args) -> Result<FirmwareChoice, Error> {
        firmware(args, args.tee.resolve(could_be_confidential(args), Facts::default))
    }

    #[test]
    fn a_confidential_machine_needs_firmware_that_is_named() {
        for tee in ["sev-snp", "tdx"] {
            for more in [&[][..], &["--firmware", "ovmf"], &["--firmware", "none"]] {
                let error = chosen(&args(&[&["--tee", tee][..], more].concat())).unwrap_err();
                assert!(matches!(error, Error::Input { .. }), "{tee} {more:?}");
            }
            let path = FirmwareChoice::Path("/x/OVMF.fd".into());
            assert_eq!(chosen(&args(&["--tee", tee, "--firmware", "/x/OVMF.fd"])).unwrap(), path);
        }
    }

    #[test]
    fn a_confidential_machine_is_not_emulated_and_boots_no_disk_that_nothing_measures() {
        let accel = |words: &[&str]| accelerator(&args(words), Tee::Tdx, Path::new("/q"), &Progress::silent());
        assert_eq!(accel(&["--tee", "tdx"]).unwrap(), Accel::Kvm);
        assert!(accel(&["--tee", "tdx", "--accel", "tcg"]).is_err());
        let launch = |tee, load: &Load| tee::launch(tee, load, &args(&[]), None);
        let disk = Load::Disk { file: "d.raw".into(), bus: Bus::Virtio };
        let (esp, kernel) = (Load::Esp("esp".into()), Load::Kernel("lethe.efi".into()));
        assert!(launch(Tee::SevSnp, &disk).is_err() && launch(Tee::SevSnp, &esp).is_err());
        assert!(launch(Tee::SevSnp, &kernel).unwrap().is_some());
        assert!(launch(Tee::Tdx, &disk).unwrap().is_some() && launch(Tee::Tdx, &esp).unwrap().is_some());
        assert!(launch(Tee::Tdx, &kernel).is_err());
        for words in [&["--accel", "tcg"][..], &["--disk", "d.raw"]] {
            let words = [&["--tee", "auto", "--firmware", "/x/OVMF.fd"][..], words].concat();
            assert!(!could_be_confidential(&args(&words)), "{words:?}");
        }
        assert!(could_be_confidential(&args(&["--tee", "auto", "--firmware", "/x/OVMF.fd"])));
        assert!(!could_be_confidential(&args(&["--tee", "auto", "--firmware", "ovmf"])));
    }

    #[test]
    fn a_tpm_brings_firmware_that_measures() {
        assert_eq!(chosen(&args(&[])).unwrap(), FirmwareChoice::None);
        assert_eq!(chosen(&args(&["--tee", "tpm2"])).unwrap(), FirmwareChoice::Ovmf);
        let error = chosen(&args(&["--tee", "tpm2", "--firmware", "none"])).unwrap_err();
        assert!(matches!(error, Error::Input { .. }), "{error}");
    }

    #[test]
    fn a_disk_brings_firmware_that_reads_it() {
        assert_eq!(chosen(&args(&["--disk", "d.raw"])).unwrap(), FirmwareChoice::Ovmf);
        let path = FirmwareChoice::Path("/x/OVMF.fd".into());
        assert_eq!(chosen(&args(&["--disk", "d.raw", "--firmware", "/x/OVMF.fd"])).unwrap(), path);
        let error = chosen(&args(&["--disk", "d.raw", "--firmware", "none"])).unwrap_err();
        assert!(matches!(error, Error::Input { .. }), "{error}");
    }

    #[test]
    fn anything_but_two_words_is_a_firmware_file() {
        assert_eq!(chosen(&args(&["--firmware", "ovmf"])).unwrap(), FirmwareChoice::Ovmf);
        let path = FirmwareChoice::Path("/x/OVMF.fd".into());
        assert_eq!(chosen(&args(&["--firmware", "/x/OVMF.fd"])).unwrap(), path);
    }

    #[test]
    fn a_file_for_the_machine_is_there_and_no_longer_than_it_takes() {
        let hand = |path: &Path| handed("the sealed secrets", "--sealed", Some(path), SEALED_MAX_BYTES);
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(SEALED_MAX_BYTES as u64).unwrap();
        assert_eq!(hand(file.path()).unwrap(), Some(file.path().canonicalize().unwrap()));
        file.as_file().set_len(SEALED_MAX_BYTES as u64 + 1).unwrap();
        assert!(hand(file.path()).unwrap_err().to_string().contains("65537 bytes"));
        let missing = hand(Path::new("/nowhere/sealed")).unwrap_err();
        assert!(missing.help().unwrap_or_default().contains("--sealed FILE"));
        assert!(hand(Path::new("/")).is_err(), "a directory");
        assert_eq!(handed("the sealed secrets", "--sealed", None, SEALED_MAX_BYTES).unwrap(), None);
    }

    #[test]
    fn a_missing_image_is_answered_with_how_to_make_one() {
        let args = args(&[]);
        let error = inputs::existing_file("the image", "--image", Path::new("/nowhere/lethe.efi")).unwrap_err();
        let help = no_image(&args, error).help().unwrap_or_default();
        assert!(help.contains("lethe-image build"), "{help}");
    }
}
