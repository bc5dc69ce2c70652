//! A model file, or the head of one: whatever it is, an answer that agrees with itself.

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;

/// Length of the file whose head stands in the corpus.
const FILE_BYTES: u64 = 130_912;

fuzz_target!(|data: &[u8]| {
    let whole = gguf::check(data);
    let read = gguf::check_reader(Cursor::new(data));
    assert_eq!(whole.as_ref().err().map(gguf::Refused::code), read.as_ref().err().map(gguf::Refused::code));
    if let Ok(header) = whole {
        assert!(header.data_offset + header.tensor_bytes <= data.len() as u64);
    }
    match gguf::check_head(data, FILE_BYTES) {
        Ok(header) => {
            assert!(header.data_offset + header.tensor_bytes <= FILE_BYTES);
            assert!(header.vocabulary_size > 0 && header.block_count > 0 && header.parameters > 0);
        }
        Err(refused) => {
            assert!(refused.offset().is_none_or(|offset| offset <= FILE_BYTES));
            assert!(refused.to_string().len() < 1024);
        }
    }
});
