//! Any machine: no evidence, and it says so.

use crate::{Binding, Evidence, Origin, Platform, ReportData, Tee, TeeError};

/// A machine that nothing vouches for.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTee;

impl Tee for NoTee {
    fn platform(&self) -> Platform {
        Platform::None
    }

    fn bind(&self, _: &[u8], _: Origin) -> Result<Binding, TeeError> {
        Ok(Binding::None)
    }

    fn evidence(&self, _: &ReportData) -> Result<Evidence, TeeError> {
        Ok(Evidence::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_binds_and_nothing_vouches() {
        assert_eq!(NoTee.bind(b"document", Origin::Image).expect("it never fails"), Binding::None);
        assert_eq!(NoTee.evidence(&[1; 64]).expect("it never fails"), Evidence::None);
        assert!(NoTee.derived_secret().is_none());
    }
}
