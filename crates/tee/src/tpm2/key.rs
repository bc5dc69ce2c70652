//! The attestation key: a restricted signing key, made anew at each boot from the TPM's seed and one template.
//!
//! The template is fixed, so the same TPM gives the same key at every boot and a client can pin it. *Restricted* means
//! that the TPM signs with it only what the TPM itself has made: nobody can have it sign a quote of their own writing.

use tpm2_protocol::TpmUnmarshal as _;
use tpm2_protocol::basic::TpmHandle;
use tpm2_protocol::data::{
    Tpm2bData, Tpm2bPublic, Tpm2bSensitiveCreate, TpmAlgId, TpmEccCurve, TpmRh, TpmaObject, TpmlPcrSelection,
    TpmsEccParms, TpmsRsaParms, TpmsSchemeHash, TpmtEccScheme, TpmtPublic, TpmtRsaScheme, TpmuAsymScheme, TpmuPublicId,
    TpmuPublicParms,
};
use tpm2_protocol::frame::{TpmCreatePrimaryCommand, TpmCreatePrimaryResponse};

use super::command::{Authorization, run};
use super::device::Transport;
use super::error::TpmError;
use super::{spki, storage};

/// Google Cloud's indices: certificate and template of a key under the endorsement hierarchy, P-256 and RSA
/// (`GceAKCertNVIndexECC` and its neighbours in google/go-tpm-tools).
const GOOGLE: [(u32, u32); 2] = [(0x01c1_0002, 0x01c1_0003), (0x01c1_0000, 0x01c1_0001)];
/// RSA's usual exponent, for which a template says 0.
const RSA_EXPONENT: u32 = 65_537;

/// A key that the TPM holds.
#[derive(Debug, Clone)]
pub(super) struct AttestationKey {
    /// Its name inside this open device.
    pub(super) handle: TpmHandle,
    /// Public half, DER.
    pub(super) spki: Vec<u8>,
    /// The platform's certificate for it, DER.
    pub(super) certificate: Option<Vec<u8>>,
}

/// Makes the key: the platform's certified one where there is one, else ours on P-256, else ours with RSA.
pub(super) fn make(transport: &mut dyn Transport) -> Result<AttestationKey, TpmError> {
    if let Some(key) = certified(transport)? {
        return Ok(key);
    }
    let mut refused = TpmError::Key;
    for template in [p256_template(), rsa_template()] {
        // The endorsement hierarchy's seed outlives a change of owner; where it is switched off, the owner's serves.
        for hierarchy in [TpmRh::Endorsement, TpmRh::Owner] {
            match create(transport, hierarchy, template.clone()) {
                Ok(key) => return Ok(key),
                Err(error @ TpmError::Refused { .. }) => refused = error,
                Err(error) => return Err(error),
            }
        }
    }
    Err(refused)
}

