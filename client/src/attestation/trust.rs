//! What the user trusts, and what the user asks.

use evidence::{Policy, PolicyError, tpm::Firmware};
use serde::{Deserialize, Serialize};

use super::references::References;

/// What the user trusts, and what the user asks.
#[derive(Debug, Clone)]
pub struct Trust {
    /// What is asked of the platform.
    pub policy: Policy,
    /// What a report calls that policy.
    pub policy_name: String,
    /// Accept platform `none`, which proves nothing, whatever the policy says.
    pub allow_no_tee: bool,
    /// Which images count.
    pub references: References,
    /// Which attestation keys of a TPM count.
    pub attestation_key: AttestationKeys,
    /// SHA-256 of the deployment document that is expected; `None`: any that is proven.
    pub document: Option<[u8; 32]>,
    /// Whose habits the firmware of a machine with a TPM has.
    pub firmware: Firmware,
}

/// Which attestation keys of a TPM count.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum AttestationKeys {
    /// None: evidence cannot vouch for its own key.
    #[default]
    Nobody,
    /// This one: its `SubjectPublicKeyInfo`, DER or PEM.
    Pinned(Vec<u8>),
    /// Those with a certificate in the evidence that leads to one of these roots, DER or PEM.
    Certified {
        /// Roots.
        roots: Vec<Vec<u8>>,
        /// Certificates in between.
        intermediates: Vec<Vec<u8>>,
    },
}

/// What vendors say about a platform. Nothing here is believed before the verifier has checked it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Endorsements {
    /// VCEK or VLEK certificate, DER or PEM.
    pub vek: Option<Vec<u8>>,
    /// AMD's revocation lists, DER or PEM.
    pub crls: Vec<Vec<u8>>,
    /// Intel's collateral, JSON.
    pub tdx: Option<Vec<u8>>,
}

impl Endorsements {
    /// Longest text form, in bytes.
    pub const MAX_BYTES: usize = deployment::ENDORSEMENTS_MAX_BYTES;

    /// The text form: one line of JSON, bytes in hexadecimal, which operators hand to their machines.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!("{}\n", serde_json::to_value(Vendors::from(self)).unwrap_or_default())
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// If it has another form, or more than [`Endorsements::MAX_BYTES`] bytes.
    pub fn from_json(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        if bytes.len() > Self::MAX_BYTES {
            return Err(serde::de::Error::custom("endorsements longer than a machine takes"));
        }
        serde_json::from_slice::<Vendors>(bytes).map(Self::from)
    }

    /// These, and of the others what is missing here.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            vek: self.vek.or(others.vek),
            crls: if self.crls.is_empty() { others.crls } else { self.crls },
            tdx: self.tdx.or(others.tdx),
        }
    }
}

/// [`Endorsements`] as text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Vendors {
    vek: Option<Hex>,
    crls: Vec<Hex>,
    tdx_collateral: Option<Hex>,
}

/// Bytes in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Hex(#[serde(with = "hex::serde")] Vec<u8>);

impl From<&Endorsements> for Vendors {
    fn from(endorsements: &Endorsements) -> Self {
        let hex = |bytes: &Vec<u8>| Hex(bytes.clone());
        Self {
            vek: endorsements.vek.as_ref().map(hex),
            crls: endorsements.crls.iter().map(hex).collect(),
            tdx_collateral: endorsements.tdx.as_ref().map(hex),
        }
    }
}

impl From<Vendors> for Endorsements {
    fn from(vendors: Vendors) -> Self {
        Self {
            vek: vendors.vek.map(|hex| hex.0),
            crls: vendors.crls.into_iter().map(|hex| hex.0).collect(),
            tdx: vendors.tdx_collateral.map(|hex| hex.0),
        }
    }
}

impl Trust {
    /// A policy, and nothing that is trusted yet.
    #[must_use]
    pub fn new(policy: Policy, policy_name: String) -> Self {
        Self {
            policy,
            policy_name,
            allow_no_tee: false,
            references: References::default(),
            attestation_key: AttestationKeys::Nobody,
            document: None,
            firmware: Firmware::Standard,
        }
    }

    /// With one of the embedded policies.
    ///
    /// # Errors
    /// [`PolicyError::Unknown`] for another name.
    pub fn by_policy(name: &str) -> Result<Self, PolicyError> {
        Ok(Self::new(Policy::embedded(name)?, name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endorsements_come_back_from_their_text_and_other_texts_are_refused() {
        let all = Endorsements { vek: Some(vec![1]), crls: vec![vec![2], vec![3]], tdx: Some(b"{}".to_vec()) };
        for endorsements in [all.clone(), Endorsements::default()] {
            assert_eq!(Endorsements::from_json(endorsements.to_json().as_bytes()).unwrap(), endorsements);
        }
        let more = all.to_json().replacen('{', "{\"more\":1,", 1);
        let long = Endorsements { tdx: Some(vec![7; Endorsements::MAX_BYTES]), ..all }.to_json();
        for other in ["", "{}", "[]", &more, &long] {
            assert!(Endorsements::from_json(other.as_bytes()).is_err());
        }
    }
}
