//! The numbers that shape the model: present, in range, and consistent with what the loader and the graphs assert.
//!
//! Sources: `llama_model_base::load_hparams` in `llama-model.cpp`, and the head of each graph in `src/models/`.

use crate::{
    Refused,
    architecture::{Architecture, Norm, Rotation},
    metadata::{Metadata, required},
};

/// `LLAMA_MAX_LAYERS`
const MAX_LAYERS: u32 = 512;
/// `LLAMA_MAX_EXPERTS`
const MAX_EXPERTS: u32 = 1024;
const MAX_CONTEXT: u32 = 1 << 26;
const MAX_EMBEDDING: u32 = 1 << 17;
const MAX_FEED_FORWARD: u32 = 1 << 20;
const MAX_HEADS: u32 = 1024;
const MAX_HEAD_SIZE: u32 = 4096;

/// What the rest of the reader needs of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hyperparameters {
    pub(crate) context_length: u32,
    pub(crate) embedding_length: u32,
    pub(crate) block_count: u32,
    pub(crate) attention: Attention,
}

/// Sizes of the attention, from which memory can be planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// Most query heads of a layer.
    pub heads: u32,
    /// Values that one token adds to the cache: keys and values of all layers together.
    pub cached_per_token: u64,
}

/// The metadata of one architecture: keys are given without its prefix.
struct Keys<'m, 'a> {
    metadata: &'m Metadata<'a>,
    architecture: &'static Architecture,
}

impl Keys<'_, '_> {
    fn key(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.architecture.name)
    }

    fn refuse(&self, suffix: &str, problem: &'static str) -> Refused {
        self.metadata.refuse(&self.key(suffix), problem)
    }

    fn u32(&self, suffix: &str) -> Result<Option<u32>, Refused> {
        self.metadata.u32(&self.key(suffix))
    }

    fn f32(&self, suffix: &str) -> Result<Option<f64>, Refused> {
        self.metadata.f32(&self.key(suffix))
    }

    /// A u32 between 1 and `most` that must be there.
    fn bounded(&self, suffix: &str, most: u32) -> Result<u32, Refused> {
        let value = required(self.u32(suffix)?, &self.key(suffix))?;
        if (1..=most).contains(&value) { Ok(value) } else { Err(self.refuse(suffix, "is zero or too large")) }
    }

    /// A u32 for each layer, each between 1 and `most`, if the key is there.
    fn layers(&self, suffix: &str, layers: u32, most: u32) -> Result<Option<Vec<u32>>, Refused> {
        let values = self.metadata.per_layer(&self.key(suffix), layers)?;
        if values.iter().flatten().any(|value| !(1..=most).contains(value)) {
            return Err(self.refuse(suffix, "is zero or too large"));
        }
        Ok(values)
    }
}

/// Checks them all.
pub(crate) fn check(metadata: &Metadata<'_>, architecture: &'static Architecture) -> Result<Hyperparameters, Refused> {
    let keys = Keys { metadata, architecture };
    let context_length = keys.bounded("context_length", MAX_CONTEXT)?;
    let embedding_length = keys.bounded("embedding_length", MAX_EMBEDDING)?;
    let block_count = keys.bounded("block_count", MAX_LAYERS)?;
    if keys.u32("nextn_predict_layers")?.is_some_and(|layers| layers >= block_count) {
        return Err(keys.refuse("nextn_predict_layers", "is not below block_count"));
    }
    required(keys.layers("feed_forward_length", block_count, MAX_FEED_FORWARD)?, &keys.key("feed_forward_length"))?;
    check_decoder(&keys)?;
    let attention = check_heads(&keys, embedding_length, block_count)?;
    check_experts(&keys, block_count)?;
    check_numbers(&keys)?;
    Ok(Hyperparameters { context_length, embedding_length, block_count, attention })
}

/// Encoders and embedding models answer no prompts.
fn check_decoder(keys: &Keys<'_, '_>) -> Result<(), Refused> {
    if keys.metadata.bool(&keys.key("attention.causal"))? == Some(false) {
        return Err(keys.refuse("attention.causal", "is false: the model is no text decoder"));
    }
    Ok(())
}

