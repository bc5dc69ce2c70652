//! One wrong thing at a time, beside the right one: what is refused, and under which code.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

mod support;
use support::{File, Tensor, Value, tensor_f32, text};

#[track_caller]
fn refused(file: &File, code: &str) {
    let refused = gguf::check(&file.write()).expect_err("must be refused");
    assert_eq!(refused.code(), code, "{refused}");
}

#[track_caller]
fn accepted(file: &File) -> gguf::Header {
    match gguf::check(&file.write()) {
        Ok(header) => header,
        Err(refused) => panic!("must be accepted: {refused}"),
    }
}

fn file() -> File {
    File::accepted()
}

#[test]
fn a_right_file_is_accepted_in_both_versions() {
    assert_eq!(accepted(&file()).version, 3);
    assert_eq!(accepted(&File { version: 2, ..file() }).version, 2);
    for version in [0, 1, 4, 0x0300_0000] {
        refused(&File { version, ..file() }, "gguf-version");
    }
}

#[test]
fn other_files_are_refused_by_their_magic() {
    refused(&File { magic: *b"FUGG", ..file() }, "gguf-magic");
    assert_eq!(gguf::check(b"\x7fELF and more").expect_err("no model").code(), "gguf-magic");
    assert_eq!(gguf::check(b"").expect_err("empty").code(), "gguf-truncated");
}

#[test]
fn keys_are_printable_and_unique() {
    accepted(&file().with("some.other.key", Value::U32(1)));
    let mut twice = file();
    twice.pairs.push(("general.name".to_owned(), text("again")));
    refused(&twice, "gguf-key");
    refused(&file().with("", Value::U32(1)), "gguf-key");
    refused(&file().with("ключ", Value::U32(1)), "gguf-key");
    refused(&file().with("with space", Value::U32(1)), "gguf-key");
    refused(&file().with(&"k".repeat(256), Value::U32(1)), "gguf-length");
}

#[test]
fn values_have_known_types_and_utf8() {
    accepted(&file().with("any", Value::Raw(12, 1.5_f64.to_le_bytes().to_vec())));
    refused(&file().with("any", Value::Raw(13, vec![0; 8])), "gguf-value-type");
    refused(&file().with("any", Value::Raw(u32::MAX, vec![0; 8])), "gguf-value-type");
    refused(&file().with("any", Value::Bool(2)), "gguf-value-type");
    let nested = [9_u32.to_le_bytes().as_slice(), &1_u64.to_le_bytes()].concat();
    refused(&file().with("any", Value::Raw(9, nested)), "gguf-value-type");
    refused(&file().with("general.name", Value::Text(vec![0xc3, 0x28])), "gguf-utf8");
    refused(&file().with("general.name", Value::U32(1)), "gguf-value");
}

#[test]
fn alignment_is_a_power_of_two_that_buffers_accept() {
    accepted(&File { alignment: 64, ..file() }.with("general.alignment", Value::U32(64)));
    for alignment in [0, 1, 16, 33, 48, u32::MAX, 1 << 31] {
        refused(&file().with("general.alignment", Value::U32(alignment)), "gguf-value");
    }
    refused(&file().with("general.alignment", Value::I32(32)), "gguf-value");
}

#[test]
fn architectures_off_the_list_are_refused() {
    accepted(&file().renamed("qwen2"));
    for name in ["mamba", "bert", "clip", "t5", "", "LLAMA", "llama "] {
        refused(&file().with("general.architecture", text(name)), "gguf-architecture");
    }
    refused(&file().without("general.architecture"), "gguf-missing");
    let long = file().with("general.architecture", text(&"x\n".repeat(500)));
    let error = gguf::check(&long.write()).expect_err("unknown").to_string();
    assert!(error.len() < 200 && !error.contains('\n'), "{error:?}");
}

#[test]
fn every_listed_architecture_has_an_accepted_file() {
    let extra = |name: &str| {
        let key = |suffix: &str| format!("{name}.{suffix}");
        file()
            .renamed(name)
            .with(&key("attention.layer_norm_epsilon"), Value::F32(1e-5))
            .with(&key("logit_scale"), Value::F32(1.0))
            .with(&key("attention.sliding_window"), Value::U32(64))
            .with(&key("expert_count"), Value::U32(4))
            .with(&key("expert_used_count"), Value::U32(2))
    };
    assert!(gguf::supported_architectures().count() > 15);
    for name in gguf::supported_architectures() {
        assert_eq!(accepted(&extra(name)).architecture.name(), name);
        refused(&extra(name).without(&format!("{name}.block_count")), "gguf-missing");
    }
    refused(&extra("granite").without("granite.logit_scale"), "gguf-missing");
    refused(&extra("gpt-oss").without("gpt-oss.attention.sliding_window"), "gguf-missing");
    refused(&extra("cohere2").without("cohere2.attention.layer_norm_epsilon"), "gguf-missing");
    refused(&extra("qwen3moe").without("qwen3moe.expert_count"), "gguf-value");
}

