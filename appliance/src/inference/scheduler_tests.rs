//! The scheduler over a scripted engine.

use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use zeroize::Zeroizing;

use super::asking::{Outcome, ask, ask_through, outcome};
use super::engine::Entry;
use super::fake::{FakeEngine, FakeVocabulary, Script};
use super::job::{Event, Failure, Finish, ModelFacts, Submit, SubmitError, Usage};
use super::scheduler::Sizes;
use super::stall::{Ending, StallLimits};
use super::start::{Scheduler, Settings, start_limited};

struct World {
    script: Arc<Script>,
    scheduler: Scheduler,
    endings: Arc<Mutex<Vec<Ending>>>,
}

const PATIENT: StallLimits = StallLimits { unready: Duration::from_secs(60), exit: Duration::from_secs(120) };

fn world(sequences: u32, chunk: u32, queue: u32, limits: StallLimits) -> World {
    let script = Script::new();
    let endings = Arc::new(Mutex::new(Vec::new()));
    let seen = endings.clone();
    let settings = Settings {
        engine: deployment::Engine::default(),
        queue_requests: queue,
        end: Arc::new(move |ending| seen.lock().unwrap().push(ending)),
    };
    let facts = ModelFacts {
        architecture: "fake".to_owned(),
        chat_template: None,
        bos_token: String::new(),
        eos_token: String::new(),
        vocabulary: 257,
        context_tokens: 1000,
    };
    let sizes = Sizes { sequences, context_tokens: 1000, prefill_chunk_tokens: chunk };
    let engine = Box::new(FakeEngine::new(script.clone(), sequences));
    let scheduler = start_limited(engine, Arc::new(FakeVocabulary), facts, sizes, &settings, limits).unwrap();
    World { script, scheduler, endings }
}

fn usual() -> World {
    world(4, 64, 16, PATIENT)
}

fn run(world: &World, prompt: &str) -> Outcome {
    let (job, receiver) = ask(prompt);
    world.scheduler.submit(job).unwrap();
    outcome(receiver)
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        sleep(Duration::from_millis(2));
    }
}

fn of(batch: &[Entry], sequence: u32) -> usize {
    batch.iter().filter(|entry| entry.sequence == sequence).count()
}

#[test]
fn an_answer_comes_whole_with_its_counts() {
    let world = usual();
    let answer = run(&world, "hello|");
    assert_eq!(answer.text, "hello");
    assert_eq!(answer.prompt_tokens, Some(6));
    assert_eq!(answer.finish(), Some(Finish::Stop));
    // the end token is not counted
    assert_eq!(answer.done.unwrap().1, Usage { prompt_tokens: 6, completion_tokens: 5 });
}

#[test]
fn an_answer_ends_at_its_length_and_at_the_context() {
    let world = usual();
    let (mut job, receiver) = ask("hello|");
    job.max_tokens = 3;
    world.scheduler.submit(job).unwrap();
    let answer = outcome(receiver);
    assert_eq!((answer.text.as_str(), answer.finish()), ("hel", Some(Finish::Length)));

    let (mut job, receiver) = ask("hello|");
    job.max_tokens = 0;
    world.scheduler.submit(job).unwrap();
    let answer = outcome(receiver);
    assert_eq!((answer.text.as_str(), answer.finish()), ("", Some(Finish::Length)));

    // 991 tokens leave room for 9
    let answer = run(&world, &format!("{}|", "x".repeat(990)));
    assert_eq!((answer.text.as_str(), answer.finish()), ("xxxxxxxxx", Some(Finish::Length)));
}

#[test]
fn a_prompt_that_leaves_no_room_is_refused_with_both_numbers() {
    let world = usual();
    let refused = Failure::ContextExceeded { prompt_tokens: 1000, context_tokens: 1000 };
    assert_eq!(run(&world, &format!("{}|", "x".repeat(999))).failure, Some(refused));
    assert_eq!(run(&world, &format!("{}|", "x".repeat(998))).finish(), Some(Finish::Length));
}

#[test]
fn a_bias_outside_the_vocabulary_is_refused() {
    let world = usual();
    let (mut job, receiver) = ask("hello|");
    job.sampling.logit_bias = vec![(256, 0.0), (257, 1.0)];
    world.scheduler.submit(job).unwrap();
    assert_eq!(outcome(receiver).failure, Some(Failure::NoSuchToken { token: 257, vocabulary: 257 }));
}

