//! A TPM of the test's own: the registers and the log of the capture, quotes for any nonce, a key that everybody can have.

use p256::ecdsa::{Signature, SigningKey, signature::Signer as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha384};

use super::{bundle, report};

/// Where `extraData` begins behind magic, type and the name of the signer.
const FIXED_BYTES: usize = 6;

#[derive(Clone)]
pub struct Tpm {
    evidence: Value,
    key: SigningKey,
    /// The report data that quotes are over, whatever is asked.
    pub stuck: Option<[u8; 32]>,
}

impl Tpm {
    pub fn new() -> Self {
        let key = SigningKey::from_slice(&[0x42; 32]).unwrap();
        let mut evidence = report(&bundle())["attestation"]["evidence"].clone();
        evidence["tpm2"]["ak"] = hex::encode(spki(&key)).into();
        Self { evidence, key, stuck: None }
    }

    /// The same machine with another document, which PCR 12 then holds.
    pub fn with_document(mut self, document: &str) -> Self {
        self.evidence["document"] = hex::encode(document).into();
        let pcrs = &mut self.evidence["tpm2"]["pcrs"];
        pcrs["sha256"]["12"] = hex::encode(Sha256::digest([&[0; 32][..], &Sha256::digest(document)].concat())).into();
        pcrs["sha384"]["12"] = hex::encode(Sha384::digest([&[0; 48][..], &Sha384::digest(document)].concat())).into();
        let values = ["sha256", "sha384"].map(|bank| (0..10).chain([11, 12]).map(move |register| (bank, register)));
        let values = values.into_iter().flatten().map(|(bank, register): (&str, u8)| {
            hex::decode(pcrs[bank][register.to_string()].as_str().unwrap()).unwrap()
        });
        let digest = Sha256::digest(values.collect::<Vec<_>>().concat());
        let mut quote = hex::decode(self.evidence["tpm2"]["quote"].as_str().unwrap()).unwrap();
        let end = quote.len() - digest.len();
        quote[end..].copy_from_slice(&digest);
        self.evidence["tpm2"]["quote"] = json!(hex::encode(quote));
        self
    }

    /// What the machine says beside its evidence.
    pub fn say(mut self, member: &str, value: Value) -> Self {
        self.evidence[member] = value;
        self
    }

    /// The key to pin.
    pub fn ak(&self) -> Vec<u8> {
        spki(&self.key)
    }

    /// `attestation.evidence` over the 32 bytes of a report.
    pub fn evidence(&self, report_data: &[u8; 32]) -> Value {
        let mut quote = hex::decode(self.evidence["tpm2"]["quote"].as_str().unwrap()).unwrap();
        let length = |at: usize| usize::from(u16::from_be_bytes([quote[at], quote[at + 1]]));
        let nonce = FIXED_BYTES + 2 + length(FIXED_BYTES);
        assert_eq!(length(nonce), 32, "the capture's quote holds a digest");
        let slot = [self.stuck.as_ref().unwrap_or(report_data).as_slice(), &[0; 32]].concat();
        quote[nonce + 2..nonce + 34].copy_from_slice(&Sha256::digest(slot));
        let mut evidence = self.evidence.clone();
        evidence["tpm2"]["signature"] = json!(hex::encode(sign(&self.key, &quote)));
        evidence["tpm2"]["quote"] = json!(hex::encode(quote));
        evidence
    }
}

/// `SubjectPublicKeyInfo` of a P-256 key.
fn spki(key: &SigningKey) -> Vec<u8> {
    let prefix = hex::decode("3059301306072a8648ce3d020106082a8648ce3d030107034200").unwrap();
    [prefix, key.verifying_key().to_encoded_point(false).as_bytes().to_vec()].concat()
}

/// A `TPMT_SIGNATURE`.
fn sign(key: &SigningKey, quote: &[u8]) -> Vec<u8> {
    let signature: Signature = key.sign(quote);
    let (r, s) = signature.split_bytes();
    [&[0, 0x18, 0, 0x0b, 0, 32][..], &r, &[0, 32], &s].concat()
}
