//! Prints prefill and decode speed of a model, comparable with `llama-bench -p 512 -n 128`.
//!
//! `cargo run --release -p llama --example bench -- MODEL [--threads N] [--repetitions N] [--parallel N]`

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use llama::{Backend, Batch, Context, ContextOptions, LoadOptions, Model};

const PROMPT_TOKENS: u32 = 512;
const ANSWER_TOKENS: u32 = 128;

struct Arguments {
    model: PathBuf,
    threads: u32,
    repetitions: u32,
    parallel: u32,
    repack: bool,
}

fn main() -> ExitCode {
    let Some(arguments) = parse(std::env::args().skip(1)) else {
        eprintln!("usage: bench MODEL [--threads N] [--repetitions N] [--parallel N] [--repack]");
        return ExitCode::from(2);
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Option<Arguments> {
    let mut arguments =
        Arguments { model: words.next()?.into(), threads: 2, repetitions: 5, parallel: 1, repack: false };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--threads" => arguments.threads = words.next()?.parse().ok()?,
            "--repetitions" => arguments.repetitions = words.next()?.parse().ok()?,
            "--parallel" => arguments.parallel = words.next()?.parse().ok()?,
            "--repack" => arguments.repack = true,
            _ => return None,
        }
    }
    Some(arguments)
}

fn run(arguments: &Arguments) -> Result<(), Box<dyn std::error::Error>> {
    let backend = Backend::init(Backend::print_and_exit);
    let started = Instant::now();
    let options = LoadOptions { repack: arguments.repack };
    let model = Arc::new(Model::load(backend, &arguments.model, &options, |_| true)?);
    println!("load {:.3} s, weights {} bytes", started.elapsed().as_secs_f64(), model.weight_bytes());
    let sizes = ContextOptions {
        context_tokens: PROMPT_TOKENS,
        sequences: arguments.parallel,
        batch_tokens: PROMPT_TOKENS,
        threads: arguments.threads,
    };
    let started = Instant::now();
    let mut context = Context::new(model.clone(), sizes)?;
    println!("context {:.3} s, rows wiped {:?}", started.elapsed().as_secs_f64(), context.wiping());
    let vocabulary = model.vocabulary().size();

    let mut prefill = Vec::new();
    let mut decode = Vec::new();
    for _ in 0..arguments.repetitions {
        prefill.push(prefill_once(&mut context, vocabulary)?);
        decode.push(decode_once(&mut context, vocabulary, arguments.parallel)?);
    }
    report("pp512", PROMPT_TOKENS, &prefill);
    report(&format!("tg128 x{}", arguments.parallel), ANSWER_TOKENS * arguments.parallel, &decode);
    println!("resident {}", resident());
    Ok(())
}

fn prefill_once(context: &mut Context, vocabulary: u32) -> Result<Duration, llama::DecodeError> {
    let mut batch = Batch::new(PROMPT_TOKENS);
    for at in 0..PROMPT_TOKENS {
        batch.add(0, at, (at * 7 + 3) % vocabulary, at + 1 == PROMPT_TOKENS);
    }
    let started = Instant::now();
    context.decode(&batch)?;
    let took = started.elapsed();
    context.release(0);
    Ok(took)
}

fn decode_once(context: &mut Context, vocabulary: u32, parallel: u32) -> Result<Duration, llama::DecodeError> {
    let mut batch = Batch::new(parallel);
    let started = Instant::now();
    for at in 0..ANSWER_TOKENS {
        batch.clear();
        for sequence in 0..parallel {
            batch.add(sequence, at, (at * 11 + 5 + sequence) % vocabulary, true);
        }
        context.decode(&batch)?;
    }
    let took = started.elapsed();
    for sequence in 0..parallel {
        context.release(sequence);
    }
    Ok(took)
}

fn report(name: &str, tokens: u32, times: &[Duration]) {
    let speeds: Vec<f64> = times.iter().map(|time| f64::from(tokens) / time.as_secs_f64()).collect();
    let mean = speeds.iter().sum::<f64>() / speeds.len() as f64;
    let best = speeds.iter().copied().fold(0.0, f64::max);
    println!("{name} mean {mean:.2} tokens/s, best {best:.2}");
}

/// Resident memory by kind, from /proc.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines =
        status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("Rss") || line.starts_with("VmHWM"));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
}