#[test]
fn ignore_eos_goes_on_after_the_end_token() {
    let world = usual();
    let (mut job, receiver) = ask("ab|");
    job.ignore_eos = true;
    job.max_tokens = 5;
    world.scheduler.submit(job).unwrap();
    let answer = outcome(receiver);
    assert_eq!((answer.text.as_str(), answer.finish()), ("ab", Some(Finish::Length)));
    assert_eq!(answer.done.unwrap().1.completion_tokens, 5);
}

#[test]
fn a_stop_string_ends_the_answer_and_nothing_of_it_is_sent() {
    let world = usual();
    let (mut job, mut receiver) = ask("one STOP two|");
    job.stop = vec![Zeroizing::new("STOP".to_owned())];
    job.sampling.logprobs = Some(1);
    world.scheduler.submit(job).unwrap();
    let mut sent = String::new();
    let mut logprobs = 0;
    while let Some(event) = receiver.blocking_recv() {
        if let Event::Text { text, logprobs: entries } = event {
            sent.push_str(&text);
            logprobs += entries.len();
            assert!(!sent.contains('S'));
        }
    }
    assert_eq!((sent.as_str(), logprobs), ("one ", 4));
}

#[test]
fn characters_of_several_tokens_arrive_whole() {
    let world = usual();
    let (job, mut receiver) = ask("a🔒é|");
    world.scheduler.submit(job).unwrap();
    let mut pieces = Vec::new();
    while let Some(event) = receiver.blocking_recv() {
        if let Event::Text { text, .. } = event {
            pieces.push(text.to_string());
        }
    }
    assert_eq!(pieces, ["a", "🔒", "é"]);
}

#[test]
fn a_client_that_hangs_up_ends_its_generation_within_one_token() {
    let world = usual();
    world.script.hold();
    let (job, receiver) = ask("a long answer|");
    world.scheduler.submit(job).unwrap();
    world.script.permit(4);
    eventually("fifth decode begins", || world.script.batches().len() == 5);
    drop(receiver);
    // the decode that runs may end; no other may begin
    world.script.let_go();
    eventually("sequence released", || world.script.released() == [0]);
    assert_eq!(world.script.batches().len(), 5);
    assert_eq!(world.script.living(), 0);
    assert_eq!(run(&world, "next|").text, "next");
}

#[test]
fn a_client_that_hangs_up_while_waiting_costs_nothing() {
    let world = world(1, 64, 4, PATIENT);
    world.script.hold();
    let (job, first) = ask("first|");
    world.scheduler.submit(job).unwrap();
    eventually("first decodes", || world.script.batches().len() == 1);
    let (job, gone) = ask("gone|");
    world.scheduler.submit(job).unwrap();
    drop(gone);
    world.script.let_go();
    assert_eq!(outcome(first).text, "first");
    assert_eq!(run(&world, "third|").text, "third");
    assert_eq!(world.script.released(), [0, 0]);
}

#[test]
fn a_full_queue_refuses_and_says_when_to_come_again() {
    let world = world(1, 64, 1, PATIENT);
    world.script.hold();
    let (first, first_events) = ask("first|");
    let (second, second_events) = ask("second|");
    let (third, _third_events) = ask("third|");
    world.scheduler.submit(first).unwrap();
    world.scheduler.submit(second).unwrap();
    eventually("one generates, one waits", || {
        let status = world.scheduler.status();
        (status.active, status.queued) == (1, 1)
    });
    let Err(SubmitError::QueueFull { retry_after_s }) = world.scheduler.submit(third) else { panic!("taken") };
    assert!((1..=600).contains(&retry_after_s));
    world.script.let_go();
    assert_eq!(outcome(first_events).text, "first");
    assert_eq!(outcome(second_events).text, "second");
    assert_eq!(run(&world, "third|").text, "third");
    eventually("nothing is left", || world.scheduler.status().queued == 0);
}

#[test]
fn the_time_budget_ends_an_answer_and_a_wait() {
    let world = world(1, 64, 4, PATIENT);
    world.script.hold();
    let (mut job, running) = ask("running|");
    job.deadline = Instant::now() + Duration::from_millis(300);
    world.scheduler.submit(job).unwrap();
    let (mut job, waiting) = ask("waiting|");
    job.deadline = Instant::now() + Duration::from_millis(300);
    world.scheduler.submit(job).unwrap();
    world.script.permit(3);
    sleep(Duration::from_millis(400));
    world.script.let_go();
    let answer = outcome(running);
    assert_eq!((answer.text.as_str(), answer.finish()), ("runn", Some(Finish::Time)));
    assert_eq!(outcome(waiting).failure, Some(Failure::Timeout));
    let (mut job, late) = ask("late|");
    job.deadline = Instant::now();
    world.scheduler.submit(job).unwrap();
    assert_eq!(outcome(late).failure, Some(Failure::Timeout));
}

