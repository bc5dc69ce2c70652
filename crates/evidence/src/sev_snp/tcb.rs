//! TCB versions: security version numbers, compared component by component.

use super::Product;
use crate::{Refusal, Rule, policy::Floor};

/// Security version numbers of one TCB. Never ordered as a whole: a TCB is at a floor when each component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tcb {
    raw: [u8; 8],
    /// Firmware of the microcontroller; 0 before Turin, which has none.
    pub fmc: u8,
    /// Boot loader of the secure processor.
    pub bootloader: u8,
    /// Operating system of the secure processor.
    pub tee: u8,
    /// SNP firmware.
    pub snp: u8,
    /// Lowest microcode patch level of all cores.
    pub microcode: u8,
}

impl Tcb {
    /// Reads a `TCB_VERSION`. Its layout depends on the product line; reserved bytes are zero.
    pub(crate) fn read(raw: [u8; 8], product: Product) -> Result<Self, Refusal> {
        let (tcb, reserved) = match (product, raw) {
            (Product::Turin, [fmc, bootloader, tee, snp, r4, r5, r6, microcode]) => {
                (Self { raw, fmc, bootloader, tee, snp, microcode }, [0, r4, r5, r6])
            }
            (Product::Milan | Product::Genoa, [bootloader, tee, r2, r3, r4, r5, snp, microcode]) => {
                (Self { raw, fmc: 0, bootloader, tee, snp, microcode }, [r2, r3, r4, r5])
            }
        };
        Rule::S1.require(reserved == [0; 4], "reserved bytes of a TCB version are set")?;
        Ok(tcb)
    }

    /// The eight bytes as in the report.
    #[must_use]
    pub const fn bytes(&self) -> &[u8; 8] {
        &self.raw
    }

    /// The first component that is below the floor, with both values.
    pub(crate) fn shortfall(&self, floor: &Floor) -> Option<(&'static str, u8, u8)> {
        [
            ("FMC", self.fmc, floor.fmc),
            ("boot loader", self.bootloader, floor.bootloader),
            ("TEE", self.tee, floor.tee),
            ("SNP", self.snp, floor.snp),
            ("microcode", self.microcode, floor.microcode),
        ]
        .into_iter()
        .find(|(_, has, needs)| has < needs)
    }
}

#[cfg(test)]
mod tests {
    use super::Tcb;
    use crate::{policy::Floor, sev_snp::Product};

    fn floor(snp: u8, microcode: u8) -> Floor {
        Floor { cpu: String::new(), fmc: 0, bootloader: 4, tee: 0, snp, microcode }
    }

    #[test]
    fn a_high_component_does_not_make_up_for_a_low_one() {
        let tcb = Tcb::read([4, 0, 0, 0, 0, 0, 0x18, 0xdb], Product::Milan).expect("a TCB");
        assert_eq!(tcb.shortfall(&floor(0x18, 0xdb)), None);
        // As one integer the microcode, in the highest byte, would hide the old SNP firmware.
        assert_eq!(tcb.shortfall(&floor(0x19, 0x01)), Some(("SNP", 0x18, 0x19)));
    }

    #[test]
    fn the_layout_follows_the_product_and_reserved_bytes_are_zero() {
        let turin = Tcb::read([1, 2, 3, 4, 0, 0, 0, 5], Product::Turin).expect("a TCB");
        assert_eq!((turin.fmc, turin.bootloader, turin.tee, turin.snp, turin.microcode), (1, 2, 3, 4, 5));
        assert!(Tcb::read([1, 2, 3, 4, 0, 0, 0, 5], Product::Genoa).is_err());
        assert!(Tcb::read([1, 2, 3, 4, 0, 1, 0, 5], Product::Turin).is_err());
    }
}
