//! The rules, in order, from the bytes of a report to a verdict.

use evidence::{Policy, Time};
use protocol::{API_VERSION, Keyset, KeysetError, Nonce, Report, Sha256Digest, TeeType, TlsKey, report_data};

use super::{
    evidence::Members,
    findings::Findings,
    judge::{self, Bound, Case},
    labels::{Labels, Subject},
    trust::{Endorsements, Trust},
    verified::Verified,
};
use crate::{error::Refusal, pin::SpkiPin, terminal};

/// Longest report that is read, in bytes.
pub const MAX_REPORT_BYTES: usize = 1024 * 1024;

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

/// Who says that the nonce is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NonceOrigin {
    /// This program drew it, or the user gave it.
    Ours,
    /// The file that the report came from.
    Recorded,
}

/// What the report has to match.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// The nonce of the request.
    pub nonce: Nonce,
    /// Who says that it is new.
    pub origin: NonceOrigin,
    /// The channel of the answer.
    pub channel: Channel,
    /// When it is judged.
    pub at: Time,
}

/// Everything found out about a report, whatever the verdict.
#[derive(Debug)]
pub struct Examination {
    /// The six labels.
    pub labels: Labels,
    /// The platform the report claims; `None` if it could not be read.
    pub platform: Option<&'static str>,
    /// The keyset's digest, if it was recomputed.
    pub keyset_digest: Option<Sha256Digest>,
    /// What the hardware signed, by the names that `lethe check` prints; empty unless the evidence was authentic.
    pub claims: serde_json::Map<String, serde_json::Value>,
    /// The verdict.
    pub verdict: Result<Verified, Refusal>,
}

/// Reads a report.
///
/// # Errors
/// [`Refusal::Malformed`] if it is too long, not JSON, or has other members than it may have.
pub fn parse(bytes: &[u8]) -> Result<Report, Refusal> {
    if bytes.len() > MAX_REPORT_BYTES {
        return Err(Refusal::Malformed(format!("longer than {MAX_REPORT_BYTES} bytes")));
    }
    serde_json::from_slice(bytes).map_err(|error| Refusal::Malformed(terminal::one_line(&error.to_string(), 200)))
}

/// The digest of the weights that the document in a report pins; nothing is judged here.
#[must_use]
pub fn pinned_model(report: &[u8]) -> Option<[u8; 32]> {
    let members = Members::read(&parse(report).ok()?.attestation.evidence).ok()?;
    judge::pinned_model(&members.document?.0)
}

/// Judges a report. Every label is judged for itself, as far as what it rests on holds.
#[must_use]
pub fn examine(bytes: &[u8], expected: &Expectation, trust: &Trust, endorsements: &Endorsements) -> Examination {
    let mut findings = Findings::new();
    let read = parse(bytes).and_then(|report| {
        let members = Members::read(&report.attestation.evidence)?;
        // What the operator gave counts where nobody has anything better; the verifier judges it like the rest.
        let endorsements = endorsements.clone().or(members.endorsements()?);
        if report.api_version == API_VERSION { Ok((report, members, endorsements)) } else { Err(Refusal::Version) }
    });
    let (report, members, endorsements) = match read {
        Ok(read) => read,
        Err(refusal) => {
            findings.refuse(Subject::Hardware, refusal.clone());
            return Examination {
                labels: findings.labels,
                platform: None,
                keyset_digest: None,
                claims: serde_json::Map::new(),
                verdict: Err(refusal),
            };
        }
    };
    let keyset = check_keyset(&report, expected);
    if let Err(refusal) = &keyset {
        findings.refuse(Subject::Keys, refusal.clone());
    }
    let digest = report.attestation.workload_keyset.digest().ok();
    let stated = report.attestation.report_data;
    let answers = digest.is_some_and(|digest| stated == report_data(digest, Some(&expected.nonce)));
    if !answers && keyset != Err(Refusal::KeysetDigest) {
        findings.refuse(Subject::Freshness, Refusal::ReportData);
    }
    let case = Case { members: &members, stated: slot(stated), trust, endorsements: &endorsements, at: expected.at };
    let judged = judge::platform(report.attestation.tee_type, &case, &expected.channel, &mut findings);
    if report.attestation.tee_type != TeeType::None {
        label_binding(&judged.bound, answers, keyset.is_ok(), expected, &mut findings);
    }
    findings.leave_the_rest("nothing is proven without authentic evidence of the hardware");

    let verdict = findings.verdict(demanded(report.attestation.tee_type, expected.origin, trust));
    let platform = report.attestation.tee_type.name();
    let keyset_digest = keyset.as_ref().ok().copied().or(digest);
    let verdict = verdict.and_then(|()| {
        let keyset_digest = keyset?;
        Ok(Verified {
            labels: findings.labels.clone(),
            platform: platform.to_owned(),
            keyset: report.attestation.workload_keyset.clone(),
            keyset_digest,
            channel: expected.channel.clone(),
        })
    });
    Examination { labels: findings.labels, platform: Some(platform), keyset_digest, claims: judged.claims, verdict }
}

/// The labels without which nobody is accepted. Platform `none` has none to show: it is refused as such, or put up with.
fn demanded(platform: TeeType, origin: NonceOrigin, trust: &Trust) -> &'static [Subject] {
    match (platform, origin) {
        (TeeType::None, _) => &[],
        (_, NonceOrigin::Ours) => &Subject::ALL,
        _ if asks_freshness(&trust.policy, platform) => &Subject::ALL,
        (_, NonceOrigin::Recorded) => {
            const RECORDED: [Subject; 5] =
                [Subject::Hardware, Subject::Image, Subject::Configuration, Subject::Model, Subject::Keys];
            &RECORDED
        }
    }
}

