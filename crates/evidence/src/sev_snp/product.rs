//! Product lines and kinds of signing key.

use serde::Deserialize;

/// A product line: one AMD root key each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Product {
    /// EPYC 7003.
    Milan,
    /// EPYC 9004, 97x4 (Bergamo) and 8004 (Siena).
    Genoa,
    /// EPYC 9005.
    Turin,
}

impl Product {
    /// From CPUID family and model as the report has them (family 19h and 1Ah, extended parts added).
    #[must_use]
    pub const fn from_cpuid(family: u8, model: u8) -> Option<Self> {
        match (family, model) {
            (0x19, 0x00..=0x0f) => Some(Self::Milan),
            (0x19, 0x10..=0x1f | 0xa0..=0xaf) => Some(Self::Genoa),
            (0x1a, 0x00..=0x11) => Some(Self::Turin),
            _ => None,
        }
    }

    /// From the product name in an endorsement certificate, such as `Milan-B0` or `Genoa`.
    pub(crate) fn from_certificate_name(name: &str) -> Option<Self> {
        match name.split('-').next() {
            Some("Milan") => Some(Self::Milan),
            Some("Genoa") => Some(Self::Genoa),
            Some("Turin") => Some(Self::Turin),
            _ => None,
        }
    }

    /// Lower-case name, as in claims and policies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Milan => "milan",
            Self::Genoa => "genoa",
            Self::Turin => "turin",
        }
    }
}

/// The kind of key that signed a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SigningKey {
    /// Derived from secrets of one chip and its TCB.
    Vcek,
    /// Loaded by a cloud provider; says nothing about the chip.
    Vlek,
}

impl SigningKey {
    /// Name as in the claims.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vcek => "VCEK",
            Self::Vlek => "VLEK",
        }
    }
}
