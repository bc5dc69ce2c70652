//! Each rule about TPM quotes has an accepted and a refused case. The quotes are made here, by a key of the test's own: what a
//! pinned key proves is the path, and the path is what is tested.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

use evidence::{
    Expected, Policy, Rule, Time, Verdict,
    check::{Tpm2, tpm2},
    tpm::{AttestationKey, Boot, Firmware},
};
use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use serde_json::{Map, json};
use sha2::{Digest as _, Sha256};

const IMAGE: [u8; 32] = [0x11; 32];
const DOCUMENT: &[u8] = b"model = \"tiny\"\n";
const NONCE: &[u8] = b"a nonce of the relying party";
const NO_ACTION: u32 = 3;
const SEPARATOR: u32 = 4;
const EVENT_TAG: u32 = 6;
const APPLICATION: u32 = 0x8000_0003;
const DRIVER: u32 = 0x8000_0004;
const RUNTIME_DRIVER: u32 = 0x8000_0005;
const ACTION: u32 = 0x8000_0007;
const QUOTED: [u8; 12] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12];

/// Register, type, digest, data.
#[derive(Clone)]
struct Event(u32, u32, [u8; 32], Vec<u8>);

impl Event {
    /// An event whose digest is that of its data.
    fn of(register: u32, kind: u32, data: &[u8]) -> Self {
        Self(register, kind, Sha256::digest(data).into(), data.to_vec())
    }

    fn application(register: u32, digest: [u8; 32]) -> Self {
        Self(register, APPLICATION, digest, b"device path".to_vec())
    }
}

/// A boot as the log and the TPM see it.
#[derive(Clone)]
struct Machine {
    /// What firmware measured.
    measured: Vec<Event>,
    /// What the log says; `None` for the truth.
    told: Option<Vec<Event>>,
    document: Vec<u8>,
    after: Vec<(usize, [u8; 32])>,
}

impl Machine {
    fn good() -> Self {
        Self {
            measured: vec![
                Event::of(0, 8, b"firmware version"),
                Event::of(4, ACTION, b"Calling EFI Application from Boot Option"),
                Event::of(2, SEPARATOR, &[0; 4]),
                Event::of(4, SEPARATOR, &[0; 4]),
                Event::application(4, IMAGE),
                Event(9, EVENT_TAG, Sha256::digest([]).into(), b"LOADED_IMAGE::LoadOptions\0".to_vec()),
            ],
            told: None,
            document: DOCUMENT.to_vec(),
            after: Vec::new(),
        }
    }

    fn with(mut self, change: impl FnOnce(&mut Vec<Event>)) -> Self {
        change(&mut self.measured);
        self
    }

    /// The same boot with a log that lies.
    fn telling(mut self, change: impl FnOnce(&mut Vec<Event>)) -> Self {
        let mut told = self.measured.clone();
        change(&mut told);
        self.told = Some(told);
        self
    }

    fn registers(&self) -> [[u8; 32]; 24] {
        let mut registers = [[0; 32]; 24];
        let mut extend = |index: usize, digest: &[u8; 32]| {
            registers[index] = Sha256::new().chain_update(registers[index]).chain_update(digest).finalize().into();
        };
        for Event(register, kind, digest, _) in &self.measured {
            if *kind != NO_ACTION {
                extend(*register as usize, digest);
            }
        }
        extend(12, &Sha256::digest(&self.document).into());
        self.after.iter().for_each(|(index, digest)| extend(*index, digest));
        registers
    }