#[test]
fn parts_of_a_split_model_are_refused() {
    accepted(&file().with("split.count", Value::U16(1)));
    refused(&file().with("split.count", Value::U16(2)), "gguf-split");
}

#[test]
fn required_numbers_are_there_and_in_range() {
    for key in ["context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count"] {
        let key = format!("llama.{key}");
        refused(&file().without(&key), "gguf-missing");
        refused(&file().with(&key, Value::U32(0)), "gguf-value");
        refused(&file().with(&key, Value::U32(u32::MAX)), "gguf-value");
        refused(&file().with(&key, Value::I32(32)), "gguf-value");
        refused(&file().with(&key, text("32")), "gguf-value");
    }
    refused(&file().with("llama.block_count", Value::U32(513)), "gguf-value");
}

#[test]
fn per_layer_arrays_fit_the_layers() {
    accepted(&file().with("llama.attention.head_count", Value::U32s(vec![4])));
    accepted(&file().with("llama.feed_forward_length", Value::I32s(vec![64])));
    refused(&file().with("llama.attention.head_count", Value::U32s(vec![4, 4])), "gguf-value");
    refused(&file().with("llama.attention.head_count", Value::U32s(vec![])), "gguf-value");
    refused(&file().with("llama.attention.head_count", Value::I32s(vec![-4])), "gguf-value");
    refused(&file().with("llama.attention.head_count", Value::F32s(vec![4.0])), "gguf-value");
}

#[test]
fn heads_divide_and_have_one_size() {
    accepted(&file().with("llama.attention.key_length", Value::U32(8)));
    let wide = |value: u32| {
        file()
            .with("llama.attention.key_length", Value::U32(16))
            .with("llama.attention.value_length", Value::U32(value))
            .with("llama.rope.dimension_count", Value::U32(16))
    };
    accepted(&wide(16));
    refused(&wide(8), "gguf-value");
    refused(&file().with("llama.attention.key_length", Value::U32(16)), "gguf-value");
    refused(&file().with("llama.attention.key_length", Value::U32(0)), "gguf-value");
    refused(&file().with("llama.attention.head_count_kv", Value::U32(3)), "gguf-value");
    refused(&file().with("llama.attention.head_count_kv", Value::U32(8)), "gguf-value");
    refused(&file().with("llama.attention.head_count_kv", Value::U32(0)), "gguf-value");
    refused(&file().with("llama.attention.head_count", Value::U32(3)), "gguf-value");
    accepted(&file().with("llama.rope.dimension_count", Value::U32(8)));
    refused(&file().with("llama.rope.dimension_count", Value::U32(4)), "gguf-value");
    accepted(&file().renamed("phi3").with("phi3.rope.dimension_count", Value::U32(4)));
    refused(&file().renamed("phi3").with("phi3.rope.dimension_count", Value::U32(3)), "gguf-value");
    refused(&file().renamed("phi3").with("phi3.rope.dimension_count", Value::U32(16)), "gguf-value");
}

#[test]
fn experts_fit_together() {
    let experts = |count, used, groups, groups_used| {
        file()
            .with("llama.expert_count", Value::U32(count))
            .with("llama.expert_used_count", Value::U32(used))
            .with("llama.expert_group_count", Value::U32(groups))
            .with("llama.expert_group_used_count", Value::U32(groups_used))
    };
    accepted(&experts(8, 2, 0, 0));
    accepted(&experts(8, 2, 4, 2));
    accepted(&experts(0, 0, 0, 0));
    for wrong in [
        experts(8, 9, 0, 0),
        experts(8, 0, 0, 0),
        experts(0, 1, 0, 0),
        experts(0, 0, 1, 0),
        experts(1025, 2, 0, 0),
        experts(8, 2, 3, 1),
        experts(8, 2, 8, 1),
        experts(8, 2, 4, 4),
        experts(8, 2, 4, 0),
    ] {
        refused(&wrong, "gguf-value");
    }
}

#[test]
fn other_numbers_do_not_trip_assertions() {
    let epsilon = "llama.attention.layer_norm_rms_epsilon";
    refused(&file().without(epsilon), "gguf-missing");
    for wrong in [f32::NAN, f32::INFINITY, -1.0] {
        refused(&file().with(epsilon, Value::F32(wrong)), "gguf-value");
    }
    accepted(&file().with("llama.rope.scaling.type", text("yarn")));
    refused(&file().with("llama.rope.scaling.type", text("sideways")), "gguf-value");
    refused(&file().with("llama.rope.freq_base", Value::F32(0.0)), "gguf-value");
    refused(&file().with("llama.attention.causal", Value::Bool(0)), "gguf-value");
    refused(&file().with("llama.nextn_predict_layers", Value::U32(1)), "gguf-value");
}

