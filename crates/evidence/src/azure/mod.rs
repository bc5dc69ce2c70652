//! Azure's confidential virtual machines: a hardware report made for Microsoft's paravisor, which vouches for a virtual TPM.
//!
//! The hardware report binds the *runtime data*, a JSON text; the text names the TPM's attestation key; the TPM quotes the
//! boot. Chain and binding alone prove that *some* software on authentic hardware named that key: whoever holds a hypervisor
//! can start software of their own there, with an attestation key of their own. It is Microsoft's paravisor only where the
//! relying party says which one that is, by its launch measurement or its ID key (SEV-SNP), or by MRTD (TDX): rule A5, and the
//! claim `paravisor`. Even then it is the paravisor's word about the guest, a different statement from one about the guest's
//! own launch measurement.
//!
//! Source: Microsoft, "Azure confidential VMs guest attestation"; `openhcl_attestation_protocol` of microsoft/openvmm
//! (`igvm_attest::get`) for the layout.

mod hcl;
mod verify;

pub use verify::{Evidence, Hardware, Verified, VtpmQuote, verify};

/// Whether bytes are a report with an attestation key.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_report(bytes: &[u8]) -> bool {
    hcl::HclReport::read(bytes).is_ok_and(|report| !report.is_bound_by(&[0; 64]) && report.runtime_claims().is_ok())
}

/// Whether the key that a report names signed a quote, whoever made the report.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_quote(hcl_report: &[u8], quote: crate::tpm::Evidence<'_>, policy: &crate::Policy) -> bool {
    let named = hcl::HclReport::read(hcl_report).and_then(|report| report.runtime_claims());
    named.is_ok_and(|(_, key)| {
        let key = crate::tpm::TrustedKey::bound(key);
        crate::tpm::verify(quote, key, None, None, policy, &crate::Expected::nothing()).is_ok()
    })
}
