//! The embedded vendor roots and intermediates; `roots/README.md` says where they are published.

use crate::sev_snp::Product;

/// Certificates of one AMD product line, DER.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AmdRoots {
    /// Root key.
    pub(crate) ark: &'static [u8],
    /// Signs VCEKs.
    pub(crate) ask: &'static [u8],
    /// Signs VLEKs.
    pub(crate) asvk: &'static [u8],
}

/// Roots of a product line.
pub(crate) const fn amd(product: Product) -> AmdRoots {
    match product {
        Product::Milan => AmdRoots {
            ark: include_bytes!("../roots/amd-milan-ark.der"),
            ask: include_bytes!("../roots/amd-milan-ask.der"),
            asvk: include_bytes!("../roots/amd-milan-asvk.der"),
        },
        Product::Genoa => AmdRoots {
            ark: include_bytes!("../roots/amd-genoa-ark.der"),
            ask: include_bytes!("../roots/amd-genoa-ask.der"),
            asvk: include_bytes!("../roots/amd-genoa-asvk.der"),
        },
        Product::Turin => AmdRoots {
            ark: include_bytes!("../roots/amd-turin-ark.der"),
            ask: include_bytes!("../roots/amd-turin-ask.der"),
            asvk: include_bytes!("../roots/amd-turin-asvk.der"),
        },
    }
}

/// `CN=Intel SGX Root CA`.
pub(crate) const INTEL_SGX: &[u8] = include_bytes!("../roots/intel-sgx-root.der");

/// `CN=NVIDIA Device Identity CA`.
#[cfg(feature = "nvidia")]
pub(crate) const NVIDIA_DEVICE: &[u8] = include_bytes!("../roots/nvidia-device-root.der");

/// `CN=NVIDIA CoRIM signing Root CA`: manifests of GPUs and of switches.
#[cfg(feature = "nvidia")]
pub(crate) const NVIDIA_RIM: &[u8] = include_bytes!("../roots/nvidia-rim-root.der");
