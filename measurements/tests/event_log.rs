//! Event logs of real machines and of real firmware under emulation: replayed to the registers those had, and explained.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use measurements::event_log::{Algorithm, EventType, Format, Log, LogError, Proof, Registers, explain, proof};
use serde_json::Value;

fn algorithm(name: &str) -> Algorithm {
    match name {
        "sha1" => Algorithm::Sha1,
        "sha256" => Algorithm::Sha256,
        "sha384" => Algorithm::Sha384,
        other => panic!("{other}"),
    }
}

/// What the log replays to for one register, in hexadecimal.
fn replayed(log: &Log<'_>, name: &str, index: u32) -> Option<String> {
    let register = log.replay(algorithm(name)).into_iter().find(|register| register.index == index)?;
    Some(hex::encode(register.value))
}

fn log_file(vector: &Value) -> Option<&str> {
    vector["file"]["path"]
        .as_str()
        .or(vector["files"]["eventlog"]["path"].as_str())
        .filter(|path| path.ends_with("bin"))
}

#[test]
fn logs_of_tpms_replay_to_the_registers_that_were_read() {
    let Some(folder) = support::corpus("vectors/measurement", "event logs of TPMs were") else { return };
    let vectors = support::json(&folder.join("tpm/vectors.json"));
    let (mut logs, mut registers) = (0, 0);
    for vector in vectors["vectors"].as_array().unwrap() {
        let Some(file) = log_file(vector) else { continue };
        let bytes = std::fs::read(folder.join(file)).unwrap();
        let log = Log::parse(&bytes).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(log.registers(), Registers::Pcr, "{file}");
        logs += 1;
        let banks = vector["pcrs"].as_object().or(vector["expected"].as_object());
        for (bank, values) in banks.unwrap() {
            // Linux' integrity subsystem extends PCR 10 on its own; registers without events stay as they are.
            for (index, value) in values.as_object().unwrap().iter().filter(|(index, _)| *index != "10") {
                let Some(ours) = replayed(&log, bank, index.parse().unwrap()) else { continue };
                assert_eq!(ours, value.as_str().unwrap(), "{file} {bank} {index}");
                registers += 1;
            }
        }
    }
    assert!(logs >= 14 && registers >= 250, "{logs} logs, {registers} registers");
    eprintln!("{registers} registers of {logs} logs");
}

fn ccel(folder: &Path, vector: &Value) -> Option<Vec<u8>> {
    let of_evidence = |name: &str| std::fs::read(folder.join("../../evidence/tdx").join(name).join("ccel.bin")).ok();
    match (vector["id"].as_str().unwrap(), vector["file"]["path"].as_str()) {
        ("rtmr-replay-qemu-direct", _) => of_evidence("v4-qemu-direct-with-ccel"),
        ("rtmr-replay-gce-cos113", _) => of_evidence("v4-gce-cos113-with-ccel"),
        (_, Some(path)) => std::fs::read(folder.join(path)).ok(),
        _ => None,
    }
}

#[test]
fn logs_of_tdx_guests_replay_to_the_registers_of_their_quotes() {
    let Some(folder) = support::corpus("vectors/measurement", "event logs of TDX guests were") else { return };
    let vectors = support::json(&folder.join("tdx/vectors.json"));
    let mut compared = 0;
    for vector in vectors["vectors"].as_array().unwrap() {
        let Some(bytes) = ccel(&folder, vector) else { continue };
        let log = Log::parse(&bytes).unwrap();
        assert_eq!(log.registers(), Registers::Rtmr, "{}", vector["id"]);
        if let Some(events) = vector["events"].as_u64() {
            assert_eq!(log.events.len() as u64, events, "{}", vector["id"]);
            assert_eq!(log.end, vector["log_end"].as_u64().unwrap());
        }
        for (name, value) in vector["expected"].as_object().unwrap() {
            let index = 1 + name.strip_prefix("rtmr").unwrap().parse::<u32>().unwrap();
            let zero = "0".repeat(96);
            let ours = replayed(&log, "sha384", index).unwrap_or(zero);
            assert_eq!(ours, value.as_str().unwrap(), "{} {name}", vector["id"]);
            compared += 1;
        }
    }
    assert_eq!(compared, 17);
}

