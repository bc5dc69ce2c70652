//! The architectures the engine takes: plain text decoders with an attention cache, as named in `llama-arch.cpp`.
//!
//! Encoders, vision and audio models, diffusion models and recurrent models are left out: they load but do not answer
//! the way this appliance asks. What each row demands is read from `src/models/<name>.cpp` (`load_arch_hparams` and the
//! assertions of its graph).

use crate::Refused;

/// How much of an attention head is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// All of it: the graph asserts that `rope.dimension_count` equals the head size.
    Whole,
    /// All or a part of it.
    Part,
}

/// Which normalisation an architecture uses, and so which key holds its epsilon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Norm {
    /// `attention.layer_norm_rms_epsilon`
    Rms,
    /// `attention.layer_norm_epsilon`
    Layer,
}

/// An architecture on the list.
#[derive(Debug, PartialEq, Eq)]
pub struct Architecture {
    pub(crate) name: &'static str,
    pub(crate) norm: Norm,
    pub(crate) rotation: Rotation,
    /// Whether the model must have experts.
    pub(crate) experts: bool,
    /// Further keys (f32) that llama.cpp insists on, without the architecture's prefix.
    pub(crate) required_f32: &'static [&'static str],
    /// Further keys (u32) that llama.cpp insists on, without the architecture's prefix.
    pub(crate) required_u32: &'static [&'static str],
}

impl Architecture {
    /// Its name in the file, such as `llama`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }
}

const fn dense(name: &'static str, norm: Norm, rotation: Rotation) -> Architecture {
    Architecture { name, norm, rotation, experts: false, required_f32: &[], required_u32: &[] }
}

const fn experts(name: &'static str, rotation: Rotation) -> Architecture {
    Architecture { name, norm: Norm::Rms, rotation, experts: true, required_f32: &[], required_u32: &[] }
}

const LOGIT_SCALE: &[&str] = &["logit_scale"];
const SLIDING_WINDOW: &[&str] = &["attention.sliding_window"];

/// The list. `llama` covers Llama 2 and 3, Mistral 7B, Mixtral, SmolLM 1 and 2, and everything converted to that shape.
const SUPPORTED: &[Architecture] = &[
    dense("llama", Norm::Rms, Rotation::Whole),
    dense("mistral3", Norm::Rms, Rotation::Whole),
    dense("qwen2", Norm::Rms, Rotation::Whole),
    experts("qwen2moe", Rotation::Whole),
    dense("qwen3", Norm::Rms, Rotation::Whole),
    experts("qwen3moe", Rotation::Whole),
    dense("gemma", Norm::Rms, Rotation::Part),
    dense("gemma2", Norm::Rms, Rotation::Part),
    dense("gemma3", Norm::Rms, Rotation::Part),
    dense("phi3", Norm::Rms, Rotation::Part),
    Architecture { required_u32: SLIDING_WINDOW, ..experts("gpt-oss", Rotation::Part) },
    dense("smollm3", Norm::Rms, Rotation::Whole),
    Architecture { required_f32: LOGIT_SCALE, ..dense("granite", Norm::Rms, Rotation::Whole) },
    Architecture { required_f32: LOGIT_SCALE, ..experts("granitemoe", Rotation::Whole) },
    dense("olmo2", Norm::Rms, Rotation::Whole),
    dense("internlm2", Norm::Rms, Rotation::Whole),
    dense("arcee", Norm::Rms, Rotation::Whole),
    dense("seed_oss", Norm::Rms, Rotation::Whole),
    dense("exaone4", Norm::Rms, Rotation::Whole),
    dense("starcoder2", Norm::Layer, Rotation::Whole),
    dense("stablelm", Norm::Layer, Rotation::Part),
    dense("command-r", Norm::Layer, Rotation::Part),
    Architecture {
        required_f32: LOGIT_SCALE,
        required_u32: SLIDING_WINDOW,
        ..dense("cohere2", Norm::Layer, Rotation::Part)
    },
];

/// Names of all architectures on the list.
pub fn supported_architectures() -> impl Iterator<Item = &'static str> {
    SUPPORTED.iter().map(|row| row.name)
}

pub(crate) fn find(name: &str, offset: u64) -> Result<&'static Architecture, Refused> {
    let row = SUPPORTED.iter().find(|row| row.name == name);
    row.ok_or_else(|| Refused::Architecture { name: name.chars().take(64).collect(), offset })
}