#[test]
fn tensor_names_and_shapes_are_checked() {
    accepted(&file().with_tensor(tensor_f32("output.weight", &[32, 32])));
    for (name, dimensions) in [
        ("", &[32_u64][..]),
        ("with space", &[32]),
        ("output_norm.weight", &[8]),
        ("blk.1.attn_q.weight", &[32, 32]),
        ("blk.x.attn_q.weight", &[32, 32]),
        ("empty", &[32, 0]),
        ("none", &[]),
        ("five", &[1, 1, 1, 1, 1]),
        ("huge", &[1 << 32, 1 << 31]),
        ("wraps", &[1 << 32, 1 << 32]),
    ] {
        let bytes = dimensions.iter().fold(4_u64, |bytes, length| bytes.saturating_mul(*length));
        let bytes = if bytes < 1 << 20 { bytes } else { 0 };
        let tensor = Tensor { name: name.to_owned(), dimensions: dimensions.to_vec(), kind: 0, bytes, offset: None };
        refused(&file().with_tensor(tensor), "gguf-tensor");
    }
    refused(&file().with_tensor(tensor_f32(&"n".repeat(64), &[32])), "gguf-length");
    accepted(&file().with_tensor(tensor_f32(&"n".repeat(63), &[32])));
}

#[test]
fn embedding_table_fits_the_vocabulary() {
    let mut other = file();
    other.tensors[0] = tensor_f32("token_embd.weight", &[32, 31]);
    refused(&other, "gguf-tensor");
    other.tensors[0] = tensor_f32("token_embd.weight", &[64, 32]);
    refused(&other, "gguf-tensor");
    other.tensors[0] = tensor_f32("token_embedding.weight", &[32, 32]);
    refused(&other, "gguf-missing");
}

#[test]
fn tensor_types_can_hold_weights() {
    let tensor = |name: &str, kind, dimensions: &[u64], bytes| Tensor {
        name: name.to_owned(),
        dimensions: dimensions.to_vec(),
        kind,
        bytes,
        offset: None,
    };
    accepted(&file().with_tensor(tensor("output.weight", 2, &[32, 32], 32 * 18)));
    accepted(&file().with_tensor(tensor("blk.0.ffn_up.weight", 12, &[256, 2], 2 * 144)));
    for kind in [4, 5, 9, 15, 24, 26, 28, 31, 33, 36, 43, 1000, u32::MAX] {
        refused(&file().with_tensor(tensor("output.weight", kind, &[256, 2], 4096)), "gguf-tensor-type");
    }
    refused(&file().with_tensor(tensor("output.weight", 2, &[31, 32], 4096)), "gguf-tensor-type");
    refused(&file().with_tensor(tensor("output.weight", 12, &[32, 32], 4096)), "gguf-tensor-type");
    refused(&file().with_tensor(tensor("blk.0.attn_q.bias", 1, &[32], 64)), "gguf-tensor-type");
    refused(&file().with_tensor(tensor("blk.0.x_norm.weight", 1, &[32, 2], 128)), "gguf-tensor-type");
}

#[test]
fn tensors_lie_back_to_back_within_the_file() {
    for offset in [0, 1, 32, 4096 - 32, 4096 + 32, 1 << 40, u64::MAX] {
        let mut moved = file();
        moved.tensors[1].offset = Some(offset);
        refused(&moved, "gguf-tensor-offset");
    }
    let mut short = file();
    short.tensors[2].bytes = 32;
    refused(&short, "gguf-truncated");
    let mut long = file();
    long.tensors[2].bytes = 256;
    refused(&long, "gguf-trailing");
    let vast = Tensor { name: "v".into(), dimensions: vec![1 << 40], kind: 0, bytes: 0, offset: None };
    refused(&file().with_tensor(vast), "gguf-truncated");
}

#[test]
fn tokens_are_unique_bounded_texts() {
    let tokens = |change: fn(&mut Vec<String>)| {
        let mut tokens = (0..32).map(|id| format!("t{id}")).collect();
        change(&mut tokens);
        file().with("tokenizer.ggml.tokens", Value::Texts(tokens))
    };
    accepted(&tokens(|_| {}));
    accepted(&tokens(|tokens| tokens[5].clear()));
    refused(&tokens(|tokens| tokens[5] = "t6".to_owned()), "gguf-tokenizer");
    let clash = |tokens: &mut Vec<String>| {
        tokens[5].clear();
        tokens[6] = "[EMPTY_5]".to_owned();
    };
    refused(&tokens(clash), "gguf-tokenizer");
    refused(&tokens(|tokens| tokens[5] = "x".repeat(4097)), "gguf-length");
    refused(&tokens(|tokens| tokens.clear()), "gguf-value");
    refused(&tokens(|tokens| tokens.truncate(31)), "gguf-tensor");
    refused(&file().with("tokenizer.ggml.tokens", Value::U32s(vec![1; 32])), "gguf-value");
    refused(&file().without("tokenizer.ggml.tokens"), "gguf-missing");
}

