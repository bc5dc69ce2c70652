//! NVIDIA GPUs and switches: SPDM measurement reports, signed by a device key that chains to NVIDIA's root.
//!
//! What this proves is that a genuine device of NVIDIA measured itself so and answered this nonce. It does not prove that the
//! device is the one plugged into the guest (a relay to another genuine device cannot be excluded on Hopper and Blackwell),
//! and it says nothing about what was measured: NVIDIA's reference manifests ([`Rim`]) and expectations do.
//!
//! Source: DMTF DSP0274 "SPDM" 1.1, `GET_MEASUREMENTS` and `MEASUREMENTS`; NVIDIA nvtrust, `spdm_msrt_resp_msg.py`, for the
//! opaque fields.

mod report;
mod rim;
mod verify;

pub use rim::Rim;
#[cfg(feature = "fuzzing")]
pub(crate) use rim::fuzz_form as fuzz_rim;
pub use verify::{Evidence, Verified, verify, verify_set};