#[test]
fn every_event_of_the_corpus_is_explained_in_one_printable_line() {
    let Some(folder) = support::corpus("vectors/measurement", "explanations of events were") else { return };
    let (mut lines, mut proven) = (0, 0);
    for part in ["tpm", "tdx"] {
        let vectors = support::json(&folder.join(part).join("vectors.json"));
        for vector in vectors["vectors"].as_array().unwrap() {
            let file = log_file(vector).map(|file| folder.join(file));
            let Some(bytes) = file.filter(|file| file.exists()).map(|file| std::fs::read(file).unwrap()) else {
                continue;
            };
            for event in Log::parse(&bytes).unwrap().events {
                let line = explain(&event);
                assert!(!line.chars().any(char::is_control), "{line:?}");
                assert!((3..600).contains(&line.len()), "{line:?}");
                assert!(!line.starts_with("data of another form"), "{:?} {line}", event.kind);
                lines += 1;
                proven += usize::from(proof(&event) != Proof::Nothing);
            }
        }
    }
    assert!(lines > 900 && proven > 300, "{lines} {proven}");
    eprintln!("{lines} events, {proven} of them proven by their digest");
}

#[test]
fn explanations_name_what_a_verifier_looks_for() {
    let Some(folder) = support::corpus("vectors/measurement", "explanations of events were") else { return };
    let bytes = std::fs::read(folder.join("tpm/emulated-uki-sid/eventlog.bin")).unwrap();
    let log = Log::parse(&bytes).unwrap();
    let lines: Vec<_> = log.events.iter().map(|event| (event.register, explain(event), proof(event))).collect();
    let has = |register: u32, line: &str, proof: Proof| {
        assert!(lines.contains(&(register, line.to_owned(), proof)), "{line} not in {lines:#?}");
    };
    has(0, "version of the firmware: \"2026.08+ds-2\"", Proof::Data);
    has(0, "firmware in memory at 0x830000, 851968 bytes", Proof::Nothing);
    has(7, "Secure Boot is off", Proof::Data);
    has(7, "variable PK is empty", Proof::Data);
    has(1, "boot order: Boot0002, Boot0000, Boot0001, Boot0003", Proof::Value);
    has(1, "boot option Boot0001: \"EFI Firmware Setup\"", Proof::Value);
    has(4, "action: \"Calling EFI Application from Boot Option\"", Proof::Data);
    has(4, "separator: firmware has finished, what it boots begins", Proof::Data);
    has(4, "application started: partition 1 \\EFI\\BOOT\\BOOTX64.EFI, 14283105 bytes in memory", Proof::Nothing);
    has(5, "partition table of disk 11111111-2222-3333-4444-555555555555, 1 partition(s)", Proof::Data);
    has(9, "Linux' EFI stub: the kernel's command line", Proof::Nothing);
    has(9, "Linux' EFI stub: an initial RAM disk", Proof::Nothing);
}

/// A log with SHA-256 and SHA-384, as firmware writes it.
fn built() -> Vec<u8> {
    let mut log = header(&[(0x0b, 32), (0x0c, 48)], &[]);
    log.extend(event(4, 0x8000_0007, b"Calling EFI Application from Boot Option"));
    log.extend(event(4, 4, &[0; 4]));
    log.extend(event(0, 3, b"StartupLocality\0\x03"));
    log.extend(event(0, 8, &[0; 2]));
    log
}

