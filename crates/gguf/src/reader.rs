//! The order of the checks, over a whole file or over its head.

use std::io::{Read, Seek, SeekFrom};

use crate::{
    Header, MAX_ALIGNMENT, MAX_HEADER_BYTES, MAX_PAIRS, MAX_TENSORS, Refused, cursor::Cursor, header, hyperparameters,
    metadata::Metadata, tensors, vocabulary,
};

const MAGIC: &[u8] = b"GGUF";
/// `GGUF_DEFAULT_ALIGNMENT`
const DEFAULT_ALIGNMENT: u32 = 32;
/// Smallest description of a tensor: name length, one character, dimension count, one dimension, type, offset.
const MIN_TENSOR_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;
/// Smallest pair: key length, one character, type, one byte.
const MIN_PAIR_BYTES: u64 = 8 + 1 + 4 + 1;

/// Checks a whole model file, such as a mapping of it. Only the tables at its head are looked at.
///
/// # Errors
/// [`Refused`], with a stable code and the offset of the trouble.
pub fn check(file: &[u8]) -> Result<Header, Refused> {
    check_head(file, file.len() as u64)
}

/// Checks a model file of `file_bytes` bytes of which `head` holds the first.
///
/// # Errors
/// [`Refused::HeaderSize`] if the tables do not fit in `head` or in [`MAX_HEADER_BYTES`]; else as [`check`].
pub fn check_head(head: &[u8], file_bytes: u64) -> Result<Header, Refused> {
    let most = usize::try_from(MAX_HEADER_BYTES).unwrap_or(usize::MAX);
    let mut cursor = Cursor::new(head.get(..most).unwrap_or(head), file_bytes);
    let version = read_preamble(&mut cursor)?;
    let tensor_count = read_count(&mut cursor, "tensors", MAX_TENSORS, MIN_TENSOR_BYTES)?;
    let pair_count = read_count(&mut cursor, "key/value pairs", MAX_PAIRS, MIN_PAIR_BYTES)?;
    let metadata = Metadata::read(&mut cursor, pair_count)?;
    check_parts(&metadata)?;
    let alignment = read_alignment(&metadata)?;
    let shape = hyperparameters::check(&metadata, header::architecture(&metadata)?)?;
    let vocabulary = vocabulary::check(&metadata)?;
    let tensors = tensors::read(&mut cursor, tensor_count)?;
    let data_offset = cursor.offset().next_multiple_of(u64::from(alignment));
    tensors::check_layout(&tensors, data_offset, alignment, file_bytes)?;
    tensors::check_shape(&tensors, shape.embedding_length, vocabulary.size, shape.block_count)?;
    Header::collect(version, &metadata, shape, &vocabulary, &tensors, data_offset)
}

/// Checks a model file by reading only its head, a growing window at a time; weights are never read.
///
/// # Errors
/// [`Refused::Read`] if seeking or reading fails; else as [`check`].
pub fn check_reader(mut file: impl Read + Seek) -> Result<Header, Refused> {
    let file_bytes = file.seek(SeekFrom::End(0)).map_err(Refused::Read)?;
    file.seek(SeekFrom::Start(0)).map_err(Refused::Read)?;
    let most = file_bytes.min(MAX_HEADER_BYTES);
    let mut window = 1_u64 << 20;
    let mut head = Vec::new();
    loop {
        let missing = window.min(most).saturating_sub(head.len() as u64);
        file.by_ref().take(missing).read_to_end(&mut head).map_err(Refused::Read)?;
        match check_head(&head, file_bytes) {
            Err(Refused::HeaderSize { .. }) if window < most => window = window.saturating_mul(4),
            result => return result,
        }
    }
}

fn read_preamble(cursor: &mut Cursor<'_>) -> Result<u32, Refused> {
    if cursor.take(4)? != MAGIC {
        return Err(Refused::Magic);
    }
    let version = cursor.u32()?;
    // Version 1 had other widths and llama.cpp no longer reads it; 2 and 3 differ only in allowing big-endian files.
    if matches!(version, 2 | 3) { Ok(version) } else { Err(Refused::Version { version }) }
}

/// A count, bounded by its limit and by what the rest of the file could hold.
fn read_count(cursor: &mut Cursor<'_>, what: &'static str, limit: u64, smallest: u64) -> Result<u64, Refused> {
    let offset = cursor.offset();
    let count = cursor.u64()?;
    if count > limit {
        return Err(Refused::Count { what, count, limit, offset });
    }
    let needed = count.saturating_mul(smallest);
    if needed > cursor.left() {
        return Err(Refused::Truncated { offset, needed, left: cursor.left() });
    }
    Ok(count)
}

fn check_parts(metadata: &Metadata<'_>) -> Result<(), Refused> {
    let key = "split.count";
    let parts = metadata.integer(key)?.unwrap_or(0);
    if parts > 1 {
        return Err(Refused::Split { parts: u64::try_from(parts).unwrap_or(u64::MAX), offset: metadata.offset(key) });
    }
    Ok(())
}

fn read_alignment(metadata: &Metadata<'_>) -> Result<u32, Refused> {
    let key = "general.alignment";
    let alignment = metadata.u32(key)?.unwrap_or(DEFAULT_ALIGNMENT);
    // A smaller one would let a mapped tensor begin where ggml's CPU buffers assert that none does (TENSOR_ALIGNMENT).
    if !alignment.is_power_of_two() || !(DEFAULT_ALIGNMENT..=MAX_ALIGNMENT).contains(&alignment) {
        return Err(metadata.refuse(key, "is not a power of two of at least 32, or too large"));
    }
    Ok(alignment)
}
