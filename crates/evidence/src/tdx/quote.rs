//! The quote as bytes: every length is exact, nothing is read past what a length field says.

use sha2::{Digest as _, Sha256};

use crate::{
    Refusal, Rule,
    cursor::{Cursor, all_zero},
};

/// Largest quote read, padding included, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// Length of the header in bytes.
const HEADER_BYTES: usize = 48;
/// `ATTESTATION_KEY_TYPE` for ECDSA over P-256 with SHA-256.
const ECDSA_P256: u16 = 2;
/// `TEE_TYPE` of TDX.
const TEE_TDX: u32 = 0x81;
/// `QE_VENDOR_ID` of Intel.
const INTEL_QE: [u8; 16] =
    [0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07];
/// Certification data that holds the report of the quoting enclave.
const CERT_QE_REPORT: u16 = 6;
/// Certification data that holds the PCK certificate chain.
const CERT_PCK_CHAIN: u16 = 5;
/// Length of an enclave report in bytes.
const ENCLAVE_REPORT_BYTES: usize = 384;

/// A quote that is well formed. Not verified.
#[derive(Debug, Clone)]
pub(crate) struct Quote<'a> {
    /// Header and body: what the attestation key signed.
    pub(crate) signed: &'a [u8],
    pub(crate) header: Header,
    pub(crate) body: Body,
    pub(crate) signature: [u8; 64],
    pub(crate) attestation_key: [u8; 64],
    /// What the PCK signed.
    pub(crate) qe_report_bytes: &'a [u8],
    pub(crate) qe_report: QeReport,
    pub(crate) qe_signature: [u8; 64],
    pub(crate) qe_auth_data: &'a [u8],
    /// PEM, leaf first, without the padding behind it.
    pub(crate) pck_chain: &'a [u8],
    pub(crate) signature_bytes: usize,
    pub(crate) cert_type: u16,
    pub(crate) inner_cert_type: u16,
    /// What follows the signed quote.
    pub(crate) tail: &'a [u8],
}

/// The header's fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) version: u16,
    pub(crate) attestation_key_type: u16,
    pub(crate) tee_type: u32,
    pub(crate) qe_svn: u16,
    pub(crate) pce_svn: u16,
    pub(crate) qe_vendor: [u8; 16],
    pub(crate) user_data: [u8; 20],
}

/// The TD report in the quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Body {
    pub(crate) body_type: u16,
    pub(crate) body_bytes: u32,
    pub(crate) tee_tcb_svn: [u8; 16],
    pub(crate) mr_seam: [u8; 48],
    pub(crate) mr_signer_seam: [u8; 48],
    pub(crate) seam_attributes: [u8; 8],
    pub(crate) td_attributes: [u8; 8],
    pub(crate) xfam: [u8; 8],
    pub(crate) mrtd: [u8; 48],
    pub(crate) mr_config_id: [u8; 48],
    pub(crate) mr_owner: [u8; 48],
    pub(crate) mr_owner_config: [u8; 48],
    pub(crate) rtmr: [[u8; 48]; 4],
    pub(crate) report_data: [u8; 64],
    /// Since TD 1.5: current TCB and service TD.
    pub(crate) v15: Option<([u8; 16], [u8; 48])>,
    pub(crate) extended: Option<ExtendedBody>,
}

/// What the extended TD 1.5 report adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExtendedBody {
    pub(crate) vm_id: u8,
    pub(crate) td_id: [u8; 32],
    pub(crate) dev_info: [u8; 48],
    pub(crate) init_service_td_hash: [u8; 48],
    pub(crate) init_service_td_attributes: [u8; 8],
    pub(crate) init_cpu_svn: [u8; 16],
    pub(crate) init_tee_tcb_svn: [u8; 16],
    /// Initial FMSPC, current service TD hash and attributes.
    pub(crate) rest: [u8; 68],
}

/// The report of the quoting enclave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QeReport {
    pub(crate) misc_select: [u8; 4],
    pub(crate) attributes: [u8; 16],
    pub(crate) mr_enclave: [u8; 32],
    pub(crate) mr_signer: [u8; 32],
    pub(crate) isv_prod_id: u16,
    pub(crate) isv_svn: u16,
    pub(crate) report_data: [u8; 64],
}

