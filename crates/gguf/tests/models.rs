//! Real model files are accepted, and their facts come out right.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

use std::{fs, io::Cursor, path::Path};

fn tiny() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/models/tiny-random-llama.gguf");
    fs::read(path).expect("the tiny model is in the tree")
}

#[test]
fn tiny_model_is_accepted_with_its_facts() {
    let header = gguf::check(&tiny()).expect("accepted");
    assert_eq!(header.version, 3);
    assert_eq!(header.architecture.name(), "llama");
    assert_eq!(header.name.as_deref(), Some("tiny-random-llama"));
    assert_eq!((header.context_length, header.embedding_length, header.block_count), (512, 64, 2));
    assert_eq!(header.vocabulary_size, 320);
    assert_eq!((header.bos, header.bos_text.as_deref()), (Some(1), Some("<|im_start|>")));
    assert_eq!((header.eos, header.eos_text.as_deref()), (Some(2), Some("<|im_end|>")));
    assert_eq!(header.add_bos, Some(false));
    assert!(header.chat_template.expect("it has one").contains("<|im_start|>assistant"));
    assert_eq!(header.quantisation.first().expect("a type").tensor_type, "Q8_0");
    assert_eq!((header.tensors, header.data_offset), (21, 7776));
    // Data section of 123,136 bytes; every tensor of this file is a multiple of 32 bytes long.
    assert_eq!(header.tensor_bytes, 123_136);
}

#[test]
fn head_and_reader_agree_with_the_whole_file() {
    let file = tiny();
    let whole = gguf::check(&file).expect("accepted");
    let head = gguf::check_head(&file[..whole.data_offset as usize], file.len() as u64).expect("accepted");
    let reader = gguf::check_reader(Cursor::new(&file)).expect("accepted");
    assert_eq!(format!("{whole:?}"), format!("{head:?}"));
    assert_eq!(format!("{whole:?}"), format!("{reader:?}"));
}

#[test]
fn head_that_ends_within_the_tables_is_refused_as_such() {
    let file = tiny();
    for length in 0..7761 {
        let refused = gguf::check_head(&file[..length], file.len() as u64).expect_err("cut");
        assert_eq!(refused.code(), "gguf-header-size", "{length}");
    }
}

/// With `LETHE_MODEL` naming a GGUF file, that one must be accepted too.
#[test]
fn model_named_by_the_environment_is_accepted() {
    let Ok(path) = std::env::var("LETHE_MODEL") else {
        eprintln!("skipped: LETHE_MODEL names no file");
        return;
    };
    let file = fs::File::open(path).expect("LETHE_MODEL can be opened");
    let header = gguf::check_reader(file).expect("accepted");
    eprintln!("{header:?}");
    assert!(header.parameters > 0 && header.vocabulary_size > 0);
}
