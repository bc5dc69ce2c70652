//! Certificates, revocation lists and PEM: read without a slip.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let certificate = evidence::fuzz::certificate(data);
    let list = evidence::fuzz::revocation_list(data);
    assert!(!(certificate && list), "nothing is both");
    evidence::fuzz::pem(data);
});
