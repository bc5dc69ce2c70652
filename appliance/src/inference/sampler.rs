//! Chooses the next token from a row of logits.
//!
//! Order, as in llama.cpp's default chain: logit bias, repeat penalty, frequency and presence penalties, top-k, top-p, min-p,
//! temperature, draw. Greedy (temperature 0) is the highest logit after bias and penalties, the lowest id where several are equal.

use std::collections::{HashMap, VecDeque};

use zeroize::{Zeroize, Zeroizing};

use super::candidates::{NotFinite, Ranked, best, exp, first_at, mass, peak};
use super::job::Sampling;
use super::random::Random;

/// Tokens that `repeat_penalty` looks back on.
const REPEAT_WINDOW: usize = 64;

/// Candidates that top-p starts with; it takes eight times more as long as they do not suffice.
const NUCLEUS_START: usize = 64;

/// Buffers that all samplers of a thread share; wiped on drop.
#[derive(Default)]
pub struct Scratch {
    adjusted: Vec<f32>,
    ranked: Vec<Ranked>,
    weights: Vec<f32>,
}

impl Scratch {
    /// Overwrites what the last choices left.
    pub fn wipe(&mut self) {
        self.adjusted.zeroize();
        self.weights.zeroize();
        self.ranked.iter_mut().for_each(|r| *r = Ranked { logit: 0.0, token: 0 });
        self.ranked.clear();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.wipe();
    }
}

/// The state of one answer's choices.
pub struct Sampler {
    sampling: Sampling,
    random: Random,
    counts: HashMap<u32, u32>,
    recent: VecDeque<u32>,
}

/// A token's log probability at temperature 1, before bias and penalties, and the best alternatives.
#[derive(Debug, PartialEq)]
pub struct Likelihood {
    /// Natural logarithm of the chosen token's probability.
    pub chosen: f32,
    /// The most likely tokens and their log probabilities, best first.
    pub top: Vec<(u32, f32)>,
}

impl Sampler {
    /// A sampler at the start of an answer to `prompt`.
    #[must_use]
    pub fn new(sampling: Sampling, prompt: &[u32]) -> Self {
        let random = Random::new(sampling.seed);
        let recent = prompt.iter().skip(prompt.len().saturating_sub(REPEAT_WINDOW)).copied().collect();
        Self { sampling, random, counts: HashMap::new(), recent }
    }

    /// Chooses a token and remembers it.
    ///
    /// # Errors
    /// [`NotFinite`] when the engine's logits are unusable.
    pub fn choose(&mut self, logits: &[f32], scratch: &mut Scratch) -> Result<u32, NotFinite> {
        let top = peak(logits)?;
        let token = if self.changes_logits() {
            let mut adjusted = std::mem::take(&mut scratch.adjusted);
            adjusted.clear();
            adjusted.extend_from_slice(logits);
            self.adjust(&mut adjusted);
            let token = peak(&adjusted).map(|top| self.draw(&adjusted, top, scratch));
            scratch.adjusted = adjusted;
            token?
        } else {
            self.draw(logits, top, scratch)
        };
        self.remember(token);
        Ok(token)
    }

    /// Likelihood of a token, where the job asked for it.
    ///
    /// # Errors
    /// [`NotFinite`]
    pub fn likelihood(
        &self,
        logits: &[f32],
        token: u32,
        scratch: &mut Scratch,
    ) -> Result<Option<Likelihood>, NotFinite> {
        let Some(count) = self.sampling.logprobs else { return Ok(None) };
        let top = peak(logits)?;
        let total = f64::from(top) + mass(logits, top).ln();
        let logprob = |logit: f32| (f64::from(logit) - total) as f32;
        best(logits, count as usize, &mut scratch.ranked);
        let chosen = logits.get(token as usize).copied().unwrap_or(f32::NEG_INFINITY);
        let alternatives = scratch.ranked.iter().map(|ranked| (ranked.token, logprob(ranked.logit))).collect();
        Ok(Some(Likelihood { chosen: logprob(chosen), top: alternatives }))
    }

    fn changes_logits(&self) -> bool {
        let s = &self.sampling;
        let counted = (s.presence_penalty != 0.0 || s.frequency_penalty != 0.0) && !self.counts.is_empty();
        counted || s.repeat_penalty != 1.0 || !s.logit_bias.is_empty()
    }

