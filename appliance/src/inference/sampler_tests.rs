use super::*;

fn sampling() -> Sampling {
    Sampling {
        temperature: 1.0,
        top_p: 1.0,
        top_k: 0,
        min_p: 0.0,
        seed: 7,
        presence_penalty: 0.0,
        frequency_penalty: 0.0,
        repeat_penalty: 1.0,
        logit_bias: Vec::new(),
        logprobs: None,
    }
}

/// Logits whose probabilities are the given ones.
fn logits(probabilities: &[f32]) -> Vec<f32> {
    probabilities.iter().map(|p| p.ln() + 3.0).collect()
}

fn draws(sampling: Sampling, logits: &[f32], count: usize) -> Vec<u32> {
    let mut scratch = Scratch::default();
    let mut sampler = Sampler::new(sampling, &[]);
    (0..count).map(|_| sampler.choose(logits, &mut scratch).unwrap()).collect()
}

fn share(tokens: &[u32], token: u32) -> f64 {
    tokens.iter().filter(|&&t| t == token).count() as f64 / tokens.len() as f64
}

fn distinct(tokens: &[u32]) -> Vec<u32> {
    let mut seen = tokens.to_vec();
    seen.sort_unstable();
    seen.dedup();
    seen
}

#[test]
fn temperature_zero_is_the_highest_logit_and_the_lowest_id_of_equals() {
    let greedy = Sampling { temperature: 0.0, ..sampling() };
    assert_eq!(draws(greedy.clone(), &[0.5, 2.0, 2.0, -1.0], 3), [1, 1, 1]);
    // top-k and the rest change nothing about the best
    assert_eq!(draws(Sampling { top_k: 3, top_p: 0.1, min_p: 0.9, ..greedy }, &[0.5, 2.0, 2.0, -1.0], 1), [1]);
}

#[test]
fn one_seed_gives_one_answer_and_another_seed_another() {
    let row = logits(&[0.2; 5]);
    let first = draws(sampling(), &row, 64);
    assert_eq!(first, draws(sampling(), &row, 64));
    assert_ne!(first, draws(Sampling { seed: 8, ..sampling() }, &row, 64));
}

#[test]
fn draws_follow_the_probabilities() {
    let row = logits(&[0.1, 0.6, 0.3]);
    let tokens = draws(sampling(), &row, 20_000);
    assert!((share(&tokens, 0) - 0.1).abs() < 0.01);
    assert!((share(&tokens, 1) - 0.6).abs() < 0.015);
    // squared and normalised: 0.01, 0.36, 0.09 of 0.46
    let sharp = draws(Sampling { temperature: 0.5, ..sampling() }, &row, 20_000);
    assert!((share(&sharp, 1) - 0.36 / 0.46).abs() < 0.015);
}

#[test]
fn top_k_keeps_that_many() {
    let row = logits(&[0.1, 0.4, 0.3, 0.2]);
    assert_eq!(distinct(&draws(Sampling { top_k: 2, ..sampling() }, &row, 500)), [1, 2]);
    assert_eq!(distinct(&draws(Sampling { top_k: 1, ..sampling() }, &row, 50)), [1]);
    assert_eq!(distinct(&draws(Sampling { top_k: 4, ..sampling() }, &row, 500)), [0, 1, 2, 3]);
    assert_eq!(distinct(&draws(Sampling { top_k: 4000, ..sampling() }, &row, 500)), [0, 1, 2, 3]);
}

#[test]
fn top_p_keeps_the_shortest_prefix_that_reaches_it() {
    let row = logits(&[0.1, 0.5, 0.25, 0.15]);
    let kept = |top_p| distinct(&draws(Sampling { top_p, ..sampling() }, &row, 2000));
    assert_eq!(kept(0.0), [1]);
    assert_eq!(kept(0.49), [1]);
    assert_eq!(kept(0.51), [1, 2]);
    assert_eq!(kept(0.76), [1, 2, 3]);
    assert_eq!(kept(0.95), [0, 1, 2, 3]);
    assert_eq!(kept(1.0), [0, 1, 2, 3]);
}

#[test]
fn top_p_counts_what_top_k_left_as_the_whole() {
    // of 0.5 and 0.25 the first has two thirds
    let row = logits(&[0.1, 0.5, 0.25, 0.15]);
    let kept = |top_p| distinct(&draws(Sampling { top_k: 2, top_p, ..sampling() }, &row, 500));
    assert_eq!(kept(0.66), [1]);
    assert_eq!(kept(0.67), [1, 2]);
}

#[test]
fn top_p_over_a_flat_row_takes_more_than_it_starts_with() {
    let row = vec![0.0; 5000];
    let tokens = draws(Sampling { top_p: 0.5, ..sampling() }, &row, 20_000);
    let kept = distinct(&tokens);
    assert!(kept.iter().all(|&token| token < 2502), "{:?}", kept.last());
    assert!(kept.len() > 2000);
}

#[test]
fn min_p_is_relative_to_the_best() {
    let row = logits(&[0.1, 0.5, 0.25, 0.15]);
    let kept = |min_p| distinct(&draws(Sampling { min_p, ..sampling() }, &row, 2000));
    assert_eq!(kept(1.0), [1]);
    assert_eq!(kept(0.49), [1, 2]);
    assert_eq!(kept(0.51), [1]);
    assert_eq!(kept(0.19), [0, 1, 2, 3]);
}

#[test]
fn a_very_low_temperature_is_greedy_and_a_very_high_one_flat() {
    let row = logits(&[0.3, 0.5, 0.2]);
    assert_eq!(distinct(&draws(Sampling { temperature: 1e-6, ..sampling() }, &row, 100)), [1]);
    let flat = draws(Sampling { temperature: 1e6, ..sampling() }, &row, 20_000);
    assert!((share(&flat, 2) - 1.0 / 3.0).abs() < 0.015);
}

