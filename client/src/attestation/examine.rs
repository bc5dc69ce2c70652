//! The rules, in order, from the bytes of a report to a verdict.

use protocol::{API_VERSION, Keyset, Nonce, Sha256Digest, TlsKey, report_data};

use super::{
    labels::{Labels, Outcome, Subject},
    report::Report,
};
use crate::{error::Refusal, pin::SpkiPin, terminal};

/// The channel over which the report came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Channel {
    /// TLS to a host, with the key that the handshake proved.
    Tls {
        /// Name or address that was dialled.
        host: String,
        /// The key.
        pin: SpkiPin,
        /// Whether the user demanded this key beforehand.
        demanded: bool,
    },
    /// A UNIX socket of this machine.
    Local,
}

/// What the report has to match.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// The nonce of the request.
    pub nonce: Nonce,
    /// The channel of the answer.
    pub channel: Channel,
    /// Now, in Unix seconds.
    pub now: u64,
}

/// What the user puts up with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Policy {
    /// Accept platform `none`, which proves nothing.
    pub allow_no_tee: bool,
}

/// Everything found out about a report, whatever the verdict.
#[derive(Debug)]
pub struct Examination {
    /// The six labels.
    pub labels: Labels,
    /// The platform the report claims, without control characters; `None` if it could not be read.
    pub platform: Option<String>,
    /// The keyset's digest, if it was recomputed.
    pub keyset_digest: Option<Sha256Digest>,
    /// The verdict.
    pub verdict: Result<Verified, Refusal>,
}

/// An appliance that the policy accepts, with what is known about it. [`examine`] alone makes one.
#[derive(Debug, Clone)]
pub struct Verified {
    labels: Labels,
    platform: String,
    keyset: Keyset,
    keyset_digest: Sha256Digest,
    channel: Channel,
}

impl Verified {
    /// The six labels.
    #[must_use]
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// The platform.
    #[must_use]
    pub fn platform(&self) -> &str {
        &self.platform
    }

    /// The keys that the report endorses.
    #[must_use]
    pub fn keyset(&self) -> &Keyset {
        &self.keyset
    }

    /// Their digest.
    #[must_use]
    pub fn keyset_digest(&self) -> Sha256Digest {
        self.keyset_digest
    }

    /// The TLS key that every further connection has to prove; `None` on a UNIX socket.
    #[must_use]
    pub fn pin(&self) -> Option<SpkiPin> {
        match self.channel {
            Channel::Tls { pin, .. } => Some(pin),
            Channel::Local => None,
        }
    }

    /// Whether hardware vouches for the appliance. Without it, a changed key cannot be told from an impostor's.
    #[must_use]
    pub fn is_proven_by_hardware(&self) -> bool {
        self.labels.outcome(Subject::Hardware) == Some(Outcome::Accepted)
    }
}

/// Judges a report. The first rule that fails gives the refusal and marks its label.
#[must_use]
pub fn examine(bytes: &[u8], expected: &Expectation, policy: Policy) -> Examination {
    let mut labels = Labels::unexamined();
    let mut found = Found::default();
    let verdict = judge(bytes, expected, policy, &mut labels, &mut found);
    if let Err(refusal) = &verdict {
        labels.set(subject_of(refusal), Outcome::Refused, refusal.to_string());
    }
    let verdict = verdict.map(|(keyset, keyset_digest, platform)| Verified {
        labels: labels.clone(),
        platform,
        keyset,
        keyset_digest,
        channel: expected.channel.clone(),
    });
    Examination { labels, platform: found.platform, keyset_digest: found.keyset_digest, verdict }
}

#[derive(Default)]
struct Found {
    platform: Option<String>,
    keyset_digest: Option<Sha256Digest>,
}

