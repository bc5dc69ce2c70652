//! Platform `none`: nothing is proven, and the labels say so.

use evidence::check;

use super::Case;
use crate::{
    attestation::{examine::Channel, findings::Findings, labels::Subject, trust::AttestationKeys},
    error::Refusal,
};

/// Labels everything as not proven, and refuses it unless the user or the policy puts up with that.
pub(super) fn judge(case: &Case<'_>, channel: &Channel, findings: &mut Findings) {
    let trust = case.trust;
    findings.leave(
        Subject::Image,
        if case.members.insecure_host {
            "no hardware measured what runs there; it says itself that prompts may reach its host's swap (--insecure-host)"
        } else {
            "no hardware measured what runs there"
        },
    );
    findings.leave(Subject::Configuration, "no register holds the digest of the deployment document");
    findings.leave(Subject::Model, "the appliance checks it, but nothing proves the appliance");
    label_keys(channel, findings);
    findings.leave(Subject::Freshness, "the report answers this nonce, but no hardware signed it");
    let by_policy = check::none(&trust.policy).is_accepted();
    let named = !trust.references.is_empty()
        || trust.document.is_some()
        || !matches!(trust.attestation_key, AttestationKeys::Nobody);
    if !trust.allow_no_tee && !by_policy {
        findings.refuse(Subject::Hardware, Refusal::NoTee);
    } else if named {
        let reason = "it has no hardware evidence, and you named what it has to prove".to_owned();
        findings.refuse(Subject::Hardware, Refusal::Contradicted { subject: Subject::Hardware, reason });
    } else if trust.allow_no_tee {
        findings.leave(Subject::Hardware, "platform `none`: no TEE; accepted because of --allow-no-tee");
    } else {
        let reason = format!("platform `none`: no TEE; DEVELOPMENT ONLY, accepted by policy {}", trust.policy_name);
        findings.leave(Subject::Hardware, reason);
    }
}

fn label_keys(channel: &Channel, findings: &mut Findings) {
    match channel {
        Channel::Tls { demanded: true, .. } => {
            findings.accept(Subject::Keys, "the TLS key is the one you demanded, and it is in the keyset");
        }
        Channel::Tls { .. } => findings.leave(
            Subject::Keys,
            "the TLS key is in the keyset, but only the server itself says that the keyset is right",
        ),
        Channel::Local => findings
            .leave(Subject::Keys, "a UNIX socket has no TLS key; who may open it is up to the permissions of its file"),
    }
}
