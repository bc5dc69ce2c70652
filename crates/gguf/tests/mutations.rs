//! Whatever is cut from or flipped in a real file: an answer, never a panic, never an allocation a lie asked for.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
};

mod support;
use support::{File, Value};

/// Remembers the largest single allocation.
struct Largest(AtomicUsize);

// SAFETY: every call is passed to the system allocator unchanged.
#[allow(unsafe_code, reason = "an allocator can only be written with unsafe; this one is in test code")]
unsafe impl GlobalAlloc for Largest {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.0.fetch_max(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise about `pointer` and `layout` is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static LARGEST: Largest = Largest(AtomicUsize::new(0));

fn tiny() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/tiny-random-llama.gguf");
    fs::read(path).expect("the tiny model is in the tree")
}

const HEADER_BYTES: usize = 7761;

#[test]
fn every_truncation_is_refused() {
    let file = tiny();
    for length in 0..file.len() {
        let refused = gguf::check(&file[..length]).expect_err("cut");
        assert_eq!(refused.code(), "gguf-truncated", "cut to {length} bytes: {refused}");
    }
}

#[test]
fn bytes_after_the_last_tensor_are_refused() {
    let mut file = tiny();
    file.push(0);
    assert_eq!(gguf::check(&file).expect_err("longer").code(), "gguf-trailing");
}

#[test]
fn every_flipped_header_byte_gets_an_answer() {
    let mut file = tiny();
    let mut refused = 0_usize;
    for at in 0..HEADER_BYTES {
        for mask in [0x01, 0x80, 0xff] {
            file[at] ^= mask;
            refused += usize::from(gguf::check(&file).is_err());
            file[at] ^= mask;
        }
    }
    // Many flips change a text, which stays acceptable; all in lengths, counts, types and keys' prefixes must not.
    assert!(refused > 3 * 4000, "only {refused} of {} flips were refused", 3 * HEADER_BYTES);
}

#[test]
fn every_header_word_may_become_a_huge_number() {
    let mut file = tiny();
    for at in 0..HEADER_BYTES - 8 {
        for word in [u64::MAX, u64::MAX >> 1, 1 << 62, 1 << 32, u64::from(u32::MAX), 0] {
            let kept: [u8; 8] = file[at..at + 8].try_into().expect("eight bytes");
            file[at..at + 8].copy_from_slice(&word.to_le_bytes());
            let _ = gguf::check(&file);
            file[at..at + 8].copy_from_slice(&kept);
        }
    }
    // The tiny model's tables are 7.8 kB; the largest table of ours is its 320 tokens.
    let largest = LARGEST.0.load(Ordering::Relaxed);
    assert!(largest < 1 << 20, "an allocation of {largest} bytes was asked for");
}

#[test]
fn lying_counts_are_refused_before_anything_is_allocated() {
    for count in [1 << 12, 1 << 16, 1 << 32, 1 << 62, u64::MAX] {
        let tensors = File { tensor_count: Some(count), ..File::accepted() }.write();
        assert!(matches!(gguf::check(&tensors).expect_err("lie").code(), "gguf-count" | "gguf-truncated"));
        let pairs = File { pair_count: Some(count), ..File::accepted() }.write();
        assert!(matches!(gguf::check(&pairs).expect_err("lie").code(), "gguf-count" | "gguf-truncated"));
        for kind in [0_u32, 4, 6, 8, 11] {
            let mut array = kind.to_le_bytes().to_vec();
            array.extend(count.to_le_bytes());
            let file = File::accepted().with("a", Value::Raw(9, array)).write();
            gguf::check(&file).expect_err("lie");
        }
        let file = File::accepted().with("a", Value::Raw(8, count.to_le_bytes().to_vec())).write();
        gguf::check(&file).expect_err("lie");
    }
}