/// Whether the policy asks that somebody who is trusted chose the nonce.
fn asks_freshness(policy: &Policy, platform: TeeType) -> bool {
    match platform {
        TeeType::SevSnp => policy.sev_snp.fresh_binding_required.is,
        TeeType::Tdx => policy.tdx.fresh_binding_required.is,
        TeeType::Tpm2 => policy.tpm2.nonce_required.is,
        TeeType::None => false,
    }
}

/// The 64 bytes that hardware signs for a digest of 32.
fn slot(report_data: [u8; 32]) -> [u8; 64] {
    let mut slot = [0; 64];
    let (first, _) = slot.split_at_mut(32);
    first.copy_from_slice(&report_data);
    slot
}

fn check_keyset(report: &Report, expected: &Expectation) -> Result<Sha256Digest, Refusal> {
    let keyset = &report.attestation.workload_keyset;
    let digest = keyset.digest().ok().filter(|digest| *digest == report.workload_keyset_digest);
    let digest = digest.ok_or(Refusal::KeysetDigest)?;
    let now = u64::try_from(expected.at.unix()).unwrap_or_default();
    keyset.check(now).map_err(|error| match error {
        KeysetError::Expired => Refusal::KeysetExpired { not_after: keyset.not_after, now },
        KeysetError::TwoRoles => Refusal::KeyReused,
        KeysetError::TwoNames => Refusal::KeyNamedTwice,
    })?;
    check_channel(keyset, &expected.channel)?;
    Ok(digest)
}

fn check_channel(keyset: &Keyset, channel: &Channel) -> Result<(), Refusal> {
    let Channel::Tls { host, pin, .. } = channel else { return Ok(()) };
    let serves = |domain: &Option<String>| domain.as_ref().is_none_or(|name| name.eq_ignore_ascii_case(host));
    let listed = |key: &TlsKey| key.spki_sha256 == *pin.as_bytes() && serves(&key.domain);
    if keyset.tls_public_keys.iter().any(listed) { Ok(()) } else { Err(Refusal::TlsKeyNotInKeyset) }
}

/// Keys and freshness rest on one thing: that the hardware signed a statement about this keyset and this nonce.
fn label_binding(bound: &Bound, answers: bool, keyset_holds: bool, expected: &Expectation, findings: &mut Findings) {
    match bound {
        Bound::Holds if answers => {
            if keyset_holds {
                findings.accept(Subject::Keys, match expected.channel {
                    Channel::Tls { .. } => "the hardware vouches for the keyset, and the TLS key that the server held is in it",
                    Channel::Local => {
                        "the hardware vouches for the keyset; a UNIX socket has no TLS key, who may open it is up to its file"
                    }
                });
            }
            match expected.origin {
                NonceOrigin::Ours => {
                    findings.accept(Subject::Freshness, "the hardware signed the nonce of this request")
                }
                NonceOrigin::Recorded => findings.leave(
                    Subject::Freshness,
                    "the hardware signed the nonce of the file; only whoever chose it knows when (--nonce)",
                ),
            }
        }
        Bound::Holds => findings.leave_the_rest("the evidence is about another keyset or another nonce"),
        Bound::Broken(refusal) => {
            let other = Refusal::NotBound(refusal.clone());
            findings.refuse(Subject::Keys, other.clone());
            findings.refuse(Subject::Freshness, other);
        }
        Bound::Unknown => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        serde_json::json!({
            "api_version": "aci/1", "workload_keyset_digest": format!("sha256:{}", "00".repeat(32)),
            "attestation": {
                "tee_type": "none", "report_data": "ab".repeat(32), "source_provenance": {}, "evidence": {},
                "workload_keyset": {"subject": null, "not_after": 1, "receipt_signing_keys": [], "e2ee_public_keys": [], "tls_public_keys": []},
            },
            "service_capabilities": {"supported_e2ee_versions": [], "serving": "direct", "of_the_future": [1, 2]},
        })
        .to_string()
    }

    #[test]
    fn unknown_members_are_ignored_in_capabilities_alone() {
        assert!(parse(text().as_bytes()).is_ok());
        for place in ["{\"api_version\"", "{\"tee_type\"", "{\"subject\""] {
            let other = text().replacen(place, &place.replacen('{', "{\"new\":1,", 1), 1);
            assert_ne!(other, text());
            assert!(matches!(parse(other.as_bytes()), Err(Refusal::Malformed(_))), "{other}");
        }
    }

    #[test]
    fn digests_of_another_length_or_form_are_refused() {
        let digest = "ab".repeat(32);
        for other in [&digest[2..], &format!("{digest}00"), &format!("0x{}", &digest[2..]), ""] {
            let text = text().replacen(&digest, other, 1);
            assert!(matches!(parse(text.as_bytes()), Err(Refusal::Malformed(_))), "{other}");
        }
    }

    #[test]
    fn broken_and_oversized_reports_are_refused() {
        let whole = text();
        for length in [0, 1, whole.len() / 2, whole.len() - 1] {
            assert!(parse(&whole.as_bytes()[..length]).is_err());
        }
        let padded = whole + &" ".repeat(MAX_REPORT_BYTES);
        assert!(parse(padded.as_bytes()).is_err());
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
    }
}
