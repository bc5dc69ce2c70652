//! EHBP: both sides against each other, the derivation against a second computation, and everything that is refused.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests")]

mod support;

use protocol::Refusal;
use protocol::ehbp::{CHUNK, ChunkOpener, Opened, PendingAnswer, key_config, open_request, seal_request};
use protocol::hpke::{Kem, SecretKey, Undecryptable};
use protocol::ohttp::KeyConfig;
use support::seeded;

const LIMIT: usize = 1 << 20;

fn key(seed: u8) -> SecretKey {
    SecretKey::derive(Kem::X25519, &[seed; 32])
}

fn sealed(content: &[u8]) -> (String, Vec<u8>, PendingAnswer) {
    seal_request(&key(1).public_key(), content, &mut seeded("request")).expect("sealed")
}

/// A request, opened, and the client's other half.
fn exchange(content: &[u8]) -> (Opened, PendingAnswer) {
    let (enc, body, pending) = sealed(content);
    (open_request(&[&key(1)], &enc, &body, LIMIT).expect("opened"), pending)
}

/// The nonce and two framed chunks.
fn answer(opened: Opened) -> (String, Vec<u8>, Vec<u8>) {
    let (nonce, mut sealer) = opened.reply.start(&mut seeded("nonce")).expect("started");
    let (mut first, mut second) = (Vec::new(), Vec::new());
    sealer.seal(b"first", &mut first).expect("sealed");
    sealer.seal(b"second", &mut second).expect("sealed");
    (nonce, first, second)
}

fn collect(mut opener: ChunkOpener, body: &[u8], size: usize) -> Result<Vec<u8>, Refusal> {
    let mut content = Vec::new();
    for piece in body.chunks(size) {
        opener.feed(piece, &mut content)?;
    }
    opener.finish().map(|()| content)
}

#[test]
fn the_configuration_is_bare_with_key_id_0_and_aes_256_gcm() {
    let bytes = key_config(&key(1));
    assert_eq!(bytes[..3], [0, 0, 0x20]);
    assert_eq!(bytes[35..], [0, 4, 0, 1, 0, 2]);
    assert_eq!(KeyConfig::decode(&bytes).expect("configuration").key, key(1).public_key());
}

#[test]
fn requests_and_answers_of_any_length_come_through_in_pieces_of_any_size() {
    for content in [b"x".to_vec(), vec![1; CHUNK], vec![2; 3 * CHUNK + 5]] {
        let (opened, pending) = exchange(&content);
        assert_eq!(*opened.content, content);
        let (nonce, mut sealer) = opened.reply.start(&mut seeded("nonce")).expect("started");
        let mut body = Vec::new();
        sealer.seal(&content, &mut body).expect("sealed");
        body.extend([0; 4]);
        assert_eq!(collect(pending.start(&nonce, CHUNK).expect("started"), &body, 777), Ok(content));
    }
    for size in [1, 2, 3, 5, 100] {
        let (opened, pending) = exchange(b"x");
        let (nonce, first, second) = answer(opened);
        let opener = pending.start(&nonce, CHUNK).expect("started");
        assert_eq!(collect(opener, &[first, second].concat(), size), Ok(b"firstsecond".to_vec()));
    }
}

#[test]
fn every_key_is_tried_and_no_other_opens() {
    let (enc, body, _) = sealed(b"body");
    assert!(open_request(&[&key(2), &key(1)], &enc, &body, LIMIT).is_ok());
    assert!(open_request(&[&key(1), &key(2)], &enc, &body, LIMIT).is_ok());
    assert_eq!(open_request(&[&key(2), &key(3)], &enc, &body, LIMIT).err(), Some(Refusal::Undecryptable));
    assert_eq!(open_request(&[], &enc, &body, LIMIT).err(), Some(Refusal::Undecryptable));
}

#[test]
fn requests_that_are_changed_cut_off_or_empty_are_refused() {
    let (enc, body, _) = sealed(&vec![7; CHUNK + 3]);
    let open = |enc: &str, body: &[u8]| open_request(&[&key(1)], enc, body, LIMIT).err();
    assert_eq!(open(&enc, &body), None);
    for index in (0..body.len()).step_by(97).chain(0..4) {
        let mut changed = body.clone();
        changed[index] ^= 1;
        assert!(open(&enc, &changed).is_some(), "{index}");
    }
    for end in (1..body.len()).step_by(97) {
        assert_eq!(open(&enc, &body[..end]), Some(Refusal::Malformed), "{end}");
    }
    let second = 4 + CHUNK + 16;
    assert_eq!(open(&enc, &body[..second]), None, "a cut between chunks is not noticed: the protocol has no end");
    assert_eq!(open(&enc, &[&body[second..], &body[..second]].concat()), Some(Refusal::Undecryptable));
    assert_eq!(open(&enc, &[&body, &body[second..]].concat()), Some(Refusal::Undecryptable));
    for empty in [&[][..], &[0; 4], &[0; 40]] {
        assert_eq!(open(&enc, empty), Some(Refusal::Malformed));
    }
    let with_empty_chunks = [&[0; 8], &body[..second], &[0; 4], &body[second..], &[0; 4]].concat();
    assert_eq!(open(&enc, &with_empty_chunks), None);
    for header in ["", "00", &enc.to_uppercase(), &format!("0x{enc}"), &enc[2..]] {
        assert_eq!(open(header, &body), Some(Refusal::Malformed), "{header}");
    }
    assert_eq!(open(&"00".repeat(32), &body), Some(Refusal::Undecryptable));
    assert!(seal_request(&key(1).public_key(), b"", &mut seeded("r")).is_err());
}

