//! The numbered rules. Every refusal names the one that was broken.

use std::fmt;

use crate::Refusal;

macro_rules! rules {
    ($($name:ident $text:literal),+ $(,)?) => {
        /// A rule that evidence must keep. The name is stable; scripts and tests depend on it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = $text] $name,)+
        }

        impl Rule {
            /// Every rule, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable short name, for example `S5`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }

            /// What the rule asks, in one line.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

rules! {
    S1 "SEV-SNP report: exact size, known version, reserved bytes zero, ECDSA P-384 with SHA-384",
    S2 "the processor selects the vendor root; the signing key is of the kind the policy allows and the certificate shows",
    S3 "certificate chain to the embedded AMD root: signatures, dates, constraints, product name, revocation list",
    S4 "the endorsement certificate is of this chip and of exactly the reported TCB",
    S5 "the signature covers the raw bytes of the report",
    S6 "report_data is the expected binding",
    S7 "the measurement and the identity block are in the expected set",
    S8 "guest policy: no debug, no migration agent, what the policy asks of the rest",
    S9 "the report was asked for at an allowed privilege level",
    S10 "host_data is the expected binding; zero never means any",
    S11 "TCB floors, component by component, for the reported, the committed and the launch TCB",
    S12 "platform information: alias check, ECC, what the policy asks of the rest",
    S13 "the product line is not deny-listed",
    S14 "the chip is on the policy's allow-list, where it has one",
    S15 "freshness: a fresh binding was demanded and none was given",
    T1 "TDX quote: version 4 or 5, TEE type TDX, ECDSA P-256, Intel's quoting enclave, exact lengths",
    T2 "PCK certificate chain to the embedded Intel root, with both revocation lists",
    T3 "TCB info and QE identity: signatures, chains, dates, evaluation number",
    T4 "the quoting enclave's report: its identity, its signature, its binding of the attestation key",
    T5 "TCB level of platform, TDX module and quoting enclave",
    T6 "TD attributes: no debug, no profiling, reserved bits zero, not migratable, no service TD",
    T7 "XFAM is one the policy allows",
    T8 "the TDX module is Intel's",
    T9 "MRTD and the runtime registers are in the expected set",
    T10 "MRCONFIGID is the expected binding; MROWNER and MROWNERCONFIG are zero",
    T11 "report_data is the expected binding",
    T12 "platform flags of the PCK certificate are as the policy asks",
    T13 "the platform is on the policy's allow-list, where it has one",
    T14 "RTMR3 is zero: the image extends nothing there",
    T15 "RTMR0: events of known kinds alone, each proven where it can be; its value is on the policy's list, where it has one",
    P1 "TPM quote: magic, type, exact lengths, known algorithms",
    P2 "the attestation key is trusted: pinned, or certified by a chain the user gave",
    P3 "the signature covers the raw bytes of the quote",
    P4 "the nonce is the expected one, and not empty",
    P5 "the quote covers the demanded registers of an allowed bank, and their values hash to its digest",
    P6 "the event log is well formed and replays to the quoted registers",
    P7 "exactly one boot application was started, and it is the image; no driver beside firmware's own unless the policy allows it",
    P8 "no initial ramdisk was loaded beside the image",
    P9 "PCR 11 is untouched",
    P10 "PCR 12 holds exactly the digest of the deployment document",
    A1 "Azure HCL report: known version, exact lengths, known report type",
    A2 "the hardware report binds the runtime data",
    A3 "the attestation key comes from the bound runtime data",
    A4 "the hardware report and its announced type agree",
    A5 "the paravisor is one that the relying party names: by expectation, or on the policy's list",
    G1 "SPDM request and response: form, exact lengths, the expected nonce",
    G2 "device certificate chain to the embedded NVIDIA root; the leaf's firmware id is the measured one",
    G3 "the signature covers request and response",
    G4 "measurements match the reference values: the expected ones, and those of the reference manifests (RIM)",
    G5 "reference manifest: a strict profile of XML, one enveloped signature, one tag with well-formed measurements",
    G6 "reference manifest: certificate chain to the embedded NVIDIA root for manifests; the signer may sign",
    G7 "reference manifest: the signature covers all that is read of it",
    G8 "reference manifests are for the device's chip, VBIOS and driver, one each, and about different measurements",
    N1 "a platform without hardware evidence is accepted by the development policy alone",
}

impl Rule {
    /// A refusal under this rule.
    pub(crate) fn refuse(self, reason: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
        Refusal::new(self, reason)
    }

    /// Refuses unless `holds`.
    pub(crate) fn require(self, holds: bool, reason: &'static str) -> Result<(), Refusal> {
        if holds { Ok(()) } else { Err(self.refuse(reason)) }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
