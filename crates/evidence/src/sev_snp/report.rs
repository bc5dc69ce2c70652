//! The report as bytes: fixed offsets, everything reserved must be zero.

use super::{Product, SigningKey, Tcb};
use crate::{
    Refusal, Rule,
    cursor::{Cursor, all_zero},
};

/// Length of a report in bytes.
pub(crate) const REPORT_BYTES: usize = 0x4a0;
/// Length of the signed part in bytes.
pub(crate) const SIGNED_BYTES: usize = 0x2a0;
/// `SIGNATURE_ALGO` for ECDSA over P-384 with SHA-384.
const ECDSA_P384_SHA384: u32 = 1;

/// A firmware version: major, minor, build.
pub(crate) type Firmware = [u8; 3];

/// A report that is well formed. Not verified, and private to this module's parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) version: u32,
    pub(crate) guest_svn: u32,
    pub(crate) policy: GuestPolicy,
    pub(crate) family_id: [u8; 16],
    pub(crate) image_id: [u8; 16],
    pub(crate) vmpl: u32,
    pub(crate) signature_algo: u32,
    pub(crate) current_tcb: [u8; 8],
    pub(crate) platform_info: u64,
    pub(crate) flags: u32,
    pub(crate) report_data: [u8; 64],
    pub(crate) measurement: [u8; 48],
    pub(crate) host_data: [u8; 32],
    pub(crate) id_key_digest: [u8; 48],
    pub(crate) author_key_digest: [u8; 48],
    pub(crate) report_id: [u8; 32],
    pub(crate) report_id_ma: [u8; 32],
    pub(crate) reported_tcb: [u8; 8],
    /// CPUID family, model and stepping; absent in version 2.
    pub(crate) cpuid: Option<[u8; 3]>,
    pub(crate) chip_id: [u8; 64],
    pub(crate) committed_tcb: [u8; 8],
    pub(crate) current_firmware: Firmware,
    pub(crate) committed_firmware: Firmware,
    pub(crate) launch_tcb: [u8; 8],
    /// Launch and current mitigation vectors; since version 5.
    pub(crate) mitigations: Option<(u64, u64)>,
    /// The signature's two numbers, big-endian.
    pub(crate) signature: [u8; 96],
}

/// The guest policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GuestPolicy(pub(crate) u64);

impl GuestPolicy {
    pub(crate) const fn abi(self) -> [u8; 2] {
        [(self.0 >> 8) as u8, self.0 as u8]
    }
    const fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }
    pub(crate) const fn smt(self) -> bool {
        self.bit(16)
    }
    pub(crate) const fn must_be_one(self) -> bool {
        self.bit(17)
    }
    pub(crate) const fn migration_agent(self) -> bool {
        self.bit(18)
    }
    pub(crate) const fn debug(self) -> bool {
        self.bit(19)
    }
    pub(crate) const fn single_socket(self) -> bool {
        self.bit(20)
    }
    pub(crate) const fn cxl(self) -> bool {
        self.bit(21)
    }
    pub(crate) const fn aes_256_xts(self) -> bool {
        self.bit(22)
    }
    pub(crate) const fn rapl_off(self) -> bool {
        self.bit(23)
    }
    pub(crate) const fn ciphertext_hiding(self) -> bool {
        self.bit(24)
    }
    pub(crate) const fn page_swap_off(self) -> bool {
        self.bit(25)
    }
    const fn reserved(self) -> bool {
        self.0 >> 26 != 0
    }
}