#[test]
fn bias_moves_a_token_and_minus_one_hundred_bans_it() {
    let greedy = Sampling { temperature: 0.0, ..sampling() };
    let row = [1.0, 2.0, 3.0];
    assert_eq!(draws(Sampling { logit_bias: vec![(0, 5.0)], ..greedy.clone() }, &row, 1), [0]);
    assert_eq!(draws(Sampling { logit_bias: vec![(2, -100.0)], ..greedy.clone() }, &row, 1), [1]);
    // a token outside the row changes nothing (the scheduler refuses it before)
    assert_eq!(draws(Sampling { logit_bias: vec![(9, 100.0)], ..greedy }, &row, 1), [2]);
}

#[test]
fn presence_and_frequency_penalties_count_the_answer_alone() {
    let greedy = Sampling { temperature: 0.0, ..sampling() };
    let row = [3.0, 2.5, 0.0];
    let mut scratch = Scratch::default();
    // the prompt's tokens do not count
    let mut sampler = Sampler::new(Sampling { presence_penalty: 1.0, ..greedy.clone() }, &[0, 0, 0]);
    let tokens: Vec<u32> = (0..3).map(|_| sampler.choose(&row, &mut scratch).unwrap()).collect();
    assert_eq!(tokens, [0, 1, 0]);
    let mut sampler = Sampler::new(Sampling { frequency_penalty: 0.3, ..greedy }, &[]);
    let tokens: Vec<u32> = (0..6).map(|_| sampler.choose(&row, &mut scratch).unwrap()).collect();
    // 3.0 2.7 2.4|2.5 2.4|2.2 …
    assert_eq!(tokens, [0, 0, 1, 0, 1, 0]);
}

#[test]
fn repeat_penalty_divides_and_multiplies_over_prompt_and_answer() {
    let greedy = Sampling { temperature: 0.0, repeat_penalty: 2.0, ..sampling() };
    let mut scratch = Scratch::default();
    let mut sampler = Sampler::new(greedy.clone(), &[0]);
    assert_eq!(sampler.choose(&[3.0, 2.0, -1.0], &mut scratch), Ok(1));
    let mut sampler = Sampler::new(greedy.clone(), &[1]);
    assert_eq!(sampler.choose(&[-1.5, -1.0], &mut scratch), Ok(0));
    // 64 other tokens later it is forgotten
    let mut long = vec![0];
    long.extend([2; 64]);
    let mut sampler = Sampler::new(greedy, &long);
    assert_eq!(sampler.choose(&[3.0, 2.0, -1.0], &mut scratch), Ok(0));
}

#[test]
fn logits_that_are_not_finite_are_an_error() {
    let mut scratch = Scratch::default();
    let mut sampler = Sampler::new(sampling(), &[]);
    for bad in [f32::NAN, f32::INFINITY] {
        assert_eq!(sampler.choose(&[1.0, bad, 0.0], &mut scratch), Err(NotFinite));
    }
    assert_eq!(sampler.choose(&[], &mut scratch), Err(NotFinite));
    // a bias cannot make the row unusable unless nothing is left
    let mut sampler = Sampler::new(Sampling { logit_bias: vec![(0, f32::NAN)], ..sampling() }, &[]);
    assert_eq!(sampler.choose(&[1.0, 2.0], &mut scratch), Err(NotFinite));
}

#[test]
fn log_probabilities_are_those_of_temperature_one_without_bias() {
    let row = logits(&[0.1, 0.5, 0.25, 0.15]);
    let mut scratch = Scratch::default();
    let asked = Sampling { logprobs: Some(2), temperature: 0.3, logit_bias: vec![(0, 50.0)], ..sampling() };
    let mut sampler = Sampler::new(asked, &[]);
    let token = sampler.choose(&row, &mut scratch).unwrap();
    assert_eq!(token, 0);
    let found = sampler.likelihood(&row, token, &mut scratch).unwrap().unwrap();
    assert!((found.chosen - 0.1f32.ln()).abs() < 1e-5);
    assert_eq!(found.top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 2]);
    assert!((found.top[0].1 - 0.5f32.ln()).abs() < 1e-5);
    assert_eq!(Sampler::new(sampling(), &[]).likelihood(&row, 0, &mut scratch), Ok(None));
    let none = Sampler::new(Sampling { logprobs: Some(0), ..sampling() }, &[]);
    assert!(none.likelihood(&row, 0, &mut scratch).unwrap().unwrap().top.is_empty());
}

#[test]
fn a_large_vocabulary_is_sampled_in_well_under_a_millisecond_a_token() {
    let row: Vec<f32> = (0..151_936u64).map(|i| ((i * 2_654_435_761) % 100_003) as f32 / 5000.0).collect();
    let mut scratch = Scratch::default();
    for options in [
        Sampling { temperature: 0.0, ..sampling() },
        Sampling { top_k: 40, top_p: 0.95, min_p: 0.05, ..sampling() },
        Sampling { top_p: 0.9, ..sampling() },
        sampling(),
    ] {
        let mut sampler = Sampler::new(options, &[]);
        let started = std::time::Instant::now();
        for _ in 0..20 {
            sampler.choose(&row, &mut scratch).unwrap();
        }
        // generous: test machines are shared; a full sort of the row takes more than ten times as long as each of these
        assert!(started.elapsed().as_millis() / 20 < 50);
        println!("{:?} a token", started.elapsed() / 20);
    }
}
