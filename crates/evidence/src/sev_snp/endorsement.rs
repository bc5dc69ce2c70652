//! Endorsement certificates (VCEK, VLEK): chain, revocation, and what AMD certifies about the chip and its TCB.
//!
//! AMD's revocation list is the root's: it is about the authorities below it (ASK, ASVK). Of a single chip's or cloud's key
//! nobody publishes whether it is revoked: every VCEK has serial number 0, and the VLEK that was seen has it too.

use super::{Product, SigningKey};
use crate::{
    Demand, Policy, Refusal, Rule, Time, roots,
    x509::{Certificate, Der, PublicKey, RevocationList, decode_one, tag, verify_chain},
};

/// Prefix of AMD's extensions, 1.3.6.1.4.1.3704.1.
const AMD: [u8; 8] = [0x2b, 0x06, 0x01, 0x04, 0x01, 0x9c, 0x78, 0x01];

const SECONDS_A_DAY: i64 = 86_400;

/// What an endorsement certificate says, after its chain was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endorsement {
    pub(crate) key: PublicKey,
    product: Product,
    signing_key: SigningKey,
    /// Security version numbers by extension number: 1 boot loader, 2 TEE, 3 SNP, 4 to 7 reserved, 8 microcode, 9 FMC.
    svns: [u8; 10],
    hwid: Option<Vec<u8>>,
    csp_id: Option<String>,
    crl_from: Option<Time>,
    not_after: Time,
}

impl Endorsement {
    /// Product line.
    #[must_use]
    pub fn product(&self) -> Product {
        self.product
    }

    /// Kind of key.
    #[must_use]
    pub fn signing_key(&self) -> SigningKey {
        self.signing_key
    }

    /// The chip's id: 64 bytes, 8 on Turin. A VLEK has none.
    #[must_use]
    pub fn hwid(&self) -> Option<&[u8]> {
        self.hwid.as_deref()
    }

    /// Who loaded the key, for a VLEK.
    #[must_use]
    pub fn csp_id(&self) -> Option<&str> {
        self.csp_id.as_deref()
    }

    /// When AMD signed the newest revocation list at hand, on which this certificate's *issuer* is not. Of the certificate
    /// itself no list of AMD's says anything. Nothing without a list.
    #[must_use]
    pub fn issuer_not_revoked_as_of(&self) -> Option<Time> {
        self.crl_from
    }

    /// When the certificate expires.
    #[must_use]
    pub fn not_after(&self) -> Time {
        self.not_after
    }

    /// The certified TCB in the byte order of a report's `TCB_VERSION`.
    #[must_use]
    pub fn tcb_bytes(&self) -> [u8; 8] {
        let [_, bootloader, tee, snp, spl4, spl5, spl6, spl7, microcode, fmc] = self.svns;
        match self.product {
            Product::Turin => [fmc, bootloader, tee, snp, spl5, spl6, spl7, microcode],
            Product::Milan | Product::Genoa => [bootloader, tee, spl4, spl5, spl6, spl7, snp, microcode],
        }
    }
}

/// Verifies an endorsement certificate, PEM or DER, against the embedded roots: rules S2, S3.
///
/// `product` is the line that the report names; without one (report version 2) the certificate's own is taken, which the
/// chain then confirms. `crls` are AMD's lists, PEM or DER; those of other product lines are passed over.
///
/// # Errors
///
/// A [`Refusal`] under S2 or S3.
pub fn verify_endorsement(
    certificate: &[u8],
    product: Option<Product>,
    crls: &[&[u8]],
    policy: &Policy,
    at: Time,
) -> Result<Endorsement, Refusal> {
    let bytes = decode_one(certificate, "CERTIFICATE")
        .ok_or_else(|| Rule::S3.refuse("the endorsement is not one certificate"))?;
    let leaf = Certificate::read(&bytes).ok_or_else(|| Rule::S3.refuse("the endorsement certificate is malformed"))?;
    let extensions = Extensions::read(&leaf)
        .ok_or_else(|| Rule::S3.refuse("the endorsement certificate's extensions are malformed"))?;
    let named = Product::from_certificate_name(extensions.product_name)
        .ok_or_else(|| Rule::S3.refuse("the endorsement certificate names an unknown product"))?;
    Rule::S3.require(
        product.is_none_or(|product| product == named),
        "the endorsement certificate is of another product line",
    )?;

    let signing_key = extensions.signing_key()?;
    let embedded = roots::amd(named);
    let issuer = match signing_key {
        SigningKey::Vcek => embedded.ask,
        SigningKey::Vlek => embedded.asvk,
    };
    let broken = || Rule::S3.refuse("an embedded certificate is malformed");
    let (issuer, root) =
        (Certificate::read(issuer).ok_or_else(broken)?, Certificate::read(embedded.ark).ok_or_else(broken)?);
    verify_chain(&[&leaf, &issuer, &root], at, &[]).map_err(|reason| Rule::S3.refuse(reason))?;
    Rule::S3.require(!leaf.is_authority(), "the endorsement certificate is an authority")?;
    Rule::S3.require(matches!(leaf.key, PublicKey::P384(_)), "the endorsement key is not on P-384")?;
    let crl_from = check_revocation(&leaf, &issuer, &root, crls, policy, at)?;
    Ok(Endorsement {
        key: leaf.key.clone(),
        product: named,
        signing_key,
        svns: extensions.svns,
        hwid: extensions.hwid.map(<[u8]>::to_vec),
        csp_id: extensions.csp_id.map(str::to_owned),
        crl_from,
        not_after: leaf.not_after,
    })
}