    fn log(&self) -> Vec<u8> {
        let mut header = b"Spec ID Event03\0".to_vec();
        header.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0b, 0, 32, 0, 0]);
        let mut log = [0_u32.to_le_bytes(), NO_ACTION.to_le_bytes()].concat();
        log.extend([0; 20]);
        log.extend(u32::try_from(header.len()).unwrap().to_le_bytes());
        log.extend(header);
        for Event(register, kind, digest, data) in self.told.as_ref().unwrap_or(&self.measured) {
            log.extend([register.to_le_bytes(), kind.to_le_bytes(), 1_u32.to_le_bytes()].concat());
            log.extend([0x0b, 0]);
            log.extend(digest);
            log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
            log.extend(data);
        }
        log
    }

    fn pcrs(&self) -> Vec<u8> {
        let values: Map<_, _> = self
            .registers()
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), json!(hex::encode(value))))
            .collect();
        json!({ "sha256": values }).to_string().into_bytes()
    }
}

fn key() -> SigningKey {
    SigningKey::from_slice(&[0x42; 32]).expect("a key")
}

/// `SubjectPublicKeyInfo` of a P-256 key.
fn spki(key: &SigningKey) -> Vec<u8> {
    let prefix = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
    [prefix, key.verifying_key().to_encoded_point(false).as_bytes().to_vec()].concat()
}

/// A `TPMS_ATTEST` over some registers of the SHA-256 bank.
fn attest(machine: &Machine, nonce: &[u8], selected: &[u8]) -> Vec<u8> {
    let registers = machine.registers();
    let digest =
        selected.iter().fold(Sha256::new(), |hash, index| hash.chain_update(registers[usize::from(*index)])).finalize();
    let mut mask = [0_u8; 3];
    selected.iter().for_each(|index| mask[usize::from(index / 8)] |= 1 << (index % 8));
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
    let mut out = vec![0xff, b'T', b'C', b'G', 0x80, 0x18];
    out.extend(sized(&[0, 0x0b]));
    out.extend(sized(nonce));
    out.extend([0; 8 + 4 + 4]);
    out.push(1);
    out.extend([0; 8]);
    out.extend([0, 0, 0, 1, 0, 0x0b, 3]);
    out.extend(mask);
    out.extend(sized(&digest));
    out
}

fn sign(key: &SigningKey, quote: &[u8]) -> Vec<u8> {
    let signature: Signature = key.sign(quote);
    let (r, s) = signature.split_bytes();
    [&[0, 0x18, 0, 0x0b, 0, 32][..], &r, &[0, 32], &s].concat()
}

fn policy(lines: &str) -> Policy {
    Policy::from_toml(&format!("name = \"test\"\nextends = \"standard\"\n{lines}\n")).expect("a policy")
}

/// The verdict about a boot whose image and document are judged.
fn judged(machine: &Machine, firmware: Firmware) -> Verdict {
    judged_by(machine, firmware, &policy(""))
}

fn judged_by(machine: &Machine, firmware: Firmware, policy: &Policy) -> Verdict {
    let (quote, spki) = (attest(machine, NONCE, &QUOTED), spki(&key()));
    let (signature, pcrs, log) = (sign(&key(), &quote), machine.pcrs(), machine.log());
    tpm2(Tpm2 {
        quote: &quote,
        signature: &signature,
        ak: AttestationKey::Pinned(&spki),
        nonce: Some(NONCE),
        pcrs: Some(&pcrs),
        event_log: Some(&log),
        boot: Some(&Boot { images: &[&[0; 32], &IMAGE], document: DOCUMENT, firmware, load_options: &[b"quiet"] }),
        policy,
        expected: &Expected::nothing(),
        at: Time::from_unix(0),
    })
}

fn broken(machine: &Machine) -> Option<Rule> {
    judged(machine, Firmware::Standard).rule()
}

#[test]
fn a_boot_of_the_image_with_the_document_is_accepted() {
    let verdict = judged(&Machine::good(), Firmware::Standard);
    let Verdict::Accepted { claims } = &verdict else { panic!("{verdict:?}") };
    assert_eq!((&claims["boot"], &claims["event_log"]), (&json!("judged"), &json!("replayed")));
    assert_eq!(claims["nonce"], hex::encode(NONCE));
    let mine = Machine::good().with(|events| {
        events.push(Event(9, EVENT_TAG, Sha256::digest(b"quiet").into(), b"LOADED_IMAGE::LoadOptions\0".to_vec()));
    });
    assert_eq!(broken(&mine), None, "listed load options");
}

