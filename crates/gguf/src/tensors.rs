//! The tensor table: names, shapes, types, and where the data lies.
//!
//! Source: the second half of `gguf_init_from_reader` in `gguf.cpp`, which accepts tensors in exactly one layout: each
//! begins where the one before it ends, rounded up to the alignment. So there are no gaps and no overlaps.

use crate::{Refused, cursor::Cursor, tensor_type::TensorType};

/// `GGML_MAX_NAME` less the closing NUL.
const MAX_NAME_BYTES: u64 = 63;
/// `GGML_MAX_DIMS`
const MAX_DIMENSIONS: u32 = 4;

/// A tensor whose description was checked.
#[derive(Debug)]
pub(crate) struct Tensor<'a> {
    pub(crate) name: &'a str,
    pub(crate) index: u64,
    /// Where its description stands in the file.
    pub(crate) offset: u64,
    pub(crate) dimensions: Vec<u64>,
    pub(crate) kind: &'static TensorType,
    pub(crate) elements: u64,
    pub(crate) bytes: u64,
    /// Where its data begins, relative to the data section.
    data: u64,
}

impl Tensor<'_> {
    pub(crate) fn refuse(&self, problem: &'static str) -> Refused {
        Refused::Tensor { index: self.index, problem, offset: self.offset }
    }
}

/// Reads `count` descriptions. The table grows only as tensors are really found.
pub(crate) fn read<'a>(cursor: &mut Cursor<'a>, count: u64) -> Result<Vec<Tensor<'a>>, Refused> {
    let mut tensors = Vec::new();
    for index in 0..count {
        let tensor = read_one(cursor, index)?;
        check_type(&tensor)?;
        tensors.push(tensor);
    }
    let mut names: Vec<(&str, u64)> = tensors.iter().map(|tensor| (tensor.name, tensor.index)).collect();
    names.sort_unstable();
    for (one, next) in names.iter().zip(names.iter().skip(1)) {
        if one.0 == next.0 {
            let offset = tensors.iter().find(|tensor| tensor.index == next.1).map_or(0, |tensor| tensor.offset);
            return Err(Refused::Tensor { index: next.1, problem: "has the name of another tensor", offset });
        }
    }
    Ok(tensors)
}

fn read_one<'a>(cursor: &mut Cursor<'a>, index: u64) -> Result<Tensor<'a>, Refused> {
    let offset = cursor.offset();
    let refuse = |problem| Refused::Tensor { index, problem, offset };
    let name = cursor.text("a tensor name", MAX_NAME_BYTES)?;
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refuse("has a name that is empty or not printable ASCII"));
    }
    let count = cursor.u32()?;
    if !(1..=MAX_DIMENSIONS).contains(&count) {
        return Err(refuse("has no dimensions or more than 4"));
    }
    let mut dimensions = Vec::new();
    let mut elements = 1_u64;
    for _ in 0..count {
        let length = cursor.u64()?;
        dimensions.push(length);
        // ggml counts in i64.
        elements = match elements.checked_mul(length) {
            Some(0) => return Err(refuse("has a dimension of zero")),
            Some(elements) if i64::try_from(elements).is_ok() => elements,
            _ => return Err(refuse("has more elements than can be counted")),
        };
    }
    let number = cursor.u32()?;
    let refuse_type = |problem| Refused::TensorType { index, number, problem, offset };
    let kind = TensorType::of_weights(number).ok_or_else(|| refuse_type("no weights can have it"))?;
    if dimensions.first().is_some_and(|row| !row.is_multiple_of(kind.block_elements)) {
        return Err(refuse_type("its rows are not whole blocks"));
    }
    let bytes = kind.bytes(elements).ok_or_else(|| refuse_type("its size cannot be represented"))?;
    let data = cursor.u64()?;
    Ok(Tensor { name, index, offset, dimensions, kind, elements, bytes, data })
}

/// Norms and biases enter element-wise operations, which abort on anything but F32 beside the F32 activations.
/// llama.cpp's converter and quantiser write all of these as F32.
fn check_type(tensor: &Tensor<'_>) -> Result<(), Refused> {
    let element_wise =
        tensor.dimensions.len() == 1 || tensor.name.ends_with(".bias") || tensor.name.ends_with("_norm.weight");
    if element_wise && tensor.kind.name != "F32" {
        return Err(Refused::TensorType {
            index: tensor.index,
            number: tensor.kind.number,
            problem: "norms, biases and other vectors must be F32",
            offset: tensor.offset,
        });
    }
    Ok(())
}

/// Checks that the data of all tensors lies in the file, back to back from `start`, and that nothing follows.
pub(crate) fn check_layout(tensors: &[Tensor<'_>], start: u64, alignment: u32, file_bytes: u64) -> Result<(), Refused> {
    let alignment = u64::from(alignment);
    let mut expected = 0_u64;
    let mut end = start;
    for tensor in tensors {
        if tensor.data != expected {
            let (index, offset) = (tensor.index, tensor.offset);
            return Err(Refused::TensorOffset { index, found: tensor.data, expected, offset });
        }
        let begin = start.saturating_add(tensor.data);
        end = begin.saturating_add(tensor.bytes);
        if end > file_bytes {
            let left = file_bytes.saturating_sub(begin);
            return Err(Refused::Truncated { offset: begin, needed: tensor.bytes, left });
        }
        expected = tensor.data.saturating_add(tensor.bytes).next_multiple_of(alignment);
    }
    let padded = start.saturating_add(expected);
    if file_bytes > padded {
        return Err(Refused::Trailing { offset: end, bytes: file_bytes.saturating_sub(end) });
    }
    Ok(())
}

/// Checks the tensors against the shape of the model: the embedding table fits, and no layer is beyond the last.
pub(crate) fn check_shape(
    tensors: &[Tensor<'_>],
    embedding_length: u32,
    vocabulary_size: u32,
    block_count: u32,
) -> Result<(), Refused> {
    let name = "token_embd.weight";
    let Some(table) = tensors.iter().find(|tensor| tensor.name == name) else {
        return Err(Refused::Missing { key: name.to_owned() });
    };
    if table.dimensions != [u64::from(embedding_length), u64::from(vocabulary_size)] {
        return Err(table.refuse("(the embedding table) does not fit embedding_length and the vocabulary"));
    }
    for tensor in tensors {
        let Some(rest) = tensor.name.strip_prefix("blk.") else { continue };
        let layer = rest.split_once('.').and_then(|(layer, _)| layer.parse::<u32>().ok());
        if layer.is_none_or(|layer| layer >= block_count) {
            return Err(tensor.refuse("belongs to no layer of the model"));
        }
    }
    Ok(())
}
