//! `lethe verify`

use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{arguments::VerifyArguments, files, look::Look, report::Report, session, speak, trust};
use crate::{
    appliance::{Attested, attest, now},
    attestation::{Bundle, Channel, examine},
    connection::Peer,
    error::{Error, Refusal, UsageError},
    tls::PinMismatch,
};

/// Verifies, prints the report, and saves what it was asked to save.
///
/// # Errors
/// The refusal, or why there is no report.
pub async fn run(arguments: VerifyArguments) -> Result<(), Error> {
    let nonce = arguments.nonce.as_deref().map(protocol::Nonce::parse).transpose().map_err(UsageError::Nonce)?;
    match (&arguments.bundle, &arguments.url) {
        (Some(path), _) => verify_bundle(path, nonce, &arguments),
        (None, Some(url)) => verify_live(url, nonce, &arguments).await,
        (None, None) => Err(UsageError::NothingToVerify.into()),
    }
}

async fn verify_live(url: &str, nonce: Option<protocol::Nonce>, arguments: &VerifyArguments) -> Result<(), Error> {
    let options = session::reach(url, &arguments.connection, &arguments.trust)?;
    let (source, policy) = (options.address.to_string(), &options.trust.policy_name);
    let attested = match attest(&options, nonce).await {
        Err(Error::Refused(refusal)) => {
            print(&Report::of_refused_key(source, policy, &refusal), arguments.json)?;
            return Err(refusal.into());
        }
        other => other?,
    };
    print(&Report::of(source, policy, &attested.examination, &attested.expectation), arguments.json)?;
    session::tell_missing(&attested);
    if let Some(path) = &arguments.save {
        save_bundle(&attested, path)?;
    }
    let verified = attested.examination.verdict.as_ref().map_err(Clone::clone)?;
    session::announce(&options, verified);
    if let Some(path) = &arguments.save_cert {
        save_certificate(&attested, path)?;
    }
    Ok(())
}

/// A saved report, judged as if it came now. What vendors say is the file's, unless the command line has it.
fn verify_bundle(path: &Path, nonce: Option<protocol::Nonce>, arguments: &VerifyArguments) -> Result<(), Error> {
    let name = path.display().to_string();
    let not_a_bundle = |source| UsageError::Bundle { path: name.clone(), source };
    let bundle = Bundle::parse(&files::read(path)?).map_err(not_a_bundle)?;
    let (trust, given) = trust::load(&arguments.trust)?;
    let (at, demanded) = (arguments.at.unwrap_or_else(now), session::pin(&arguments.connection)?);
    let expected = bundle.expectation(nonce, demanded, at).map_err(not_a_bundle)?;
    let refusal = match (demanded, &expected.channel) {
        (Some(expected), Channel::Tls { pin, .. }) if expected != *pin => {
            Some(Refusal::Pin(PinMismatch { expected, seen: *pin }))
        }
        (Some(_), Channel::Local) => Some(Refusal::NoTlsKey),
        _ => None,
    };
    if let Some(refusal) = refusal {
        print(&Report::of_refused_key(name, &trust.policy_name, &refusal), arguments.json)?;
        return Err(refusal.into());
    }
    let endorsements = given.or(bundle.endorsements());
    let examination = examine(bundle.report(), &expected, &trust, &endorsements);
    print(&Report::of(name, &trust.policy_name, &examination, &expected), arguments.json)?;
    examination.verdict.map(drop).map_err(Error::from)
}

fn print(report: &Report, json: bool) -> Result<(), Error> {
    if json {
        speak::answer_json(&report.json())
    } else {
        speak::answer_bytes(report.text(Look::of_output()).as_bytes())
    }
}

fn save_bundle(attested: &Attested, path: &Path) -> Result<(), UsageError> {
    let bundle = attested.bundle();
    // A report that is no text was refused as such, and there is nothing to verify again.
    bundle.map_or(Ok(()), |bundle| files::write(path, bundle.render().as_bytes()))
}

fn save_certificate(attested: &Attested, path: &Path) -> Result<(), UsageError> {
    let Peer::Tls { certificate, .. } = &attested.peer else { return Err(UsageError::NoCertificate) };
    files::write(path, pem(certificate).as_bytes())
}

/// The PEM form of a certificate (RFC 7468 §5.1).
fn pem(certificate: &[u8]) -> String {
    let encoded = STANDARD.encode(certificate);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        // Base64 is ASCII, so that every index is a boundary of characters.
        let (line, after) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = after;
    }
    text + "-----END CERTIFICATE-----\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pem_form_is_that_of_another_implementation() {
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate =
            rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap().self_signed(&key).unwrap();
        assert_eq!(pem(certificate.der()), certificate.pem().replace("\r\n", "\n"));
    }
}
