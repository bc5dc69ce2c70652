//! Evidence as the platforms give it: bytes for a verifier, with names.

use std::collections::BTreeMap;

/// Evidence over the bytes that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// SEV-SNP.
    SevSnp(SevSnpEvidence),
    /// TDX.
    Tdx(TdxEvidence),
    /// TPM 2.0.
    Tpm2(Tpm2Evidence),
    /// There is none.
    None,
}

/// A bank of platform configuration registers that is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bank {
    /// 32 bytes each.
    Sha256,
    /// 48 bytes each.
    Sha384,
    /// 64 bytes each; extended, but not quoted.
    Sha512,
}

impl Bank {
    /// Name in evidence.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }
}

/// What a TPM gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tpm2Evidence {
    /// `TPMS_ATTEST` of type quote; its `extraData` is the SHA-256 of the 64 bytes that were bound.
    pub quote: Vec<u8>,
    /// `TPMT_SIGNATURE` over it.
    pub signature: Vec<u8>,
    /// The attestation key's `SubjectPublicKeyInfo`, DER.
    pub ak: Vec<u8>,
    /// The platform's certificate for that key, DER, where it has one. Proof of nothing until its chain is verified.
    pub ak_certificate: Option<Vec<u8>>,
    /// Values of the quoted registers, which hash to the quote's digest.
    pub pcrs: BTreeMap<Bank, BTreeMap<u8, Vec<u8>>>,
    /// The firmware's event log, as the kernel keeps it; empty where firmware left none.
    pub event_log: Vec<u8>,
}

/// What SEV-SNP gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SevSnpEvidence {
    /// `ATTESTATION_REPORT`, 1184 bytes.
    pub report: Vec<u8>,
    /// The host's table of certificates, untouched and untrusted.
    pub certificates: Option<Vec<u8>>,
}

/// What TDX gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdxEvidence {
    /// The quote, with whatever padding the host's quoting service left.
    pub quote: Vec<u8>,
    /// The CCEL event log, where firmware left one.
    pub event_log: Option<Vec<u8>>,
}
