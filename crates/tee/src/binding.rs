//! What ties a deployment document to a machine.

/// Where the document lay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// In the image: the image measurement covers it.
    Image,
    /// Given from outside after the image was measured.
    Host,
}

/// What ties the document to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// SEV-SNP's HOST_DATA is the document's SHA-256.
    HostData,
    /// TDX's MRCONFIGID is the document's SHA-384.
    MrConfigId,
    /// PCR 12 was extended with the document's digest, in every bank with SHA-2.
    Pcr12,
    /// The image measurement covers it, and no register does.
    Image,
    /// Nothing.
    None,
}

impl Binding {
    /// Name in evidence: `host-data`, `mrconfigid`, `pcr12`, `image`, `none`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HostData => "host-data",
            Self::MrConfigId => "mrconfigid",
            Self::Pcr12 => "pcr12",
            Self::Image => "image",
            Self::None => "none",
        }
    }
}

/// Judges a register of fixed size that a launcher sets: `bound` if it holds the digest, [`Binding::Image`] if it is zero
/// and the image covers the document, nothing otherwise.
pub(crate) fn judge(register: &[u8], digest: &[u8], origin: Origin, bound: Binding) -> Option<Binding> {
    if register == digest {
        return Some(bound);
    }
    let zero = register.iter().all(|byte| *byte == 0);
    (zero && origin == Origin::Image).then_some(Binding::Image)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_register_with_the_digest_binds_wherever_the_document_lay() {
        for origin in [Origin::Image, Origin::Host] {
            assert_eq!(judge(&[7; 32], &[7; 32], origin, Binding::HostData), Some(Binding::HostData));
        }
    }

    #[test]
    fn a_register_with_another_digest_never_binds() {
        for origin in [Origin::Image, Origin::Host] {
            assert_eq!(judge(&[8; 32], &[7; 32], origin, Binding::HostData), None);
            assert_eq!(judge(&[7; 48], &[7; 32], origin, Binding::HostData), None, "another length is another digest");
        }
    }

    #[test]
    fn a_zero_register_is_a_mismatch_unless_the_image_covers_the_document() {
        assert_eq!(judge(&[0; 48], &[7; 48], Origin::Host, Binding::MrConfigId), None);
        assert_eq!(judge(&[0; 48], &[7; 48], Origin::Image, Binding::MrConfigId), Some(Binding::Image));
    }
}