#[test]
fn tables_beside_the_tokens_have_their_length() {
    accepted(&file().with("tokenizer.ggml.token_type", Value::I32s(vec![1; 32])));
    accepted(&file().with("tokenizer.ggml.scores", Value::F32s(vec![0.0; 32])));
    for (key, value) in [
        ("tokenizer.ggml.token_type", Value::I32s(vec![1; 31])),
        ("tokenizer.ggml.token_type", Value::I32s(vec![1; 33])),
        ("tokenizer.ggml.token_type", Value::U32s(vec![1; 32])),
        ("tokenizer.ggml.token_type", Value::I32s(vec![7; 32])),
        ("tokenizer.ggml.token_type", Value::I32s(vec![-1; 32])),
        // Type 6 is a byte, which these tokens do not spell.
        ("tokenizer.ggml.token_type", Value::I32s(vec![6; 32])),
        ("tokenizer.ggml.scores", Value::F32s(vec![0.0; 31])),
        ("tokenizer.ggml.scores", Value::F32s(vec![f32::NAN; 32])),
        ("tokenizer.ggml.scores", Value::Texts(vec![String::new(); 32])),
        ("tokenizer.ggml.merges", Value::Texts(vec!["nospace".to_owned()])),
        ("tokenizer.ggml.merges", Value::Texts(vec![String::new()])),
    ] {
        refused(&file().with(key, value), "gguf-tokenizer");
    }
    refused(&file().with("tokenizer.ggml.merges", Value::I32s(vec![1])), "gguf-value");
    refused(&file().without("tokenizer.ggml.merges"), "gguf-missing");
}

#[test]
fn kinds_of_tokenizer_off_the_list_are_refused() {
    for name in ["bert", "t5", "rwkv", "none", "no_vocab", "test", ""] {
        refused(&file().with("tokenizer.ggml.model", text(name)), "gguf-tokenizer");
    }
    refused(&file().without("tokenizer.ggml.model"), "gguf-missing");
}

#[test]
fn sentencepiece_vocabularies_cover_every_byte() {
    let with_bytes = |count: u32| {
        let tokens = (0..8).map(|id| format!("t{id}")).chain((0..count).map(|byte| format!("<0x{byte:02X}>")));
        let tokens: Vec<String> = tokens.collect();
        let mut file = file().with("tokenizer.ggml.model", text("llama")).without("tokenizer.ggml.merges");
        file.tensors[0] = tensor_f32("token_embd.weight", &[32, tokens.len() as u64]);
        file.with("tokenizer.ggml.tokens", Value::Texts(tokens))
    };
    accepted(&with_bytes(256));
    refused(&with_bytes(255), "gguf-tokenizer");
    let types = [vec![1; 8], vec![6; 256]].concat();
    accepted(&with_bytes(256).with("tokenizer.ggml.token_type", Value::I32s(types)));
}

#[test]
fn special_tokens_are_in_the_vocabulary() {
    for key in ["tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"] {
        accepted(&file().with(key, Value::U32(31)));
        accepted(&file().without(key));
        refused(&file().with(key, Value::U32(32)), "gguf-value");
        refused(&file().with(key, Value::I32(1)), "gguf-value");
    }
    // Without a named token llama.cpp assumes number 11, which a vocabulary of eight does not have.
    let mut small = file();
    small.tensors[0] = tensor_f32("token_embd.weight", &[32, 8]);
    let tokens = (0..8).map(|id| format!("t{id}")).collect();
    let small = small.with("tokenizer.ggml.tokens", Value::Texts(tokens));
    accepted(&small);
    let unnamed = small.clone().without("tokenizer.ggml.bos_token_id");
    refused(&unnamed, "gguf-tokenizer");
    accepted(&unnamed.with("tokenizer.ggml.add_bos_token", Value::Bool(0)));
    refused(&small.without("tokenizer.ggml.eos_token_id"), "gguf-tokenizer");
}

#[test]
fn chat_templates_are_bounded() {
    let most = gguf::MAX_CHAT_TEMPLATE_BYTES;
    accepted(&file().with("tokenizer.chat_template", text(&"x".repeat(most))));
    refused(&file().with("tokenizer.chat_template", text(&"x".repeat(most + 1))), "gguf-length");
    assert_eq!(accepted(&file().without("tokenizer.chat_template")).chat_template, None);
}
