//! The two calls of device nodes that no file operation makes.

// UNSAFETY: ioctl hands pointers to the kernel.
#![expect(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use zeroize::Zeroizing;

/// `SNP_GET_DERIVED_KEY` of include/uapi/linux/sev-guest.h: `_IOWR('S', 0x1, struct snp_guest_request_ioctl)`, 32 bytes.
const SNP_GET_DERIVED_KEY: libc::c_ulong = read_write(b'S', 1, size_of::<GuestRequest>());
/// `TDX_CMD_GET_REPORT0` of include/uapi/linux/tdx-guest.h: `_IOWR('T', 1, struct tdx_report_req)`, 1088 bytes.
const TDX_CMD_GET_REPORT0: libc::c_ulong = read_write(b'T', 1, size_of::<TdxReportRequest>());

/// `_IOWR` of include/uapi/asm-generic/ioctl.h.
const fn read_write(kind: u8, number: u8, size: usize) -> libc::c_ulong {
    (3 << 30) | ((size as libc::c_ulong) << 16) | ((kind as libc::c_ulong) << 8) | number as libc::c_ulong
}

/// `struct snp_derived_key_req`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct DerivedKeyRequest {
    pub(crate) root_key_select: u32,
    pub(crate) reserved: u32,
    pub(crate) guest_field_select: u64,
    pub(crate) vmpl: u32,
    pub(crate) guest_svn: u32,
    pub(crate) tcb_version: u64,
}

/// `struct snp_guest_request_ioctl`.
#[repr(C)]
struct GuestRequest {
    message_version: u8,
    request: u64,
    response: u64,
    exit_info_2: u64,
}

/// `struct tdx_report_req`.
#[repr(C)]
struct TdxReportRequest {
    report_data: [u8; 64],
    report: [u8; 1024],
}

/// Asks the secure processor for a derived key: the 64 bytes of its answer (`MSG_KEY_RSP`). `message_version` is passed
/// on as it is: the driver copies a request of 32 bytes, so only version 1 has all its fields.
///
/// # Errors
/// The kernel's. A failure that firmware reports wipes the guest's channel to it until the next boot.
pub(crate) fn snp_derived_key(
    device: &File,
    message_version: u8,
    request: &DerivedKeyRequest,
) -> io::Result<Zeroizing<[u8; 64]>> {
    let mut response = Zeroizing::new([0_u8; 64]);
    let mut call = GuestRequest {
        message_version,
        request: std::ptr::from_ref(request) as u64,
        response: response.as_mut_ptr() as u64,
        exit_info_2: 0,
    };
    // SAFETY: the kernel reads 32 bytes from `request` and writes 64 to `response`, which are that long and outlive the
    // call; it writes the last field of `call`, which is exclusively borrowed.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), SNP_GET_DERIVED_KEY, &raw mut call) };
    if answer != 0 { Err(io::Error::last_os_error()) } else { Ok(response) }
}

/// A TDREPORT over 64 bytes: local, authenticated for this processor only.
///
/// # Errors
/// The kernel's.
pub(crate) fn tdx_report(device: &File, report_data: &[u8; 64]) -> io::Result<[u8; 1024]> {
    let mut call = TdxReportRequest { report_data: *report_data, report: [0; 1024] };
    // SAFETY: the kernel reads the first 64 bytes of `call` and writes the other 1024; it is exclusively borrowed.
    let answer = unsafe { libc::ioctl(device.as_raw_fd(), TDX_CMD_GET_REPORT0, &raw mut call) };
    if answer != 0 { Err(io::Error::last_os_error()) } else { Ok(call.report) }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The numbers that a C program with the kernel's headers prints.
    #[test]
    fn request_numbers_and_sizes_are_the_kernels() {
        assert_eq!(size_of::<DerivedKeyRequest>(), 32);
        assert_eq!(size_of::<GuestRequest>(), 32);
        assert_eq!(SNP_GET_DERIVED_KEY, 0xC020_5301);
        assert_eq!(TDX_CMD_GET_REPORT0, 0xC440_5401);
    }

    #[test]
    fn a_file_that_is_no_such_device_is_an_error() {
        let file = File::open("/dev/null").expect("/dev/null");
        assert!(snp_derived_key(&file, 1, &DerivedKeyRequest::default()).is_err());
        assert!(tdx_report(&file, &[0; 64]).is_err());
    }
}