#[test]
fn a_chunk_or_a_body_over_the_limit_is_refused_by_its_length_alone() {
    let (enc, body, _) = sealed(&vec![7; 3 * CHUNK]);
    let open = |body: &[u8], limit| open_request(&[&key(1)], &enc, body, limit).err();
    assert_eq!(open(&body, 3 * CHUNK), None);
    assert_eq!(open(&body, 3 * CHUNK - 1), Some(Refusal::TooLong));
    for length in [u32::MAX, 1 << 31, 1 << 20 | 17] {
        assert_eq!(open(&length.to_be_bytes(), LIMIT), Some(Refusal::TooLong));
    }
    let tags = [&16_u32.to_be_bytes()[..], &[0; 16]].concat().repeat(50);
    assert_eq!(open(&tags, 10), Some(Refusal::TooLong), "chunks that carry nothing");

    let (opened, pending) = exchange(b"x");
    let (nonce, ..) = answer(opened);
    let mut opener = pending.start(&nonce, CHUNK).expect("started");
    let over = u32::try_from(CHUNK + 17).expect("small").to_be_bytes();
    assert_eq!(opener.feed(&over, &mut Vec::new()), Err(Refusal::TooLong));
}

#[test]
fn answers_that_are_changed_reordered_or_of_another_request_are_refused() {
    let opener = |nonce: &str| exchange(b"x").1.start(nonce, CHUNK);
    let (nonce, first, second) = answer(exchange(b"x").0);
    let read = |parts: &[&[u8]]| collect(opener(&nonce).expect("started"), &parts.concat(), 7);
    assert_eq!(read(&[&first, &second]), Ok(b"firstsecond".to_vec()));
    assert_eq!(read(&[&first]), Ok(b"first".to_vec()), "a cut between chunks is not noticed");
    assert_eq!(read(&[&second, &first]), Err(Refusal::Undecryptable));
    assert_eq!(read(&[&first, &first]), Err(Refusal::Undecryptable));
    assert_eq!(read(&[&first, &second[..9]]), Err(Refusal::Malformed));
    let whole = [first.as_slice(), &second].concat();
    for index in 0..whole.len() {
        let mut changed = whole.clone();
        changed[index] ^= 1;
        assert!(read(&[&changed]).is_err(), "{index}");
    }
    for value in ["", &nonce[1..], &nonce.to_uppercase(), &format!("{nonce}00")] {
        assert_eq!(opener(value).err(), Some(Undecryptable), "{value}");
    }
    let other = seal_request(&key(1).public_key(), b"x", &mut seeded("other")).expect("sealed").2;
    assert_eq!(collect(other.start(&nonce, CHUNK).expect("started"), &whole, 9), Err(Refusal::Undecryptable));
}

/// The derivation as the specification writes it, from HPKE's exported secret to the first chunk, on other code paths.
#[test]
fn the_answer_is_what_the_specification_derives() {
    use aes_gcm::aead::{Aead as _, KeyInit as _};
    let (enc, body, _) = sealed(b"x");
    let (nonce, first, _) = answer(open_request(&[&key(1)], &enc, &body, LIMIT).expect("opened"));
    let enc = hex::decode(enc).expect("hexadecimal");
    let receiver =
        protocol::hpke::receive(protocol::hpke::Aead::Aes256Gcm, &key(1), &enc, b"ehbp request").expect("key");
    let mut secret = [0; 32];
    receiver.export(b"ehbp response", &mut secret).expect("exported");
    let salt = [enc, hex::decode(nonce).expect("hexadecimal")].concat();
    let extracted = hkdf::Hkdf::<sha2::Sha256>::new(Some(&salt), &secret);
    let (mut key, mut base) = ([0; 32], [0; 12]);
    extracted.expand(b"key", &mut key).expect("expanded");
    extracted.expand(b"nonce", &mut base).expect("expanded");
    let cipher = aes_gcm::Aes256Gcm::new(&key.into());
    let sealed = cipher.encrypt(&base.into(), b"first".as_slice()).expect("sealed");
    assert_eq!(first, [&u32::try_from(sealed.len()).expect("small").to_be_bytes()[..], &sealed].concat());
}
