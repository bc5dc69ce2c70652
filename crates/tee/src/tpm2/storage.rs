//! What a platform's maker left in the TPM's non-volatile memory: on Google Cloud, a key template and its certificate.

use tpm2_protocol::basic::TpmHandle;
use tpm2_protocol::data::{TpmRh, TpmaNv};
use tpm2_protocol::frame::{TpmNvReadCommand, TpmNvReadPublicCommand, TpmNvReadPublicResponse, TpmNvReadResponse};

use super::command::{Authorization, run};
use super::device::Transport;
use super::error::TpmError;

/// Longest index that is read, in bytes: a certificate and its padding.
const INDEX_MAX_BYTES: u16 = 8192;
/// How much is asked for at a time; every TPM gives as much.
const CHUNK_BYTES: u16 = 512;

/// The bytes of an index; nothing where there is none that the owner, or everybody, may read.
pub(super) fn read(transport: &mut dyn Transport, index: u32) -> Result<Option<Vec<u8>>, TpmError> {
    let command = TpmNvReadPublicCommand { handles: [TpmHandle::new(index)] };
    let public = match run::<TpmNvReadPublicResponse>(transport, "NV_ReadPublic", &command, Authorization::None) {
        Ok(response) => response.nv_public.inner,
        Err(TpmError::Refused { .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let reader = if public.attributes.contains(TpmaNv::AUTHREAD) {
        TpmHandle::new(index)
    } else if public.attributes.contains(TpmaNv::OWNERREAD) {
        TpmHandle::new(TpmRh::Owner.value())
    } else {
        return Ok(None);
    };
    let length = public.data_size.value();
    if length > INDEX_MAX_BYTES {
        return Err(TpmError::malformed("NV_ReadPublic", "an index larger than any certificate"));
    }
    let mut bytes = Vec::new();
    while let Some(rest @ 1..) = usize::from(length).checked_sub(bytes.len()) {
        let offset = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
        let size = u16::try_from(rest).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let handles = [reader, TpmHandle::new(index)];
        let command = TpmNvReadCommand { handles, size: size.into(), offset: offset.into() };
        let response: TpmNvReadResponse = run(transport, "NV_Read", &command, Authorization::Empty)?;
        if response.data.len() != usize::from(size) {
            return Err(TpmError::malformed("NV_Read", "another length than was asked for"));
        }
        bytes.extend_from_slice(&response.data);
    }
    Ok(Some(bytes))
}

/// The first DER element of an index, which may be padded.
pub(super) fn first_element(bytes: &[u8]) -> Option<&[u8]> {
    let (head, length) = match *bytes {
        [0x30, length @ 0..=0x7f, ..] => (2, usize::from(length)),
        [0x30, 0x81, length, ..] => (3, usize::from(length)),
        [0x30, 0x82, high, low, ..] => (4, usize::from(u16::from_be_bytes([high, low]))),
        _ => return None,
    };
    bytes.get(..head + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_behind_a_certificate_is_left_out() {
        assert_eq!(first_element(&[0x30, 2, 1, 2, 0, 0]), Some([0x30, 2, 1, 2].as_slice()));
        let long = [[0x30, 0x82, 1, 0].as_slice(), &[7; 300]].concat();
        assert_eq!(first_element(&long).map(<[u8]>::len), Some(260));
        assert_eq!(first_element(&[0x30, 0x81, 1, 9, 9]), Some([0x30, 0x81, 1, 9].as_slice()));
    }

    #[test]
    fn what_is_no_certificate_or_is_cut_is_none() {
        for bytes in [[].as_slice(), &[0x30], &[0x31, 0], &[0x30, 5, 1], &[0x30, 0x83, 0, 0, 0], &[0x30, 0x82, 1]] {
            assert_eq!(first_element(bytes), None);
        }
    }
}
