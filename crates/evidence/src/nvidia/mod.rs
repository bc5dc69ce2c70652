//! NVIDIA GPUs and switches: SPDM measurement reports, signed by a device key that chains to NVIDIA's root.
//!
//! What this proves is that a genuine device of NVIDIA measured itself so and answered this nonce. It does not prove that the
//! device is the one plugged into the guest (a relay to another genuine device cannot be excluded on Hopper and Blackwell),
//! and it does not compare the measurements with NVIDIA's reference manifests: expectations do.
//!
//! Source: DMTF DSP0274 "SPDM" 1.1, `GET_MEASUREMENTS` and `MEASUREMENTS`; NVIDIA nvtrust, `spdm_msrt_resp_msg.py`, for the
//! opaque fields.

mod report;
mod verify;

pub use verify::{Evidence, Verified, verify, verify_set};