#[test]
fn p1_form_p3_signature() {
    let machine = Machine::good();
    let (quote, spki) = (attest(&machine, NONCE, &QUOTED), spki(&key()));
    let pcrs = machine.pcrs();
    let (policy, expected) = (policy(""), Expected::nothing());
    let check = |quote: &[u8], signature: &[u8]| {
        tpm2(Tpm2 {
            quote,
            signature,
            ak: AttestationKey::Pinned(&spki),
            nonce: Some(NONCE),
            pcrs: Some(&pcrs),
            event_log: None,
            boot: None,
            policy: &policy,
            expected: &expected,
            at: Time::from_unix(0),
        })
        .rule()
    };
    assert_eq!(check(&quote, &sign(&key(), &quote)), None);
    for (place, what) in [(0, "magic"), (5, "type"), (6, "length"), (7, "length"), (quote.len() - 33, "length")] {
        let mut changed = quote.clone();
        changed[place] ^= 0x40;
        assert_eq!(check(&changed, &sign(&key(), &changed)), Some(Rule::P1), "{what}");
    }
    for length in 0..quote.len() {
        let prefix = &quote[..length];
        assert_eq!(check(prefix, &sign(&key(), prefix)), Some(Rule::P1), "{length} bytes");
    }
    let long = [quote.clone(), vec![0]].concat();
    assert_eq!(check(&long, &sign(&key(), &long)), Some(Rule::P1));
    let other = SigningKey::from_slice(&[0x43; 32]).unwrap();
    assert_eq!(check(&quote, &sign(&other, &quote)), Some(Rule::P3));
    let signature = sign(&key(), &quote);
    assert_eq!(check(&quote, &[&signature[..], &[0]].concat()), Some(Rule::P1));
    let n = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    for number in [vec![0; 32], n, vec![0xff; 32]] {
        for place in [6, 40] {
            let mut changed = signature.clone();
            changed[place..place + 32].copy_from_slice(&number);
            assert_eq!(check(&quote, &changed), Some(Rule::P3), "{number:02x?} at {place}");
        }
    }
}

#[test]
fn p2_keys() {
    let machine = Machine::good();
    let quote = attest(&machine, NONCE, &QUOTED);
    let signature = sign(&key(), &quote);
    let (policy, expected) = (policy(""), Expected::nothing());
    let check = |ak: &[u8]| {
        let input = Tpm2 {
            quote: &quote,
            signature: &signature,
            ak: AttestationKey::Pinned(ak),
            nonce: None,
            pcrs: None,
            event_log: None,
            boot: None,
            policy: &policy,
            expected: &expected,
            at: Time::from_unix(0),
        };
        tpm2(input).rule()
    };
    let good = spki(&key());
    assert_eq!(check(&good), None);
    assert_eq!(check(&[]), Some(Rule::P2));
    assert_eq!(check(&good[1..]), Some(Rule::P2));
    let mut off_curve = good.clone();
    let last = off_curve.len() - 1;
    off_curve[last] ^= 1;
    assert_eq!(check(&off_curve), Some(Rule::P2), "not a point of the curve");
    let mut zero = good.clone();
    zero[27..].fill(0);
    assert_eq!(check(&zero), Some(Rule::P2), "an all-zero key");
    assert_eq!(check(&spki(&SigningKey::from_slice(&[7; 32]).unwrap())), Some(Rule::P3), "another key");
}

