//! The processor a virtual machine shows, as far as it is measured: CPUID leaf 1, EAX.

use std::fmt;
use std::str::FromStr;

/// Family, model and stepping as CPUID leaf 1 gives them in EAX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CpuSignature(u32);

/// A processor name that is not in the table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown CPU type; known are {} (each also with its versions, as in EPYC-v4)", names())]
pub struct UnknownCpu;

/// One name of QEMU's `builtin_x86_defs` with how many versions of it exist. Versions differ in features, never in
/// family, model and stepping.
struct Model {
    name: &'static str,
    versions: u32,
    family: u32,
    model: u32,
    stepping: u32,
}

const MODELS: &[Model] = &[
    Model { name: "EPYC", versions: 5, family: 23, model: 1, stepping: 2 },
    Model { name: "EPYC-IBPB", versions: 0, family: 23, model: 1, stepping: 2 },
    Model { name: "EPYC-Rome", versions: 5, family: 23, model: 49, stepping: 0 },
    Model { name: "EPYC-Milan", versions: 3, family: 25, model: 1, stepping: 1 },
    Model { name: "EPYC-Genoa", versions: 2, family: 25, model: 17, stepping: 0 },
    Model { name: "EPYC-Turin", versions: 1, family: 26, model: 0, stepping: 0 },
];

fn names() -> String {
    CpuSignature::names().collect::<Vec<_>>().join(", ")
}

impl CpuSignature {
    /// From the number itself.
    #[must_use]
    pub const fn from_eax(eax: u32) -> Self {
        Self(eax)
    }

    /// From family, model and stepping as data sheets and `/proc/cpuinfo` print them (AMD 25481, Fn0000_0001_EAX).
    #[must_use]
    pub const fn new(family: u32, model: u32, stepping: u32) -> Self {
        let (base, extended) = if family > 0xf { (0xf, (family - 0xf) & 0xff) } else { (family, 0) };
        Self(extended << 20 | (model >> 4 & 0xf) << 16 | base << 8 | (model & 0xf) << 4 | stepping & 0xf)
    }

    /// The number itself.
    #[must_use]
    pub const fn eax(self) -> u32 {
        self.0
    }

    /// The names without versions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        MODELS.iter().map(|model| model.name)
    }
}

impl FromStr for CpuSignature {
    type Err = UnknownCpu;

    /// Reads a name as QEMU's `-cpu` takes it: `EPYC-Milan`, `EPYC-v4`.
    fn from_str(name: &str) -> Result<Self, UnknownCpu> {
        let named = |model: &&Model| match name.strip_prefix(model.name) {
            Some("") => true,
            Some(rest) => (1..=model.versions).any(|version| rest.strip_prefix("-v") == Some(&version.to_string())),
            None => false,
        };
        let model = MODELS.iter().find(named).ok_or(UnknownCpu)?;
        Ok(Self::new(model.family, model.model, model.stepping))
    }
}

impl fmt::Display for CpuSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_the_signatures_that_hardware_shows() {
        let signature = |name: &str| name.parse::<CpuSignature>().map(CpuSignature::eax);
        assert_eq!(signature("EPYC-v4"), Ok(0x80_0f12));
        assert_eq!(signature("EPYC-Rome"), Ok(0x83_0f10));
        assert_eq!(signature("EPYC-Milan-v2"), Ok(0xa0_0f11));
        assert_eq!(signature("EPYC-Genoa-v1"), Ok(0xa1_0f10));
        assert_eq!(signature("EPYC-Turin"), Ok(0xb0_0f00));
    }

    #[test]
    fn other_names_and_versions_are_refused() {
        for name in ["", "EPYC-v0", "EPYC-v6", "EPYC-v", "EPYC-v04", "EPYC-Milan-v", "epyc", "EPYC-IBPB-v1", "host"] {
            assert_eq!(name.parse::<CpuSignature>(), Err(UnknownCpu), "{name}");
        }
    }

    #[test]
    fn families_below_sixteen_have_no_extension() {
        assert_eq!(CpuSignature::new(6, 0x55, 4).eax(), 0x5_0654);
    }
}
