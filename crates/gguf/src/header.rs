//! What a checked file says about itself.

use std::{collections::BTreeMap, fmt};

use crate::{
    Architecture, MAX_CHAT_TEMPLATE_BYTES, Refused, architecture,
    hyperparameters::{Attention, Hyperparameters},
    metadata::Metadata,
    tensors::Tensor,
    vocabulary::Vocabulary,
};

/// How much of the weights has one tensor type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Name of the type, such as `Q4_1`.
    pub tensor_type: &'static str,
    /// How many tensors have it.
    pub tensors: u64,
    /// How many bytes they take.
    pub bytes: u64,
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} ({} tensors, {} bytes)", self.tensor_type, self.tensors, self.bytes)
    }
}

/// Facts of a model file whose tables were checked. Texts are the file's own and may hold any character.
#[derive(Debug, Clone)]
pub struct Header {
    /// GGUF version, 2 or 3.
    pub version: u32,
    /// Architecture, one of the supported ones.
    pub architecture: &'static Architecture,
    /// `general.name`
    pub name: Option<String>,
    /// Longest context the model was trained for, in tokens.
    pub context_length: u32,
    /// Width of the model.
    pub embedding_length: u32,
    /// Number of layers.
    pub block_count: u32,
    /// Sizes of the attention.
    pub attention: Attention,
    /// Number of tokens in the vocabulary.
    pub vocabulary_size: u32,
    /// `tokenizer.chat_template`, at most [`MAX_CHAT_TEMPLATE_BYTES`] long.
    pub chat_template: Option<String>,
    /// Id of the token that begins a text.
    pub bos: Option<u32>,
    /// Text of the token that begins a text: a chat template's `bos_token`.
    pub bos_text: Option<String>,
    /// Whether a text begins with that token, where the file says so.
    pub add_bos: Option<bool>,
    /// Id of the token that ends a text.
    pub eos: Option<u32>,
    /// Text of the token that ends a text: a chat template's `eos_token`.
    pub eos_text: Option<String>,
    /// The types of the weights, the one with most bytes first.
    pub quantisation: Vec<Share>,
    /// Number of tensors.
    pub tensors: u64,
    /// Bytes of all tensors, without padding.
    pub tensor_bytes: u64,
    /// Number of parameters.
    pub parameters: u64,
    /// Where the tensor data begins, in bytes from the start of the file.
    pub data_offset: u64,
}

impl Header {
    /// Name of the tensor type that most bytes of the weights have, such as `Q4_1`.
    #[must_use]
    pub fn quantisation_name(&self) -> &'static str {
        self.quantisation.first().map_or("none", |share| share.tensor_type)
    }

    pub(crate) fn collect(
        version: u32,
        metadata: &Metadata<'_>,
        shape: Hyperparameters,
        vocabulary: &Vocabulary<'_>,
        tensors: &[Tensor<'_>],
        data_offset: u64,
    ) -> Result<Self, Refused> {
        Ok(Self {
            version,
            architecture: architecture(metadata)?,
            name: metadata.text("general.name")?.map(str::to_owned),
            context_length: shape.context_length,
            embedding_length: shape.embedding_length,
            block_count: shape.block_count,
            attention: shape.attention,
            vocabulary_size: vocabulary.size,
            chat_template: chat_template(metadata)?,
            bos: vocabulary.bos.map(|token| token.id),
            bos_text: vocabulary.bos.map(|token| token.text.to_owned()),
            add_bos: vocabulary.add_bos,
            eos: vocabulary.eos.map(|token| token.id),
            eos_text: vocabulary.eos.map(|token| token.text.to_owned()),
            quantisation: shares(tensors),
            tensors: tensors.len() as u64,
            tensor_bytes: tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.bytes)),
            parameters: tensors.iter().fold(0, |sum, tensor| sum.saturating_add(tensor.elements)),
            data_offset,
        })
    }
}

/// The supported architecture the file names.
pub(crate) fn architecture(metadata: &Metadata<'_>) -> Result<&'static Architecture, Refused> {
    let key = "general.architecture";
    let name = crate::metadata::required(metadata.text(key)?, key)?;
    architecture::find(name, metadata.offset(key))
}

fn chat_template(metadata: &Metadata<'_>) -> Result<Option<String>, Refused> {
    let key = "tokenizer.chat_template";
    let Some(source) = metadata.text(key)? else { return Ok(None) };
    if source.len() > MAX_CHAT_TEMPLATE_BYTES {
        let (length, limit) = (source.len() as u64, MAX_CHAT_TEMPLATE_BYTES as u64);
        return Err(Refused::Length { what: "a chat template", length, limit, offset: metadata.offset(key) });
    }
    Ok(Some(source.to_owned()))
}

fn shares(tensors: &[Tensor<'_>]) -> Vec<Share> {
    let mut by_type: BTreeMap<&'static str, Share> = BTreeMap::new();
    for tensor in tensors {
        let tensor_type = tensor.kind.name;
        let share = by_type.entry(tensor_type).or_insert(Share { tensor_type, tensors: 0, bytes: 0 });
        share.tensors += 1;
        share.bytes = share.bytes.saturating_add(tensor.bytes);
    }
    let mut shares: Vec<Share> = by_type.into_values().collect();
    shares.sort_by_key(|share| std::cmp::Reverse(share.bytes));
    shares
}
