//! A loaded model file and the facts in its header.
// UNSAFETY: llama-cpp-2 hides the repack switch and the model pointer, so the load call and the hand-over are made here.
#![expect(unsafe_code)]

use std::ffi::{CString, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;

use llama_cpp_2::model::LlamaModel;
use llama_cpp_sys_2 as sys;

use crate::backend::Backend;
use crate::vocabulary::{Vocabulary, VocabularyCuts};

/// How a model file is loaded.
#[derive(Debug, Clone, Copy, Default)]
pub struct LoadOptions {
    /// Let ggml lay out weights of some types anew for the processor (AMX: Q4_0, Q4_1, Q8_0, Q4_K, …; AVX2: Q4_0, Q4_K, …). The file is then
    /// read, not mapped, so that its own pages can go as soon as the model is loaded; until then weights lie in memory twice.
    /// Off by default; without effect on [`crate::Kernels::Baseline`], which has no such layouts.
    pub repack: bool,
}

/// Why a file could not be loaded. llama.cpp's own words are not kept: they may quote the file.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The path holds a zero byte.
    #[error("path of the model holds a zero byte")]
    Path,
    /// llama.cpp refused the file, or the progress callback stopped the load.
    #[error("llama.cpp does not load this model")]
    Refused,
    /// The model has no vocabulary or is not a decoder that generates text.
    #[error("model cannot generate text: {0}")]
    NotGenerative(&'static str),
}

/// A loaded model; without repacking its weights are mapped read-only from the file it came from.
pub struct Model {
    // freed when dropped; `raw` and `vocabulary` point into it
    owner: LlamaModel,
    raw: NonNull<sys::llama_model>,
    cuts: VocabularyCuts,
}

// SAFETY: a loaded llama_model is only read; llama.cpp documents concurrent contexts over one model, and LlamaModel itself is
// Send + Sync on that ground. `raw` is a second pointer to the same object and lives exactly as long as `owner`.
unsafe impl Send for Model {}
// SAFETY: as above: every access through `raw` is a read.
unsafe impl Sync for Model {}

// `LlamaModel` is `repr(transparent)` around a `repr(transparent)` non-null pointer; if a later version changes that, the
// build stops here instead of the hand-over below becoming wrong.
const _: () = assert!(size_of::<LlamaModel>() == size_of::<NonNull<sys::llama_model>>());
const _: () = assert!(align_of::<LlamaModel>() == align_of::<NonNull<sys::llama_model>>());

impl Model {
    /// Maps and loads a GGUF file. `progress` gets 0 to 1 and ends the load by returning false.
    ///
    /// The path may be `/proc/self/fd/N`: llama.cpp opens and maps it (shared, read-only), so that a memfd's pages are the
    /// only copy of the weights. The file must have passed `crates/gguf` before: llama.cpp may abort on a broken one.
    ///
    /// # Errors
    /// [`LoadError`]
    pub fn load(
        backend: Backend,
        path: &Path,
        options: &LoadOptions,
        mut progress: impl FnMut(f32) -> bool,
    ) -> Result<Self, LoadError> {
        let path = CString::new(path.as_os_str().as_bytes()).map_err(|_| LoadError::Path)?;
        // SAFETY: returns a plain struct by value and reads nothing of ours.
        let mut params = unsafe { sys::llama_model_default_params() };
        params.n_gpu_layers = 0;
        let repack = options.repack && backend.kernels().repacks();
        params.load_mode = if repack { sys::LLAMA_LOAD_MODE_NONE } else { sys::LLAMA_LOAD_MODE_MMAP };
        params.use_extra_bufts = repack;
        params.check_tensors = false;
        let mut callback: &mut dyn FnMut(f32) -> bool = &mut progress;
        params.progress_callback = Some(report);
        params.progress_callback_user_data = (&raw mut callback).cast::<c_void>();

        // SAFETY: the path is NUL-terminated and outlives the call; the callback data points to `callback`, which outlives the
        // call too, and llama.cpp calls it only on this thread while the load runs.
        let raw = unsafe { sys::llama_model_load_from_file(path.as_ptr(), params) };
        let raw = NonNull::new(raw).ok_or(LoadError::Refused)?;
        // SAFETY: LlamaModel is repr(transparent) over a non-null llama_model pointer (sizes checked above). The pointer came from
        // llama_model_load_from_file and is handed over once, so LlamaModel's drop frees it once.
        let owner = unsafe { std::mem::transmute::<NonNull<sys::llama_model>, LlamaModel>(raw) };
        // SAFETY: the vocabulary of the model that was just loaded.
        let cuts = unsafe { VocabularyCuts::of(sys::llama_model_get_vocab(raw.as_ptr())) };
        let model = Self { owner, raw, cuts };
        model.check()?;
        Ok(model)
    }

    fn check(&self) -> Result<(), LoadError> {
        if self.vocabulary().size() == 0 {
            return Err(LoadError::NotGenerative("no vocabulary"));
        }
        // SAFETY: `raw` is valid as long as self; both calls read one field.
        let (encoder, decoder) =
            unsafe { (sys::llama_model_has_encoder(self.raw()), sys::llama_model_has_decoder(self.raw())) };
        if encoder || !decoder {
            return Err(LoadError::NotGenerative("it has an encoder or no decoder"));
        }
        Ok(())
    }

    /// `general.architecture`, or the empty string.
    #[must_use]
    pub fn architecture(&self) -> String {
        self.owner.meta_val_str("general.architecture").unwrap_or_default()
    }

    /// Jinja source of `tokenizer.chat_template`.
    #[must_use]
    pub fn chat_template(&self) -> Option<String> {
        self.owner.chat_template(None).ok()?.to_string().ok()
    }

    /// Context the model was trained with, in tokens.
    #[must_use]
    pub fn trained_context(&self) -> u32 {
        self.owner.n_ctx_train()
    }

    /// Bytes of all tensors.
    #[must_use]
    pub fn weight_bytes(&self) -> u64 {
        self.owner.size()
    }

    /// The vocabulary.
    #[must_use]
    pub fn vocabulary(&self) -> Vocabulary<'_> {
        // SAFETY: `raw` is valid as long as self, and the vocabulary is a part of the model: the borrow keeps it alive.
        unsafe { Vocabulary::of(sys::llama_model_get_vocab(self.raw()), &self.cuts) }
    }

    pub(crate) fn raw(&self) -> *mut sys::llama_model {
        self.raw.as_ptr()
    }
}

unsafe extern "C" fn report(progress: f32, user: *mut c_void) -> bool {
    // SAFETY: `user` is the address of `callback` in `Model::load`, which is alive and not borrowed elsewhere while the load runs.
    let callback = unsafe { &mut *user.cast::<&mut dyn FnMut(f32) -> bool>() };
    callback(progress)
}
