//! Where the rows of the cache and the activations lie, so that they can be overwritten.
//!
//! llama.cpp's `seq_rm` frees cells and leaves their keys and values in memory. The tensors are private, but they take part in
//! every graph, and the evaluation callback, a public interface, sees the graph: during a decode of
//! its own this module notes the tensors named `cache_*` and the buffer of the activations. In every other decode the callback
//! answers "not interested" at once.
// UNSAFETY: reads ggml's graph in a C callback and writes zeros into tensors by address.
#![expect(unsafe_code)]

use std::ffi::{CStr, c_void};

use llama_cpp_sys_2 as sys;

/// One tensor of the cache: `streams` slices of `rows` rows.
#[derive(Debug, Clone, Copy)]
struct CacheTensor {
    data: *mut u8,
    row_bytes: usize,
    stream_bytes: usize,
    streams: usize,
    /// Keys are stored by row; values only with flash attention, else transposed.
    keys: bool,
    /// Its shape is that of one slice a stream.
    sliced: bool,
}

#[derive(Debug, Clone, Copy)]
struct Region {
    base: *mut u8,
    bytes: usize,
}

/// What the first decode showed.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    looking: bool,
    cache: Vec<CacheTensor>,
    activations: Vec<Region>,
    flash_attention: bool,
}

impl Rows {
    /// Notes tensors until [`Rows::settle`].
    pub(crate) fn look(&mut self) {
        self.looking = true;
        self.activations.clear();
    }

    /// Ends the search.
    pub(crate) fn settle(&mut self) {
        self.looking = false;
    }

    /// True when every tensor of the cache has one slice for each of `sequences`.
    pub(crate) fn has_slices_for(&self, sequences: u32) -> bool {
        let sequences = sequences as usize;
        !self.cache.is_empty() && self.cache.iter().all(|tensor| tensor.sliced && tensor.streams == sequences)
    }

    /// Overwrites the first `rows` rows of a sequence's slices (all of a slice that is stored transposed) with zeros.
    ///
    /// # Safety
    /// The context whose graph was seen is alive and computes nothing during the call.
    pub(crate) unsafe fn wipe_sequence(&self, sequence: u32, rows: u32) {
        for tensor in &self.cache {
            let Some(offset) = (sequence as usize).checked_mul(tensor.stream_bytes) else { continue };
            if sequence as usize >= tensor.streams {
                continue;
            }
            let used = tensor.row_bytes.saturating_mul(rows as usize);
            let row_major = tensor.keys || self.flash_attention;
            let bytes = if row_major { used.min(tensor.stream_bytes) } else { tensor.stream_bytes };
            // SAFETY: `sequence < streams`, so offset + stream_bytes is inside the tensor (its size is streams * stream_bytes), and
            // `bytes <= stream_bytes`. The context is alive (caller), hence so is the tensor's buffer, and nothing else uses it now.
            unsafe { std::ptr::write_bytes(tensor.data.add(offset), 0, bytes) };
        }
    }

    /// Overwrites the activations of the last decode with zeros.
    ///
    /// # Safety
    /// As [`Rows::wipe_sequence`], and the last decode was the one between `look` and `settle`: ggml may move the buffer later.
    pub(crate) unsafe fn wipe_activations(&self) {
        for region in &self.activations {
            // SAFETY: base and size are those of a ggml buffer of the living context (caller); inputs are written anew before
            // every graph, and everything else in it is computed from them.
            unsafe { std::ptr::write_bytes(region.base, 0, region.bytes) };
        }
    }

    /// Counts the bytes of a sequence's slices that are not zero; for tests.
    ///
    /// # Safety
    /// As [`Rows::wipe_sequence`].
    #[cfg(test)]
    pub(crate) unsafe fn traces(&self, sequence: u32) -> usize {
        let slices = self.cache.iter().filter(|tensor| (sequence as usize) < tensor.streams);
        slices
            .map(|tensor| {
                // SAFETY: the slice of an existing stream lies inside the tensor; see wipe_sequence.
                let slice = unsafe {
                    std::slice::from_raw_parts(
                        tensor.data.add(sequence as usize * tensor.stream_bytes),
                        tensor.stream_bytes,
                    )
                };
                slice.iter().filter(|&&byte| byte != 0).count()
            })
            .sum()
    }

    fn note(&mut self, tensor: &sys::ggml_tensor) {
        if tensor.op == sys::GGML_OP_FLASH_ATTN_EXT {
            self.flash_attention = true;
        }
        let (Ok(streams), Ok(per_stream)) = (usize::try_from(tensor.ne[2]), usize::try_from(tensor.ne[1])) else {
            return;
        };
        // SAFETY: `name` is an array inside the tensor that ggml keeps NUL-terminated.
        let name = unsafe { CStr::from_ptr(tensor.name.as_ptr()) }.to_bytes();
        let data = tensor.data.cast::<u8>();
        if !tensor.view_src.is_null() || data.is_null() || !name.starts_with(b"cache_") {
            return;
        }
        if self.cache.iter().any(|known| known.data == data) {
            return;
        }
        let keys = name.windows(3).any(|part| part == b"k_l");
        let values = name.windows(3).any(|part| part == b"v_l");
        self.cache.push(CacheTensor {
            data,
            row_bytes: tensor.nb[1],
            stream_bytes: tensor.nb[2],
            streams,
            keys,
            sliced: (keys || values) && tensor.nb[2] == per_stream * tensor.nb[1] && tensor.ne[3] == 1,
        });
    }

    fn note_activation(&mut self, tensor: &sys::ggml_tensor) {
        if !tensor.view_src.is_null() || tensor.buffer.is_null() || tensor.op == sys::GGML_OP_NONE {
            return;
        }
        // SAFETY: the buffer of an allocated node is a live ggml buffer; both calls read a field.
        let (base, bytes) = unsafe {
            (sys::ggml_backend_buffer_get_base(tensor.buffer), sys::ggml_backend_buffer_get_size(tensor.buffer))
        };
        let base = base.cast::<u8>();
        if !base.is_null() && !self.activations.iter().any(|region| region.base == base) {
            self.activations.push(Region { base, bytes });
        }
    }
}

/// The evaluation callback: looks while asked to, is never interested in a value.
///
/// # Safety
/// For ggml alone: `tensor` is a node of a graph about to run, `user` the [`Rows`] of the context.
pub(crate) unsafe extern "C" fn on_node(tensor: *mut sys::ggml_tensor, ask: bool, user: *mut c_void) -> bool {
    // SAFETY: `user` is the boxed Rows of the context that decodes now, on this thread, through `&mut`; no other reference to it
    // is alive during the decode.
    let rows = unsafe { &mut *user.cast::<Rows>() };
    if rows.looking && ask && !tensor.is_null() {
        // SAFETY: ggml passes a node of its graph.
        let node = unsafe { &*tensor };
        rows.note_activation(node);
        let mut next = Some(node);
        // a node's sources and what they are views of; views of views end at a tensor that owns its data
        while let Some(tensor) = next {
            rows.note(tensor);
            for source in tensor.src.iter().filter(|source| !source.is_null()) {
                // SAFETY: a non-null source is a tensor of the same graph.
                let mut source = unsafe { &**source };
                rows.note(source);
                while !source.view_src.is_null() {
                    // SAFETY: checked non-null; the viewed tensor lives at least as long as the view.
                    source = unsafe { &*source.view_src };
                    rows.note(source);
                }
            }
            // SAFETY: null or a tensor that lives at least as long as the view.
            next = unsafe { tensor.view_src.as_ref() };
        }
    }
    false
}
