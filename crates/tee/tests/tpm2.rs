//! A real TPM, emulated: swtpm on a port, driven by this crate and judged by tpm2-tools.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failed helper is a failed test")]

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use tee::tpm2::{DOCUMENT_REGISTER, QUOTED, Tpm2, Transport, extended_once, qualifying_data};
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
        let port = free_ports();
        let process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--server", &format!("type=tcp,port={port}"), "--ctrl", &format!("type=tcp,port={}", port + 1)])
            .arg("--tpmstate")
            .arg(format!("dir={}", directory.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let emulator = Self { process, port, directory };
        for _ in 0..200 {
            if TcpStream::connect(("127.0.0.1", port + 1)).is_ok() {
                return Some(emulator);
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!("swtpm does not listen");
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
        let nonce: String = qualifying_data(report_data).iter().map(|byte| format!("{byte:02x}")).collect();
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
