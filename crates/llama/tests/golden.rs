//! Tokens and greedy continuations against an independent implementation (`tests/vectors/llm-golden.json`).
//!
//! The tiny model always; SmolLM2-135M-Instruct when `LETHE_MODEL` names its file.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: helpers outside of a test function count as production code otherwise"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use llama::{Backend, Batch, Context, ContextOptions, LoadOptions, Model};
use serde_json::Value;

/// How far below the best logit the other implementation's choice may lie here: it computes in 32-bit floats from dequantised
/// weights, llama.cpp with quantised activations (and so chooses another first word of an answer where the best two are close).
const MARGIN: f32 = 0.4;

/// How far a logit may be off once the shift that all of them share is taken away.
const LOOSE: f32 = 0.4;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn golden() -> Value {
    serde_json::from_slice(&std::fs::read(repository("tests/vectors/llm-golden.json")).unwrap()).unwrap()
}

fn load(path: &Path) -> Arc<Model> {
    let backend = Backend::init(Backend::print_and_exit);
    Arc::new(Model::load(backend, path, &LoadOptions::default(), |_| true).unwrap())
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

/// Logits of the tokens that `top` lists, compared loosely: softmax does not see a shift that all share, so neither does this.
fn check_first(logits: &[f32], top: &Value) {
    let pairs: Vec<(f32, f32)> = top
        .as_array()
        .unwrap()
        .iter()
        .map(|pair| (logits[pair[0].as_u64().unwrap() as usize], pair[1].as_f64().unwrap() as f32))
        .collect();
    let shift = pairs.iter().map(|(ours, theirs)| ours - theirs).sum::<f32>() / pairs.len() as f32;
    assert!(shift.abs() < 1.0, "{pairs:?}");
    assert!(pairs.iter().all(|(ours, theirs)| (ours - theirs - shift).abs() < LOOSE), "{pairs:?}");
}

/// Feeds the other implementation's continuation and wants each of its tokens to be the best here or close to it. Answers how
/// many are the best.
fn follow(context: &mut Context, prompt: &[u32], generation: &Value) -> usize {
    let mut batch = Batch::new(512);
    let mut row = None;
    for (at, &token) in (0u32..).zip(prompt) {
        row = batch.add(0, at, token, at as usize + 1 == prompt.len());
    }
    let mut best = 0;
    for (step, &wanted) in ids(&generation["greedy_ids"]).iter().enumerate() {
        context.decode(&batch).unwrap();
        let logits = context.logits(row.unwrap()).unwrap();
        if step == 0 {
            check_first(logits, &generation["top5_first"]);
        }
        let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let behind = highest - logits[wanted as usize];
        assert!(behind < MARGIN, "step {step}: token {wanted} lies {behind} below the best");
        best += usize::from(behind == 0.0);
        batch.clear();
        row = batch.add(0, u32::try_from(prompt.len() + step).unwrap(), wanted, true);
    }
    context.release(0);
    best
}

fn check_generations(model: &Arc<Model>, generations: &Value) {
    let options = ContextOptions { context_tokens: 512, sequences: 1, batch_tokens: 512, threads: 1 };
    let mut context = Context::new(model.clone(), options).unwrap();
    for generation in generations.as_array().unwrap() {
        let prompt = ids(&generation["prompt_ids"]);
        let text = generation["prompt_text"].as_str().or(generation["raw"].as_str()).unwrap();
        assert_eq!(*model.vocabulary().tokenize(text, true).unwrap(), prompt);
        let best = follow(&mut context, &prompt, generation);
        let length = ids(&generation["greedy_ids"]).len();
        println!("{text:?}: {best} of {length} tokens are the best here too, the others close");
        assert!(best * 4 >= length * 3);
    }
}

#[test]
fn tiny_model_agrees_with_the_independent_implementation() {
    let model = load(&repository("tests/models/tiny-random-llama.gguf"));
    check_generations(&model, &golden()["tiny-random-llama"]["generations"]);
}

#[test]
fn control_tokens_are_text_unless_asked_for() {
    let model = load(&repository("tests/models/tiny-random-llama.gguf"));
    let vocabulary = model.vocabulary();
    let end = vocabulary.eos().unwrap();
    let text = vocabulary.text(end);
    assert_eq!(*vocabulary.tokenize(&text, true).unwrap(), [end]);
    let plain = vocabulary.tokenize(&text, false).unwrap();
    assert!(plain.len() > 1 && !plain.contains(&end));
    assert!(vocabulary.ends_generation(end) && !vocabulary.ends_generation(plain[0]));
}

#[test]
fn bytes_of_the_tokens_of_a_text_are_the_text() {
    let model = load(&repository("tests/models/tiny-random-llama.gguf"));
    let vocabulary = model.vocabulary();
    for text in ["", "hello world", "naïve 42 🔒\n\t ", "日本語"] {
        let mut bytes = Vec::new();
        for &token in vocabulary.tokenize(text, false).unwrap().iter() {
            vocabulary.bytes_into(token, false, &mut bytes);
        }
        assert_eq!(bytes, text.as_bytes());
    }
    let (mut hidden, mut shown) = (Vec::new(), Vec::new());
    vocabulary.bytes_into(vocabulary.eos().unwrap(), false, &mut hidden);
    vocabulary.bytes_into(vocabulary.eos().unwrap(), true, &mut shown);
    assert_eq!((hidden.len(), String::from_utf8(shown).unwrap()), (0, vocabulary.text(vocabulary.eos().unwrap())));
    let mut outside = Vec::new();
    vocabulary.bytes_into(u32::MAX, true, &mut outside);
    assert!(outside.is_empty());
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let whole = std::fs::read(repository("tests/models/tiny-random-llama.gguf")).unwrap();
    let folder = std::env::temp_dir().join(format!("lethe-llama-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("broken.gguf");
    let backend = Backend::init(Backend::print_and_exit);
    for broken in [&b"not a model"[..], &whole[..4], &whole[..whole.len() / 2], &whole[..whole.len() - 64]] {
        std::fs::write(&path, broken).unwrap();
        assert!(Model::load(backend, &path, &LoadOptions::default(), |_| true).is_err());
    }
    assert!(Model::load(backend, &folder.join("none.gguf"), &LoadOptions::default(), |_| true).is_err());
    std::fs::write(&path, &whole).unwrap();
    assert!(Model::load(backend, &path, &LoadOptions::default(), |_| false).is_err(), "progress said stop");
    assert!(Model::load(backend, &path, &LoadOptions::default(), |_| true).is_ok());
    std::fs::remove_dir_all(&folder).unwrap();
}

fn real_model() -> Option<Arc<Model>> {
    let path = std::env::var_os("LETHE_MODEL");
    if path.is_none() {
        println!("skipped: LETHE_MODEL names no file");
    }
    path.map(|path| load(Path::new(&path)))
}

#[test]
fn smollm2_tokens_and_answers_agree() {
    let Some(model) = real_model() else { return };
    let golden = &golden()["smollm2-135m-instruct-q4_1"];
    for case in golden["tokenization"].as_array().unwrap() {
        let text = case["text"].as_str().unwrap();
        assert_eq!(*model.vocabulary().tokenize(text, true).unwrap(), ids(&case["ids"]), "{text}");
    }
    check_generations(&model, &golden["generations"]);
}

#[test]
fn weights_of_a_file_in_memory_are_used_in_place() {
    let Some(path) = std::env::var_os("LETHE_MODEL") else {
        println!("skipped: LETHE_MODEL names no file");
        return;
    };
    // a file under /dev/shm lies in the same kind of memory as a memfd
    let copy = Path::new("/dev/shm").join(format!("lethe-{}.gguf", std::process::id()));
    std::fs::copy(&path, &copy).unwrap();
    let anonymous = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 1024
    };
    let before = anonymous();
    let model = load(&copy);
    let grown = anonymous().saturating_sub(before);
    std::fs::remove_file(&copy).unwrap();
    println!("weights {} bytes, anonymous memory grew by {grown}", model.weight_bytes());
    assert!(grown < model.weight_bytes() / 4);
}

#[test]
fn texts_made_to_be_slow_are_tokenized_in_linear_time() {
    let tiny = load(&repository("tests/models/tiny-random-llama.gguf"));
    // llama.cpp alone takes a minute for the second: it walks a list from its start at every control token
    for (model, size) in [(Some(tiny), 1 << 18), (real_model(), 1 << 20)] {
        let Some(model) = model else { continue };
        let vocabulary = model.vocabulary();
        for unit in ["a", " ", "1", "é", "\n", "🔒", "a b ", "'", "<", "<|im_start|>", "<|im_start|> ", "<|im_end|>x"]
        {
            let text = unit.repeat(size / unit.len());
            let started = std::time::Instant::now();
            let tokens = vocabulary.tokenize(&text, true).unwrap();
            println!("{unit:?}: {} tokens in {:?}", tokens.len(), started.elapsed());
            assert!(!tokens.is_empty());
            assert!(started.elapsed().as_secs() < 20);
        }
    }
}

#[test]
fn control_tokens_by_the_hundred_are_the_tokens_they_are_alone() {
    let model = load(&repository("tests/models/tiny-random-llama.gguf"));
    let vocabulary = model.vocabulary();
    let turns =
        ["<|im_start|>user\nhello<|im_end|>\n", "<|im_start|>", "<|im_end|> x", "<|im_<|im_end|>", "<|im_end|>é"];
    for turn in turns {
        let once = vocabulary.tokenize(turn, true).unwrap();
        let often = vocabulary.tokenize(&turn.repeat(500), true).unwrap();
        assert_eq!(*often, once.repeat(500), "{turn}");
    }
}
