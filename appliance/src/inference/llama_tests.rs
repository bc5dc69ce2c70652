//! The scheduler over llama.cpp: the tiny model always, and the model that `LETHE_MODEL` names.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use llama::Backend;

use super::asking::{Outcome, ask, outcome};
use super::job::{Failure, Finish, Job, Submit};
use super::stall::end_process;
use super::start::{Scheduler, Settings, start};

/// Two best logits closer than this may change places when other kernels compute other batch sizes.
const MARGIN: f32 = 0.05;

const PROMPTS: usize = 64;

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/models/tiny-random-llama.gguf")
}

fn serve(model: &Path, parallel_sequences: u32, prefill_chunk_tokens: u32) -> Scheduler {
    let engine = deployment::Engine {
        context_tokens: 512,
        parallel_sequences,
        prefill_chunk_tokens,
        threads: Some(2),
        ..deployment::Engine::default()
    };
    let settings = Settings { engine, queue_requests: 256, end: end_process() };
    start(Backend::init(Backend::print_and_exit), model, &settings, |_| {}).unwrap()
}

/// One for all tests: the machine has few cores.
fn shared() -> &'static Scheduler {
    static SHARED: OnceLock<Scheduler> = OnceLock::new();
    SHARED.get_or_init(|| serve(&tiny(), 8, 32))
}

fn run(scheduler: &Scheduler, prompt: &str, change: impl FnOnce(&mut Job)) -> Outcome {
    let (mut job, receiver) = ask(prompt);
    job.max_tokens = 24;
    change(&mut job);
    scheduler.submit(job).unwrap();
    outcome(receiver)
}

fn chat(text: &str) -> String {
    format!("<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n")
}

#[test]
fn facts_are_those_of_the_file() {
    let facts = shared().facts();
    assert_eq!((facts.architecture.as_str(), facts.vocabulary, facts.context_tokens), ("llama", 320, 512));
    assert_eq!((facts.bos_token.as_str(), facts.eos_token.as_str()), ("<|im_start|>", "<|im_end|>"));
    assert!(facts.chat_template.as_ref().is_some_and(|template| template.contains("message")));
}

#[test]
fn a_context_beyond_the_trained_one_is_cut_to_it() {
    let engine = deployment::Engine { context_tokens: 100_000, parallel_sequences: 1, ..deployment::Engine::default() };
    let settings = Settings { engine, queue_requests: 1, end: end_process() };
    let scheduler = start(Backend::init(Backend::print_and_exit), &tiny(), &settings, |_| {}).unwrap();
    assert_eq!(scheduler.facts().context_tokens, 512);
}

#[test]
fn a_file_that_is_no_model_does_not_start() {
    let settings = Settings { engine: deployment::Engine::default(), queue_requests: 1, end: end_process() };
    let refused = start(Backend::init(Backend::print_and_exit), Path::new(file!()), &settings, |_| {});
    assert_eq!(refused.err().map(|error| error.code()), Some("model-load"));
}

#[test]
fn a_prompt_longer_than_the_context_is_refused_with_both_numbers() {
    let refused = run(shared(), &"<|im_end|>".repeat(600), |_| {});
    assert_eq!(refused.failure, Some(Failure::ContextExceeded { prompt_tokens: 600, context_tokens: 512 }));
}

#[test]
fn an_empty_prompt_starts_from_the_beginning_of_sequence() {
    let answer = run(shared(), "", |_| {});
    assert_eq!((answer.prompt_tokens, answer.failure), (Some(1), None));
}

#[test]
fn one_seed_gives_one_answer_also_beside_others() {
    let sampled = |seed| {
        run(shared(), &chat("hello"), |job| {
            job.sampling.temperature = 1.0;
            job.sampling.seed = seed;
            job.sampling.logprobs = Some(0);
        })
        .tokens()
    };
    let first = sampled(1);
    assert_eq!(first, sampled(1));
    assert_ne!(first, sampled(2));
}

#[test]
fn log_probabilities_name_the_greedy_token_first() {
    let answer = run(shared(), &chat("hello"), |job| job.sampling.logprobs = Some(3));
    assert!(!answer.logprobs.is_empty());
    for entry in &answer.logprobs {
        assert_eq!(entry.top.len(), 3);
        assert_eq!((entry.chosen.token, entry.chosen.logprob), (entry.top[0].token, entry.top[0].logprob));
        assert!(entry.chosen.logprob < 0.0 && entry.top[0].logprob >= entry.top[1].logprob);
    }
    let bytes: Vec<u8> = answer.logprobs.iter().flat_map(|entry| entry.chosen.bytes.to_vec()).collect();
    assert_eq!(String::from_utf8_lossy(&bytes), answer.text);
}

