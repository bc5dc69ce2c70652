//! Release files and signed notes: what is read, what is refused.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod schema;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, SigningKey};
use measurements::register::Prediction;
use measurements::release::signed_note::{NoteError, SignedNote, VerifierKey};
use measurements::release::{
    Banks, Digest, FORMAT, Firmware, Image, LIMIT, LaunchDigests, Part, Pcrs, Platform, Register, Release,
    ReleaseError, SevSnp, Tdx, Tpm2,
};
use measurements::tpm2::{pcr0, pcr9};
use serde_json::Value;

fn part(byte: u8) -> Part {
    Part { sha256: Digest([byte; 32]), size: 1 }
}

fn banks() -> Banks {
    Banks { sha256: Digest([1; 32]), sha384: Digest([2; 48]) }
}

fn launch(number: u8, vcpus: usize) -> LaunchDigests {
    LaunchDigests {
        cpu_signature: format!("{number:#x}"),
        cpu_types: vec![format!("EPYC-{number}")],
        by_vcpus: (1..=vcpus).map(|count| Digest([number ^ count as u8; 48])).collect(),
    }
}

fn firmware(name: &str, vcpus: usize) -> Firmware {
    let rtmr = || Register::from(Prediction::<[u8; 48]>::always(Vec::new()));
    Firmware {
        name: name.to_owned(),
        file: part(7),
        sev_snp: Platform::Measured(SevSnp {
            guest_features: "0x1".to_owned(),
            launch_digests: vec![launch(0x80, vcpus)],
        }),
        tdx: Platform::Measured(Tdx { mrtd: rtmr(), rtmr0: rtmr(), rtmr1: rtmr(), rtmr2: rtmr() }),
        pcr7: pcr9().into(),
    }
}

fn release() -> Release {
    let pcrs = || Pcrs {
        image_pcr: 4,
        image_event: banks(),
        pcr2: pcr0().into(),
        pcr4: pcr9().into(),
        pcr9: pcr9().into(),
        pcr11: pcr9().into(),
    };
    Release {
        format: FORMAT,
        version: "0.2.0-rc.1".to_owned(),
        commit: "a".repeat(40),
        image: Image {
            file: part(3),
            authenticode: banks(),
            appliance: part(4),
            initramfs: part(5),
            document: None,
            flavour: "qemu".to_owned(),
            cmdline: "noinitrd".to_owned(),
        },
        files: BTreeMap::from([("sbom.cdx.json".to_owned(), part(6))]),
        firmware: vec![firmware("A.fd", 64), firmware("B.fd", 64)],
        tpm2: Tpm2 { edk2: pcrs(), google: pcrs() },
    }
}

#[test]
fn a_release_is_what_it_was_after_it_was_written_and_read() {
    let text = release().render().unwrap();
    assert_eq!(Release::parse(text.as_bytes()).unwrap(), release());
    assert_eq!(release().render().unwrap(), text);
    assert!(text.ends_with("}\n") && !text.contains("\n\n"));
}

#[test]
fn the_same_contents_in_other_bytes_are_refused() {
    let text = release().render().unwrap();
    let compact = serde_json::to_string(&serde_json::from_str::<Value>(&text).unwrap()).unwrap();
    for changed in [compact, format!("{text}\n"), text.replacen("  ", "   ", 1), text.replace("aaaa", "\\u0061aaa")] {
        assert!(matches!(Release::parse(changed.as_bytes()), Err(ReleaseError::Bytes)), "{}", &changed[..80]);
    }
    let upper = text.replace(&"03".repeat(32), &"0A".repeat(32));
    assert!(matches!(Release::parse(upper.as_bytes()), Err(ReleaseError::Bytes)));
}

#[test]
fn other_shapes_and_formats_are_refused() {
    let text = release().render().unwrap();
    let other = text.replace("\"format\": 1", "\"format\": 2");
    assert!(matches!(Release::parse(other.as_bytes()), Err(ReleaseError::Format { found: 2 })));
    let extra = text.replace("\"flavour\"", "\"more\": 1,\n    \"flavour\"");
    assert!(matches!(Release::parse(extra.as_bytes()), Err(ReleaseError::Shape(_))));
    let short = text.replace(&"03".repeat(32), "03");
    assert!(matches!(Release::parse(short.as_bytes()), Err(ReleaseError::Shape(_))));
    for end in 0..text.len().min(400) {
        assert!(Release::parse(&text.as_bytes()[..end]).is_err());
    }
}

#[test]
fn a_file_over_the_limit_is_neither_written_nor_read() {
    let mut large = release();
    large.image.cmdline = "x".repeat(LIMIT);
    assert!(matches!(large.render(), Err(ReleaseError::TooLarge { .. })));
    assert!(matches!(Release::parse(&vec![b' '; LIMIT + 1]), Err(ReleaseError::TooLarge { .. })));
    assert!(matches!(Release::parse(&vec![b' '; LIMIT]), Err(ReleaseError::Shape(_))));
}

