//! What an operator says to a verified appliance: secrets, sealed to its attested key, signed and counted.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use http::StatusCode;
use hyper::body::Bytes;
use protocol::{
    algorithm,
    hpke::{Kem, PublicKey, Random},
    secrets::{Change, MAX_SEALED, OperatorKey, seal},
};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::{
    appliance::Appliance,
    call::Call,
    error::{Error, Refusal, ServerError, UsageError},
};

/// What a key file begins with; 64 hexadecimal digits follow.
const FORM: &str = "lethe-operator-key-v1 ";
/// Longest key file that is looked at, in bytes.
const MAX_KEY_FILE: u64 = 256;
/// Longest answer about secrets, in bytes.
const MAX_STANDING: usize = 64 << 10;

const SECRETS: &str = "/v1/operator/secrets";
const SEAL: &str = "/v1/operator/seal";
const CSR: &str = "/v1/operator/csr";

/// What an appliance says of its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Standing {
    /// Counter of the last message that it accepted.
    pub counter: u64,
    /// Whether it serves nobody before it has secrets.
    pub waiting: bool,
    /// Names of its secrets, where an operator asked.
    #[serde(default)]
    pub names: Vec<String>,
}

/// Makes a key and writes it into a new file that only its owner may read; gives the public half.
///
/// # Errors
/// [`UsageError::File`], also for a file that is there already; [`UsageError::Random`].
pub fn new_key(path: &Path) -> Result<[u8; 32], UsageError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(UsageError::Random)?;
    let mut digits = Zeroizing::new([0; 64]);
    // the lengths fit
    let _ = hex::encode_to_slice(seed.as_slice(), digits.as_mut_slice());
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(FORM.as_bytes())?;
        file.write_all(digits.as_slice())?;
        file.write_all(b"\n")?;
        file.sync_all()
    };
    write().map_err(|source| UsageError::File { what: "write", path: path.display().to_string(), source })?;
    Ok(OperatorKey::from_seed(&seed).public())
}

/// Reads a key file.
///
/// # Errors
/// [`UsageError::File`]; [`UsageError::OperatorKey`] for a file that others may read or that holds no key.
pub fn read_key(path: &Path) -> Result<OperatorKey, UsageError> {
    let name = || path.display().to_string();
    let failed = |source| UsageError::File { what: "read", path: name(), source };
    let refused = |reason| UsageError::OperatorKey { path: name(), reason };
    let file = fs::File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    // whoever runs this program owns its entry there
    let ours = fs::metadata("/proc/self").map_or(about.uid(), |this| this.uid());
    if !about.is_file() || about.mode() & 0o077 != 0 || about.uid() != ours {
        return Err(refused("it must be a file of yours that nobody else may read (chmod 600)"));
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_KEY_FILE as usize));
    file.take(MAX_KEY_FILE).read_to_end(&mut bytes).map_err(failed)?;
    let digits = bytes.strip_prefix(FORM.as_bytes()).map(<[u8]>::trim_ascii_end);
    let mut seed = Zeroizing::new([0; 32]);
    let read = digits.map(|digits| hex::decode_to_slice(digits, seed.as_mut_slice()));
    if !matches!(read, Some(Ok(()))) {
        return Err(refused("it is not what `lethe secrets keygen` writes"));
    }
    Ok(OperatorKey::from_seed(&seed))
}

/// The last counter, and whether the appliance waits.
///
/// # Errors
/// As [`Appliance::send`]; [`ServerError`] for another answer.
pub async fn standing(appliance: &Appliance) -> Result<Standing, Error> {
    attested_key(appliance)?;
    read_standing(&exchange(appliance, Call::get(SECRETS), Bytes::new(), MAX_STANDING).await?)
}

/// Sends a change, an empty one to ask for the names, and gives what holds after it.
///
/// # Errors
/// As [`standing`]; [`UsageError::Secret`] for a change that cannot be sent.
pub async fn change(appliance: &Appliance, operator: &OperatorKey, change: &Change) -> Result<Standing, Error> {
    let message = message(appliance, operator, change).await?;
    read_standing(&exchange(appliance, Call::post_json(SECRETS), message, MAX_STANDING).await?)
}

