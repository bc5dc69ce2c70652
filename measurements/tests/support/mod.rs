//! What the tests share: the corpus, firmware images built here, peers' interpreters.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "each test takes its part; a test fails by panicking"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;
use sha2::{Digest, Sha256};

/// A folder of the corpus, or a loud note of what is not checked without it.
pub fn corpus(folder: &str, unchecked: &str) -> Option<PathBuf> {
    let Some(corpus) = std::env::var_os("LETHE_CORPUS") else {
        eprintln!("SKIPPED: LETHE_CORPUS is not set, {unchecked} not checked");
        return None;
    };
    Some(PathBuf::from(corpus).join(folder))
}

pub fn json(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

/// A firmware image of the corpus' measurement vectors by its name there, checked by its digest.
pub fn corpus_firmware(measurement: &Path, name: &str) -> Option<Vec<u8>> {
    static READ: Mutex<BTreeMap<String, Option<Vec<u8>>>> = Mutex::new(BTreeMap::new());
    let mut read = READ.lock().unwrap();
    read.entry(name.to_owned()).or_insert_with(|| read_firmware(measurement, name)).clone()
}

fn read_firmware(measurement: &Path, name: &str) -> Option<Vec<u8>> {
    let manifest = json(&measurement.join("manifest.json"));
    let entry = &manifest["firmware"][name];
    let image = match (entry["file"]["path"].as_str(), entry["encoding"].as_str().unwrap()) {
        (Some(path), "xz") => {
            let run = Command::new("xz").arg("-dc").arg(measurement.join(path)).output().unwrap();
            assert!(run.status.success());
            run.stdout
        }
        (Some(path), _) => std::fs::read(measurement.join(path)).unwrap(),
        (None, _) => std::fs::read("/usr/share/ovmf/OVMF.fd").ok()?,
    };
    (sha256(&image) == entry["sha256"].as_str().unwrap()).then_some(image)
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The interpreter of a Python environment that the test scripts keep in the cache.
pub fn python(environment: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("lethe/python").join(environment).join("bin/python")).filter(|path| path.exists())
}

pub fn put(image: &mut [u8], at: usize, bytes: &[u8]) {
    image[at..at + bytes.len()].copy_from_slice(bytes);
}

pub fn put32(image: &mut [u8], at: usize, value: u32) {
    put(image, at, &value.to_le_bytes());
}

/// A firmware image of two pages as a test wants it: sections, then a GUID table.
pub struct Image {
    pub sections: Vec<(u32, u32, u32)>,
    pub hash_table: (u32, u32),
    pub reset: u32,
}

pub const IMAGE: usize = 8192;
/// Where the SEV metadata start.
pub const METADATA: usize = 0x1800;
/// Where the footer of the GUID table starts.
pub const FOOTER: usize = IMAGE - 50;

impl Image {
    /// As OVMF for SEV has it: five kinds of sections, kernel hashes among them.
    pub fn with_kernel_hashes() -> Self {
        let sections = vec![
            (0x80_0000, 0x9000, 1),
            (0x80_a000, 0x3000, 1),
            (0x80_d000, 0x1000, 2),
            (0x80_e000, 0x1000, 3),
            (0x80_f000, 0x1000, 4),
            (0x81_1000, 0x4000, 1),
            (0x81_0000, 0x1000, 0x10),
        ];
        Self { sections, hash_table: (0x81_0c00, 0x400), reset: 0x80_b004 }
    }

    /// As a distribution's ordinary OVMF has it: the entry for kernel hashes is zero.
    pub fn without_kernel_hashes() -> Self {
        let mut image = Self::with_kernel_hashes();
        image.sections.truncate(5);
        image.hash_table = (0, 0);
        image
    }

    /// Data of the table's entries with their GUIDs, from the footer towards the start.
    pub fn entries(&self) -> Vec<(u128, Vec<u8>)> {
        let table = [self.hash_table.0.to_le_bytes(), self.hash_table.1.to_le_bytes()].concat();
        let distance = u32::try_from(IMAGE - METADATA).unwrap().to_le_bytes().to_vec();
        vec![
            (0x00f771de_1a7e_4fcb_890e_68c77e2fb44e, self.reset.to_le_bytes().to_vec()),
            (0x7255371f_3a3b_4b04_927b_1da6efa8d454, table),
            (0xdc886566_984a_4798_a75e_5585a7bf67cc, distance),
        ]
    }

    pub fn build(&self) -> Vec<u8> {
        let mut image: Vec<u8> = (0..IMAGE).map(|index| (index * 31 % 253) as u8).collect();
        let count = u32::try_from(self.sections.len()).unwrap();
        put(&mut image, METADATA, b"ASEV");
        put32(&mut image, METADATA + 4, 16 + 12 * count);
        put32(&mut image, METADATA + 8, 1);
        put32(&mut image, METADATA + 12, count);
        for (index, (address, size, kind)) in self.sections.iter().enumerate() {
            for (field, value) in [address, size, kind].into_iter().enumerate() {
                put32(&mut image, METADATA + 16 + 12 * index + 4 * field, *value);
            }
        }
        write_table(&mut image, &self.entries());
        image
    }
}

/// Writes a GUID table that ends where firmware has it.
pub fn write_table(image: &mut [u8], entries: &[(u128, Vec<u8>)]) {
    let footer = image.len() - 50;
    let mut end = footer;
    for (guid, data) in entries {
        put_tail(image, end - 18, data.len() + 18, *guid);
        put(image, end - 18 - data.len(), data);
        end -= 18 + data.len();
    }
    put_tail(image, footer, footer - end + 18, 0x96b582de_1fb2_45f7_baea_a366c55a082d);
}

fn put_tail(image: &mut [u8], at: usize, length: usize, guid: u128) {
    put(image, at, &u16::try_from(length).unwrap().to_le_bytes());
    put(image, at + 2, &measurements::guid::Guid::from_u128(guid).to_bytes());
}
