//! Where the keys of epochs come from: a chain that goes forward only.
//!
//! `chain[n+1] = HKDF-Expand(HKDF-Extract(chain[n], fresh ‖ derived), "lethe chain v1")`, with 32 fresh random bytes and, where
//! the firmware has one, the secret it derives from the measurement; a key is `HKDF-Expand(chain[n], "lethe key v1 " ‖ role)`. All
//! with SHA-256. Who takes the machine over later finds no old value, and who guesses one epoch's randomness not the next one's.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

const CHAIN: &[u8] = b"lethe chain v1";
const KEY: &[u8] = b"lethe key v1 ";

/// The chain's last value. It lives in one box, is overwritten by its successor and wiped on drop.
pub struct Ratchet(Box<Zeroizing<[u8; 32]>>);

/// HKDF refuses a length. It does not refuse 32 bytes; without this the refusal would be a key of zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key cannot be derived")]
pub struct Underivable;

impl Ratchet {
    /// The beginning of a chain; `derived` is the firmware's secret, where there is one.
    ///
    /// # Errors
    /// [`Underivable`] never.
    pub fn new(fresh: &[u8; 32], derived: Option<&[u8; 32]>) -> Result<Self, Underivable> {
        let mut ratchet = Self(Box::new(Zeroizing::new([0; 32])));
        ratchet.advance(fresh, derived)?;
        Ok(ratchet)
    }

    /// Goes to the next value; there is no way back.
    ///
    /// # Errors
    /// [`Underivable`] never.
    pub fn advance(&mut self, fresh: &[u8; 32], derived: Option<&[u8; 32]>) -> Result<(), Underivable> {
        let mut input = Zeroizing::new([0; 64]);
        let (first, second) = input.split_at_mut(32);
        first.copy_from_slice(fresh);
        second.copy_from_slice(derived.unwrap_or(&[0; 32]));
        let length = if derived.is_some() { 64 } else { 32 };
        let input = input.get(..length).ok_or(Underivable)?;
        let extracted = Hkdf::<Sha256>::new(Some(self.0.as_slice()), input);
        extracted.expand(CHAIN, self.0.as_mut_slice()).map_err(|_| Underivable)
    }

    /// The key material of a role in this epoch. One role, one key.
    ///
    /// # Errors
    /// [`Underivable`] never.
    pub fn key(&self, role: &str) -> Result<Zeroizing<[u8; 32]>, Underivable> {
        let mut key = Zeroizing::new([0; 32]);
        let chain = Hkdf::<Sha256>::from_prk(self.0.as_slice()).map_err(|_| Underivable)?;
        chain.expand_multi_info(&[KEY, role.as_bytes()], key.as_mut_slice()).map_err(|_| Underivable)?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(fresh: u8, derived: Option<&[u8; 32]>) -> Ratchet {
        Ratchet::new(&[fresh; 32], derived).expect("a chain")
    }

    /// The states inside of HKDF and HPKE are those of this hash. Without its feature `zeroize` this does not compile.
    #[test]
    fn states_of_the_hash_are_wiped_when_they_are_dropped() {
        fn wiped<T: zeroize::ZeroizeOnDrop>() -> bool {
            std::mem::needs_drop::<T>()
        }
        assert!(wiped::<Sha256>());
        assert!(std::mem::needs_drop::<Hkdf<Sha256>>(), "and so are those that it keeps");
        assert!(!std::mem::needs_drop::<[u32; 8]>(), "plain words are not");
    }

    #[test]
    fn the_chain_is_plain_hkdf() {
        let mut expected = [0; 32];
        let input = [[1; 32], [2; 32]].concat();
        Hkdf::<Sha256>::new(Some(&[0; 32]), &input).expand(b"lethe chain v1", &mut expected).expect("32 bytes");
        let mut key = [0; 32];
        let last = Hkdf::<Sha256>::from_prk(&expected).expect("32 bytes");
        last.expand(b"lethe key v1 ohttp", &mut key).expect("32 bytes");
        assert_eq!(*chain(1, Some(&[2; 32])).key("ohttp").expect("a key"), key);
    }

    #[test]
    fn every_epoch_role_and_machine_has_other_keys() {
        let key = |chain: &Ratchet, role| chain.key(role).expect("a key");
        let mut ratchet = chain(1, None);
        let first = key(&ratchet, "ohttp");
        assert_ne!(first, key(&ratchet, "ehbp"));
        assert_ne!(first, key(&chain(1, Some(&[0; 32])), "ohttp"));
        assert_ne!(first, key(&chain(2, None), "ohttp"));
        ratchet.advance(&[1; 32], None).expect("the next value");
        assert_ne!(first, key(&ratchet, "ohttp"), "also with the same bytes again");
    }
}
