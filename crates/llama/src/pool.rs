//! A thread pool that stays: without one, ggml starts and joins its threads for every decode.
// UNSAFETY: ggml's thread pool is a C object without an owner.
#![expect(unsafe_code)]

use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

/// Threads of a [`crate::Context`]; the thread that decodes is one of them.
pub(crate) struct Pool(NonNull<sys::ggml_threadpool>);

// SAFETY: the pool's state is behind its own locks and atomics; ggml lets any one thread at a time drive it, and Context, its
// only holder, is driven through `&mut`.
unsafe impl Send for Pool {}

impl Pool {
    /// Starts `threads - 1` workers; `None` when the machine refuses them.
    pub(crate) fn start(threads: u32) -> Option<Self> {
        let threads = i32::try_from(threads).ok()?;
        // SAFETY: returns a plain struct by value.
        let mut params = unsafe { sys::ggml_threadpool_params_default(threads) };
        // SAFETY: `params` is initialised and only read during the call.
        NonNull::new(unsafe { sys::ggml_threadpool_new(&raw mut params) }).map(Self)
    }

    pub(crate) fn raw(&self) -> *mut sys::ggml_threadpool {
        self.0.as_ptr()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: made by ggml_threadpool_new, freed once; Context frees its llama_context, the only user, before.
        unsafe { sys::ggml_threadpool_free(self.0.as_ptr()) }
    }
}
