//! Which compilation of ggml's CPU backend computes: chosen once, by what the processor has.
// UNSAFETY: ggml's registry and the functions it hands out are C.
#![expect(unsafe_code)]

use std::ffi::{CStr, c_void};
use std::fmt;

use llama_cpp_sys_2 as sys;

/// A compilation of ggml's CPU backend.
///
/// The processor's word decides, which in a virtual machine can be the host's word: a host that lies about instructions gets a
/// machine that stops at an illegal one, and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// x86-64-v2 (SSE 4.2): what the program itself is compiled for. Made for QEMU's emulator, which is told to show no AVX: its
    /// 256-bit and fused operations call a function for each lane, and leave the host's vector registers in a state in
    /// which many processors pay a hundred cycles at each call.
    Baseline,
    /// x86-64-v3 (AVX2, FMA): EPYC Milan.
    Avx2,
    /// AVX-512 with VNNI, VBMI and BF16: EPYC Genoa and later, every Xeon with TDX. AMX itself is not used (kernels/tiles.h).
    Avx512,
}

unsafe extern "C" {
    fn lethe_ggml_cpu_avx2() -> sys::ggml_backend_reg_t;
    fn lethe_ggml_cpu_avx512() -> sys::ggml_backend_reg_t;
}

impl Kernels {
    /// All, slowest first.
    pub const ALL: [Self; 3] = [Self::Baseline, Self::Avx2, Self::Avx512];

    /// The best for this processor.
    #[must_use]
    pub fn best() -> Self {
        Self::ALL.into_iter().rev().find(|kernels| kernels.runs_here()).unwrap_or(Self::Baseline)
    }

    /// True when this processor has the instructions.
    #[must_use]
    pub fn runs_here(self) -> bool {
        match self {
            Self::Baseline => true,
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("bmi1")
                    && is_x86_feature_detected!("bmi2")
                    && is_x86_feature_detected!("f16c")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("lzcnt")
                    && is_x86_feature_detected!("movbe")
            }
            Self::Avx512 => {
                Self::Avx2.runs_here()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512cd")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
                    && is_x86_feature_detected!("avx512vbmi")
                    && is_x86_feature_detected!("avx512bf16")
            }
        }
    }

    /// True when some layouts of weights suit it better than the file's ([`crate::LoadOptions::repack`]).
    #[must_use]
    pub const fn repacks(self) -> bool {
        !matches!(self, Self::Baseline)
    }

    /// The one name, for logs and options.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Puts this compilation into ggml's registry in the place of the one that is there. Before any model is loaded.
    pub(crate) fn register(self) {
        let chosen = match self {
            Self::Baseline => return,
            // SAFETY: answers the address of a static structure after filling ggml's tables; the caller checked `runs_here`.
            Self::Avx2 => unsafe { lethe_ggml_cpu_avx2() },
            // SAFETY: as above.
            Self::Avx512 => unsafe { lethe_ggml_cpu_avx512() },
        };
        // SAFETY: no model, context or buffer exists yet that could hold on to the backend which leaves; both are static.
        unsafe {
            sys::ggml_backend_unload(sys::ggml_backend_cpu_reg());
            sys::ggml_backend_register(chosen);
        }
    }
}

impl fmt::Display for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Address of a function of the registered CPU backend, by the name ggml knows it under (`ggml_backend_cpu_get_proc_address`).
pub(crate) fn function(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: reads the registry; the name is NUL-terminated. The CPU backend is registered for the life of the process.
    let address = unsafe {
        let device = sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU);
        if device.is_null() {
            return None;
        }
        sys::ggml_backend_reg_get_proc_address(sys::ggml_backend_dev_backend_reg(device), name.as_ptr())
    };
    (!address.is_null()).then_some(address)
}