#[test]
fn an_answer_that_ignores_its_end_has_its_full_length() {
    let answer = run(shared(), &chat("hello"), |job| {
        job.ignore_eos = true;
        job.max_tokens = 100;
    });
    assert_eq!(answer.finish(), Some(Finish::Length));
    assert_eq!(answer.done.unwrap().1.completion_tokens, 100);
}

/// Prompts of many lengths, some over several chunks.
fn prompts() -> Vec<String> {
    let words = ["river", "memory", "light", "stone", "question", "water", "night", "seven", "machine", "open"];
    (0..PROMPTS)
        .map(|i| {
            let length = 1 + i * 7 % 40;
            let text: Vec<&str> = (0..length).map(|j| words[(i * 3 + j * j) % words.len()]).collect();
            chat(&format!("{} {i}?", text.join(" ")))
        })
        .collect()
}

/// Greedy, with the two best logits of every step.
fn greedy(scheduler: &Scheduler, prompt: &str) -> tokio::sync::mpsc::Receiver<super::Event> {
    let (mut job, receiver) = ask(prompt);
    job.max_tokens = 24;
    job.sampling.logprobs = Some(2);
    // all prompts of a slow or busy machine: an answer that its deadline ends would look like one that differs
    job.deadline += std::time::Duration::from_secs(3600);
    scheduler.submit(job).unwrap();
    receiver
}

/// Compares greedy answers of 64 prompts asked one after the other and all at once.
fn check_parallel(model: &Path, parallel: u32, chunk: u32) {
    let scheduler = serve(model, parallel, chunk);
    let prompts = prompts();
    let alone: Vec<Outcome> = prompts.iter().map(|prompt| outcome(greedy(&scheduler, prompt))).collect();
    let receivers: Vec<_> = prompts.iter().map(|prompt| greedy(&scheduler, prompt)).collect();
    let together: Vec<Outcome> = receivers.into_iter().map(outcome).collect();
    let mut differ = 0;
    for (index, (one, many)) in alone.iter().zip(&together).enumerate() {
        assert!(one.failure.is_none() && many.failure.is_none());
        let (a, b) = (one.tokens(), many.tokens());
        let parted = a.iter().zip(&b).position(|(x, y)| x != y);
        let parted = parted.or((a.len() != b.len()).then_some(a.len().min(b.len())));
        let Some(step) = parted else { continue };
        differ += 1;
        // an answer that ended has no entry for its end token; the other one shows how close the call was
        let entry = one.logprobs.get(step).or(many.logprobs.get(step)).unwrap();
        let margin = entry.top[0].logprob - entry.top[1].logprob;
        println!("prompt {index} parts at step {step}, two best logits {margin} apart");
        assert!(margin < MARGIN, "prompt {index}, step {step}: {margin}");
    }
    println!("{differ} of {PROMPTS} prompts differ with {parallel} in parallel");
    assert!(differ * 100 <= PROMPTS * 5, "{differ} of {PROMPTS}");
}

#[test]
fn parallel_streams_answer_as_each_alone() {
    check_parallel(&tiny(), 8, 32);
}

#[test]
fn parallel_streams_of_the_real_model_answer_as_each_alone() {
    let Some(model) = std::env::var_os("LETHE_MODEL") else {
        println!("skipped: LETHE_MODEL names no file");
        return;
    };
    check_parallel(Path::new(&model), 4, 64);
}

#[test]
fn many_clients_that_come_and_go_leave_the_scheduler_serving() {
    let scheduler = Arc::new(serve(&tiny(), 4, 16));
    let clients: Vec<_> = (0..8)
        .map(|client| {
            let scheduler = scheduler.clone();
            std::thread::spawn(move || {
                for round in 0..12 {
                    let (mut job, mut receiver) = ask(&chat(&format!("client {client} round {round}")));
                    job.max_tokens = 40;
                    job.ignore_eos = true;
                    scheduler.submit(job).unwrap();
                    // every third hangs up after a few events
                    let patience = if round % 3 == 0 { round % 5 } else { usize::MAX };
                    let mut seen = 0;
                    while seen < patience && receiver.blocking_recv().is_some() {
                        seen += 1;
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    let answer = run(&scheduler, &chat("hello"), |job| job.sampling.logprobs = Some(0));
    let expected = run(shared(), &chat("hello"), |job| job.sampling.logprobs = Some(0));
    assert_eq!(answer.tokens(), expected.tokens());
    let started = std::time::Instant::now();
    while scheduler.status().queued + scheduler.status().active > 0 {
        assert!(started.elapsed().as_secs() < 20);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}