fn header(algorithms: &[(u16, u16)], vendor: &[u8]) -> Vec<u8> {
    let mut data = b"Spec ID Event03\0".to_vec();
    data.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    data.extend(u32::try_from(algorithms.len()).unwrap().to_le_bytes());
    for (number, length) in algorithms {
        data.extend(number.to_le_bytes());
        data.extend(length.to_le_bytes());
    }
    data.push(u8::try_from(vendor.len()).unwrap());
    data.extend(vendor);
    let mut log = [0_u32.to_le_bytes(), 3_u32.to_le_bytes()].concat();
    log.extend([0; 20]);
    log.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    log.extend(data);
    log
}

fn event(register: u32, kind: u32, data: &[u8]) -> Vec<u8> {
    let mut event = [register.to_le_bytes(), kind.to_le_bytes(), 2_u32.to_le_bytes()].concat();
    for (number, algorithm) in [(0x0b_u16, Algorithm::Sha256), (0x0c, Algorithm::Sha384)] {
        event.extend(number.to_le_bytes());
        event.extend(algorithm.digest(&[data]).unwrap());
    }
    event.extend(u32::try_from(data.len()).unwrap().to_le_bytes());
    event.extend(data);
    event
}

const FIRST_EVENT: usize = 32 + 28 + 8 + 1;

#[test]
fn built_log_is_read_and_replayed() {
    let bytes = built();
    let log = Log::parse(&bytes).unwrap();
    assert_eq!(log.format, Format::CryptoAgile);
    assert_eq!(log.algorithms, [Algorithm::Sha256, Algorithm::Sha384]);
    assert_eq!(log.events.len(), 4);
    assert_eq!(log.end, bytes.len() as u64);
    assert_eq!(log.events[0].offset, FIRST_EVENT as u64);
    let sha256 = |parts: &[&[u8]]| Algorithm::Sha256.digest(parts).unwrap();
    let action = sha256(&[b"Calling EFI Application from Boot Option"]);
    let four = sha256(&[&sha256(&[&[0; 32], &action]), &sha256(&[&[0; 4]])]);
    assert_eq!(replayed(&log, "sha256", 4), Some(hex::encode(four)));
    // A TPM started from locality 3 has PCR 0 start with 3.
    let mut start = [0; 32];
    start[31] = 3;
    assert_eq!(replayed(&log, "sha256", 0), Some(hex::encode(sha256(&[&start, &sha256(&[&[0; 2]])]))));
    assert_eq!(replayed(&log, "sha1", 4), None);
    // The digest of a note is not extended, and so proves nothing even where it is that of the data.
    let proofs: Vec<_> = log.events.iter().map(proof).collect();
    assert_eq!(proofs, [Proof::Data, Proof::Data, Proof::Nothing, Proof::Data]);
}

#[test]
fn padding_of_zeros_and_ones_ends_a_log_and_other_bytes_are_refused() {
    for (length, byte) in [(1, 0), (7, 0xff), (4096, 0), (4096, 0xff)] {
        let bytes = [built(), vec![byte; length]].concat();
        let log = Log::parse(&bytes).unwrap();
        assert_eq!((log.events.len(), log.end), (4, built().len() as u64));
    }
    for byte in [0, 0xff] {
        let mut bytes = [built(), vec![byte; 4096]].concat();
        *bytes.last_mut().unwrap() = 1;
        assert_eq!(Log::parse(&bytes), Err(LogError::Tail { offset: built().len() as u64 }));
        assert_eq!(Log::parse(&[byte; 100]), Err(LogError::Empty));
    }
    assert_eq!(Log::parse(&[]), Err(LogError::Empty));
}

#[test]
fn every_truncation_but_those_between_events_is_refused() {
    let bytes = built();
    let log = Log::parse(&bytes).unwrap();
    let ends: Vec<_> = log.events.iter().map(|event| event.offset as usize).chain([bytes.len()]).collect();
    for length in 1..bytes.len() {
        // Some bytes of a cut event may read as padding; never as an event that was not there.
        match Log::parse(&bytes[..length]) {
            Ok(part) => assert!(part.events.len() < log.events.len() && log.events.starts_with(&part.events)),
            Err(_) => assert!(!ends.contains(&length), "{length}"),
        }
    }
}

