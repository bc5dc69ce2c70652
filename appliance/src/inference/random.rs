//! Random numbers of the sampler: xoshiro256++ 1.0 seeded by SplitMix64 (Blackman and Vigna, public domain).
//!
//! They choose among likely words and protect nothing; what counts is that one seed gives one answer on every machine and in every
//! version, which is why the generator is written out here.

/// A seeded generator.
#[derive(Debug, Clone)]
pub struct Random([u64; 4]);

impl Random {
    /// The generator of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        Self([next(), next(), next(), next()])
    }

    fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.0;
        let result = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c, d) = (c ^ a, d ^ b);
        let (b_next, a_next) = (b ^ c, a ^ d);
        self.0 = [a_next, b_next, c ^ (b << 17), d.rotate_left(45)];
        result
    }

    /// Uniform in 0 ≤ x < 1, 53 bits of it random.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 * 2f64.powi(-53)
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn numbers_are_those_of_the_reference_generator() {
        // xoshiro256plusplus.c with the state 1, 2, 3, 4
        let mut random = Random([1, 2, 3, 4]);
        let first: Vec<u64> = (0..4).map(|_| random.next_u64()).collect();
        assert_eq!(first, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn seeding_is_that_of_the_reference_splitmix() {
        // splitmix64.c with x = 1234567
        let Random(state) = Random::new(1_234_567);
        assert_eq!(state[..3], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn different_seeds_differ_and_values_stay_below_one() {
        let (mut one, mut two) = (Random::new(1), Random::new(2));
        let values: Vec<(f64, f64)> = (0..1000).map(|_| (one.unit(), two.unit())).collect();
        assert!(values.iter().all(|&(a, b)| (0.0..1.0).contains(&a) && (0.0..1.0).contains(&b) && a != b));
    }
}
