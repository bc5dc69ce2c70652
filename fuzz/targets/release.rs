//! Releases and the notes around them: read or refused, never read in two ways, and no text counts that nobody signed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use measurements::release::Release;
use measurements::release::signed_note::{SignedNote, VerifierKey};

/// The key that signed the one note of the corpus; it was thrown away.
const KEY: &str = "example.org/test+32f801d4+AZ1PrE3LdTc1hbTgPH9ZR2oYFq6N7UEOXKxknvw6wtU+";
const SIGNED: &str = include_str!("../corpus/release/json");

fuzz_target!(|data: &[u8]| {
    if let Ok(release) = Release::parse(data) {
        assert_eq!(release.render().expect("what was read can be written").as_bytes(), data);
    }
    if let Ok(note) = SignedNote::parse(data) {
        assert!(!note.is_empty());
        let again = SignedNote::parse(note.render().as_bytes()).expect("what was written can be read");
        assert_eq!((again.text(), again.len()), (note.text(), note.len()));
        let key = KEY.parse::<VerifierKey>().expect("a key");
        assert!(note.verify(&[key], 1).is_err() || note.text() == SIGNED);
    }
});
