//! Public keys of an ID block, from files in PEM or DER.

use std::path::Path;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use measurements::sev_snp::key_digest;

use super::inputs;
use crate::report::advise;

const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";

/// The digest of the key in a file, as a report shows it.
pub(super) fn digest(what: &str, path: &Path) -> anyhow::Result<[u8; 48]> {
    let bytes = inputs::small(what, path)?;
    let der = std::str::from_utf8(&bytes).ok().and_then(from_pem).unwrap_or(bytes);
    key_digest(&der).with_context(|| {
        advise(
            format!("the {what} {} cannot be used", path.display()),
            "give a public key of the curve P-384: openssl pkey -in PRIVATE.pem -pubout -out PUBLIC.pem",
        )
    })
}

/// The contents of a PEM file with a public key and nothing else.
fn from_pem(text: &str) -> Option<Vec<u8>> {
    let inner = text.trim().strip_prefix(BEGIN)?.strip_suffix(END)?;
    let digits: String = inner.split_ascii_whitespace().collect();
    STANDARD.decode(digits).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN PUBLIC KEY-----\nAQID\nBA==\n-----END PUBLIC KEY-----\n";

    #[test]
    fn pem_is_unwrapped_and_other_text_is_not() {
        assert_eq!(from_pem(PEM), Some(vec![1, 2, 3, 4]));
        assert_eq!(from_pem(&PEM.replace("PUBLIC", "PRIVATE")), None);
        assert_eq!(from_pem(&PEM.replace("AQID", "AQ*D")), None);
    }

    #[test]
    fn a_file_without_a_key_is_refused_with_the_command_that_makes_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        std::fs::write(&path, PEM).unwrap();
        let error = digest("ID key", &path).unwrap_err();
        assert!(format!("{error:#}").contains("no P-384 public key"), "{error:#}");
    }
}
