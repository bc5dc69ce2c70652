//! What to ask AMD's key distribution service for, so that a report can be verified. A hint from bytes that nobody has
//! verified: whatever it leads to is checked like everything else.
//!
//! Source: AMD publication 57230, "Versioned Chip Endorsement Key (VCEK) Certificate and KDS Interface Specification".

use super::{Product, SigningKey, report::Report};
use crate::{Refusal, Rule};

/// Places at the key distribution service, below its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The endorsement certificate; none for a VLEK, which its cloud hands out.
    pub endorsement: Option<String>,
    /// The revocation list.
    pub crl: String,
}

impl Product {
    /// Name as AMD's service writes it.
    const fn service_name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// Where the revocation list of a product line is.
    #[must_use]
    pub fn crl_place(self, key: SigningKey) -> String {
        format!("/{}/v1/{}/crl", key.name().to_ascii_lowercase(), self.service_name())
    }
}

/// What a report needs to be verified. Not a claim: nobody has verified the bytes that say so.
///
/// # Errors
///
/// A [`Refusal`] for bytes that are no report, or one that does not say which processor made it (version 2).
pub fn wanted(report: &[u8]) -> Result<Wanted, Refusal> {
    let report = Report::read(report)?;
    let key = report.signing_key()?;
    let product = report
        .product()?
        .ok_or_else(|| Rule::S2.refuse("a report of version 2 does not say which processor made it"))?;
    let [_, tcb, ..] = report.tcbs(product)?;
    let crl = product.crl_place(key);
    if key == SigningKey::Vlek {
        return Ok(Wanted { endorsement: None, crl });
    }
    // Turin's id has 8 bytes, and its TCB one part more.
    let turin = product == Product::Turin;
    let id = report.chip_id.get(..if turin { 8 } else { 64 }).unwrap_or_default();
    let fmc = if turin { format!("fmcSPL={:02}&", tcb.fmc) } else { String::new() };
    let place = format!(
        "/vcek/v1/{}/{}?{fmc}blSPL={:02}&teeSPL={:02}&snpSPL={:02}&ucodeSPL={:02}",
        product.service_name(),
        hex::encode(id),
        tcb.bootloader,
        tcb.tee,
        tcb.snp,
        tcb.microcode
    );
    Ok(Wanted { endorsement: Some(place), crl })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revocation_lists_are_per_product_line_and_kind_of_key() {
        assert_eq!(Product::Turin.crl_place(SigningKey::Vcek), "/vcek/v1/Turin/crl");
        assert_eq!(Product::Milan.crl_place(SigningKey::Vlek), "/vlek/v1/Milan/crl");
    }

    #[test]
    fn what_is_no_report_asks_for_nothing() {
        for length in [0, 1183, 1184, 1185] {
            assert!(wanted(&vec![0; length]).is_err());
        }
    }
}