/// The platform's key. Its template and certificate are data of the platform: a template for another kind of key is passed
/// over, and whether the certificate fits and chains is for a verifier to judge.
fn certified(transport: &mut dyn Transport) -> Result<Option<AttestationKey>, TpmError> {
    for (certificate, template) in GOOGLE {
        let Some(certificate) = storage::read(transport, certificate)? else { continue };
        let Some(template) = storage::read(transport, template)? else { continue };
        let Ok((template, _)) = TpmtPublic::unmarshal(&template) else { continue };
        let Some(certificate) = storage::first_element(&certificate).map(<[u8]>::to_vec) else { continue };
        match create(transport, TpmRh::Endorsement, template) {
            Ok(key) => return Ok(Some(AttestationKey { certificate: Some(certificate), ..key })),
            Err(TpmError::Refused { .. } | TpmError::Key) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

fn create(transport: &mut dyn Transport, hierarchy: TpmRh, template: TpmtPublic) -> Result<AttestationKey, TpmError> {
    let command = TpmCreatePrimaryCommand {
        handles: [TpmHandle::new(hierarchy.value())],
        in_sensitive: Tpm2bSensitiveCreate::default(),
        in_public: Tpm2bPublic { inner: template },
        outside_info: Tpm2bData::default(),
        creation_pcr: TpmlPcrSelection::new(),
    };
    let response: TpmCreatePrimaryResponse = run(transport, "CreatePrimary", &command, Authorization::Empty)?;
    let [handle] = response.handles;
    let spki = public_key(&response.out_public.inner).ok_or(TpmError::Key)?;
    Ok(AttestationKey { handle, spki, certificate: None })
}

/// What a key must be, whoever wrote its template.
fn required() -> TpmaObject {
    TpmaObject::FIXED_TPM
        | TpmaObject::FIXED_PARENT
        | TpmaObject::SENSITIVE_DATA_ORIGIN
        | TpmaObject::RESTRICTED
        | TpmaObject::SIGN_ENCRYPT
}

/// The public half of a restricted signing key.
fn public_key(public: &TpmtPublic) -> Option<Vec<u8>> {
    let attributes = public.object_attributes;
    if !attributes.contains(required()) || attributes.contains(TpmaObject::DECRYPT) {
        return None;
    }
    match (&public.parameters, &public.unique) {
        (TpmuPublicParms::Ecc(parameters), TpmuPublicId::Ecc(point))
            if parameters.curve_id == TpmEccCurve::NistP256 =>
        {
            spki::p256(&point.x, &point.y)
        }
        (TpmuPublicParms::Rsa(parameters), TpmuPublicId::Rsa(modulus)) => {
            let exponent = parameters.exponent.value();
            spki::rsa(modulus, if exponent == 0 { RSA_EXPONENT } else { exponent })
        }
        _ => None,
    }
}

fn template(object_type: TpmAlgId, parameters: TpmuPublicParms, unique: TpmuPublicId) -> TpmtPublic {
    TpmtPublic {
        object_type,
        name_alg: TpmAlgId::Sha256,
        // The empty password authorises it, and a wrong one locks nothing.
        object_attributes: required() | TpmaObject::USER_WITH_AUTH | TpmaObject::NO_DA,
        parameters,
        unique,
        ..TpmtPublic::default()
    }
}

/// ECDSA on P-256 with SHA-256. Other fields are null: no symmetric algorithm, no key derivation.
fn p256_template() -> TpmtPublic {
    let details = TpmuAsymScheme::Hash(TpmsSchemeHash { hash_alg: TpmAlgId::Sha256 });
    let parameters = TpmsEccParms {
        symmetric: no_symmetric(),
        scheme: TpmtEccScheme { scheme: TpmAlgId::Ecdsa, details },
        curve_id: TpmEccCurve::NistP256,
        ..TpmsEccParms::default()
    };
    template(TpmAlgId::Ecc, TpmuPublicParms::Ecc(parameters), TpmuPublicId::Ecc(Default::default()))
}

/// RSASSA with 2048 bits and SHA-256.
fn rsa_template() -> TpmtPublic {
    let details = TpmuAsymScheme::Hash(TpmsSchemeHash { hash_alg: TpmAlgId::Sha256 });
    let parameters = TpmsRsaParms {
        symmetric: no_symmetric(),
        scheme: TpmtRsaScheme { scheme: TpmAlgId::Rsassa, details },
        key_bits: 2048.into(),
        exponent: 0.into(),
    };
    template(TpmAlgId::Rsa, TpmuPublicParms::Rsa(parameters), TpmuPublicId::Rsa(Default::default()))
}

fn no_symmetric() -> tpm2_protocol::data::TpmtSymDefObject {
    tpm2_protocol::data::TpmtSymDefObject { algorithm: TpmAlgId::Null, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_restricted_signing_keys_of_this_tpm_have_a_public_half_to_show() {
        let key = p256_template();
        assert_eq!(public_key(&key).map(|spki| spki.len()), Some(91));
        let unrestricted = TpmaObject::FIXED_TPM
            | TpmaObject::FIXED_PARENT
            | TpmaObject::SENSITIVE_DATA_ORIGIN
            | TpmaObject::SIGN_ENCRYPT;
        for object_attributes in [TpmaObject::empty(), unrestricted, required() | TpmaObject::DECRYPT] {
            assert_eq!(public_key(&TpmtPublic { object_attributes, ..key.clone() }), None);
        }
    }

    #[test]
    fn another_curve_has_none() {
        let mut key = p256_template();
        if let TpmuPublicParms::Ecc(parameters) = &mut key.parameters {
            parameters.curve_id = TpmEccCurve::NistP384;
        }
        assert_eq!(public_key(&key), None);
    }
}