#[test]
fn a_long_prompt_delays_others_by_one_chunk_at_most() {
    let world = world(2, 8, 4, PATIENT);
    world.script.hold();
    let (job, talking) = ask("0123456789abcdefghijklmnopqrstuvwxyz|");
    world.scheduler.submit(job).unwrap();
    world.script.permit(6);
    eventually("it talks", || world.script.batches().len() == 7);
    let (job, reading) = ask(&format!("{}|", "long".repeat(40)));
    world.scheduler.submit(job).unwrap();
    sleep(Duration::from_millis(50));
    world.script.let_go();
    assert_eq!(outcome(talking).text, "0123456789abcdefghijklmnopqrstuvwxyz");
    assert_eq!(outcome(reading).text, "long".repeat(40));
    let batches = world.script.batches();
    let both: Vec<_> = batches.iter().filter(|batch| of(batch, 0) == 1 && of(batch, 1) > 1).collect();
    assert!(both.len() >= 15, "{}", both.len());
    assert!(batches.iter().all(|batch| of(batch, 0) <= 8 && of(batch, 1) <= 8 && batch.len() <= 9));
    // 161 tokens in chunks of 8
    assert_eq!(batches.iter().filter(|batch| of(batch, 1) > 1).count(), 20);
}

#[test]
fn two_long_prompts_share_the_budget() {
    let world = world(2, 8, 4, PATIENT);
    world.script.hold();
    let (one, one_events) = ask(&format!("{}|", "x".repeat(79)));
    let (two, two_events) = ask(&format!("{}|", "y".repeat(79)));
    let (block, block_events) = ask("b|");
    world.scheduler.submit(block).unwrap();
    eventually("blocked", || world.script.batches().len() == 1);
    world.scheduler.submit(one).unwrap();
    world.scheduler.submit(two).unwrap();
    sleep(Duration::from_millis(50));
    world.script.let_go();
    assert_eq!(outcome(block_events).text, "b");
    assert_eq!(outcome(one_events).text.len(), 79);
    assert_eq!(outcome(two_events).text.len(), 79);
    let shared = world.script.batches().iter().filter(|batch| of(batch, 0) == 4 && of(batch, 1) == 4).count();
    assert!(shared >= 15, "{shared}");
}

#[test]
fn several_answers_are_decoded_in_one_batch_and_come_out_right() {
    let world = world(4, 64, 32, PATIENT);
    world.script.hold();
    let prompts: Vec<String> = (0..12).map(|i| format!("{}|", format!("{i:02}").repeat(3 + i))).collect();
    let asked: Vec<_> = prompts
        .iter()
        .map(|prompt| {
            let (job, receiver) = ask(prompt);
            world.scheduler.submit(job).unwrap();
            receiver
        })
        .collect();
    eventually("all are there", || world.scheduler.status().queued + world.scheduler.status().active == 12);
    world.script.let_go();
    for (receiver, prompt) in asked.into_iter().zip(&prompts) {
        assert_eq!(format!("{}|", outcome(receiver).text), *prompt);
    }
    assert!(world.script.batches().iter().any(|batch| batch.len() == 4 && (0..4).all(|s| of(batch, s) == 1)));
}

#[test]
fn a_client_that_reads_slowly_holds_up_nobody_and_loses_nothing() {
    let world = world(1, 64, 4, PATIENT);
    let (job, slow) = ask_through("a slow reader gets everything|", 1);
    world.scheduler.submit(job).unwrap();
    // the only sequence is free again although nothing was read
    assert_eq!(run(&world, "quick|").text, "quick");
    let answer = outcome(slow);
    assert_eq!((answer.text.as_str(), answer.finish()), ("a slow reader gets everything", Some(Finish::Stop)));
    assert!(answer.pieces < 5);
}

#[test]
fn logits_that_are_not_finite_fail_one_answer_alone() {
    let world = usual();
    world.script.hold();
    let (bad, bad_events) = ask("ab!c|");
    let (good, good_events) = ask("abcdef|");
    world.scheduler.submit(bad).unwrap();
    world.scheduler.submit(good).unwrap();
    world.script.let_go();
    let failed = outcome(bad_events);
    assert_eq!((failed.text.as_str(), failed.failure), ("ab", Some(Failure::Engine)));
    assert_eq!(outcome(good_events).text, "abcdef");
    assert!(world.scheduler.status().ready);
}