#[test]
fn p4_nonce_p5_registers() {
    let machine = Machine::good();
    let (spki, pcrs) = (spki(&key()), machine.pcrs());
    let expected = Expected::nothing();
    let check = |quote: &[u8], nonce: Option<&[u8]>, pcrs: Option<&[u8]>, lines: &str| {
        let signature = sign(&key(), quote);
        tpm2(Tpm2 {
            quote,
            signature: &signature,
            ak: AttestationKey::Pinned(&spki),
            nonce,
            pcrs,
            event_log: None,
            boot: None,
            policy: &policy(lines),
            expected: &expected,
            at: Time::from_unix(0),
        })
        .rule()
    };
    let quote = attest(&machine, NONCE, &QUOTED);
    assert_eq!(check(&quote, Some(NONCE), Some(&pcrs), ""), None);
    assert_eq!(check(&quote, Some(&NONCE[1..]), Some(&pcrs), ""), Some(Rule::P4));
    assert_eq!(check(&attest(&machine, &[], &QUOTED), None, Some(&pcrs), ""), Some(Rule::P4), "empty nonce");
    assert_eq!(
        check(&attest(&machine, &[], &QUOTED), Some(&[]), Some(&pcrs), ""),
        Some(Rule::P4),
        "empty nonce expected"
    );
    assert_eq!(check(&quote, None, Some(&pcrs), ""), None);
    let strict = "[tpm2]\nnonce_required = { is = true, because = \"test\" }";
    assert_eq!(check(&quote, None, Some(&pcrs), strict), Some(Rule::P4));
    let without_document = attest(&machine, NONCE, &QUOTED[..11]);
    assert_eq!(
        check(&without_document, Some(NONCE), Some(&pcrs), ""),
        Some(Rule::P5),
        "a demanded register is missing"
    );
    let others: Vec<u8> = (10..24).collect();
    assert_eq!(check(&attest(&machine, NONCE, &others), Some(NONCE), Some(&pcrs), ""), Some(Rule::P5));
    let another = Machine::good().with(|events| events.push(Event::of(7, 1, b"x"))).pcrs();
    assert_eq!(check(&quote, Some(NONCE), Some(&another), ""), Some(Rule::P5), "values of another boot");
    assert_eq!(check(&quote, Some(NONCE), Some(b"{}"), ""), Some(Rule::P5));
    assert_eq!(check(&quote, Some(NONCE), Some(b"{\"sha256\":[\"00\"]}"), ""), Some(Rule::P5));
    let only = "[tpm2]\nbanks = { is = [\"sha384\"], because = \"test\" }";
    assert_eq!(check(&quote, Some(NONCE), Some(&pcrs), only), Some(Rule::P5));
    for (value, rule) in [(machine.registers()[4], None), ([0; 32], Some(Rule::P5))] {
        let expected = Expected::nothing().with("pcr4", &value);
        let signature = sign(&key(), &quote);
        let verdict = tpm2(Tpm2 {
            quote: &quote,
            signature: &signature,
            ak: AttestationKey::Pinned(&spki),
            nonce: None,
            pcrs: Some(&pcrs),
            event_log: None,
            boot: None,
            policy: &policy(""),
            expected: &expected,
            at: Time::from_unix(0),
        });
        assert_eq!(verdict.rule(), rule);
    }
}

