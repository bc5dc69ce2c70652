//! The PCK certificate: its chain to the embedded Intel root, and what Intel certifies about the platform.

use crate::{
    Refusal, Rule, Time, roots,
    x509::{Certificate, Der, PublicKey, pem_blocks, tag, verify_chain},
};

/// Intel's SGX extension, 1.2.840.113741.1.13.1, and its members below.
const SGX: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf8, 0x4d, 0x01, 0x0d, 0x01];

/// What Intel certifies about a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) ppid: [u8; 16],
    /// Security version numbers of the sixteen SGX components.
    pub(crate) components: [u32; 16],
    pub(crate) pce_svn: u32,
    pub(crate) pce_id: [u8; 2],
    pub(crate) fmspc: [u8; 6],
    pub(crate) sgx_type: u8,
    pub(crate) instance_id: Option<[u8; 16]>,
    pub(crate) dynamic_platform: bool,
    pub(crate) cached_keys: bool,
    pub(crate) smt: bool,
}

/// A PCK certificate whose chain was verified.
#[derive(Debug, Clone)]
pub(crate) struct Pck {
    pub(crate) key: PublicKey,
    pub(crate) serial: Vec<u8>,
    pub(crate) issuer: Vec<u8>,
    pub(crate) issuer_serial: Vec<u8>,
    pub(crate) issuer_spki: Vec<u8>,
    pub(crate) authority: String,
    pub(crate) platform: Platform,
}

/// The two certificates of a chain of Intel's, once its third is the embedded root.
pub(crate) struct IntelChain {
    leaf: Vec<u8>,
    issuer: Option<Vec<u8>>,
}

impl IntelChain {
    /// Splits a PEM chain that ends with the embedded root. `length` counts all certificates.
    pub(crate) fn read(pem: &[u8], length: usize, rule: Rule) -> Result<Self, Refusal> {
        let mut blocks = pem_blocks(pem, "CERTIFICATE").ok_or_else(|| rule.refuse("a certificate chain is not PEM"))?;
        if blocks.len() != length {
            return Err(
                rule.refuse(format!("a certificate chain has {} certificates instead of {length}", blocks.len()))
            );
        }
        let root = blocks.pop().unwrap_or_default();
        rule.require(root == roots::INTEL_SGX, "the root of the chain is not the Intel SGX root")?;
        let issuer = (blocks.len() > 1).then(|| blocks.pop()).flatten();
        let leaf = blocks.pop().unwrap_or_default();
        Ok(Self { leaf, issuer })
    }

    /// Verifies the chain and hands out the leaf, and the issuer below the root where there is one.
    pub(crate) fn verify(&self, at: Time, rule: Rule) -> Result<(Certificate<'_>, Option<Certificate<'_>>), Refusal> {
        let read = |der| Certificate::read(der).ok_or_else(|| rule.refuse("a certificate of the chain is malformed"));
        let (leaf, root) = (read(&self.leaf)?, read(roots::INTEL_SGX)?);
        let issuer = self.issuer.as_deref().map(read).transpose()?;
        let chain: Vec<&Certificate<'_>> = [Some(&leaf), issuer.as_ref(), Some(&root)].into_iter().flatten().collect();
        verify_chain(&chain, at, &[SGX]).map_err(|reason| rule.refuse(reason))?;
        Ok((leaf, issuer))
    }
}

impl Pck {
    /// Verifies the chain in the quote: rule T2, without revocation.
    pub(crate) fn verify(pem: &[u8], at: Time) -> Result<Self, Refusal> {
        let chain = IntelChain::read(pem, 3, Rule::T2)?;
        let (leaf, issuer) = chain.verify(at, Rule::T2)?;
        let issuer = issuer.ok_or_else(|| Rule::T2.refuse("the PCK certificate has no issuer"))?;
        let authority = Certificate::common_name(issuer.subject).unwrap_or_default();
        let known = matches!(authority, "Intel SGX PCK Platform CA" | "Intel SGX PCK Processor CA");
        Rule::T2.require(known, "the PCK certificate's issuer is not one of Intel's PCK authorities")?;
        let name = Certificate::common_name(leaf.subject);
        Rule::T2.require(name == Some("Intel SGX PCK Certificate"), "the leaf is not a PCK certificate")?;
        Rule::T2.require(!leaf.is_authority(), "the PCK certificate is an authority")?;
        let extension =
            leaf.extension(SGX).ok_or_else(|| Rule::T2.refuse("the PCK certificate lacks Intel's extension"))?;
        let platform = Platform::read(extension).ok_or_else(|| Rule::T2.refuse("Intel's extension is malformed"))?;
        Ok(Self {
            key: leaf.key.clone(),
            serial: leaf.serial.to_vec(),
            issuer: issuer.subject.to_vec(),
            issuer_serial: issuer.serial.to_vec(),
            issuer_spki: issuer.spki.to_vec(),
            authority: authority.to_owned(),
            platform,
        })
    }
}

