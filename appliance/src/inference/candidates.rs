//! Arithmetic over a row of logits: peak, exponentials, the best few. Linear passes; never a sort of the whole vocabulary.

use std::cmp::Ordering;

/// A token that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranked {
    /// Its logit.
    pub logit: f32,
    /// Its id.
    pub token: u32,
}

/// The row holds a NaN or an infinity, or nothing but negative infinities: the engine failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("logits are not finite")]
pub struct NotFinite;

/// Highest first; the lower id first where logits are equal.
fn order(a: &Ranked, b: &Ranked) -> Ordering {
    b.logit.total_cmp(&a.logit).then(a.token.cmp(&b.token))
}

const LANES: usize = 16;

/// Largest logit.
///
/// # Errors
/// [`NotFinite`]
pub fn peak(logits: &[f32]) -> Result<f32, NotFinite> {
    let mut largest = [f32::NEG_INFINITY; LANES];
    let mut broken = [0u32; LANES];
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        for ((large, bad), &x) in largest.iter_mut().zip(&mut broken).zip(chunk) {
            *large = if x > *large { x } else { *large };
            // a comparison with NaN is false, so this catches NaN and +infinity alike
            *bad |= u32::from(!matches!(x.partial_cmp(&f32::INFINITY), Some(Ordering::Less)));
        }
    }
    let mut whole = largest.iter().fold(f32::NEG_INFINITY, |a, &b| if b > a { b } else { a });
    let mut bad = broken.iter().any(|&flag| flag != 0);
    for &x in rest {
        whole = if x > whole { x } else { whole };
        bad |= x.is_nan() || x == f32::INFINITY;
    }
    if bad || whole == f32::NEG_INFINITY { Err(NotFinite) } else { Ok(whole) }
}

/// Id of the first logit that equals `peak`.
pub fn first_at(logits: &[f32], peak: f32) -> u32 {
    logits.iter().position(|&x| x == peak).and_then(|at| u32::try_from(at).ok()).unwrap_or(0)
}

/// e to the power of `x`, for `x` at most 0, to about 1e-7 relative; 0 below -87. Written out so that loops over it become
/// vector code and one seed gives one answer whatever the C library.
#[inline]
pub fn exp(x: f32) -> f32 {
    // 1.5 * 2^23: adding it rounds to an integer that then stands in the low bits
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.max(-87.0);
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that the product with `whole` is exact
    let rest = clamped - whole * 0.693_359_4 - whole * -2.121_944_4e-4;
    let mut power = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        power = power * rest + coefficient;
    }
    let mantissa = power * rest * rest + rest + 1.0;
    let scale = f32::from_bits((shifted.to_bits() << 23).wrapping_add(127 << 23));
    if x < -87.0 { 0.0 } else { mantissa * scale }
}

/// Sum of `exp(logit - peak)`.
pub fn mass(logits: &[f32], peak: f32) -> f64 {
    let mut total = 0f64;
    // blocks keep the single-precision sums short
    for block in logits.chunks(1024) {
        let mut sums = [0f32; LANES];
        let (chunks, rest) = block.as_chunks::<LANES>();
        for chunk in chunks {
            for (sum, &x) in sums.iter_mut().zip(chunk) {
                *sum += exp(x - peak);
            }
        }
        total += sums.iter().map(|&sum| f64::from(sum)).sum::<f64>();
        total += rest.iter().map(|&x| f64::from(exp(x - peak))).sum::<f64>();
    }
    total
}

/// The `count` best, in order, into `out`.
pub fn best(logits: &[f32], count: usize, out: &mut Vec<Ranked>) {
    out.clear();
    if count == 0 {
        return;
    }
    let room = count.saturating_mul(2).max(256);
    let mut threshold = f32::NEG_INFINITY;
    for (token, &logit) in (0u32..).zip(logits) {
        // equal to the threshold is too late: the lower id has the place
        if out.len() < count || logit > threshold {
            out.push(Ranked { logit, token });
            if out.len() >= room && out.len() > count {
                threshold = keep_best(out, count);
            }
        }
    }
    if out.len() > count {
        keep_best(out, count);
    }
    out.sort_unstable_by(order);
}

fn keep_best(out: &mut Vec<Ranked>, count: usize) -> f32 {
    let (_, last, _) = out.select_nth_unstable_by(count - 1, order);
    let threshold = last.logit;
    out.truncate(count);
    threshold
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(length: usize) -> Vec<f32> {
        (0..length).map(|i| ((i * 2_654_435_761) % 10_007) as f32 / 500.0 - 10.0).collect()
    }

    #[test]
    fn exponentials_are_close_to_the_library() {
        for step in 0..870_000 {
            let x = -(step as f32) * 1e-4;
            let (ours, theirs) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((ours - theirs).abs() <= theirs * 3e-7, "{x}: {ours} {theirs}");
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(-88.0), 0.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn best_agrees_with_a_full_sort() {
        for length in [1, 5, 255, 256, 257, 5000] {
            let logits = row(length);
            let mut sorted: Vec<Ranked> =
                (0u32..).zip(&logits).map(|(token, &logit)| Ranked { logit, token }).collect();
            sorted.sort_by(order);
            for count in [0, 1, 2, 40, 300, length, length + 7] {
                let mut found = Vec::new();
                best(&logits, count, &mut found);
                assert_eq!(found, sorted[..count.min(length)], "{count} of {length}");
            }
        }
    }

    #[test]
    fn equal_logits_are_taken_by_lowest_id() {
        let logits = vec![1.0; 1000];
        let mut found = Vec::new();
        best(&logits, 3, &mut found);
        assert_eq!(found.iter().map(|r| r.token).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(first_at(&logits, peak(&logits).unwrap()), 0);
    }

    #[test]
    fn peak_refuses_what_is_not_finite() {
        for at in [0, 17, 99] {
            for bad in [f32::NAN, f32::INFINITY] {
                let mut logits = row(100);
                logits[at] = bad;
                assert_eq!(peak(&logits), Err(NotFinite));
            }
        }
        assert_eq!(peak(&[]), Err(NotFinite));
        assert_eq!(peak(&[f32::NEG_INFINITY; 40]), Err(NotFinite));
    }

    #[test]
    fn peak_and_mass_agree_with_the_plain_sums() {
        let mut logits = row(4099);
        logits[3] = f32::NEG_INFINITY;
        let plain = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        assert_eq!(peak(&logits), Ok(plain));
        let sum: f64 = logits.iter().map(|&x| f64::from(x - plain).exp()).sum();
        assert!((mass(&logits, plain) / sum - 1.0).abs() < 1e-6);
    }
}
