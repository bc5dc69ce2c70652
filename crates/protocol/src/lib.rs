//! Keyset, attestation statement and report of the ACI protocol.