#[test]
fn names_orders_and_counts_that_mean_nothing_are_refused() {
    let broken = |change: &dyn Fn(&mut Release)| {
        let mut release = release();
        change(&mut release);
        release.render().unwrap_err()
    };
    for name in ["../up", ".hidden", "", "a/b", "a b"] {
        assert!(
            matches!(
                broken(&|one| {
                    one.files.insert(name.to_owned(), part(1));
                }),
                ReleaseError::Name
            ),
            "{name}"
        );
        assert!(matches!(broken(&|one| one.firmware[0].name = name.to_owned()), ReleaseError::Name), "{name}");
    }
    for version in ["", "v1", "1/2", "1 2", &"1".repeat(65)] {
        assert!(matches!(broken(&|one| one.version = version.to_owned()), ReleaseError::Version), "{version}");
    }
    assert!(matches!(broken(&|one| one.firmware.reverse()), ReleaseError::Order { .. }));
    assert!(matches!(broken(&|one| one.firmware[1].name = "A.fd".to_owned()), ReleaseError::Order { .. }));
    for vcpus in [0, 63, 65] {
        let error = broken(&|one| one.firmware[0] = firmware("A.fd", vcpus));
        assert!(matches!(error, ReleaseError::Vcpus { found } if found == vcpus));
    }
}

#[test]
fn a_measurement_is_found_with_the_guest_it_belongs_to() {
    let release = release();
    let launch = release.launch(&[0x80 ^ 64; 48]).unwrap();
    assert_eq!((launch.firmware.name.as_str(), launch.vcpus), ("A.fd", 64));
    assert_eq!(launch.cpu_types, ["EPYC-128"]);
    assert_eq!(release.launch(&[0x80; 48]), None);
}

#[test]
fn the_schema_describes_what_is_written_and_refuses_what_is_not() {
    let file: Value = serde_json::from_str(&release().render().unwrap()).unwrap();
    schema::check(&file).unwrap();
    let changes: [(&str, Value); 7] = [
        ("/format", 2.into()),
        ("/version", "v1".into()),
        ("/image/file/sha256", "00".into()),
        ("/image/document", "none".into()),
        ("/firmware/0/sev_snp/measured/launch_digests/0/by_vcpus", Value::Array(Vec::new())),
        ("/firmware/0/tdx", serde_json::json!({ "measured": {}, "unsupported": "no" })),
        ("/tpm2/edk2/pcr2", serde_json::json!({ "unpredictable": { "reason": "", "judge": "x", "events": [] } })),
    ];
    for (place, value) in changes {
        let mut changed = file.clone();
        *changed.pointer_mut(place).unwrap() = value;
        assert!(schema::check(&changed).is_err(), "{place}");
    }
    let mut more = file.clone();
    more.as_object_mut().unwrap().insert("more".to_owned(), Value::Null);
    assert!(schema::check(&more).is_err());
    let mut fewer = file;
    fewer.as_object_mut().unwrap().remove("tpm2");
    assert!(schema::check(&fewer).is_err());
}

struct Signer {
    secret: SigningKey,
    public: VerifierKey,
}

fn signer(name: &str, seed: u8) -> Signer {
    let secret = SigningKey::from_bytes(&[seed; 32]);
    let public = VerifierKey::new(name, secret.verifying_key()).unwrap();
    Signer { secret, public }
}

fn add(note: &mut SignedNote, signer: &Signer) {
    let signature = signer.secret.sign(note.text().as_bytes()).to_bytes();
    note.add(&signer.public, &signature).unwrap();
}

fn note(signers: &[&Signer]) -> String {
    let mut note = SignedNote::unsigned("one\n\ntwo\n").unwrap();
    signers.iter().for_each(|signer| add(&mut note, signer));
    note.render()
}

fn verify(note: &str, keys: &[&Signer], threshold: usize) -> Result<usize, NoteError> {
    let keys: Vec<VerifierKey> = keys.iter().map(|signer| signer.public.clone()).collect();
    SignedNote::parse(note.as_bytes())?.verify(&keys, threshold).map(|signers| signers.len())
}

#[test]
fn enough_signatures_of_known_keys_are_taken_and_others_ignored() {
    let (a, b, c) = (signer("a", 1), signer("b", 2), signer("c", 3));
    let note = note(&[&a, &b]);
    assert_eq!(SignedNote::parse(note.as_bytes()).unwrap().text(), "one\n\ntwo\n");
    assert_eq!(verify(&note, &[&a, &b], 2), Ok(2));
    assert_eq!(verify(&note, &[&b, &c], 1), Ok(1));
    assert_eq!(verify(&note, &[&b, &c], 2), Err(NoteError::TooFew { found: 1, threshold: 2 }));
    assert_eq!(verify(&note, &[&c], 1), Err(NoteError::TooFew { found: 0, threshold: 1 }));
}

#[test]
fn a_changed_byte_of_the_text_is_refused() {
    let a = signer("a", 1);
    let note = note(&[&a]);
    let text = note.find("\u{2014}").unwrap() - 1;
    for place in 0..text - 1 {
        let mut changed = note.clone().into_bytes();
        changed[place] ^= 1;
        let changed = String::from_utf8(changed).unwrap();
        assert!(verify(&changed, &[&a], 1).is_err(), "{place}");
    }
    assert_eq!(verify(&note, &[&a], 1), Ok(1));
}