#[test]
fn p6_a_log_that_lies_is_refused() {
    let good = Machine::good();
    for index in 0..good.measured.len() {
        assert_eq!(broken(&good.clone().telling(|told| drop(told.remove(index)))), Some(Rule::P6), "dropped {index}");
        let altered = good.clone().telling(|told| told[index].2[31] ^= 1);
        assert_eq!(broken(&altered), Some(Rule::P6), "altered {index}");
        let added = good.clone().telling(|told| told.insert(index, Event::of(1, 1, b"added")));
        assert_eq!(broken(&added), Some(Rule::P6), "added {index}");
    }
    assert_eq!(broken(&good.clone().telling(|told| told.swap(3, 4))), Some(Rule::P6), "reordered");
    assert_eq!(
        broken(&good.clone().telling(|told| told[1].3[0] ^= 1)),
        Some(Rule::P6),
        "data that do not hash to the digest"
    );
    // A program that was started first and measured, its file beside it under the name of something that is not judged.
    let program = [b"MZ".as_slice(), &[0; 62], b"PE\0\0\x64\x86 a loader"].concat();
    for kind in [SEPARATOR, ACTION] {
        let hidden = good.clone().with(|measured| measured.insert(4, Event::of(4, kind, &program)));
        assert_eq!(broken(&hidden), Some(Rule::P6), "a hidden program of type {kind:#x}");
    }
    assert_eq!(broken(&good.clone().telling(Vec::clear)), Some(Rule::P6), "an empty log");
    let mut dropped = good.clone();
    dropped.measured.push(Event::of(11, 0xd, b".linux"));
    assert_eq!(broken(&dropped.telling(|told| drop(told.pop()))), Some(Rule::P6), "a register's only event is dropped");
    let strict = policy("[tpm2]\nevent_log = { is = \"required\", because = \"test\" }");
    let quote = attest(&good, NONCE, &QUOTED);
    let (signature, spki) = (sign(&key(), &quote), spki(&key()));
    let expected = Expected::nothing();
    let input = Tpm2 {
        quote: &quote,
        signature: &signature,
        ak: AttestationKey::Pinned(&spki),
        nonce: None,
        pcrs: None,
        event_log: None,
        boot: None,
        policy: &strict,
        expected: &expected,
        at: Time::from_unix(0),
    };
    assert_eq!(tpm2(input).rule(), Some(Rule::P6), "no log");
    let log = good.log();
    assert_eq!(tpm2(Tpm2 { event_log: Some(&log), ..input }).rule(), Some(Rule::P6), "a log without register values");
    let pcrs = good.pcrs();
    let whole = Tpm2 { event_log: Some(&log), pcrs: Some(&pcrs), ..input };
    assert_eq!(tpm2(whole).rule(), None);
    for length in 0..log.len() {
        assert_eq!(tpm2(Tpm2 { event_log: Some(&log[..length]), ..whole }).rule(), Some(Rule::P6), "{length} bytes");
    }
}

#[test]
fn p7_exactly_one_application_and_it_is_the_image() {
    let good = Machine::good();
    let at = |events: &[Event]| events.iter().position(|event| event.1 == APPLICATION).unwrap();
    let other = good.clone().with(|events| {
        *events.iter_mut().find(|event| event.1 == APPLICATION).unwrap() = Event::application(4, [0x12; 32])
    });
    assert_eq!(broken(&other), Some(Rule::P7), "another image");
    assert_eq!(broken(&good.clone().with(|events| drop(events.remove(at(events))))), Some(Rule::P7), "none");
    assert_eq!(broken(&good.clone().with(|events| events.push(Event::application(4, IMAGE)))), Some(Rule::P7), "twice");
    let shell_first = good.clone().with(|events| events.insert(at(events), Event::application(4, [0x13; 32])));
    assert_eq!(broken(&shell_first), Some(Rule::P7), "a shell before the image");
    let in_drivers = good.clone().with(|events| events.push(Event::application(2, [0x13; 32])));
    assert_eq!(broken(&in_drivers), Some(Rule::P7), "an application beside the option ROMs");
    let hidden = good.clone().with(|events| events.push(Event(4, DRIVER, [0x13; 32], Vec::new())));
    assert_eq!(broken(&hidden), Some(Rule::P7), "an application that calls itself a driver");
    let google = good.clone().with(|events| {
        events.retain(|event| event.1 != DRIVER);
        *events.iter_mut().find(|event| event.1 == APPLICATION).unwrap() = Event::application(2, IMAGE);
    });
    assert_eq!(judged(&google, Firmware::Google).rule(), None, "Google measures applications in PCR 2");
    assert_eq!(broken(&google), Some(Rule::P7));
    let google_driver = google.with(|events| events.push(Event(2, DRIVER, [0x13; 32], Vec::new())));
    assert_eq!(judged(&google_driver, Firmware::Google).rule(), Some(Rule::P7));
    let allowed = policy(DRIVERS_ALLOWED);
    assert_eq!(judged_by(&google_driver, Firmware::Google, &allowed).rule(), Some(Rule::P7), "whatever the policy");
}