/// AMD's revocation list, signed by the root: not stale, and the intermediate is not on it. Returns when the newest was signed.
pub(super) fn check_revocation(
    leaf: &Certificate<'_>,
    issuer: &Certificate<'_>,
    root: &Certificate<'_>,
    crls: &[&[u8]],
    policy: &Policy,
    at: Time,
) -> Result<Option<Time>, Refusal> {
    let (demand, oldest) = (policy.sev_snp.crl.is, &policy.sev_snp.crl_days_max);
    let mut found = None;
    for crl in crls {
        let bytes = decode_one(crl, "X509 CRL").ok_or_else(|| Rule::S3.refuse("a revocation list is not one list"))?;
        let list = RevocationList::read(&bytes).ok_or_else(|| Rule::S3.refuse("a revocation list is malformed"))?;
        if list.issuer != root.subject {
            continue;
        }
        list.verify(root, at).map_err(|reason| Rule::S3.refuse(reason))?;
        let days = at.unix().saturating_sub(list.this_update.unix()) / SECONDS_A_DAY;
        if days > i64::from(oldest.is) {
            return Err(oldest.refuse(Rule::S3, format!("the revocation list is {days} days old")));
        }
        Rule::S3.require(!list.revokes(issuer.serial), "the intermediate certificate is revoked")?;
        // The list's numbers are those of the root's certificates. One that is the leaf's is taken as meant for it all the
        // same, except 0: it would revoke every VCEK there is.
        Rule::S3.require(leaf.serial == [0] || !list.revokes(leaf.serial), "the endorsement certificate is revoked")?;
        found = found.max(Some(list.this_update));
    }
    if found.is_none() && demand == Demand::Required {
        return Err(Rule::S3.refuse("AMD's revocation list for this product line is demanded and was not given"));
    }
    if found.is_none() && !crls.is_empty() {
        return Err(Rule::S3.refuse("none of the given revocation lists is of this product line's root"));
    }
    Ok(found)
}

/// AMD's extensions of an endorsement certificate.
struct Extensions<'a> {
    product_name: &'a str,
    svns: [u8; 10],
    hwid: Option<&'a [u8]>,
    csp_id: Option<&'a str>,
}

impl<'a> Extensions<'a> {
    fn read(certificate: &Certificate<'a>) -> Option<Self> {
        let find = |suffix: &[u8]| certificate.extension(&[&AMD, suffix].concat());
        let mut svns = [0; 10];
        for (number, svn) in (0_u8..).zip(&mut svns).skip(1) {
            // Extension 4 exists before Turin, extension 9 since.
            if let Some(value) = find(&[3, number]) {
                *svn = integer(value)?;
            } else if !matches!(number, 4 | 9) {
                return None;
            }
        }
        Some(Self {
            product_name: text(find(&[2])?)?,
            svns,
            hwid: find(&[4]).map(hwid).map_or(Some(None), |id| id.map(Some))?,
            csp_id: find(&[5]).map(text).map_or(Some(None), |id| id.map(Some))?,
        })
    }

    /// A VCEK names its chip, a VLEK its provider; never both.
    fn signing_key(&self) -> Result<SigningKey, Refusal> {
        match (self.hwid, self.csp_id) {
            (Some(_), None) => Ok(SigningKey::Vcek),
            (None, Some(_)) => Ok(SigningKey::Vlek),
            _ => Err(Rule::S2.refuse("the endorsement certificate is neither a VCEK nor a VLEK")),
        }
    }
}

/// One integer of at most a byte.
fn integer(value: &[u8]) -> Option<u8> {
    let mut outer = Der::new(value);
    let number = outer.small()?;
    outer.end()?;
    u8::try_from(number).ok()
}

fn text(value: &[u8]) -> Option<&str> {
    let mut outer = Der::new(value);
    let text = outer.content(tag::IA5_STRING)?;
    outer.end()?;
    std::str::from_utf8(text).ok().filter(|text| text.len() <= 128)
}

/// The hardware id: bare bytes in most certificates, an octet string in newer ones. The lengths keep the two apart.
fn hwid(value: &[u8]) -> Option<&[u8]> {
    match value {
        [tag::OCTET_STRING, 64, id @ ..] if id.len() == 64 => Some(id),
        [tag::OCTET_STRING, 8, id @ ..] if id.len() == 8 => Some(id),
        id if matches!(id.len(), 8 | 64) => Some(id),
        _ => None,
    }
}

/// Whether bytes are a certificate with AMD's extensions.
#[cfg(feature = "fuzzing")]
pub(crate) fn fuzz_extensions(bytes: &[u8]) -> bool {
    Certificate::read(bytes).is_some_and(|certificate| Extensions::read(&certificate).is_some())
}