fn check_heads(keys: &Keys<'_, '_>, embedding_length: u32, block_count: u32) -> Result<Attention, Refused> {
    let suffix = "attention.head_count";
    let heads = required(keys.layers(suffix, block_count, MAX_HEADS)?, &keys.key(suffix))?;
    let shared = keys.layers("attention.head_count_kv", block_count, MAX_HEADS)?.unwrap_or_else(|| heads.clone());
    if heads.iter().zip(&shared).any(|(heads, shared)| !heads.is_multiple_of(*shared)) {
        return Err(keys.refuse("attention.head_count_kv", "does not divide head_count"));
    }
    let first = heads.first().copied().unwrap_or(1);
    let size = match keys.u32("attention.key_length")? {
        Some(size) => size,
        None if embedding_length.is_multiple_of(first) => embedding_length / first,
        None => return Err(keys.refuse(suffix, "does not divide embedding_length")),
    };
    if !(1..=MAX_HEAD_SIZE).contains(&size) || !size.is_multiple_of(2) {
        return Err(keys.refuse("attention.key_length", "gives heads of zero, odd or too large size"));
    }
    // The graphs of all listed architectures assert equal sizes; without value_length it is embedding / heads.
    let value_size = keys.u32("attention.value_length")?.unwrap_or(embedding_length / first);
    if value_size != size {
        return Err(keys.refuse("attention.value_length", "differs from the size of a key"));
    }
    for suffix in ["attention.key_length_swa", "attention.value_length_swa"] {
        if keys.u32(suffix)?.is_some_and(|other| other != size) {
            return Err(keys.refuse(suffix, "differs from the size of a key"));
        }
    }
    check_rotation(keys, size)?;
    let cached = shared.iter().fold(0_u64, |sum, &heads| sum + 2 * u64::from(heads) * u64::from(size));
    Ok(Attention { heads: heads.iter().copied().max().unwrap_or(1), cached_per_token: cached })
}

fn check_rotation(keys: &Keys<'_, '_>, head_size: u32) -> Result<(), Refused> {
    for suffix in ["rope.dimension_count", "rope.dimension_count_swa"] {
        let rotated = keys.u32(suffix)?.unwrap_or(head_size);
        let fits = match keys.architecture.rotation {
            Rotation::Whole => rotated == head_size,
            Rotation::Part => rotated > 0 && rotated <= head_size && rotated.is_multiple_of(2),
        };
        if !fits {
            return Err(keys.refuse(suffix, "does not fit the size of a head"));
        }
    }
    Ok(())
}

fn check_experts(keys: &Keys<'_, '_>, block_count: u32) -> Result<(), Refused> {
    let experts = keys.u32("expert_count")?.unwrap_or(0);
    let used = keys.metadata.per_layer(&keys.key("expert_used_count"), block_count)?.unwrap_or_default();
    let most_used = used.iter().copied().max().unwrap_or(0);
    let groups = keys.u32("expert_group_count")?.unwrap_or(0);
    let groups_used = keys.u32("expert_group_used_count")?.unwrap_or(0);
    if experts > MAX_EXPERTS || (keys.architecture.experts && experts == 0) {
        return Err(keys.refuse("expert_count", "is zero or too large"));
    }
    // A layer without experts among others that have them is possible in the format, not in the listed architectures.
    let used_fits = most_used <= experts && (experts == 0 || (most_used > 0 && !used.contains(&0)));
    if !used_fits {
        return Err(keys.refuse("expert_used_count", "does not fit expert_count"));
    }
    let groups_fit = match (experts, groups) {
        (_, 0) | (1.., 1) => groups < experts.max(1),
        (0, _) => false,
        (experts, groups) => groups < experts && experts.is_multiple_of(groups) && (1..groups).contains(&groups_used),
    };
    if !groups_fit {
        return Err(keys.refuse("expert_group_count", "does not fit expert_count or expert_group_used_count"));
    }
    for suffix in ["expert_feed_forward_length", "expert_shared_feed_forward_length"] {
        keys.layers(suffix, block_count, MAX_FEED_FORWARD)?;
    }
    Ok(())
}

/// Names that `rope.scaling.type` may have; any other trips an assertion.
const ROPE_SCALINGS: &[&str] = &["none", "linear", "yarn", "longrope"];

fn check_numbers(keys: &Keys<'_, '_>) -> Result<(), Refused> {
    let epsilon = match keys.architecture.norm {
        Norm::Rms => "attention.layer_norm_rms_epsilon",
        Norm::Layer => "attention.layer_norm_epsilon",
    };
    required(keys.f32(epsilon)?, &keys.key(epsilon))?;
    for suffix in keys.architecture.required_f32 {
        required(keys.f32(suffix)?, &keys.key(suffix))?;
    }
    for suffix in keys.architecture.required_u32 {
        required(keys.u32(suffix)?, &keys.key(suffix))?;
    }
    for suffix in ["rope.freq_base", "rope.freq_base_swa"] {
        if keys.f32(suffix)? == Some(0.0) {
            return Err(keys.refuse(suffix, "is zero"));
        }
    }
    for suffix in ["rope.scaling.factor", "rope.scale_linear", "rope.scaling.attn_factor"] {
        keys.f32(suffix)?;
    }
    for suffix in ["rope.scaling.original_context_length", "attention.sliding_window", "vocab_size"] {
        if keys.u32(suffix)?.is_some_and(|value| value > i32::MAX as u32) {
            return Err(keys.refuse(suffix, "is too large"));
        }
    }
    let suffix = "rope.scaling.type";
    if keys.metadata.text(&keys.key(suffix))?.is_some_and(|name| !ROPE_SCALINGS.contains(&name)) {
        return Err(keys.refuse(suffix, "is not none, linear, yarn or longrope"));
    }
    Ok(())
}