#[test]
fn lying_headers_are_refused() {
    let refused = |log: Vec<u8>| Log::parse(&log).unwrap_err();
    let at = |offset: u64| 32 + offset;
    let value = |what, offset, value| LogError::Value { what, offset, value };
    let mut log = built();
    support::put32(&mut log, 32 + 24, 0);
    assert_eq!(refused(log), value("number of algorithms", at(24), 0));
    let mut log = built();
    support::put32(&mut log, 32 + 24, 0xffff_ffff);
    assert_eq!(refused(log), value("number of algorithms", at(24), 0xffff_ffff));
    assert_eq!(refused(header(&[(0x0b, 31)], &[])), value("length of a digest", at(30), 31));
    assert_eq!(refused(header(&[(0x12, 65)], &[])), value("length of a digest", at(30), 65));
    assert_eq!(refused(header(&[(0x12, 0)], &[])), value("length of a digest", at(30), 0));
    let twice = header(&[(0x0b, 32), (0x0b, 32)], &[]);
    assert_eq!(refused(twice), value("algorithm named a second time", at(32), 11));
    let mut log = header(&[(0x0b, 32)], b"vendor");
    log[32 + 32] = 7;
    assert_eq!(refused(log), value("length of vendor information", at(32), 7));
    assert!(Log::parse(&header(&[(0x0b, 32), (0x12, 32)], b"vendor")).is_ok());
}

#[test]
fn lying_events_are_refused() {
    let refused = |change: fn(&mut Vec<u8>)| {
        let mut log = built();
        change(&mut log);
        Log::parse(&log).unwrap_err()
    };
    let offset = FIRST_EVENT as u64;
    for count in [0_u32, 1, 3, 0xffff_ffff] {
        let mut log = built();
        support::put32(&mut log, FIRST_EVENT + 8, count);
        assert_eq!(Log::parse(&log), Err(LogError::Digests { offset }), "{count}");
    }
    assert_eq!(refused(|log| log[FIRST_EVENT + 12] = 0x0c), LogError::Digests { offset }, "one algorithm twice");
    assert_eq!(refused(|log| log[FIRST_EVENT + 12] = 0x0d), LogError::Digests { offset }, "an algorithm not declared");
    let length_at = FIRST_EVENT + 12 + 34 + 50;
    for length in [0x7fff_ffff_u32, 0xffff_ffff] {
        let mut log = built();
        support::put32(&mut log, length_at, length);
        let data = length_at as u64 + 4;
        assert_eq!(Log::parse(&log), Err(LogError::Truncated { what: "data of the event", offset: data }));
    }
}

#[test]
fn events_with_structures_that_lie_are_still_explained() {
    for kind in [1, 3, 4, 6, 8, 0xd, 0x11, 0x8000_0001, 0x8000_0002, 0x8000_0003, 0x8000_0006, 0x8000_0008, 0x8000_000a]
    {
        for data in [vec![], vec![0xff; 3], vec![0xff; 60], vec![0; 60], (0..=255).collect()] {
            let bytes = [header(&[(0x0b, 32), (0x0c, 48)], &[]), event(1, kind, &data)].concat();
            let log = Log::parse(&bytes).unwrap();
            let line = explain(&log.events[0]);
            assert!(!line.is_empty() && !line.chars().any(char::is_control) && line.len() < 1000, "{line:?}");
            assert_eq!(log.events[0].kind, EventType(kind));
        }
    }
}

#[test]
fn random_damage_never_panics() {
    let bytes = built();
    let mut state = 3_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    let mut refused = 0;
    for _ in 0..20_000 {
        let mut damaged = bytes.clone();
        for _ in 0..=next() % 4 {
            damaged[next() % bytes.len()] = next() as u8;
        }
        match Log::parse(&damaged) {
            Ok(log) => log.events.iter().for_each(|event| assert!(!explain(event).is_empty())),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 1_000, "{refused}");
}