fn judge(
    bytes: &[u8],
    expected: &Expectation,
    policy: Policy,
    labels: &mut Labels,
    found: &mut Found,
) -> Result<(Keyset, Sha256Digest, String), Refusal> {
    let report = Report::parse(bytes)?;
    if report.api_version != API_VERSION {
        return Err(Refusal::Version);
    }
    let platform = terminal::one_line(&report.attestation.tee_type, 40);
    found.platform = Some(platform.clone());

    let digest = check_keyset(&report, expected)?;
    found.keyset_digest = Some(digest);
    if report.attestation.report_data != report_data(digest, Some(&expected.nonce)) {
        return Err(Refusal::ReportData);
    }
    match platform.as_str() {
        "none" => label_nothing_proven(labels, &expected.channel, policy)?,
        _ => return Err(Refusal::UnknownTee(platform)),
    }
    Ok((report.attestation.workload_keyset, digest, platform))
}

fn check_keyset(report: &Report, expected: &Expectation) -> Result<Sha256Digest, Refusal> {
    let keyset = &report.attestation.workload_keyset;
    let digest = keyset.digest().ok().filter(|digest| *digest == report.workload_keyset_digest);
    let digest = digest.ok_or(Refusal::KeysetDigest)?;
    if reuses_a_key(keyset) {
        return Err(Refusal::KeyReused);
    }
    if keyset.not_after <= expected.now {
        return Err(Refusal::KeysetExpired { not_after: keyset.not_after, now: expected.now });
    }
    if let Channel::Tls { host, pin, .. } = &expected.channel {
        let serves = |domain: &Option<String>| domain.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(host));
        let listed = |key: &TlsKey| key.spki_sha256 == *pin.as_bytes() && serves(&key.domain);
        if !keyset.tls_public_keys.iter().any(listed) {
            return Err(Refusal::TlsKeyNotInKeyset);
        }
    }
    Ok(digest)
}

/// Whether a key both signs receipts and receives requests. (TLS keys are there by digest, of another encoding.)
fn reuses_a_key(keyset: &Keyset) -> bool {
    let mut receiving = keyset.e2ee_public_keys.iter();
    receiving.any(|key| {
        let mut signing = keyset.receipt_signing_keys.iter();
        signing.any(|other| other.public_key.eq_ignore_ascii_case(&key.public_key))
    })
}

fn label_nothing_proven(labels: &mut Labels, channel: &Channel, policy: Policy) -> Result<(), Refusal> {
    labels.set(Subject::Image, Outcome::NotProven, "no hardware measured what runs there");
    labels.set(Subject::Configuration, Outcome::NotProven, "no register holds the digest of the deployment document");
    labels.set(Subject::Model, Outcome::NotProven, "the appliance checks it, but nothing proves the appliance");
    match channel {
        Channel::Tls { demanded: true, .. } => {
            labels.set(
                Subject::Keys,
                Outcome::Accepted,
                "the TLS key is the one you demanded, and it is in the keyset",
            );
        }
        Channel::Tls { .. } => labels.set(
            Subject::Keys,
            Outcome::NotProven,
            "the TLS key is in the keyset, but only the server itself says that the keyset is right",
        ),
        Channel::Local => labels.set(
            Subject::Keys,
            Outcome::NotProven,
            "a UNIX socket has no TLS key; who may open it is up to the permissions of its file",
        ),
    }
    labels.set(Subject::Freshness, Outcome::NotProven, "the report answers this nonce, but no hardware signed it");
    if !policy.allow_no_tee {
        return Err(Refusal::NoTee);
    }
    labels.set(Subject::Hardware, Outcome::NotProven, "platform `none`: no TEE; accepted because of --allow-no-tee");
    Ok(())
}

fn subject_of(refusal: &Refusal) -> Subject {
    match refusal {
        Refusal::NoTee | Refusal::UnknownTee(_) | Refusal::Evidence(_) | Refusal::Malformed(_) | Refusal::Version => {
            Subject::Hardware
        }
        Refusal::Pin(_)
        | Refusal::KeysetDigest
        | Refusal::KeysetExpired { .. }
        | Refusal::KeyReused
        | Refusal::TlsKeyNotInKeyset => Subject::Keys,
        Refusal::ReportData => Subject::Freshness,
    }
}
