//! Signed releases, made by keys of the test's own.

use std::collections::BTreeMap;

use ed25519_dalek::{Signer as _, SigningKey};
use measurements::{
    register::Prediction,
    release::{
        Banks, Digest, FORMAT, Firmware, Image, LaunchDigests, Part, Pcrs, Platform, Register, Release, SevSnp, Tdx,
        Tpm2,
        signed_note::{SignedNote, VerifierKey},
    },
    tpm2::{pcr0, pcr9},
};

/// A release of an image with these digests, and with this launch digest for one virtual processor.
pub fn release(image: Banks, launch: [u8; 48]) -> Release {
    let part = |byte| Part { sha256: Digest([byte; 32]), size: 1 };
    let pcrs = || Pcrs {
        image_pcr: 4,
        image_event: image,
        pcr2: pcr0().into(),
        pcr4: pcr9().into(),
        pcr9: pcr9().into(),
        pcr11: pcr9().into(),
    };
    let rtmr = || Register::from(Prediction::<[u8; 48]>::always(Vec::new()));
    let by_vcpus = std::iter::once(launch).chain((2..=64).map(|count| [count; 48])).map(Digest).collect();
    let launch_digests =
        vec![LaunchDigests { cpu_signature: "0x1".to_owned(), cpu_types: vec!["EPYC".to_owned()], by_vcpus }];
    Release {
        format: FORMAT,
        version: "0.2.0".to_owned(),
        commit: "a".repeat(40),
        image: Image {
            file: part(3),
            authenticode: image,
            appliance: part(4),
            initramfs: part(5),
            document: None,
            flavour: "qemu".to_owned(),
            cmdline: "noinitrd".to_owned(),
        },
        files: BTreeMap::new(),
        firmware: vec![Firmware {
            name: "OVMF.fd".to_owned(),
            file: part(7),
            sev_snp: Platform::Measured(SevSnp { guest_features: "0x1".to_owned(), launch_digests }),
            tdx: Platform::Measured(Tdx { mrtd: rtmr(), rtmr0: rtmr(), rtmr1: rtmr(), rtmr2: rtmr() }),
            pcr7: pcr9().into(),
        }],
        tpm2: Tpm2 { edk2: pcrs(), google: pcrs() },
    }
}

/// A signer of releases.
pub struct Signer(SigningKey, VerifierKey);

impl Signer {
    pub fn new(byte: u8) -> Self {
        let key = SigningKey::from_bytes(&[byte; 32]);
        let public = VerifierKey::new(&format!("signer-{byte}"), key.verifying_key()).unwrap();
        Self(key, public)
    }

    pub fn key(&self) -> VerifierKey {
        self.1.clone()
    }

    /// The key as the command line takes it.
    pub fn text(&self) -> String {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let bytes = [&[1][..], &self.1.to_bytes()].concat();
        format!("{}+{}+{}", self.1.name(), hex::encode(self.1.id()), STANDARD.encode(bytes))
    }
}

/// The signed note of a release.
pub fn note(release: &Release, signers: &[&Signer]) -> String {
    let mut note = SignedNote::unsigned(&release.render().unwrap()).unwrap();
    for Signer(key, public) in signers {
        let signature = key.sign(note.text().as_bytes()).to_bytes();
        note.add(public, &signature).unwrap();
    }
    note.render()
}