impl<'a> Quote<'a> {
    /// Reads a quote: rule T1.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Refusal> {
        Rule::T1.require(bytes.len() <= MAX_BYTES, "the quote is too large")?;
        let ends = || Rule::T1.refuse("the quote ends early, or a length in it is wrong");
        let mut at = Cursor::new(bytes);
        let header = header(&mut at).ok_or_else(ends)?;
        check_header(&header)?;
        let body = body(&mut at, header.version)?;
        let signed = bytes.get(..bytes.len() - at.rest().len()).ok_or_else(ends)?;
        Self::authentication(&mut at, signed, header, body).ok_or_else(ends)
    }

    fn authentication(at: &mut Cursor<'a>, signed: &'a [u8], header: Header, body: Body) -> Option<Self> {
        let signature_bytes = usize::try_from(at.u32_le()?).ok()?;
        let mut data = Cursor::new(at.take(signature_bytes)?);
        let tail = at.rest();
        let (signature, attestation_key) = (data.array()?, data.array()?);
        let (cert_type, inner) = certification(&mut data)?;
        if cert_type != CERT_QE_REPORT || !data.is_empty() {
            return None;
        }
        let mut inner = Cursor::new(inner);
        let qe_report_bytes = inner.take(ENCLAVE_REPORT_BYTES)?;
        let qe_report = qe_report(qe_report_bytes)?;
        let qe_signature = inner.array()?;
        let auth_bytes = usize::from(inner.u16_le()?);
        let qe_auth_data = inner.take(auth_bytes)?;
        let (inner_cert_type, chain) = certification(&mut inner)?;
        if inner_cert_type != CERT_PCK_CHAIN || !inner.is_empty() {
            return None;
        }
        let end = chain.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let pck_chain = chain.get(..end)?;
        Some(Self {
            signed,
            header,
            body,
            signature,
            attestation_key,
            qe_report_bytes,
            qe_report,
            qe_signature,
            qe_auth_data,
            pck_chain,
            signature_bytes,
            cert_type,
            inner_cert_type,
            tail,
        })
    }

    /// Whether the report of the quoting enclave binds the attestation key: rule T4.
    pub(crate) fn binds_attestation_key(&self) -> bool {
        let digest = Sha256::new().chain_update(self.attestation_key).chain_update(self.qe_auth_data).finalize();
        let (bound, rest) = self.qe_report.report_data.split_at(32);
        bound == digest.as_slice() && all_zero(rest)
    }
}

fn header(at: &mut Cursor<'_>) -> Option<Header> {
    let mut fields = Cursor::new(at.take(HEADER_BYTES)?);
    Some(Header {
        version: fields.u16_le()?,
        attestation_key_type: fields.u16_le()?,
        tee_type: fields.u32_le()?,
        qe_svn: fields.u16_le()?,
        pce_svn: fields.u16_le()?,
        qe_vendor: fields.array()?,
        user_data: fields.array()?,
    })
}

fn check_header(header: &Header) -> Result<(), Refusal> {
    // The TEE type stands at the same place in version 3, which has SGX quotes: name what is really wrong.
    Rule::T1.require(header.tee_type == TEE_TDX, "the quote is not of a TDX guest")?;
    Rule::T1.require(matches!(header.version, 4 | 5), "the quote's version is neither 4 nor 5")?;
    Rule::T1.require(header.attestation_key_type == ECDSA_P256, "the attestation key is not ECDSA P-256")?;
    Rule::T1.require(header.qe_vendor == INTEL_QE, "the quoting enclave is not Intel's")
}

/// The TD report; version 5 says of which type and length it is, and the two must agree.
fn body(at: &mut Cursor<'_>, version: u16) -> Result<Body, Refusal> {
    let ends = || Rule::T1.refuse("the quote ends early");
    let (body_type, body_bytes) = match version {
        4 => (2, 584),
        _ => (at.u16_le().ok_or_else(ends)?, at.u32_le().ok_or_else(ends)?),
    };
    let agrees = matches!((body_type, body_bytes), (2, 584) | (3, 648) | (4, 885));
    Rule::T1.require(agrees, "type and length of the TD report do not agree")?;
    let bytes = usize::try_from(body_bytes).ok().and_then(|length| at.take(length)).ok_or_else(ends)?;
    body_fields(&mut Cursor::new(bytes), body_type, body_bytes).ok_or_else(ends)
}

fn body_fields(at: &mut Cursor<'_>, body_type: u16, body_bytes: u32) -> Option<Body> {
    Some(Body {
        body_type,
        body_bytes,
        tee_tcb_svn: at.array()?,
        mr_seam: at.array()?,
        mr_signer_seam: at.array()?,
        seam_attributes: at.array()?,
        td_attributes: at.array()?,
        xfam: at.array()?,
        mrtd: at.array()?,
        mr_config_id: at.array()?,
        mr_owner: at.array()?,
        mr_owner_config: at.array()?,
        rtmr: [at.array()?, at.array()?, at.array()?, at.array()?],
        report_data: at.array()?,
        v15: if body_type >= 3 { Some((at.array()?, at.array()?)) } else { None },
        extended: if body_type >= 4 { Some(extended(at)?) } else { None },
    })
    .filter(|_| at.is_empty())
}

fn extended(at: &mut Cursor<'_>) -> Option<ExtendedBody> {
    Some(ExtendedBody {
        vm_id: at.u8()?,
        td_id: at.array()?,
        dev_info: at.array()?,
        init_service_td_hash: at.array()?,
        init_service_td_attributes: at.array()?,
        init_cpu_svn: at.array()?,
        init_tee_tcb_svn: at.array()?,
        rest: at.array()?,
    })
}

/// Type, length and content of certification data.
fn certification<'a>(at: &mut Cursor<'a>) -> Option<(u16, &'a [u8])> {
    let kind = at.u16_le()?;
    let bytes = usize::try_from(at.u32_le()?).ok()?;
    Some((kind, at.take(bytes)?))
}

fn qe_report(bytes: &[u8]) -> Option<QeReport> {
    let mut at = Cursor::new(bytes);
    at.take(16)?; // CPU SVN
    let misc_select = at.array()?;
    at.take(28)?;
    let (attributes, mr_enclave) = (at.array()?, at.array()?);
    at.take(32)?;
    let mr_signer = at.array()?;
    at.take(96)?;
    let (isv_prod_id, isv_svn) = (at.u16_le()?, at.u16_le()?);
    at.take(60)?;
    Some(QeReport { misc_select, attributes, mr_enclave, mr_signer, isv_prod_id, isv_svn, report_data: at.array()? })
}
