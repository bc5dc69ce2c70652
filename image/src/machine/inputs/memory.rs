//! How much memory a machine gets.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::str::FromStr;

use deployment::Document;

const MIB: u64 = 1024 * 1024;
/// Kernel, unpacked initramfs, server and its threads, in MiB.
const BASE_MIB: u64 = 128;
/// Cache and buffers of a model whose head cannot be read, in bytes.
const UNKNOWN_BYTES: u64 = 1 << 30;

/// Memory of a machine, written `512M` or `2G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryMib(pub u64);

impl FromStr for MemoryMib {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a size such as 512M or 2G".to_owned();
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.get(number.len()..).unwrap_or_default().to_ascii_uppercase().as_str() {
            "M" | "MIB" => 1,
            "G" | "GIB" => 1024,
            _ => return Err(wrong()),
        };
        let mib = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)?;
        if (64..=16 * MIB).contains(&mib) { Ok(Self(mib)) } else { Err("between 64M and 16384G".to_owned()) }
    }
}

/// Memory for a model of this size under this document, in MiB: the weights (twice where the machine `repacks` them while loading), the
/// cache of keys and values, what a step of the engine needs, and everything else.
#[must_use]
pub fn memory_for(model: &Path, model_bytes: u64, document: Option<&Document>, repacks: bool) -> u64 {
    let engine = document.map_or_else(deployment::Engine::default, |document| document.engine.clone());
    let header = File::open(model).ok().and_then(|file| gguf::check_reader(BufReader::new(file)).ok());
    let weights = model_bytes.saturating_mul(if repacks && engine.repack { 2 } else { 1 });
    let load = gguf::Load {
        context_tokens: engine.context_tokens,
        sequences: engine.parallel_sequences,
        prefill_tokens: engine.prefill_chunk_tokens,
    };
    let work = header.map_or(UNKNOWN_BYTES, |header| header.cache_bytes(load).saturating_add(header.step_bytes(load)));
    (weights.saturating_add(work).div_ceil(MIB) + BASE_MIB).next_multiple_of(64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::inputs::fixture::file;

    #[test]
    fn sizes_have_a_unit_and_a_range() {
        assert_eq!("512M".parse(), Ok(MemoryMib(512)));
        assert_eq!("2G".parse(), Ok(MemoryMib(2048)));
        assert_eq!("2gib".parse(), Ok(MemoryMib(2048)));
        for text in ["", "512", "M", "2T", "-1G", "1.5G", "63M", "99999999G", "18446744073709551615G"] {
            assert!(text.parse::<MemoryMib>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn memory_grows_with_the_model_and_stays_aligned() {
        let unreadable = file(b"no gguf");
        let small = memory_for(unreadable.path(), 1 << 20, None, false);
        let large = memory_for(unreadable.path(), 8 << 30, None, false);
        assert!(small >= BASE_MIB + 1024 && large - small >= 8 * 1024 - 64, "{small} {large}");
        assert_eq!((small % 64, large % 64), (0, 0));
        let twice = memory_for(unreadable.path(), 8 << 30, None, true);
        assert_eq!(twice - large, 8 * 1024);
    }

    #[test]
    fn memory_follows_from_the_heads_that_are_cached() {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/tiny-random-llama.gguf");
        let head = gguf::check_reader(File::open(&model).unwrap()).unwrap();
        // 2 layers, keys and values of 2 of 4 heads of 16 values
        assert_eq!((head.attention.heads, head.attention.cached_per_token), (4, 2 * 2 * 2 * 16));
        assert_eq!(memory_for(&model, 130_912, None, true), 192);
    }
}
