//! What the user trusts, and what the user asks.

use evidence::{Policy, PolicyError, tpm::Firmware};

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
