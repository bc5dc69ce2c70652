//! Doors for the fuzz targets, which have no authentic signature to get past: whether bytes are well formed, nothing else.
//! Behind the feature `fuzzing`, which the fuzz workspace alone turns on.

use crate::{sev_snp, tdx, tpm, x509};

/// A certificate, with AMD's and Intel's extensions.
pub fn certificate(bytes: &[u8]) -> bool {
    sev_snp::fuzz_extensions(bytes) | tdx::fuzz_extension(bytes) | x509::Certificate::read(bytes).is_some()
}

/// A revocation list.
pub fn revocation_list(bytes: &[u8]) -> bool {
    x509::RevocationList::read(bytes).is_some_and(|list| !list.revokes(bytes))
}

/// PEM, strictly and as people keep it.
pub fn pem(bytes: &[u8]) -> bool {
    x509::pem_blocks(bytes, "CERTIFICATE").is_some() | x509::certificates_from(bytes).is_some()
}

/// A quote's body and signature data, and the bodies of collateral.
pub fn quote(bytes: &[u8]) -> bool {
    tdx::fuzz_quote(bytes)
}

/// The signed JSON texts of Intel's collateral.
pub fn collateral_text(bytes: &[u8]) -> bool {
    tdx::fuzz_collateral(bytes)
}

/// A TPM's quote, its signature by each kind of key, and register values.
pub fn tpm(bytes: &[u8]) -> bool {
    tpm::fuzz_forms(bytes)
}

/// Azure's report with its runtime claims.
pub fn hcl_report(bytes: &[u8]) -> bool {
    crate::azure::fuzz_report(bytes)
}
