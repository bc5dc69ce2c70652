//! Freed memory holds nothing: looked at through `/proc/self/mem`, where the bytes lie whether or not they are owned.

// UNSAFETY: the C entry points are called as C code calls them.
#![expect(unsafe_code)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failed helper is a failed test")]

use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;

unsafe extern "C" {
    fn __real_free(block: *mut libc::c_void);
    fn __real_realloc(block: *mut libc::c_void, size: usize) -> *mut libc::c_void;
}

const MARK: u8 = 0xC3;

/// How many bytes of `MARK` lie at `address`, asked of the kernel.
fn marks_at(address: usize, length: usize) -> usize {
    // On the stack: a buffer from the heap could take the very place that is to be looked at.
    let mut bytes = [0_u8; 8192];
    let bytes = &mut bytes[..length];
    File::open("/proc/self/mem").unwrap().read_exact_at(bytes, address as u64).unwrap();
    bytes.iter().filter(|byte| **byte == MARK).count()
}

fn c_block(size: usize) -> *mut u8 {
    // SAFETY: the block is `size` long and written inside its bounds.
    unsafe {
        let block = libc::malloc(size).cast::<u8>();
        assert!(!block.is_null());
        block.write_bytes(MARK, size);
        block
    }
}

#[test]
fn the_linker_arguments_reached_this_program() {
    assert!(wipe::installed());
}

#[test]
fn memory_freed_by_c_is_cleared() {
    let block = c_block(4000);
    // SAFETY: freed once.
    unsafe { libc::free(block.cast()) };
    assert_eq!(marks_at(block as usize, 4000), 0);
}

/// The twin that shows the observation works: the C library's own `free` leaves the bytes.
#[test]
fn memory_freed_past_the_wrapper_is_not_cleared() {
    let block = c_block(4000);
    // SAFETY: freed once.
    unsafe { __real_free(block.cast()) };
    assert!(marks_at(block as usize, 4000) > 3900);
}

#[test]
fn memory_freed_by_a_rust_vector_is_cleared() {
    let bytes = vec![MARK; 3000];
    let address = bytes.as_ptr() as usize;
    drop(bytes);
    assert_eq!(marks_at(address, 3000), 0);
}

#[test]
fn a_growing_rust_vector_leaves_no_copy_behind() {
    let mut bytes = vec![MARK; 2000];
    let old = bytes.as_ptr() as usize;
    // Something right behind it, so that it cannot grow in place.
    let wall = vec![1_u8; 2000];
    bytes.reserve_exact(200_000);
    assert_ne!(bytes.as_ptr() as usize, old, "it grew in place and the test says nothing");
    assert_eq!(marks_at(old, 2000), 0);
    assert!(bytes.iter().all(|byte| *byte == MARK), "the content moved along");
    drop(wall);
}

/// The twin: the C library's own `realloc` leaves the old place as it was.
#[test]
fn a_block_moved_past_the_wrapper_leaves_its_copy_behind() {
    let block = c_block(2000);
    let wall = c_block(2000);
    // SAFETY: the old pointer is used as a number only.
    let moved = unsafe { __real_realloc(block.cast(), 200_000) };
    assert_ne!(moved as usize, block as usize);
    assert!(marks_at(block as usize, 2000) > 1900);
    // SAFETY: each freed once.
    unsafe {
        libc::free(moved);
        libc::free(wall.cast());
    }
}

#[test]
fn a_block_made_smaller_is_cleared_past_its_new_end() {
    let block = c_block(8000);
    // SAFETY: the old pointer is used as a number only.
    let small = unsafe { libc::realloc(block.cast(), 1000) }.cast::<u8>();
    assert_eq!(marks_at(block as usize + 1000, 6900), 0);
    // SAFETY: the first thousand bytes are still ours.
    assert!((0..1000).all(|at| unsafe { small.add(at).read() } == MARK));
    // SAFETY: freed once.
    unsafe { libc::free(small.cast()) };
}

#[test]
fn realloc_keeps_the_edges_of_its_contract() {
    // SAFETY: null and zero are in realloc's contract.
    unsafe {
        let fresh = libc::realloc(std::ptr::null_mut(), 100);
        assert!(!fresh.is_null());
        // Hidden from the optimiser, which knows realloc and takes the answer for granted.
        assert!(black_box(libc::realloc(black_box(fresh), black_box(0))).is_null());
        libc::free(std::ptr::null_mut());
        let block = c_block(64);
        assert!(black_box(libc::realloc(block.cast(), black_box(usize::MAX / 2))).is_null(), "no such memory");
        assert_eq!(marks_at(block as usize, 64), 64, "a failed realloc leaves the block alone");
        libc::free(block.cast());
    }
}
