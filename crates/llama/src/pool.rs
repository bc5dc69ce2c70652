//! A thread pool that stays: without one, ggml starts and joins its threads for every decode.
// UNSAFETY: ggml's thread pool is a C object without an owner.
#![expect(unsafe_code)]

use std::ffi::c_void;
use std::mem::transmute;
use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use crate::kernels;

type New = unsafe extern "C" fn(*mut sys::ggml_threadpool_params) -> *mut sys::ggml_threadpool;
type Free = unsafe extern "C" fn(*mut sys::ggml_threadpool);

/// Threads of a [`crate::Context`]; the thread that decodes is one of them.
///
/// Made and freed by the kernels that compute: each compilation of them has thread pools of its own.
pub(crate) struct Pool {
    raw: NonNull<sys::ggml_threadpool>,
    free: Free,
}

// SAFETY: the pool's state is behind its own locks and atomics; ggml lets any one thread at a time drive it, and Context, its
// only holder, is driven through `&mut`.
unsafe impl Send for Pool {}

impl Pool {
    /// Starts `threads - 1` workers; `None` when the machine refuses them.
    pub(crate) fn start(threads: u32) -> Option<Self> {
        let threads = i32::try_from(threads).ok()?;
        // SAFETY: returns a plain struct by value.
        let mut params = unsafe { sys::ggml_threadpool_params_default(threads) };
        // SAFETY: the registry answers functions of these names with these types (ggml-cpu.cpp, ggml_backend_cpu_get_proc_address).
        let (new, free) = unsafe {
            (
                transmute::<*mut c_void, New>(kernels::function(c"ggml_threadpool_new")?),
                transmute::<*mut c_void, Free>(kernels::function(c"ggml_threadpool_free")?),
            )
        };
        // SAFETY: `params` is initialised and only read during the call.
        let raw = NonNull::new(unsafe { new(&raw mut params) })?;
        Some(Self { raw, free })
    }

    pub(crate) fn raw(&self) -> *mut sys::ggml_threadpool {
        self.raw.as_ptr()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: made by the ggml_threadpool_new beside this `free`, freed once; Context frees its llama_context, the only user, before.
        unsafe { (self.free)(self.raw.as_ptr()) }
    }
}