impl Report {
    /// Reads a report: rule S1.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        Rule::S1.require(bytes.len() == REPORT_BYTES, "a report has 1184 bytes")?;
        let report = Self::fields(bytes).ok_or_else(|| Rule::S1.refuse("reserved bytes of the report are set"))?;
        Rule::S1.require((2..=5).contains(&report.version), "the report's version is not between 2 and 5")?;
        Rule::S1
            .require(report.signature_algo == ECDSA_P384_SHA384, "the signature is not ECDSA P-384 with SHA-384")?;
        Rule::S1.require(
            report.policy.must_be_one() && !report.policy.reserved(),
            "reserved bits of the guest policy are wrong",
        )?;
        Rule::S1.require(report.flags >> 5 == 0, "reserved bits of the key flags are set")?;
        Ok(report)
    }

    /// The fields in order; nothing if a reserved byte is set.
    fn fields(bytes: &[u8]) -> Option<Self> {
        let mut at = Cursor::new(bytes);
        let version = at.u32_le()?;
        let (guest_svn, policy) = (at.u32_le()?, GuestPolicy(at.u64_le()?));
        let (family_id, image_id) = (at.array()?, at.array()?);
        let (vmpl, signature_algo) = (at.u32_le()?, at.u32_le()?);
        let (current_tcb, platform_info) = (at.array()?, at.u64_le()?);
        let flags = at.u32_le()?;
        zero(&mut at, 4)?;
        let (report_data, measurement, host_data) = (at.array()?, at.array()?, at.array()?);
        let (id_key_digest, author_key_digest) = (at.array()?, at.array()?);
        let (report_id, report_id_ma) = (at.array()?, at.array()?);
        let reported_tcb = at.array()?;
        let cpuid = if version >= 3 {
            Some(at.array()?)
        } else {
            zero(&mut at, 3)?;
            None
        };
        zero(&mut at, 21)?;
        let (chip_id, committed_tcb) = (at.array()?, at.array()?);
        let (current_firmware, committed_firmware) = (firmware(&mut at)?, firmware(&mut at)?);
        let launch_tcb = at.array()?;
        let mitigations = if version >= 5 {
            Some((at.u64_le()?, at.u64_le()?))
        } else {
            zero(&mut at, 16)?;
            None
        };
        zero(&mut at, 152)?;
        let signature = signature(&mut at)?;
        zero(&mut at, 368)?;
        at.is_empty().then_some(Self {
            version,
            guest_svn,
            policy,
            family_id,
            image_id,
            vmpl,
            signature_algo,
            current_tcb,
            platform_info,
            flags,
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            report_id,
            report_id_ma,
            reported_tcb,
            cpuid,
            chip_id,
            committed_tcb,
            current_firmware,
            committed_firmware,
            launch_tcb,
            mitigations,
            signature,
        })
    }

    pub(crate) const fn author_key_enabled(&self) -> bool {
        self.flags & 1 != 0
    }

    pub(crate) const fn chip_key_masked(&self) -> bool {
        self.flags & 2 != 0
    }

    /// The kind of key that the report says it is signed with: rule S2.
    pub(crate) fn signing_key(&self) -> Result<SigningKey, Refusal> {
        match self.flags >> 2 & 7 {
            0 => Ok(SigningKey::Vcek),
            1 => Ok(SigningKey::Vlek),
            _ => Err(Rule::S2.refuse("the report says that no known key signed it")),
        }
    }

    /// Product line from the CPUID fields: rule S2. Nothing in version 2.
    pub(crate) fn product(&self) -> Result<Option<Product>, Refusal> {
        let Some([family, model, _]) = self.cpuid else { return Ok(None) };
        match Product::from_cpuid(family, model) {
            Some(product) => Ok(Some(product)),
            None => Err(Rule::S2.refuse(format!("processor family {family:#x} model {model:#x} has no embedded root"))),
        }
    }

    /// `family-model-stepping`, each in two hexadecimal digits.
    pub(crate) fn cpu(&self) -> Option<String> {
        self.cpuid.map(|[family, model, stepping]| format!("{family:02x}-{model:02x}-{stepping:02x}"))
    }

    /// All four TCB versions: current, reported, committed, launch. Rule S1 for their reserved bytes.
    pub(crate) fn tcbs(&self, product: Product) -> Result<[Tcb; 4], Refusal> {
        Ok([
            Tcb::read(self.current_tcb, product)?,
            Tcb::read(self.reported_tcb, product)?,
            Tcb::read(self.committed_tcb, product)?,
            Tcb::read(self.launch_tcb, product)?,
        ])
    }
}

/// Skips bytes that must be zero.
fn zero(at: &mut Cursor<'_>, count: usize) -> Option<()> {
    all_zero(at.take(count)?).then_some(())
}

/// Build, minor and major version and a reserved byte.
fn firmware(at: &mut Cursor<'_>) -> Option<Firmware> {
    let [build, minor, major, reserved] = at.array()?;
    (reserved == 0).then_some([major, minor, build])
}

/// Two little-endian numbers of 72 bytes, of which P-384 uses 48; returned big-endian.
fn signature(at: &mut Cursor<'_>) -> Option<[u8; 96]> {
    let mut signature = [0; 96];
    for half in signature.chunks_exact_mut(48) {
        let number = at.take(72)?;
        let (used, unused) = number.split_at_checked(48)?;
        all_zero(unused).then_some(())?;
        half.iter_mut().zip(used.iter().rev()).for_each(|(to, from)| *to = *from);
    }
    Some(signature)
}
