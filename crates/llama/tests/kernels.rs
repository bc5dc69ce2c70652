//! Every compilation of ggml that this processor runs computes the same model: logits stay close, and the best token is the same
//! wherever it is clearly the best. Each runs in a process of its own, as the choice is made once in a process.
//!
//! `LETHE_MODEL` names a real model; without it the tiny one is used, whose rows are too short for the layouts of AMX.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: helpers outside of a test function count as production code otherwise"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use llama::{Backend, Batch, Context, ContextOptions, Kernels, LoadOptions, Model};

const TOKENS: u32 = 40;
const TEXT: &str = "The river Lethe flows through the plain of forgetting. Whoever drinks of its water loses all memory of the past, and \
    the old poets wrote that souls drink from it before they are born again. Its name means oblivion.";
/// How far logits may lie apart, as a share of the distance between the highest and the lowest: kernels quantise activations to 8 bits in
/// different blocks.
const CLOSE: f32 = 0.03;
/// A best token that leads by this share of the same distance is the best one for all kernels.
const CLEAR: f32 = 0.02;

fn model_path() -> PathBuf {
    std::env::var_os("LETHE_MODEL").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/tiny-random-llama.gguf"),
        PathBuf::from,
    )
}

/// Runs the ignored test below with one choice and reads the logits it wrote: one row for a prompt in a single batch, then one
/// row for each of its last tokens decoded alone and in a batch of four sequences.
fn rows(kernels: Kernels, repack: bool) -> Vec<Vec<f32>> {
    let folder = tempdir(kernels, repack);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "computes", "--nocapture"])
        .env("LETHE_TEST_KERNELS", kernels.as_str())
        .env("LETHE_TEST_REPACK", if repack { "yes" } else { "no" })
        .env("LETHE_TEST_OUT", &folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{kernels} {repack}: {}", String::from_utf8_lossy(&output.stderr));
    let bytes = std::fs::read(folder.join("logits")).unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    let values: Vec<f32> = bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    assert!(values.len() > 6 && values.iter().all(|value| value.is_finite()), "{kernels}: not all logits are numbers");
    values.chunks_exact(values.len() / 6).map(<[f32]>::to_vec).collect()
}

