//! A real TPM, emulated: swtpm on a port, driven by this crate and judged by tpm2-tools.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed helper is a failed test")]

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tee::tpm2::{
    DOCUMENT_REGISTER, LABEL, LAST, LAST_REGISTER, QUOTED, SEALED_TO, Tpm2, Transport, digest, extended_once,
    qualifying_data,
};
use tee::{Bank, Binding, Evidence, Origin, Tee, Tpm2Evidence};
use tempfile::TempDir;

/// An emulator and its state.
struct Emulator {
    process: Child,
    port: u16,
    directory: TempDir,
}

/// A connection for each command: the emulator serves one at a time, and the tools want one too.
struct Connection(u16);

impl Transport for Connection {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.0))?;
        stream.write_all(command)?;
        let mut header = [0; 10];
        stream.read_exact(&mut header)?;
        let length = u32::from_be_bytes(header[2..6].try_into().unwrap()) as usize;
        let mut answer = header.to_vec();
        answer.resize(length, 0);
        stream.read_exact(&mut answer[10..])?;
        Ok(answer)
    }
}

/// Starts an emulator with the state in this directory.
fn launch(state: &Path) -> (Child, u16) {
    let port = free_ports();
    let process = Command::new("swtpm")
        .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
        .args(["--server", &format!("type=tcp,port={port}"), "--ctrl", &format!("type=tcp,port={}", port + 1)])
        .arg("--tpmstate")
        .arg(format!("dir={}", state.display()))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (process, port)
}

impl Emulator {
    /// Starts one with these banks; nothing where it, or the tools that judge it, are not installed.
    fn start(banks: &str) -> Option<Self> {
        for tool in ["swtpm", "swtpm_setup", "tpm2_pcrread"] {
            if !Path::new("/usr/bin").join(tool).exists() {
                eprintln!("SKIPPED: {tool} is not installed");
                return None;
            }
        }
        let directory = TempDir::new().unwrap();
        let setup = Command::new("swtpm_setup")
            .args(["--tpm2", "--pcr-banks", banks, "--overwrite", "--tpmstate"])
            .arg(directory.path())
            .env("XDG_CONFIG_HOME", directory.path())
            .output()
            .unwrap();
        assert!(setup.status.success(), "{}", String::from_utf8_lossy(&setup.stdout));
        let (process, port) = launch(directory.path());
        let emulator = Self { process, port, directory };
        emulator.listens();
        Some(emulator)
    }

    fn listens(&self) {
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", self.port + 1)).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("swtpm does not listen");
    }

    /// Switches it off and on again: registers are lost, seeds are not.
    fn restart(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        (self.process, self.port) = launch(self.directory.path());
        self.listens();
    }

