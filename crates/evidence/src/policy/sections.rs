//! The lines of a policy, by platform.

use serde::Deserialize;

use super::{Allowed, Demand, Line};
use crate::sev_snp::{Product, SigningKey};

/// What a relying party asks of evidence.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Short name, shown with every verdict.
    pub name: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// Which platforms count at all.
    pub platform: PlatformPolicy,
    /// Lines about AMD SEV-SNP.
    pub sev_snp: SevSnpPolicy,
    /// Lines about Intel TDX.
    pub tdx: TdxPolicy,
    /// Lines about TPM 2.0 quotes.
    pub tpm2: Tpm2Policy,
    /// Lines about Azure's wrapped evidence.
    pub azure: AzurePolicy,
}

/// Which platforms count at all.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlatformPolicy {
    /// Whether a platform without any hardware evidence is accepted (rule N1).
    pub none_allowed: Line<bool>,
}

/// Lines about AMD SEV-SNP.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SevSnpPolicy {
    /// Lowest report version (S1); 2 to 5 are known.
    pub report_version_min: Line<u32>,
    /// Kinds of signing key (S2).
    pub signing_keys: Line<Vec<SigningKey>>,
    /// Cloud providers whose loaded key (VLEK) is taken, by the text of its certificate's CSP id (S4).
    pub vlek_csp_ids: Line<Vec<String>>,
    /// Whether the chip-unique key may be masked (S2).
    pub masked_chip_key_allowed: Line<bool>,
    /// Whether AMD's revocation list must be given (S3).
    pub crl: Line<Demand>,
    /// Most days since AMD signed the revocation list (S3); its own date of renewal counts beside it.
    pub crl_days_max: Line<u32>,
    /// Whether the identity block may be signed by an author key that was not pinned with an expectation (S7).
    pub unpinned_author_key_allowed: Line<bool>,
    /// Lowest guest SVN (S7).
    pub guest_svn_min: Line<u32>,
    /// Whether the guest may be debugged by its host (S8).
    pub debug_allowed: Line<bool>,
    /// Whether a migration agent may be attached (S8).
    pub migration_agent_allowed: Line<bool>,
    /// Whether CXL devices may be populated (S8).
    pub cxl_allowed: Line<bool>,
    /// Whether simultaneous multithreading may be on: guest policy (S8) and platform (S12).
    pub smt_allowed: Line<bool>,
    /// Lowest ABI version, major and minor, in the guest policy (S8).
    pub abi_min: Line<[u8; 2]>,
    /// Product lines whose guest policy must confine the guest to one socket (S8).
    pub single_socket_on: Line<Vec<Product>>,
    /// Product lines that must hide ciphertext: guest policy (S8) and platform (S12).
    pub ciphertext_hiding_on: Line<Vec<Product>>,
    /// Product lines whose guest policy must demand AES-256-XTS (S8).
    pub aes_256_xts_on: Line<Vec<Product>>,
    /// Product lines that must have running-average power limits off: guest policy (S8) and platform (S12).
    pub rapl_off_on: Line<Vec<Product>>,
    /// Product lines whose guest policy must disable page swapping by the host (S8).
    pub page_swap_off_on: Line<Vec<Product>>,
    /// Highest virtual machine privilege level number (S9); 0 is the most privileged.
    pub vmpl_max: Line<u32>,
    /// TCB floors, by processor (S11).
    pub floors: Line<Vec<Floor>>,
    /// Whether a processor without a floor in the list is refused (S11).
    pub floor_required: Line<bool>,
    /// Bits that must be set in the launch mitigation vector (S11). Unless it is 0, reports before version 5 are refused: they
    /// have no such vector.
    pub mitigations: Line<u64>,
    /// Whether the platform must have completed its memory alias check (S12).
    pub alias_check_required: Line<bool>,
    /// Whether the platform must use ECC memory (S12).
    pub ecc_required: Line<bool>,
    /// Product lines that count (S13).
    pub products: Line<Vec<Product>>,
    /// Chip ids that count (S14).
    pub chips: Line<Allowed>,
    /// Whether the caller must say which report data it expects (S15).
    pub fresh_binding_required: Line<bool>,
}

/// Lowest security versions for one processor.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Floor {
    /// CPUID family, model and stepping as in the claims, for example `19-11-01`.
    pub cpu: String,
    /// Turin only: firmware of the microcontroller.
    #[serde(default)]
    pub fmc: u8,
    /// Boot loader of the secure processor.
    pub bootloader: u8,
    /// Operating system of the secure processor.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Lowest microcode patch level.
    pub microcode: u8,
}