fn tempdir(kernels: Kernels, repack: bool) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("lethe-kernels-{}-{kernels}-{repack}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

fn best_two(row: &[f32]) -> (usize, f32) {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
    (order[0], row[order[0]] - row[order[1]])
}

#[test]
#[ignore = "the body of the test below, in a process of its own"]
fn computes() {
    let wanted = std::env::var("LETHE_TEST_KERNELS").unwrap();
    let kernels = Kernels::ALL.into_iter().find(|kernels| kernels.as_str() == wanted).unwrap();
    let repack = std::env::var("LETHE_TEST_REPACK").unwrap() == "yes";
    let backend = Backend::init_with(Backend::print_and_exit, kernels);
    assert_eq!(backend.kernels(), kernels);
    let model = Arc::new(Model::load(backend, &model_path(), &LoadOptions { repack }, |_| true).unwrap());
    let tokens = model.vocabulary().tokenize(TEXT, false).unwrap();
    let sizes = ContextOptions { context_tokens: 256, sequences: 5, batch_tokens: 256, threads: 2 };
    let mut context = Context::new(model, sizes).unwrap();

    // ordinary words: on noise a model is unsure, and the least difference grows from layer to layer
    let token = |at: u32| tokens[at as usize % tokens.len()];
    let mut out = Vec::new();
    let mut prompt = Batch::new(TOKENS);
    let rows: Vec<_> =
        (0..TOKENS).filter_map(|at| prompt.add(0, at, token(at), at + 1 == TOKENS)).last().into_iter().collect();
    let mut compute = |batch: &Batch, rows: &[llama::Row]| {
        context.decode(batch).unwrap();
        rows.iter().for_each(|&row| out.extend_from_slice(context.logits(row).unwrap()));
    };
    compute(&prompt, &rows);
    let mut alone = Batch::new(1);
    let rows: Vec<_> = alone.add(0, TOKENS, token(TOKENS), true).into_iter().collect();
    compute(&alone, &rows);
    let mut four = Batch::new(4);
    let rows: Vec<_> = (1..5).filter_map(|sequence| four.add(sequence, 0, token(sequence), true)).collect();
    compute(&four, &rows);
    let bytes: Vec<u8> = out.iter().flat_map(|value| value.to_le_bytes()).collect();
    std::fs::write(Path::new(&std::env::var_os("LETHE_TEST_OUT").unwrap()).join("logits"), bytes).unwrap();
}

#[test]
fn all_kernels_compute_the_same_model() {
    let reference = rows(Kernels::Baseline, false);
    let mut clear = 0;
    for kernels in Kernels::ALL.into_iter().filter(|kernels| kernels.runs_here()) {
        for repack in [false, true] {
            let found = rows(kernels, repack);
            for (at, (row, expected)) in found.iter().zip(&reference).enumerate() {
                // softmax does not see a shift that all share
                let shift = row.iter().zip(expected).map(|(a, b)| a - b).sum::<f32>() / row.len() as f32;
                let apart = row.iter().zip(expected).map(|(a, b)| (a - b - shift).abs()).fold(0.0, f32::max);
                println!("{kernels} repack={repack} row {at}: at most {apart:.4} apart");
                let spread =
                    expected.iter().fold(f32::MIN, |a, &b| a.max(b)) - expected.iter().fold(f32::MAX, |a, &b| a.min(b));
                assert!(apart < CLOSE * spread, "{kernels} repack={repack} row {at}: {apart} apart of {spread}");
                let ((best, _), (expected, lead)) = (best_two(row), best_two(expected));
                if lead > CLEAR * spread {
                    clear += 1;
                    assert_eq!(best, expected, "{kernels} repack={repack} row {at}: another best token, {lead} below");
                }
            }
        }
    }
    assert!(clear > 0, "no row had a clear winner: nothing was compared");
    if !Kernels::Avx512.runs_here() {
        eprintln!("SKIPPED: this processor has no AVX-512, so those kernels are not tested");
    }
}

#[test]
fn what_runs_here_is_what_the_kernel_lists() {
    let flags = std::fs::read_to_string("/proc/cpuinfo").unwrap();
    let flags: Vec<&str> = flags.lines().find(|line| line.starts_with("flags")).unwrap().split_whitespace().collect();
    let all = |names: &[&str]| names.iter().all(|name| flags.contains(name));
    let avx2 = all(&["avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe"]);
    let avx512 = avx2
        && all(&[
            "avx512f",
            "avx512bw",
            "avx512cd",
            "avx512dq",
            "avx512vl",
            "avx512_vnni",
            "avx512vbmi",
            "avx512_bf16",
        ]);
    assert_eq!((Kernels::Avx2.runs_here(), Kernels::Avx512.runs_here()), (avx2, avx512));
    let expected = if avx512 {
        Kernels::Avx512
    } else if avx2 {
        Kernels::Avx2
    } else {
        Kernels::Baseline
    };
    assert_eq!(Kernels::best(), expected);
}

/// The header that stands in for AMX against three loops, in a program of its own.
#[test]
fn tiles_in_software_give_what_the_instruction_gives() {
    if !Kernels::Avx512.runs_here() {
        eprintln!("SKIPPED: this processor has no AVX-512 VNNI, so software tiles are not tested");
        return;
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempdir(Kernels::Avx512, true).with_extension("tiles");
    std::fs::create_dir_all(&folder).unwrap();
    let program = folder.join("tiles");
    let compiled = Command::new("g++")
        .args(["-O2", "-std=gnu++17", "-march=x86-64-v4", "-mavx512vnni", "-include"])
        .arg(here.join("kernels/tiles.h"))
        .arg(here.join("tests/tiles.cpp"))
        .arg("-o")
        .arg(&program)
        .status()
        .unwrap();
    assert!(compiled.success());
    let output = Command::new(&program).output().unwrap();
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