impl Platform {
    /// What a PCK certificate says, whoever issued it.
    pub(crate) fn of(certificate: &Certificate<'_>) -> Option<Self> {
        Self::read(certificate.extension(SGX)?)
    }

    fn read(extension: &[u8]) -> Option<Self> {
        let fields = Fields::read(extension, SGX)?;
        let tcb_prefix = [SGX, &[2]].concat();
        let tcb = Fields::read(fields.get(2)?, &tcb_prefix)?;
        let mut components = [0; 16];
        for (number, component) in (1_u8..).zip(&mut components) {
            *component = whole(tcb.get(number)?, |der| der.small())?;
        }
        let octets = |value| whole(value, |der| der.content(tag::OCTET_STRING));
        let configuration_prefix = [SGX, &[7]].concat();
        let configuration = match fields.get(7) {
            Some(value) => Some(Fields::read(value, &configuration_prefix)?),
            None => None,
        };
        let flag = |number| match configuration.as_ref().and_then(|flags| flags.get(number)) {
            Some(value) => whole(value, Der::boolean),
            None => Some(false),
        };
        Some(Self {
            ppid: octets(fields.get(1)?)?.try_into().ok()?,
            components,
            pce_svn: whole(tcb.get(17)?, |der| der.small())?,
            pce_id: octets(fields.get(3)?)?.try_into().ok()?,
            fmspc: octets(fields.get(4)?)?.try_into().ok()?,
            sgx_type: match whole(fields.get(5)?, |der| der.content(tag::ENUMERATED))? {
                [kind] => *kind,
                _ => return None,
            },
            instance_id: match fields.get(6) {
                Some(value) => Some(octets(value)?.try_into().ok()?),
                None => None,
            },
            dynamic_platform: flag(1)?,
            cached_keys: flag(2)?,
            smt: flag(3)?,
        })
    }
}

/// Members of one of Intel's sequences, by the last arc of their object identifier.
struct Fields<'a>(Vec<(u8, &'a [u8])>);

impl<'a> Fields<'a> {
    /// Reads a sequence of pairs of an identifier below `prefix` and a value.
    fn read(sequence: &'a [u8], prefix: &[u8]) -> Option<Self> {
        let mut outer = Der::new(sequence);
        let mut list = outer.nested(tag::SEQUENCE)?;
        outer.end()?;
        let mut fields: Vec<(u8, &[u8])> = Vec::new();
        while !list.is_empty() {
            let mut pair = list.nested(tag::SEQUENCE)?;
            let [arc] = pair.content(tag::OID)?.strip_prefix(prefix)? else { return None };
            let value = pair.any()?.raw;
            pair.end()?;
            if fields.iter().any(|(known, _)| known == arc) || fields.len() == 32 {
                return None;
            }
            fields.push((*arc, value));
        }
        Some(Self(fields))
    }

    fn get(&self, arc: u8) -> Option<&'a [u8]> {
        self.0.iter().find(|(known, _)| *known == arc).map(|(_, value)| *value)
    }
}

/// One value that fills the bytes.
fn whole<'a, T>(bytes: &'a [u8], read: impl FnOnce(&mut Der<'a>) -> Option<T>) -> Option<T> {
    let mut der = Der::new(bytes);
    let value = read(&mut der)?;
    der.end().map(|()| value)
}

/// Whether bytes are Intel's extension, or a certificate that has it.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_extension(bytes: &[u8]) -> bool {
    let certified = Certificate::read(bytes).and_then(|certificate| Platform::read(certificate.extension(SGX)?));
    Platform::read(bytes).is_some() | certified.is_some()
}
