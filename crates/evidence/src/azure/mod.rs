//! Azure's confidential virtual machines: a hardware report made for Microsoft's paravisor, which vouches for a virtual TPM.
//!
//! The hardware report binds the *runtime data*, a JSON text; the text names the TPM's attestation key; the TPM quotes the
//! boot. What this proves is that Microsoft's paravisor runs on authentic hardware and says so about the guest: a different
//! statement from one about the guest's own launch measurement.
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