/// Asks for a file that this machine with this image and document reads after a restart.
///
/// # Errors
/// As [`standing`]; [`ServerError::Status`] 501 from a platform that does not seal.
pub async fn sealed(appliance: &Appliance, operator: &OperatorKey) -> Result<Vec<u8>, Error> {
    let message = message(appliance, operator, &Change::default()).await?;
    exchange(appliance, Call::post_json(SEAL), message, MAX_SEALED).await
}

/// A request for a certificate of the attested TLS key (PKCS #10, PEM), with the document's names or these.
///
/// # Errors
/// As [`standing`].
pub async fn certificate_request(appliance: &Appliance, names: &[String]) -> Result<String, Error> {
    attested_key(appliance)?;
    let query = if names.is_empty() { String::new() } else { format!("?names={}", names.join(",")) };
    let pem = exchange(appliance, Call::get(&format!("{CSR}{query}")), Bytes::new(), MAX_STANDING).await?;
    let pem = String::from_utf8(pem).ok().filter(|pem| pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
    pem.ok_or_else(|| ServerError::Malformed("its request for a certificate is not one").into())
}

/// Name and key that secrets are sealed to; from the keyset that was verified and from nowhere else.
fn attested_key(appliance: &Appliance) -> Result<(String, PublicKey), Error> {
    let entry = appliance.verified().keyset().e2ee(algorithm::SECRETS).next().ok_or(Refusal::NoSecretsKey)?;
    let bytes = hex::decode(&entry.public_key).map_err(|_| Refusal::NoSecretsKey)?;
    let key = PublicKey::from_bytes(Kem::X25519, &bytes).map_err(|_| Refusal::NoSecretsKey)?;
    Ok((entry.key_id.clone(), key))
}

async fn message(appliance: &Appliance, operator: &OperatorKey, change: &Change) -> Result<Bytes, Error> {
    change.check().map_err(UsageError::Secret)?;
    let (kid, key) = attested_key(appliance)?;
    let counter = standing(appliance).await?.counter.saturating_add(1);
    let mut failed = None;
    let mut random = Random(|bytes: &mut [u8]| failed = getrandom::fill(bytes).err());
    let sealed = seal(&kid, &key, change, counter, operator, &mut random);
    match failed {
        Some(error) => Err(UsageError::Random(error).into()),
        None => Ok(sealed.map_err(|_| UsageError::SecretsTooLong)?.into()),
    }
}

async fn exchange(appliance: &Appliance, call: Call, body: Bytes, most: usize) -> Result<Vec<u8>, Error> {
    let answer = appliance.send(&call, body).await?;
    let (head, mut body) = answer.into_parts();
    if head.status == StatusCode::OK {
        return body.collect_up_to("the answer about secrets", most).await;
    }
    Err(crate::appliance::status_error(head.status, &head.headers, &mut body).await)
}

fn read_standing(bytes: &[u8]) -> Result<Standing, Error> {
    serde_json::from_slice(bytes).map_err(|_| ServerError::Malformed("its answer about secrets is not one").into())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_read_back_and_its_file_is_nobody_elses() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("operator.key");
        let public = new_key(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(read_key(&path).unwrap().public(), public);
        assert!(matches!(new_key(&path), Err(UsageError::File { .. })), "never over another");
        for mode in [0o640, 0o604, 0o620] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(read_key(&path), Err(UsageError::OperatorKey { .. })), "{mode:o}");
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        for text in ["", "lethe-operator-key-v1 00\n", "00", "lethe-operator-key-v2 "] {
            fs::write(&path, text).unwrap();
            assert!(matches!(read_key(&path), Err(UsageError::OperatorKey { .. })), "{text}");
        }
        assert!(matches!(read_key(folder.path()), Err(UsageError::OperatorKey { .. } | UsageError::File { .. })));
        assert!(matches!(read_key(&folder.path().join("none")), Err(UsageError::File { .. })));
    }
}