    fn adjust(&self, logits: &mut [f32]) {
        let s = &self.sampling;
        for &(token, bias) in &s.logit_bias {
            change(logits, token, |logit| logit + bias);
        }
        if s.repeat_penalty != 1.0 {
            // a token that occurs twice in the window is penalised once
            let mut seen: Vec<u32> = self.recent.iter().copied().collect();
            seen.sort_unstable();
            seen.dedup();
            for &token in &seen {
                let penalised =
                    |logit: f32| if logit > 0.0 { logit / s.repeat_penalty } else { logit * s.repeat_penalty };
                change(logits, token, penalised);
            }
            seen.zeroize();
        }
        for (&token, &count) in &self.counts {
            change(logits, token, |logit| logit - s.presence_penalty - count as f32 * s.frequency_penalty);
        }
    }

    fn draw(&mut self, logits: &[f32], top: f32, scratch: &mut Scratch) -> u32 {
        let s = &self.sampling;
        if s.temperature <= 0.0 {
            return first_at(logits, top);
        }
        let limited_k = s.top_k > 0 && (s.top_k as usize) < logits.len();
        // a cut by probability relative to the best is a cut of logits
        let floor = if s.min_p > 0.0 { top + s.min_p.min(1.0).ln() } else { f32::NEG_INFINITY };
        if limited_k || s.top_p < 1.0 {
            if limited_k {
                best(logits, s.top_k as usize, &mut scratch.ranked);
            }
            if s.top_p < 1.0 {
                nucleus(logits, top, s.top_p, limited_k, &mut scratch.ranked);
            }
            let kept = scratch.ranked.iter().take_while(|ranked| ranked.logit >= floor).count().max(1);
            scratch.ranked.truncate(kept);
        } else if s.min_p > 0.0 {
            let all = (0u32..).zip(logits).map(|(token, &logit)| Ranked { logit, token });
            scratch.ranked.clear();
            scratch.ranked.extend(all.filter(|ranked| ranked.logit >= floor));
        } else {
            return self.draw_from(logits.iter().copied(), top, &mut scratch.weights);
        }
        let ranked = std::mem::take(&mut scratch.ranked);
        let at = self.draw_from(ranked.iter().map(|ranked| ranked.logit), top, &mut scratch.weights);
        let token = ranked.get(at as usize).map_or(0, |ranked| ranked.token);
        scratch.ranked = ranked;
        token
    }

    /// Index of one of `logits`, drawn by their probabilities at the job's temperature.
    fn draw_from(&mut self, logits: impl Iterator<Item = f32>, top: f32, weights: &mut Vec<f32>) -> u32 {
        let inverse = 1.0 / self.sampling.temperature;
        weights.clear();
        weights.extend(logits.map(|logit| exp((logit - top) * inverse)));
        let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        let mut left = self.random.unit() * total;
        let mut last = 0;
        for (at, &weight) in (0u32..).zip(weights.iter()) {
            if weight > 0.0 {
                last = at;
                left -= f64::from(weight);
                if left < 0.0 {
                    break;
                }
            }
        }
        last
    }

    fn remember(&mut self, token: u32) {
        *self.counts.entry(token).or_insert(0) += 1;
        self.recent.push_back(token);
        if self.recent.len() > REPEAT_WINDOW {
            self.recent.pop_front();
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.recent.make_contiguous().zeroize();
        let tokens: Zeroizing<Vec<u32>> = Zeroizing::new(self.counts.drain().map(|(token, _)| token).collect());
        drop(tokens);
    }
}

fn change(logits: &mut [f32], token: u32, with: impl Fn(f32) -> f32) {
    if let Some(logit) = logits.get_mut(token as usize) {
        *logit = with(*logit);
    }
}

/// Cuts `ranked` (or, when it was not `chosen` yet, the whole row) to the shortest prefix whose probabilities reach `p`.
fn nucleus(logits: &[f32], top: f32, p: f32, chosen: bool, ranked: &mut Vec<Ranked>) {
    let total =
        if chosen { ranked.iter().map(|ranked| f64::from(exp(ranked.logit - top))).sum() } else { mass(logits, top) };
    let wanted = total * f64::from(p);
    let mut count = NUCLEUS_START;
    loop {
        if !chosen {
            best(logits, count, ranked);
        }
        let mut reached = 0.0;
        let enough = ranked.iter().position(|ranked| {
            reached += f64::from(exp(ranked.logit - top));
            reached >= wanted
        });
        match enough {
            Some(last) => return ranked.truncate(last + 1),
            // rounding may leave the sum of all just below what is wanted
            None if chosen || count >= logits.len() => return,
            None => count = count.saturating_mul(8),
        }
    }
}

#[cfg(test)]
#[path = "sampler_tests.rs"]
mod tests;