/// Status of a TCB level, Intel's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
pub enum TcbStatus {
    /// Nothing is known against this level.
    UpToDate,
    /// Software has to mitigate something.
    SWHardeningNeeded,
    /// The platform's configuration needs a look.
    ConfigurationNeeded,
    /// Both of the former.
    ConfigurationAndSWHardeningNeeded,
    /// Security fixes are missing.
    OutOfDate,
    /// Security fixes are missing, and the configuration needs a look.
    OutOfDateConfigurationNeeded,
    /// Keys of this level are known to be exposed.
    Revoked,
}

/// Lines about Intel TDX.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TdxPolicy {
    /// Whether bytes other than zero may follow the signed quote (T1).
    pub nonzero_tail_allowed: Line<bool>,
    /// Whether Intel's collateral (TCB info, QE identity, revocation lists) must be given (T3).
    pub collateral: Line<Demand>,
    /// Lowest TCB evaluation data number of the collateral (T3).
    pub evaluation_number_min: Line<u32>,
    /// TCB statuses that are accepted (T5).
    pub tcb_statuses: Line<Vec<TcbStatus>>,
    /// Advisories that software in the guest mitigates: `SWHardeningNeeded` for these alone is accepted (T5).
    pub hardened_advisories: Line<Vec<String>>,
    /// Whether the guest may be debugged by its host (T6).
    pub debug_allowed: Line<bool>,
    /// Whether the guest may be migrated (T6).
    pub migratable_allowed: Line<bool>,
    /// Whether a service TD may be bound (T6).
    pub service_td_allowed: Line<bool>,
    /// Whether virtualisation exceptions for stolen pages must be off (T6).
    pub sept_ve_disable_required: Line<bool>,
    /// Whether supervisor protection keys may be used (T6).
    pub pks_allowed: Line<bool>,
    /// Whether the key locker may be used (T6).
    pub key_locker_allowed: Line<bool>,
    /// Whether performance monitoring may be used (T6).
    pub perfmon_allowed: Line<bool>,
    /// Extended feature masks that count, 8 bytes little-endian (T7).
    pub xfams: Line<Allowed>,
    /// TDX modules that count, by MRSEAM (T8).
    pub modules: Line<Allowed>,
    /// Whether the platform may be of several packages, so that its keys can change (T12).
    pub dynamic_platform_allowed: Line<bool>,
    /// Whether Intel may hold the platform's root keys (T12).
    pub cached_keys_allowed: Line<bool>,
    /// Whether simultaneous multithreading may be on (T12).
    pub smt_allowed: Line<bool>,
    /// Platforms that count, by platform instance id or PPID (T13).
    pub platforms: Line<Allowed>,
    /// Values of RTMR0 that count (T15): the machine as its host describes it, ACPI code included. An expectation of `rtmr0`
    /// stands in for the list.
    pub machines: Line<Allowed>,
    /// Whether the caller must say which report data it expects (T11).
    pub fresh_binding_required: Line<bool>,
}

/// Lines about TPM 2.0 quotes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tpm2Policy {
    /// Banks whose quotes count (P5): `sha1`, `sha256`, `sha384`.
    pub banks: Line<Vec<String>>,
    /// Registers that a quote must cover (P5).
    pub registers: Line<Vec<u8>>,
    /// Whether the caller must say which nonce it expects (P4).
    pub nonce_required: Line<bool>,
    /// Whether an event log must be given (P6).
    pub event_log: Line<Demand>,
    /// Whether drivers may have been started beside the image (P7): option ROMs, and what is registered to be loaded from a
    /// disk. The claims list the digests of those that were.
    pub drivers_allowed: Line<bool>,
}

/// Lines about Azure's wrapped evidence; the hardware's and the TPM's own lines count beside them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AzurePolicy {
    /// Whether a quote of the virtual TPM must be given: without one only the paravisor is proven.
    pub vtpm_quote: Line<Demand>,
    /// Paravisors that count (A5): launch measurements or digests of ID keys of SEV-SNP, MRTDs of TDX. An expectation of
    /// `measurement`, `id_key_digest` or `mrtd` stands in for the list.
    pub paravisors: Line<Allowed>,
}