const DRIVERS_ALLOWED: &str = "[tpm2]\ndrivers_allowed = { is = true, because = \"test\" }";

#[test]
fn p7_drivers_are_the_policys_to_allow_and_the_claims_list_them() {
    let good = Machine::good();
    let (standard, allowed) = (policy(""), policy(DRIVERS_ALLOWED));
    let embedded = |name| Policy::embedded(name).expect("a policy");
    let check = |machine: &Machine, policy: &Policy| judged_by(machine, Firmware::Standard, policy);
    let Verdict::Accepted { claims } = check(&good, &standard) else { panic!("refused") };
    assert_eq!(claims["drivers"], json!([]));
    for kind in [DRIVER, RUNTIME_DRIVER] {
        // A driver that a variable registers is loaded from a disk, and looks like an option ROM.
        let driven =
            good.clone().with(|events| events.insert(4, Event(2, kind, [0x66; 32], b"\\EFI\\evil.efi".to_vec())));
        assert_eq!(check(&driven, &standard).rule(), Some(Rule::P7));
        for (name, rule) in [("strict", Some(Rule::P7)), ("hardware", None), ("dev", None)] {
            assert_eq!(check(&driven, &embedded(name)).rule(), rule, "{name}");
        }
        let Verdict::Accepted { claims } = check(&driven, &allowed) else { panic!("refused") };
        assert_eq!(claims["drivers"], json!(["66".repeat(32)]));
        for register in [0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 13, 23] {
            let strayed = good.clone().with(|events| events.push(Event(register, kind, [0x66; 32], Vec::new())));
            assert_eq!(check(&strayed, &allowed).rule(), Some(Rule::P7), "PCR {register}");
        }
    }
}

#[test]
fn p7_no_application_in_any_other_register() {
    for register in [0, 1, 3, 5, 6, 7, 8, 9, 10, 13, 23] {
        for digest in [IMAGE, [0x13; 32]] {
            let strayed = Machine::good().with(|events| events.push(Event::application(register, digest)));
            assert_eq!(broken(&strayed), Some(Rule::P7), "PCR {register}");
        }
    }
}

#[test]
fn p8_no_initial_ramdisk_whatever_it_calls_itself() {
    for name in [&b"Linux initrd\0"[..], b"LOADED_IMAGE::LoadOptions\0"] {
        let ramdisk = Event(9, EVENT_TAG, Sha256::digest(b"a ramdisk").into(), name.to_vec());
        assert_eq!(broken(&Machine::good().with(|events| events.push(ramdisk))), Some(Rule::P8));
    }
}

#[test]
fn p9_pcr_11_p10_document() {
    let unified = Machine::good().with(|events| events.push(Event::of(11, 0xd, b".linux")));
    assert_eq!(broken(&unified), Some(Rule::P9));
    let mut other = Machine::good();
    other.document.push(b' ');
    assert_eq!(broken(&other), Some(Rule::P10), "another document");
    let mut twice = Machine::good();
    twice.after.push((12, [0x66; 32]));
    assert_eq!(broken(&twice), Some(Rule::P10), "something beside the document");
    let before = Machine::good().with(|events| events.push(Event::of(12, 0xd, b"command line")));
    assert_eq!(broken(&before), Some(Rule::P10), "firmware or a loader measured there first");
    let told = Machine::good()
        .telling(|told| told.push(Event(12, 0xd, Sha256::digest(DOCUMENT).into(), b"document".to_vec())));
    assert_eq!(broken(&told), None, "the log may tell the document's event");
    let lied = Machine::good().telling(|told| told.push(Event::of(12, 0xd, b"another")));
    assert_eq!(broken(&lied), Some(Rule::P10));
}
