//! What the registers hold after the events of a log.

use std::collections::BTreeMap;

use super::{Algorithm, EventType, Log, Registers};

/// Data of the event that names the locality from which the TPM was started (without its last byte).
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";

/// A register after the replay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// Its number; see [`Registers`].
    pub index: u32,
    /// Its value.
    pub value: Vec<u8>,
    /// How many events were extended into it.
    pub events: usize,
}

pub(super) fn replay(log: &Log<'_>, algorithm: Algorithm) -> Vec<Register> {
    let Some(length) = algorithm.length() else { return Vec::new() };
    let mut registers: BTreeMap<u32, Register> = BTreeMap::new();
    for event in &log.events {
        if event.kind == EventType::NO_ACTION {
            continue;
        }
        let Some(digest) = event.digest(algorithm) else { return Vec::new() };
        let index = event.register;
        let register =
            registers.entry(index).or_insert_with(|| Register { index, value: start(log, index, length), events: 0 });
        register.value = algorithm.digest(&[&register.value, digest]).unwrap_or_default();
        register.events += 1;
    }
    registers.into_values().collect()
}

/// Zeros; PCR 0 starts with the number of the locality that started the TPM (TPM 2.0 part 1, "H-CRTM").
fn start(log: &Log<'_>, index: u32, length: usize) -> Vec<u8> {
    let mut value = vec![0; length];
    if log.registers() == Registers::Pcr && index == 0 {
        let locality = log.events.iter().find_map(|event| match event.data.strip_prefix(STARTUP_LOCALITY) {
            Some(&[locality]) if event.kind == EventType::NO_ACTION => Some(locality),
            _ => None,
        });
        if let (Some(last), Some(locality)) = (value.last_mut(), locality) {
            *last = locality;
        }
    }
    value
}
