//! Writes small GGUF files, right or wrong in one chosen place.

#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeMap;

/// A metadata value to write.
#[derive(Clone)]
pub enum Value {
    U32(u32),
    I32(i32),
    U16(u16),
    F32(f32),
    Bool(u8),
    Text(Vec<u8>),
    Texts(Vec<String>),
    I32s(Vec<i32>),
    U32s(Vec<u32>),
    F32s(Vec<f32>),
    /// Type number and bytes, as they are.
    Raw(u32, Vec<u8>),
}

pub fn text(value: &str) -> Value {
    Value::Text(value.as_bytes().to_vec())
}

fn put_text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

fn put_array<T>(out: &mut Vec<u8>, kind: u32, items: &[T], mut put: impl FnMut(&mut Vec<u8>, &T)) {
    out.extend(9_u32.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend((items.len() as u64).to_le_bytes());
    for item in items {
        put(out, item);
    }
}

impl Value {
    fn write(&self, out: &mut Vec<u8>) {
        let mut scalar = |kind: u32, bytes: &[u8]| {
            out.extend(kind.to_le_bytes());
            out.extend(bytes);
        };
        match self {
            Self::U16(value) => scalar(2, &value.to_le_bytes()),
            Self::U32(value) => scalar(4, &value.to_le_bytes()),
            Self::I32(value) => scalar(5, &value.to_le_bytes()),
            Self::F32(value) => scalar(6, &value.to_le_bytes()),
            Self::Bool(value) => scalar(7, &[*value]),
            Self::Raw(kind, bytes) => scalar(*kind, bytes),
            Self::Text(value) => {
                out.extend(8_u32.to_le_bytes());
                put_text(out, value);
            }
            Self::U32s(values) => put_array(out, 4, values, |out, value| out.extend(value.to_le_bytes())),
            Self::I32s(values) => put_array(out, 5, values, |out, value| out.extend(value.to_le_bytes())),
            Self::F32s(values) => put_array(out, 6, values, |out, value| out.extend(value.to_le_bytes())),
            Self::Texts(values) => put_array(out, 8, values, |out, value| put_text(out, value.as_bytes())),
        }
    }
}

/// A tensor to write.
#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    pub dimensions: Vec<u64>,
    pub kind: u32,
    /// Bytes its data takes, before padding.
    pub bytes: u64,
    /// Offset to write instead of the right one.
    pub offset: Option<u64>,
}

pub fn tensor_f32(name: &str, dimensions: &[u64]) -> Tensor {
    let bytes = dimensions.iter().product::<u64>() * 4;
    Tensor { name: name.to_owned(), dimensions: dimensions.to_vec(), kind: 0, bytes, offset: None }
}

/// A file to write.
#[derive(Clone)]
pub struct File {
    pub magic: [u8; 4],
    pub version: u32,
    pub pairs: Vec<(String, Value)>,
    pub tensors: Vec<Tensor>,
    pub pair_count: Option<u64>,
    pub tensor_count: Option<u64>,
    pub alignment: u64,
}

impl File {
    /// A model that is accepted: architecture `llama`, one layer, four heads of eight, a vocabulary of 32.
    pub fn accepted() -> Self {
        let tokens: Vec<String> = (0..32).map(|id| format!("t{id}")).collect();
        let pairs: BTreeMap<&str, Value> = BTreeMap::from([
            ("general.architecture", text("llama")),
            ("general.name", text("tiny")),
            ("llama.context_length", Value::U32(128)),
            ("llama.embedding_length", Value::U32(32)),
            ("llama.block_count", Value::U32(1)),
            ("llama.feed_forward_length", Value::U32(64)),
            ("llama.attention.head_count", Value::U32(4)),
            ("llama.attention.head_count_kv", Value::U32(2)),
            ("llama.attention.layer_norm_rms_epsilon", Value::F32(1e-5)),
            ("tokenizer.ggml.model", text("gpt2")),
            ("tokenizer.ggml.pre", text("smollm")),
            ("tokenizer.ggml.tokens", Value::Texts(tokens)),
            ("tokenizer.ggml.merges", Value::Texts(vec!["t 1".to_owned()])),
            ("tokenizer.ggml.bos_token_id", Value::U32(1)),
            ("tokenizer.ggml.eos_token_id", Value::U32(2)),
            ("tokenizer.chat_template", text("{{ messages }}")),
        ]);
        Self {
            magic: *b"GGUF",
            version: 3,
            pairs: pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            tensors: vec![
                tensor_f32("token_embd.weight", &[32, 32]),
                tensor_f32("blk.0.attn_norm.weight", &[31]),
                tensor_f32("output_norm.weight", &[32]),
            ],
            pair_count: None,
            tensor_count: None,
            alignment: 32,
        }
    }

    /// The same with another value for `key`, which is added if it is not there.
    pub fn with(mut self, key: &str, value: Value) -> Self {
        match self.pairs.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.pairs.push((key.to_owned(), value)),
        }
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.pairs.retain(|(name, _)| name != key);
        self
    }

    pub fn with_tensor(mut self, tensor: Tensor) -> Self {
        self.tensors.push(tensor);
        self
    }

    /// The same under another architecture: all keys are renamed.
    pub fn renamed(mut self, architecture: &str) -> Self {
        for (key, _) in &mut self.pairs {
            if let Some(rest) = key.strip_prefix("llama.") {
                *key = format!("{architecture}.{rest}");
            }
        }
        self.with("general.architecture", text(architecture))
    }

    pub fn write(&self) -> Vec<u8> {
        let mut out = self.magic.to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        out.extend(self.pair_count.unwrap_or(self.pairs.len() as u64).to_le_bytes());
        for (key, value) in &self.pairs {
            put_text(&mut out, key.as_bytes());
            value.write(&mut out);
        }
        let mut data = 0_u64;
        for tensor in &self.tensors {
            put_text(&mut out, tensor.name.as_bytes());
            out.extend((tensor.dimensions.len() as u32).to_le_bytes());
            for length in &tensor.dimensions {
                out.extend(length.to_le_bytes());
            }
            out.extend(tensor.kind.to_le_bytes());
            out.extend(tensor.offset.unwrap_or(data).to_le_bytes());
            data += tensor.bytes.next_multiple_of(self.alignment);
        }
        let begin = (out.len() as u64).next_multiple_of(self.alignment);
        out.resize((begin + data) as usize, 0);
        out
    }
}
