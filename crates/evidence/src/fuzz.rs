//! Doors for the fuzz targets, which have no authentic signature to get past: whether bytes are well formed, nothing else.
//! Behind the feature `fuzzing`, which the fuzz workspace alone turns on.

#[cfg(feature = "nvidia")]
use crate::Time;
use crate::{Policy, sev_snp, tdx, tpm, x509};

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

/// The log of a TPM's boot, judged against the registers that it leads to.
pub fn tpm_boot(event_log: &[u8]) -> bool {
    tpm::fuzz_judge(event_log)
}

/// The log of a trust domain's boot, judged against the registers that it leads to.
pub fn tdx_boot(event_log: &[u8]) -> bool {
    tdx::fuzz_judge(event_log)
}

/// A quote by the key that Azure's report names.
pub fn azure_quote(hcl_report: &[u8], quote: tpm::Evidence<'_>, policy: &Policy) -> bool {
    crate::azure::fuzz_quote(hcl_report, quote, policy)
}

/// A reference manifest, under whatever root it brings.
#[cfg(feature = "nvidia")]
pub fn rim(bytes: &[u8], at: Time) -> bool {
    crate::nvidia::fuzz_rim(bytes, at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "nvidia")]
    #[test]
    fn the_seed_of_manifests_is_read_to_its_end() {
        let at = Time::parse("2026-01-01T00:00:00Z").expect("a time");
        let seed = include_bytes!("../../../fuzz/corpus/evidence_rim/signed");
        assert!(rim(seed, at));
        assert!(!rim(&seed[1..], at));
    }

    #[test]
    fn the_seeds_of_boots_are_judged_to_their_end() {
        let tpm = include_bytes!("../../../fuzz/corpus/evidence_tpm/boot");
        let tdx = include_bytes!("../../../fuzz/corpus/evidence_tdx/boot");
        // Behind the lengths of parts that are empty.
        assert!(tpm_boot(&tpm[6..]) && tdx_boot(&tdx[2..]));
        assert!(!tpm_boot(&tpm[7..]) && !tdx_boot(&tdx[3..]));
        assert!(!tpm_boot(&tdx[2..]) && !tdx_boot(&tpm[6..]));
    }
}
