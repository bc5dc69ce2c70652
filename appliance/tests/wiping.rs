//! The wiping heap reaches C++ in the program that carries llama.cpp.

// UNSAFETY: C++'s operators are called as C++ code calls them.
#![expect(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a failed helper is a failed test")]

use std::fs::File;
use std::os::unix::fs::FileExt;

// Links the library, and llama.cpp and libstdc++ with it.
use lethe_appliance as _;

unsafe extern "C" {
    /// `operator new(unsigned long)` (Itanium C++ ABI mangling).
    #[link_name = "_Znwm"]
    fn operator_new(size: usize) -> *mut u8;
    /// `operator delete(void*)`
    #[link_name = "_ZdlPv"]
    fn operator_delete(block: *mut u8);
    fn __real_free(block: *mut u8);
}

const SIZE: usize = 4000;

fn marks_at(address: usize) -> usize {
    let mut bytes = [0_u8; 8192];
    let bytes = &mut bytes[..SIZE];
    File::open("/proc/self/mem").unwrap().read_exact_at(bytes, address as u64).unwrap();
    bytes.iter().filter(|byte| **byte == 0xC3).count()
}

fn cxx_block() -> *mut u8 {
    // SAFETY: the block is SIZE long and written inside its bounds; operator new throws rather than answer null.
    unsafe {
        let block = operator_new(SIZE);
        block.write_bytes(0xC3, SIZE);
        block
    }
}

#[test]
fn memory_deleted_by_cxx_is_cleared() {
    let block = cxx_block();
    // SAFETY: deleted once.
    unsafe { operator_delete(block) };
    assert_eq!(marks_at(block as usize), 0);
}

/// The twin that shows the observation works.
#[test]
fn memory_freed_past_the_wrapper_is_not_cleared() {
    let block = cxx_block();
    // SAFETY: libstdc++'s operator new is malloc; freed once.
    unsafe { __real_free(block) };
    assert!(marks_at(block as usize) > SIZE - 100);
}

#[test]
fn the_program_says_so_itself() {
    assert!(wipe::installed());
}
