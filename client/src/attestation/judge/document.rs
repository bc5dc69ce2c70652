//! The deployment document, which every platform binds in its own way, and the model that it names.

use serde::{Deserialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use super::Case;
use crate::{
    attestation::{findings::Findings, labels::Subject, references::Reference},
    error::Refusal,
    terminal,
};

/// What of a document is read: an authentic one may say more than this client knows.
#[derive(Deserialize)]
struct Document {
    model: Model,
}

/// The other part that is read, on its own: neither hides the other where it has a form that this client does not know.
#[derive(Deserialize)]
struct Addressed {
    #[serde(default)]
    image: Image,
}

#[derive(Default, Deserialize)]
struct Image {
    manifest_sha256: Option<ManifestDigest>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct ManifestDigest(#[serde(with = "hex::serde")] [u8; 32]);

#[derive(Deserialize)]
struct Model {
    name: String,
    #[serde(with = "hex::serde")]
    sha256: [u8; 32],
}

/// The digest of the weights that a document pins, proven or not.
pub(in crate::attestation) fn pinned_model(document: &[u8]) -> Option<[u8; 32]> {
    read::<Document>(document).map(|document| document.model.sha256)
}

fn read<T: DeserializeOwned>(document: &[u8]) -> Option<T> {
    toml::from_str(std::str::from_utf8(document).ok()?).ok()
}

/// Where a platform holds the document's digest.
pub(super) enum Binding {
    /// In this register.
    To(&'static str),
    /// Nowhere: the register was never set, as for a document inside of the image.
    Unset(Refusal),
    /// The register holds something else, or nothing that a known image vouches for.
    No(Refusal),
    /// The register means nothing, because what could have set it is not known.
    Unknown(&'static str),
}

/// Judges configuration and model. `bind` says where the platform holds the document's digest; a document inside of a known
/// image needs no register, and then the register is unset.
pub(super) fn judge(
    case: &Case<'_>,
    image: Option<&Reference>,
    bind: impl FnOnce(&[u8]) -> Binding,
    findings: &mut Findings,
) {
    let Some(document) = case.members.document.as_ref().map(|bytes| bytes.0.as_slice()) else {
        findings.leave(Subject::Configuration, "the report does not carry the deployment document");
        findings.leave(Subject::Model, "the report does not carry the deployment document");
        return;
    };
    let sha256: [u8; 32] = Sha256::digest(document).into();
    let baked = image.and_then(Reference::baked_document) == Some(sha256);
    let place = match bind(document) {
        Binding::To(register) => register,
        Binding::Unset(_) if baked => "the image",
        Binding::Unset(refusal) | Binding::No(refusal) => {
            findings.refuse(Subject::Configuration, refusal);
            findings.leave(Subject::Model, "the deployment document is not proven");
            return;
        }
        Binding::Unknown(reason) => {
            findings.leave(Subject::Configuration, reason);
            findings.leave(Subject::Model, "the deployment document is not proven");
            return;
        }
    };
    if let Some(expected) = case.trust.document.filter(|expected| *expected != sha256) {
        let (has, expected) = (hex::encode(sha256), hex::encode(expected));
        let reason = format!("the machine was given document sha256:{has}, and not sha256:{expected} as you expect");
        findings.refuse(Subject::Configuration, Refusal::Contradicted { subject: Subject::Configuration, reason });
    } else {
        let expected = if case.trust.document.is_some() { "the one you expect" } else { "name yours with --document" };
        let digest = hex::encode(sha256);
        findings.accept(Subject::Configuration, format!("{place} holds document sha256:{digest}: {expected}"));
    }
    if let Some(image) = image
        && let Err(reason) = judge_address(document, image, case)
    {
        findings.refuse(Subject::Image, Refusal::Contradicted { subject: Subject::Image, reason });
    }
    judge_model(document, case, image.is_some(), findings);
}

/// Whether the proven document is for the image that runs: it may name one by its manifest. The same image can be known by several.
fn judge_address(document: &[u8], image: &Reference, case: &Case<'_>) -> Result<(), String> {
    let addressed: Addressed =
        read(document).ok_or("the document names its image in a way that this client cannot read")?;
    let named = addressed.image.manifest_sha256.map(|digest| digest.0);
    let told = case.members.image_manifest_sha256.as_ref();
    if told.is_some_and(|told| named.is_none_or(|named| told.0 != named)) {
        return Err("the machine says that its document names another manifest than it does".to_owned());
    }
    let Some(named) = named else { return Ok(()) };
    let same = |known: &&Reference| known.authenticode_sha384() == image.authenticode_sha384();
    if case.trust.references.iter().filter(same).any(|known| known.manifest_sha256() == Some(named)) {
        return Ok(());
    }
    Err(format!(
        "the document is for the image with manifest sha256:{}, which is not that of {image}",
        hex::encode(named)
    ))
}

/// What a register that the host sets at launch says of the document: its digest, nothing, or something else.
pub(super) fn launch_register(register: &[u8], digest: &[u8], name: &'static str) -> Binding {
    if register == digest {
        return Binding::To(name);
    }
    let reason = format!("{name} is not the digest of the deployment document in the report");
    let refusal = Refusal::Contradicted { subject: Subject::Configuration, reason };
    if register.iter().all(|byte| *byte == 0) { Binding::Unset(refusal) } else { Binding::No(refusal) }
}

fn judge_model(document: &[u8], case: &Case<'_>, image_is_known: bool, findings: &mut Findings) {
    let Some(Document { model }) = read(document) else {
        findings.leave(Subject::Model, "the deployment document names no model that this client can read");
        return;
    };
    let (name, digest) = (terminal::one_line(&model.name, 80), hex::encode(model.sha256));
    let told = case.members.model_sha256.as_ref();
    if told.is_some_and(|told| told.0 != model.sha256) {
        let reason = format!("the machine says it runs another model than its document pins (sha256:{digest})");
        findings.refuse(Subject::Model, Refusal::Contradicted { subject: Subject::Model, reason });
    } else if image_is_known {
        let reason = format!("{name}, sha256:{digest}: pinned by the document, and the image starts with no other");
        findings.accept(Subject::Model, reason);
    } else {
        let reason = format!("the document pins sha256:{digest}, but only a known image is known to check it");
        findings.leave(Subject::Model, reason);
    }
}
