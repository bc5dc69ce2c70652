//! What the wiping costs: nanoseconds for one allocation and its release, with the wrapper and past it, and for one
//! growing step. `cargo run --release -p wipe --example cost`

// UNSAFETY: the C entry points are called as C code calls them.
#![expect(unsafe_code)]

use std::hint::black_box;
use std::time::Instant;

unsafe extern "C" {
    fn __real_free(block: *mut libc::c_void);
}

/// Nanoseconds a round of malloc, one written byte and `free`, best of five series.
fn round(size: usize, rounds: u32, free: unsafe extern "C" fn(*mut libc::c_void)) -> f64 {
    let series = || {
        let start = Instant::now();
        for _ in 0..rounds {
            // SAFETY: one block of at least one byte, written inside its bounds and freed once.
            unsafe {
                let block = black_box(libc::malloc(size));
                block.cast::<u8>().write_volatile(1);
                free(block);
            }
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(rounds)
    };
    (0..5).map(|_| series()).fold(f64::INFINITY, f64::min)
}

fn main() {
    assert!(wipe::installed());
    println!("{:>10} {:>12} {:>12} {:>12}", "bytes", "plain ns", "wiping ns", "more ns");
    for (size, rounds) in [
        (16, 2_000_000),
        (64, 2_000_000),
        (256, 2_000_000),
        (1024, 1_000_000),
        (4096, 500_000),
        (65_536, 50_000),
        (1 << 20, 2_000),
        (16 << 20, 50),
    ] {
        let plain = round(size, rounds, __real_free);
        let wiping = round(size, rounds, libc::free);
        println!("{size:>10} {plain:>12.1} {wiping:>12.1} {:>12.1}", wiping - plain);
    }
}