#[test]
fn an_engine_that_fails_loses_its_answers_and_goes_on_until_the_third_time_in_a_row() {
    let world = usual();
    for _ in 0..4 {
        world.script.fail_next(1);
        assert_eq!(run(&world, "lost|").failure, Some(Failure::Engine));
        assert_eq!(run(&world, "next|").text, "next");
    }
    assert!(world.endings.lock().unwrap().is_empty());
    world.script.fail_next(3);
    for _ in 0..3 {
        assert_eq!(run(&world, "lost|").failure, Some(Failure::Engine));
    }
    eventually("it gives up", || *world.endings.lock().unwrap() == [Ending::Failed]);
    assert!(!world.scheduler.status().ready);
    let (job, _events) = ask("after|");
    assert_eq!(world.scheduler.submit(job), Err(SubmitError::NotReady));
}

#[test]
fn an_engine_that_stands_still_is_not_ready_and_then_ends_the_process() {
    let limits = StallLimits { unready: Duration::from_millis(100), exit: Duration::from_millis(600) };
    let world = world(1, 64, 4, limits);
    world.script.hold();
    let (job, events) = ask("stuck|");
    world.scheduler.submit(job).unwrap();
    eventually("not ready", || !world.scheduler.status().ready);
    let (job, _events) = ask("refused|");
    assert_eq!(world.scheduler.submit(job), Err(SubmitError::NotReady));
    // it moves again
    world.script.let_go();
    assert_eq!(outcome(events).text, "stuck");
    eventually("ready again", || world.scheduler.status().ready);
    assert!(world.endings.lock().unwrap().is_empty());

    world.script.hold();
    let (job, _events) = ask("stuck|");
    world.scheduler.submit(job).unwrap();
    eventually("ends", || *world.endings.lock().unwrap() == [Ending::Stalled]);
    world.script.let_go();
}

#[test]
fn an_idle_engine_is_ready_however_long_it_idles() {
    let limits = StallLimits { unready: Duration::from_millis(20), exit: Duration::from_millis(60) };
    let world = world(1, 64, 4, limits);
    sleep(Duration::from_millis(300));
    assert!(world.scheduler.status().ready);
    assert_eq!(run(&world, "still here|").text, "still here");
    assert!(world.endings.lock().unwrap().is_empty());
}

#[test]
fn an_engine_without_work_forgets_once() {
    let world = usual();
    assert_eq!(run(&world, "secret|").text, "secret");
    eventually("forgets", || world.script.forgotten() == 1);
    sleep(Duration::from_millis(500));
    assert_eq!(world.script.forgotten(), 1);
    assert_eq!(world.script.living(), 0);
}

#[test]
fn stopping_fails_what_runs_and_what_waits() {
    let world = world(1, 64, 4, PATIENT);
    world.script.hold();
    let (running, running_events) = ask("running|");
    let (waiting, waiting_events) = ask("waiting|");
    world.scheduler.submit(running).unwrap();
    eventually("runs", || world.script.batches().len() == 1);
    world.scheduler.submit(waiting).unwrap();
    world.scheduler.stop();
    assert_eq!(outcome(running_events).failure, Some(Failure::Engine));
    assert!(outcome(waiting_events).done.is_none());
    let (job, _events) = ask("after|");
    assert_eq!(world.scheduler.submit(job), Err(SubmitError::NotReady));
    assert!(world.endings.lock().unwrap().is_empty());
}

#[test]
fn dropping_the_last_handle_finishes_the_work_first() {
    let World { script, scheduler, .. } = usual();
    script.hold();
    let (job, events) = ask("the last words|");
    scheduler.submit(job).unwrap();
    drop(scheduler);
    script.let_go();
    assert_eq!(outcome(events).text, "the last words");
    eventually("forgets", || script.forgotten() == 1);
}

#[test]
fn an_end_that_nobody_reads_does_not_keep_the_channel_open() {
    let world = usual();
    let (events, receiver) = mpsc::channel(1);
    let (mut job, _) = ask("nobody reads this|");
    job.events = events;
    job.deadline = Instant::now() + Duration::from_millis(100);
    world.scheduler.submit(job).unwrap();
    eventually("given up", || receiver.is_closed() || receiver.sender_strong_count() == 0);
}