#[test]
fn a_wrong_signature_of_a_known_key_spoils_the_note() {
    let (a, b) = (signer("a", 1), signer("b", 2));
    // The right name and id with the signature of another key.
    let forged = b.secret.sign(b"one\n\ntwo\n").to_bytes();
    let bytes = [a.public.id().as_slice(), &forged].concat();
    let note = format!("{}\u{2014} a {}\n", note(&[&b]), STANDARD.encode(&bytes));
    assert_eq!(verify(&note, &[&b], 1), Ok(1), "unknown keys are ignored");
    assert_eq!(verify(&note, &[&a, &b], 1), Err(NoteError::Signature { name: "a".to_owned() }));
    // One of another length, too.
    let note = note.replace(&STANDARD.encode(&bytes), &STANDARD.encode(&bytes[..40]));
    assert_eq!(verify(&note, &[&a, &b], 1), Err(NoteError::Signature { name: "a".to_owned() }));
}

#[test]
fn another_key_of_the_same_name_is_not_the_signer() {
    let (a, other) = (signer("a", 1), signer("a", 2));
    assert_eq!(verify(&note(&[&a]), &[&other], 1), Err(NoteError::TooFew { found: 0, threshold: 1 }));
}

#[test]
fn a_signer_counts_once_whatever_its_lines_keys_and_names() {
    let (a, again, b) = (signer("a", 1), signer("again", 1), signer("b", 2));
    let twice = note(&[&a, &a, &again]);
    assert_eq!(verify(&twice, &[&a, &b], 2), Err(NoteError::TooFew { found: 1, threshold: 2 }));
    assert_eq!(verify(&twice, &[&a, &again, &b], 2), Err(NoteError::TooFew { found: 1, threshold: 2 }));
    assert_eq!(verify(&twice, &[&a, &a], 2), Err(NoteError::Threshold { threshold: 2, keys: 1 }));
    assert_eq!(verify(&twice, &[&a, &again], 1), Ok(1));
}

#[test]
fn a_threshold_of_nothing_is_refused() {
    let a = signer("a", 1);
    assert_eq!(verify(&note(&[&a]), &[&a], 0), Err(NoteError::Threshold { threshold: 0, keys: 1 }));
    assert_eq!(verify(&note(&[&a]), &[], 1), Err(NoteError::Threshold { threshold: 1, keys: 0 }));
}

#[test]
fn a_signature_over_another_text_is_not_added() {
    let a = signer("a", 1);
    let mut note = SignedNote::unsigned("one\n").unwrap();
    assert!(note.add(&a.public, &a.secret.sign(b"two\n").to_bytes()).is_err());
    assert!(note.is_empty());
}

#[test]
fn notes_that_are_none_are_refused() {
    let a = signer("a", 1);
    let good = note(&[&a]);
    let line = good.lines().last().unwrap();
    for bad in [
        String::new(),
        "one\n".to_owned(),
        "one\n\n".to_owned(),
        format!("one\n{line}\n"),
        format!("one\n\n{line}"),
        format!("one\r\n\n{line}\n"),
        format!("one\n\n{line} more\n"),
        format!("one\n\n{}\n", line.replace('\u{2014}', "-")),
        format!("one\n\n{}\n", line.replace(" a ", " ")),
        format!("one\n\n{}\n", line.replace(" a ", " a+b ")),
        "one\n\n\u{2014} a AAAAAA==\n".to_owned(),
        format!("one\n\n{}", format!("{line}\n").repeat(101)),
    ] {
        assert!(SignedNote::parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    assert!(SignedNote::parse(format!("one\n\n{}", format!("{line}\n").repeat(100)).as_bytes()).is_ok());
    let large = format!("{}\n\n{line}\n", "x".repeat(measurements::release::signed_note::LIMIT));
    assert_eq!(SignedNote::parse(large.as_bytes()), Err(NoteError::TooLarge));
    assert!(SignedNote::parse(b"\xff\n\n").is_err());
}

/// The example of the specification, <https://c2sp.org/signed-note>, has no key beside it; this one is that of Go's
/// package golang.org/x/mod/sumdb/note.
#[test]
fn public_keys_are_read_as_other_implementations_write_them() {
    let text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    assert_eq!(text.parse::<VerifierKey>().unwrap().to_string(), text);
    assert_eq!(text.replace("a3+", "a4+").parse::<VerifierKey>(), Err(NoteError::KeyId));
    assert_eq!(text.replace("Peter", "Petra").parse::<VerifierKey>(), Err(NoteError::KeyId));
    let weak = format!("a+00000000+{}", STANDARD.encode([&[1][..], &[1], &[0; 31]].concat()));
    let private = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    for bad in ["", "a", "a+b", "a+00000000+", "a+00000000+Ag==", &weak, private] {
        assert_eq!(bad.parse::<VerifierKey>(), Err(NoteError::Key), "{bad}");
    }
}
