//! One wiping heap for Rust, C and C++: memory is cleared before it goes back to the allocator.
//!
//! hyper, rustls, serde_json, minijinja and llama.cpp all copy prompts into heap memory and none of them clears it.
//! Instead of an allocator of our own, the C library's is kept and its two ways out are caught at link time
//! (`-Wl,--wrap=free -Wl,--wrap=realloc`, see `build.rs`). In a static binary that reaches every caller: Rust's
//! `System` allocator, C++ `operator delete` and the containers on it, ggml, and the C library's own objects.
//!
//! What it covers: each byte the caller could have written, `malloc_usable_size` long, in every block that is freed,
//! moved or made smaller, large blocks that are mapped one by one included (the kernel clears their pages only when
//! it hands them out again, which in host mode may be never). What it does not cover: stacks, registers, and memory
//! mapped by other means than malloc; engine buffers are cleared by their owner.
//!
//! The program that links this crate must pass the linker arguments (its build script reads `DEP_WIPE_LINK_ARGS`)
//! and call [`installed`] once, which also keeps the linker from dropping this crate.

// UNSAFETY: the entry points of malloc are C functions over raw memory.
#![expect(unsafe_code)]

use core::ffi::c_void;
use core::ptr;

unsafe extern "C" {
    /// The C library's `free`, by the name `--wrap` gives it.
    fn __real_free(block: *mut c_void);
    /// The C library's `realloc`, by the name `--wrap` gives it.
    fn __real_realloc(block: *mut c_void, size: usize) -> *mut c_void;
}

/// Clears a block and gives it back. Every `free` of the program lands here.
///
/// # Safety
/// As for C's `free`: `block` is null or came from malloc's family and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // SAFETY: `block` is a live block by this function's contract, so its usable size may be asked and all of these
    // bytes are the caller's to write; explicit_bzero is the memset that no optimiser removes. Then it is given back
    // once, to the allocator it came from.
    unsafe {
        libc::explicit_bzero(block, libc::malloc_usable_size(block));
        __real_free(block);
    }
}

/// Changes a block's size and leaves no copy of what it held behind. Every `realloc` of the program lands here.
///
/// A block that becomes smaller is cleared past its new end and shrunk in place; one that outgrows its place is
/// copied, cleared and given back here, because the C library would give the old place back as it is.
///
/// # Safety
/// As for C's `realloc`: `block` is null or a live block of malloc's family; after success only the result is used.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __wrap_realloc(block: *mut c_void, size: usize) -> *mut c_void {
    if block.is_null() {
        // SAFETY: malloc takes its size by value.
        return unsafe { libc::malloc(size) };
    }
    if size == 0 {
        // glibc frees the block and answers null.
        // SAFETY: the block is live by this function's contract and the caller may not use it again.
        unsafe { __wrap_free(block) };
        return ptr::null_mut();
    }
    // SAFETY: the block is live by this function's contract.
    let usable = unsafe { libc::malloc_usable_size(block) };
    if size <= usable {
        // SAFETY: the bytes from `size` to `usable` belong to the block and its owner gave them up. The C library
        // shrinks in place, so no byte before `size` is copied elsewhere.
        unsafe {
            libc::explicit_bzero(block.cast::<u8>().add(size).cast(), usable - size);
            return __real_realloc(block, size);
        }
    }
    // SAFETY: the new block is at least `size` > `usable` long and distinct from the old, whose `usable` bytes are
    // readable; the old one is live and given up by the caller once the new one exists.
    unsafe {
        let moved = libc::malloc(size);
        if !moved.is_null() {
            ptr::copy_nonoverlapping(block.cast::<u8>(), moved.cast::<u8>(), usable);
            __wrap_free(block);
        }
        moved
    }
}

/// Whether a freed block of this very program was cleared: the linker arguments reached it.
///
/// Frees a block through the name every other caller uses and looks at what the allocator got. To be called once at
/// the start; a program in which it is false must not take a prompt.
#[must_use]
pub fn installed() -> bool {
    // Large enough that the allocator's own words at the start of a free block leave most of the pattern alone, small
    // enough to stay mapped after `free`.
    const SIZE: usize = 512;
    // The allocator may fill its cache of this size while it gives out the first block; the freed one then goes elsewhere, and
    // another comes back. With that one held there is room in the cache, so the second attempt finds its block again.
    const ATTEMPTS: usize = 4;
    let mut held = [ptr::null_mut(); ATTEMPTS];
    let cleared = held.iter_mut().find_map(|other| freed_block_is_cleared(SIZE, other)).unwrap_or(false);
    for block in held {
        // SAFETY: what an attempt left here is live and freed once; free takes null.
        unsafe { libc::free(block) };
    }
    cleared
}

/// Frees a block of `size` bytes and looks at it when the allocator gives it out again; `None` where it gave another one, which is
/// then in `other`.
fn freed_block_is_cleared(size: usize, other: &mut *mut libc::c_void) -> Option<bool> {
    // SAFETY: the block is written inside its bounds and freed once. It is then read, not through the dangling
    // pointer but through a second live block at the same place.
    unsafe {
        let block = libc::malloc(size).cast::<u8>();
        if block.is_null() {
            return None;
        }
        ptr::write_bytes(block, 0xA5, size);
        let first = block as usize;
        // Hidden from the optimiser, which knows malloc and free and would drop the pair.
        libc::free(core::hint::black_box(block).cast());
        let again = libc::malloc(size);
        if core::hint::black_box(again) as usize != first {
            *other = again;
            return None;
        }
        let bytes = again.cast::<u8>();
        let clear = (16..size).all(|at| ptr::read_volatile(bytes.add(at)) == 0);
        libc::free(again);
        Some(clear)
    }
}