    fn open(&self) -> Tpm2 {
        Tpm2::open(Connection(self.port), b"log".to_vec()).unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs one of tpm2-tools against it.
    fn tool(&self, name: &str, arguments: &[&str]) -> std::process::Output {
        Command::new(name)
            .args(arguments)
            .env("TPM2TOOLS_TCTI", format!("swtpm:host=127.0.0.1,port={}", self.port))
            .current_dir(self.directory.path())
            .output()
            .unwrap()
    }

    fn works(&self, name: &str, arguments: &[&str]) -> Vec<u8> {
        let output = self.tool(name, arguments);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port and the next one, which the tools take for the control channel.
fn free_ports() -> u16 {
    loop {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if port < u16::MAX && TcpListener::bind(("127.0.0.1", port + 1)).is_ok() {
            return port;
        }
    }
}

/// Extends a register of the SHA-256 bank as firmware would.
fn measured(emulator: &Emulator, register: u8, what: &[u8]) {
    emulator.works("tpm2_pcrextend", &[&format!("{register}:sha256={}", hex(&digest(Bank::Sha256, what)))]);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The secret of a boot that measures `events` before the document.
fn secret_of(emulator: &Emulator, events: &[(u8, &[u8])], document: &[u8]) -> [u8; 32] {
    for (register, what) in events {
        measured(emulator, *register, what);
    }
    let tpm = emulator.open();
    assert_eq!(tpm.bind(document, Origin::Host).unwrap(), Binding::Pcr12);
    assert!(tpm.withheld_secret().is_none(), "{:?}", tpm.withheld_secret());
    **tpm.derived_secret().unwrap()
}

fn quote(tpm: &Tpm2, report_data: &[u8; 64]) -> Tpm2Evidence {
    match tpm.evidence(report_data).unwrap() {
        Evidence::Tpm2(evidence) => evidence,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_document_is_measured_once_into_every_bank_with_sha_2_and_into_no_other() {
    let Some(emulator) = Emulator::start("sha1,sha256,sha384,sha512") else { return };
    let tpm = emulator.open();
    assert_eq!(tpm.banks(), [Bank::Sha256, Bank::Sha384, Bank::Sha512]);
    assert_eq!(tpm.bind(b"document", Origin::Host).unwrap(), Binding::Pcr12);
    for bank in [Bank::Sha256, Bank::Sha384, Bank::Sha512] {
        let value = tpm.read(&[DOCUMENT_REGISTER]).unwrap()[&bank][&DOCUMENT_REGISTER].clone();
        assert_eq!(value, extended_once(bank, b"document"));
        let file = format!("{}.bin", bank.name());
        emulator.works("tpm2_pcrread", &[&format!("{}:12", bank.name()), "-o", &file]);
        assert_eq!(std::fs::read(emulator.path(&file)).unwrap(), value, "as tpm2-tools reads it");
    }
    emulator.works("tpm2_pcrread", &["sha1:12", "-o", "sha1.bin"]);
    assert_eq!(std::fs::read(emulator.path("sha1.bin")).unwrap(), [0; 20]);
    let again = tpm.bind(b"document", Origin::Host).unwrap_err();
    assert_eq!(again.code(), "document-binding", "a register that is not zero is nobody's document");
}

#[test]
fn a_register_that_was_extended_before_is_refused() {
    let Some(emulator) = Emulator::start("sha256") else { return };
    emulator.works("tpm2_pcrextend", &[&format!("12:sha256={}", "11".repeat(32))]);
    let tpm = emulator.open();
    assert_eq!(tpm.banks(), [Bank::Sha256]);
    assert_eq!(tpm.bind(b"document", Origin::Host).unwrap_err().code(), "document-binding");
}

#[test]
fn a_tpm_without_sha_256_is_refused() {
    let Some(emulator) = Emulator::start("sha1") else { return };
    assert!(matches!(Tpm2::open(Connection(emulator.port), Vec::new()), Err(tee::tpm2::TpmError::NoBank)));
}

#[test]
fn a_quote_is_accepted_by_tpm2_tools_and_one_for_other_bytes_is_not() {
    let Some(emulator) = Emulator::start("sha1,sha256,sha384") else { return };
    let tpm = emulator.open();
    tpm.bind(b"document", Origin::Host).unwrap();
    let evidence = quote(&tpm, &[7; 64]);
    assert_eq!(evidence.event_log, b"log");
    assert_eq!(evidence.pcrs.keys().copied().collect::<Vec<_>>(), [Bank::Sha256, Bank::Sha384]);
    for bank in evidence.pcrs.values() {
        assert_eq!(bank.keys().copied().collect::<Vec<_>>(), QUOTED);
    }
    let pem = format!("{}.pem", "ak");
    std::fs::write(emulator.path("ak.der"), &evidence.ak).unwrap();
    let convert = Command::new("openssl")
        .args(["pkey", "-pubin", "-inform", "DER", "-in", "ak.der", "-out", &pem])
        .current_dir(emulator.directory.path())
        .output()
        .unwrap();
    assert!(convert.status.success(), "{}", String::from_utf8_lossy(&convert.stderr));
    std::fs::write(emulator.path("quote"), &evidence.quote).unwrap();
    std::fs::write(emulator.path("signature"), &evidence.signature).unwrap();
    let check = |report_data: &[u8; 64]| {
        let nonce = hex(&qualifying_data(report_data));
        emulator.tool("tpm2_checkquote", &["-u", &pem, "-m", "quote", "-s", "signature", "-g", "sha256", "-q", &nonce])
    };
    let accepted = check(&[7; 64]);
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    assert!(!check(&[8; 64]).status.success(), "another request");
    let mut forged = evidence.quote.clone();
    *forged.last_mut().unwrap() ^= 1;
    std::fs::write(emulator.path("quote"), &forged).unwrap();
    assert!(!check(&[7; 64]).status.success(), "another register digest");
}

#[test]
fn the_key_is_the_one_that_tpm2_tools_make_from_the_same_template() {
    let Some(emulator) = Emulator::start("sha256") else { return };
    let (ours, again) = (emulator.open().ak().to_vec(), emulator.open().ak().to_vec());
    assert_eq!(ours, again, "the same TPM gives the same key");
    emulator.works("tpm2_flushcontext", &["-t"]);
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|sign";
    let arguments = ["-C", "e", "-g", "sha256", "-G", "ecc256:ecdsa-sha256:null", "-a", attributes, "-c", "ak.ctx"];
    emulator.works("tpm2_createprimary", &arguments);
    emulator.works("tpm2_flushcontext", &["-t"]);
    emulator.works("tpm2_readpublic", &["-c", "ak.ctx", "-f", "der", "-o", "theirs.der"]);
    assert_eq!(std::fs::read(emulator.path("theirs.der")).unwrap(), ours);
    let other = Emulator::start("sha256").unwrap();
    assert_ne!(other.open().ak(), ours, "another TPM gives another key");
}

#[test]
fn a_certified_key_of_the_platform_is_taken_before_ours() {
    let Some(emulator) = Emulator::start("sha256") else { return };
    // Google's indices, with an RSA template that tpm2-tools made and a stand-in for the certificate.
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign";
    let arguments = ["-C", "e", "-g", "sha256", "-G", "rsa2048:rsassa-sha256:null", "-a", attributes, "-c", "ak.ctx"];
    emulator.works("tpm2_createprimary", &arguments);
    emulator.works("tpm2_flushcontext", &["-t"]);
    emulator.works("tpm2_readpublic", &["-c", "ak.ctx", "-f", "tss", "-o", "ak.pub"]);
    emulator.works("tpm2_flushcontext", &["-t"]);
    emulator.works("tpm2_readpublic", &["-c", "ak.ctx", "-f", "der", "-o", "ak.der"]);
    // The public area without its length, and with an empty modulus in the place of the key's.
    let public = std::fs::read(emulator.path("ak.pub")).unwrap();
    let template = [&public[2..public.len() - 258], &[0, 0]].concat();
    std::fs::write(emulator.path("template"), &template).unwrap();
    std::fs::write(emulator.path("certificate"), [0x30, 3, 1, 2, 3, 0, 0]).unwrap();
    for (index, file) in [("0x01c10000", "certificate"), ("0x01c10001", "template")] {
        let size = std::fs::metadata(emulator.path(file)).unwrap().len().to_string();
        emulator
            .works("tpm2_nvdefine", &[index, "-C", "o", "-s", &size, "-a", "ownerread|ownerwrite|authread|authwrite"]);
        emulator.works("tpm2_nvwrite", &[index, "-C", "o", "-i", file]);
    }
    emulator.works("tpm2_flushcontext", &["-t"]);
    let tpm = emulator.open();
    assert_eq!(tpm.ak(), std::fs::read(emulator.path("ak.der")).unwrap());
    let evidence = quote(&tpm, &[1; 64]);
    assert_eq!(evidence.ak_certificate, Some(vec![0x30, 3, 1, 2, 3]));
    assert_eq!(evidence.signature[..4], [0x00, 0x14, 0x00, 0x0b], "RSASSA with SHA-256");
}

/// What firmware and image leave in the registers.
const BOOT: [(u8, &[u8]); 4] = [(0, b"firmware"), (2, b"driver"), (4, b"image"), (7, b"no secure boot")];

#[test]
fn a_restart_of_the_same_image_with_the_same_document_finds_the_same_secret() {
    let Some(mut emulator) = Emulator::start("sha256,sha384") else { return };
    let secret = secret_of(&emulator, &BOOT, b"document");
    assert_ne!(secret, [0; 32]);
    emulator.restart();
    assert_eq!(secret_of(&emulator, &BOOT, b"document"), secret);
    emulator.restart();
    let furniture: [(u8, &[u8]); 3] = [(1, b"boot order"), (5, b"partitions"), (6, b"the maker's")];
    assert_eq!(secret_of(&emulator, &[&BOOT[..], &furniture].concat(), b"document"), secret, "what runs is the same");
}

#[test]
fn another_document_image_or_firmware_or_another_tpm_has_another_secret() {
    let Some(mut emulator) = Emulator::start("sha256") else { return };
    let mut seen = vec![secret_of(&emulator, &BOOT, b"document")];
    emulator.restart();
    seen.push(secret_of(&emulator, &BOOT, b"document of somebody else"));
    for register in SEALED_TO.into_iter().filter(|register| *register != DOCUMENT_REGISTER) {
        emulator.restart();
        seen.push(secret_of(&emulator, &[&BOOT[..], &[(register, b"something else")]].concat(), b"document"));
    }
    let other = Emulator::start("sha256").unwrap();
    seen.push(secret_of(&other, &BOOT, b"document"));
    emulator.restart();
    emulator.works("tpm2_clear", &["-c", "p"]);
    seen.push(secret_of(&emulator, &BOOT, b"document"));
    let count = seen.len();
    assert_eq!(count, SEALED_TO.len() + 3);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), count, "no two are the same");
}

/// Opens a session, of this kind or a trial, that sees the registers as they are; its policy is in the file of that name.
fn saw_registers(emulator: &Emulator, kind: &[&str]) {
    let registers = format!("sha256:{}", SEALED_TO.map(|register| register.to_string()).join(","));
    emulator.works("tpm2_startauthsession", &[kind, &["-S", "session"]].concat());
    emulator.works("tpm2_pcrread", &[&registers, "-o", "values"]);
    let values = hex(&digest(Bank::Sha256, &std::fs::read(emulator.path("values")).unwrap()));
    emulator.works("tpm2_policypcr", &["-S", "session", "-l", &registers, "-L", "seen", &values]);
}

/// With what somebody asks a key.
#[derive(PartialEq)]
enum With {
    /// A session that saw the registers as they are.
    Session,
    /// One that saw them before the way was closed.
    EarlierSession,
    /// The empty password.
    Password,
}

/// What tpm2-tools give whoever asks the same key about the same label. `victim`: the policy of the boot whose secret is wanted.
fn asked_by_tools(emulator: &Emulator, victim: &Path, with: With) -> Option<Vec<u8>> {
    let attributes = "fixedtpm|fixedparent|sensitivedataorigin|adminwithpolicy|noda|sign";
    let template = ["-C", "o", "-g", "sha256", "-G", "hmac", "-a", attributes, "-L", victim.to_str().unwrap()];
    emulator.works("tpm2_flushcontext", &["-t"]);
    emulator.works("tpm2_createprimary", &[&template[..], &["-c", "key.ctx"]].concat());
    emulator.works("tpm2_flushcontext", &["-t"]);
    std::fs::write(emulator.path("label"), LABEL).unwrap();
    let _ = std::fs::remove_file(emulator.path("answer"));
    let ask = ["-c", "key.ctx", "-g", "sha256", "-o", "answer", "label"];
    if with == With::Password {
        emulator.tool("tpm2_hmac", &ask);
    } else {
        saw_registers(emulator, &["--policy-session"]);
        if with == With::EarlierSession {
            measured(emulator, LAST_REGISTER, LAST);
        }
        emulator.tool("tpm2_hmac", &[&["-p", "session:session"][..], &ask].concat());
        emulator.tool("tpm2_flushcontext", &["session"]);
    }
    emulator.works("tpm2_flushcontext", &["-t"]);
    std::fs::read(emulator.path("answer")).ok().filter(|answer| !answer.is_empty())
}

#[test]
fn only_the_same_registers_before_the_way_is_closed_give_the_secret_to_others() {
    let Some(mut emulator) = Emulator::start("sha256") else { return };
    let secret = secret_of(&emulator, &BOOT, b"document");
    let closed = Tpm2::open(Connection(emulator.port), Vec::new()).unwrap().read(&[LAST_REGISTER]).unwrap();
    assert_eq!(closed[&Bank::Sha256][&LAST_REGISTER], extended_once(Bank::Sha256, LAST));

    // The policy of that boot, for whoever wants its key: everything that goes into it is public.
    emulator.restart();
    let boot = |emulator: &Emulator, image: &[u8], document: &[u8]| {
        for (register, what) in BOOT {
            measured(emulator, register, if register == 4 { image } else { what });
        }
        measured(emulator, DOCUMENT_REGISTER, document);
    };
    boot(&emulator, b"image", b"document");
    saw_registers(&emulator, &[]);
    emulator.works("tpm2_flushcontext", &["session"]);
    let policy = emulator.path("policy");
    std::fs::rename(emulator.path("seen"), &policy).unwrap();
    let theirs = asked_by_tools(&emulator, &policy, With::Session);
    assert_eq!(theirs.as_deref(), Some(secret.as_slice()), "tpm2-tools make the same key and ask it the same");
    assert_eq!(asked_by_tools(&emulator, &policy, With::Password), None, "no password opens it");

    assert_eq!(
        asked_by_tools(&emulator, &policy, With::EarlierSession),
        None,
        "a session does not outlive what it saw"
    );
    assert_eq!(asked_by_tools(&emulator, &policy, With::Session), None, "the way is closed until the TPM is reset");
    for (image, document) in [(b"other".as_slice(), b"document".as_slice()), (b"image", b"other")] {
        emulator.restart();
        boot(&emulator, image, document);
        assert_eq!(
            asked_by_tools(&emulator, &policy, With::Session),
            None,
            "the key of another boot, which knows its policy"
        );
    }
}

/// An emulator that does not know a command, from its nth use on.
struct Lacking {
    emulator: Connection,
    command: u32,
    after: usize,
}

impl Transport for Lacking {
    fn transmit(&mut self, command: &[u8]) -> io::Result<Vec<u8>> {
        const COMMAND_CODE: [u8; 10] = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x43];
        if command[6..10] != self.command.to_be_bytes() {
            return self.emulator.transmit(command);
        }
        match self.after.checked_sub(1) {
            Some(rest) => {
                self.after = rest;
                self.emulator.transmit(command)
            }
            None => Ok(COMMAND_CODE.to_vec()),
        }
    }
}

/// How many keys and sessions the TPM holds.
fn held(emulator: &Emulator) -> (usize, usize) {
    let count = |what: &str| {
        String::from_utf8(emulator.works("tpm2_getcap", &[what]))
            .unwrap()
            .lines()
            .filter(|line| !line.is_empty())
            .count()
    };
    (count("handles-transient"), count("handles-loaded-session"))
}

#[test]
fn a_tpm_that_gives_no_secret_serves_all_the_same_and_holds_nothing_that_was_for_it() {
    const CREATE_PRIMARY: u32 = 0x131;
    const FLUSH_CONTEXT: u32 = 0x165;
    // Command codes, and how often each is answered: the first key is the one for quotes, the first measurement the document's.
    let lacks =
        [(CREATE_PRIMARY, 1), (0x176, 0), (0x17f, 0), (0x155, 0), (FLUSH_CONTEXT, 0), (FLUSH_CONTEXT, 1), (0x182, 1)];
    let Some(mut emulator) = Emulator::start("sha256") else { return };
    for (command, after) in lacks {
        emulator.restart();
        let lacking = Lacking { emulator: Connection(emulator.port), command, after };
        let tpm = Tpm2::open(lacking, Vec::new()).unwrap();
        assert!(tpm.withheld_secret().is_none(), "not asked for yet");
        assert_eq!(tpm.bind(b"document", Origin::Host).unwrap(), Binding::Pcr12);
        assert!(tpm.derived_secret().is_none(), "{command:#x}");
        let reason = std::error::Error::source(tpm.withheld_secret().unwrap()).unwrap().to_string();
        assert!(reason.ends_with("with code 0x143"), "{reason}");
        let closed = tpm.read(&[LAST_REGISTER]).unwrap()[&Bank::Sha256][&LAST_REGISTER] != [0; 32];
        assert_eq!(closed, command != 0x182, "the way is closed whatever failed before");
        if command != FLUSH_CONTEXT {
            assert_eq!(held(&emulator), (1, 0), "{command:#x}: the key for quotes alone");
        }
        quote(&tpm, &[1; 64]);
    }
    emulator.restart();
    let tpm = emulator.open();
    tpm.bind(b"document", Origin::Host).unwrap();
    assert!(tpm.derived_secret().is_some());
    assert_eq!(held(&emulator), (1, 0));
}

#[test]
fn a_tpm_whose_owner_has_a_password_gives_no_secret() {
    let Some(emulator) = Emulator::start("sha256") else { return };
    emulator.works("tpm2_changeauth", &["-c", "o", "password"]);
    let tpm = emulator.open();
    assert_eq!(tpm.bind(b"document", Origin::Host).unwrap(), Binding::Pcr12);
    assert!(tpm.derived_secret().is_none() && tpm.withheld_secret().is_some());
}

#[test]
fn a_tpm_that_answers_nonsense_is_an_error() {
    struct Nonsense(Vec<u8>);
    impl Transport for Nonsense {
        fn transmit(&mut self, _: &[u8]) -> io::Result<Vec<u8>> {
            Ok(self.0.clone())
        }
    }
    for length in 0..64 {
        let mut answer = vec![0xFF; length];
        if let Some(code) = answer.get_mut(6..10) {
            code.fill(0);
        }
        assert!(Tpm2::open(Nonsense(answer), Vec::new()).is_err(), "{length} bytes");
    }
    let refusal = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x01, 0x01].to_vec();
    assert!(matches!(Tpm2::open(Nonsense(refusal), Vec::new()), Err(tee::tpm2::TpmError::Refused { code: 0x101, .. })));
    let again = [0x80, 0x01, 0, 0, 0, 10, 0, 0, 0x09, 0x22].to_vec();
    assert!(Tpm2::open(Nonsense(again), Vec::new()).is_err(), "asked again, but not for ever");
}
