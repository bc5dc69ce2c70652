//! PEM (RFC 7468), strictly: blocks of one label, only white space between them.

use base64::Engine as _;

/// Most blocks read from one text.
const MAX_BLOCKS: usize = 16;
/// Largest text read, in bytes.
const MAX_BYTES: usize = 512 << 10;

/// The decoded blocks with this label; nothing if there is anything else but white space around them.
pub(crate) fn pem_blocks(text: &[u8], label: &str) -> Option<Vec<Vec<u8>>> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut rest = std::str::from_utf8(text).ok()?.trim_ascii();
    let mut blocks = Vec::new();
    while !rest.is_empty() {
        let (body, tail) = rest.strip_prefix(&begin)?.split_once(&end)?;
        let body: String = body.lines().collect();
        if blocks.len() == MAX_BLOCKS {
            return None;
        }
        blocks.push(base64::engine::general_purpose::STANDARD.decode(body).ok()?);
        rest = tail.trim_ascii_start();
    }
    Some(blocks)
}

/// Certificates from PEM (any number, in order) or DER (one). Text around the blocks is passed over, as RFC 7468 section 5.2
/// lets a file of certificates explain itself: this is for files that people keep, not for evidence.
pub(crate) fn certificates_from(bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| text.contains(BEGIN)) else {
        return Some(vec![bytes.to_vec()]);
    };
    let mut certificates = Vec::new();
    for block in text.split(BEGIN).skip(1) {
        let (body, _) = block.split_once("-----END CERTIFICATE-----")?;
        let block = format!("{BEGIN}{body}-----END CERTIFICATE-----");
        certificates.extend(pem_blocks(block.as_bytes(), "CERTIFICATE")?);
        if certificates.len() > MAX_BLOCKS {
            return None;
        }
    }
    Some(certificates)
}

/// One object from PEM with this label, or DER.
pub(crate) fn decode_one(bytes: &[u8], label: &str) -> Option<Vec<u8>> {
    if !bytes.trim_ascii_start().starts_with(b"-----BEGIN") {
        return Some(bytes.to_vec());
    }
    let mut blocks = pem_blocks(bytes, label)?;
    let first = blocks.pop()?;
    blocks.is_empty().then_some(first)
}
