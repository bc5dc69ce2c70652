//! `lethe verify`

use std::{io::Write, path::Path};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{arguments::VerifyArguments, report::Report, session, speak};
use crate::{
    appliance::{Attested, attest},
    connection::Peer,
    error::{Error, UsageError},
};

/// Verifies, prints the report, and saves the certificate of an appliance that was accepted.
///
/// # Errors
/// The refusal, or why there is no report.
pub async fn run(arguments: VerifyArguments) -> Result<(), Error> {
    let options = session::options(&arguments.appliance, None)?;
    let nonce = arguments.nonce.as_deref().map(protocol::Nonce::parse).transpose().map_err(UsageError::Nonce)?;
    let attested = match attest(&options, nonce).await {
        Err(Error::Refused(refusal)) => {
            print(&Report::of_refused_key(&options.address, &refusal), arguments.json)?;
            return Err(refusal.into());
        }
        other => other?,
    };
    print(&Report::of(&options.address, &attested), arguments.json)?;
    let verified = attested.examination.verdict.as_ref().map_err(Clone::clone)?;
    session::announce(&options, verified);
    if let Some(path) = &arguments.save_cert {
        save_certificate(&attested, path)?;
    }
    Ok(())
}

fn print(report: &Report, json: bool) -> Result<(), Error> {
    if json { speak::answer_json(&report.json()) } else { speak::answer(&report.text()) }
}

fn save_certificate(attested: &Attested, path: &Path) -> Result<(), UsageError> {
    let Peer::Tls { certificate, .. } = &attested.peer else { return Err(UsageError::NoCertificate) };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || {
        // Written beside its place and renamed into it: a program that reads the file sees all of it or none.
        let mut file = tempfile::Builder::new().permissions(readable_by_all()).tempfile_in(folder)?;
        file.write_all(pem(certificate).as_bytes())?;
        file.persist(path)?;
        Ok(())
    };
    write().map_err(|source| UsageError::File { what: "write", path: path.display().to_string(), source })
}

/// A certificate is public, and often for a program of another user; the umask still takes away what it takes away.
fn readable_by_all() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
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
