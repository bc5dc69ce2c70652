//! Oblivious HTTP: the vectors of RFC 9458, the `ohttp` crate as client and as gateway, and everything that is refused.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "helpers of tests")]

mod support;

use std::io;
use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use futures::io::{AllowStdIo, AsyncReadExt as _, AsyncWriteExt as _};
use ohttp::SymmetricSuite;
use protocol::Refusal;
use protocol::bhttp::{Limits, Request};
use protocol::hpke::{Aead, CryptoRng, Kem, PublicKey, SecretKey, Undecryptable};
use protocol::ohttp::{
    AnswerError, ChunkOpener, ConfigError, GatewayKey, KeyConfig, MAX_CHUNK, Opened, decode_list, encode_list,
    open_chunked_request, open_request, seal_chunked_request, seal_request,
};
use support::{bytes, corpus, exactly, seeded};

const AEADS: [Aead; 3] = [Aead::Aes128Gcm, Aead::Aes256Gcm, Aead::ChaCha20Poly1305];
const KEMS: [Kem; 2] = [Kem::X25519, Kem::XWing];

fn gateway(kem: Kem) -> GatewayKey {
    GatewayKey { key_id: 7, secret: SecretKey::derive(kem, &[5; 32]), aeads: AEADS.to_vec() }
}

#[test]
fn the_exchange_of_rfc_9458_is_the_same_byte_for_byte() {
    let Some(file) = corpus("vectors/ohttp/rfc9458-appendix-a.json") else { return };
    let vector = &file["vector"];
    let secret =
        SecretKey::from_bytes(Kem::X25519, &bytes(vector, "skR").try_into().expect("32 bytes")).expect("a key");
    let key = GatewayKey { key_id: 1, secret, aeads: vec![Aead::Aes128Gcm, Aead::ChaCha20Poly1305] };
    assert_eq!(key.config().encode(), bytes(vector, "key_config"));
    assert_eq!(KeyConfig::decode(&bytes(vector, "key_config")), Ok(key.config()));

    let message = bytes(vector, "encapsulated_request");
    let opened = open_request(&[&key], &message).expect("opened");
    assert_eq!(*opened.content, bytes(vector, "request_bhttp"));
    assert_eq!(opened.enc, bytes(vector, "pkE"));
    assert_eq!(Request::decode(&opened.content, Limits::default()).expect("a request").head.authority, "example.com");
    let answer = opened.reply.seal(&bytes(vector, "response_bhttp"), &mut exactly(bytes(vector, "response_nonce")));
    assert_eq!(answer.expect("sealed"), bytes(vector, "encapsulated_response"));
}

/// Somewhere that the judge writes to and the test reads from.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl io::Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::Write::write(&mut *self.0.lock().expect("not poisoned"), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().expect("not poisoned"))
    }
}

fn contents() -> [Vec<u8>; 4] {
    [b"short".to_vec(), vec![1; MAX_CHUNK], vec![2; MAX_CHUNK + 1], vec![3; 5 * MAX_CHUNK + 77]]
}

#[test]
fn the_judge_as_client_talks_to_our_gateway() {
    ohttp::init();
    for kem in KEMS {
        let key = gateway(kem);
        for content in contents() {
            let client = ohttp::ClientRequest::from_encoded_config(&key.config().encode()).expect("our configuration");
            let (message, pending) = client.encapsulate(&content).expect("request");
            let opened = open_request(&[&key], &message).expect("opened");
            assert_eq!(*opened.content, content);
            let answer = opened.reply.seal(&content, &mut seeded("answer")).expect("sealed");
            assert_eq!(pending.decapsulate(&answer).expect("the judge opens it"), content);

            let list = encode_list(&[key.config()]);
            let client = ohttp::ClientRequest::from_encoded_config_list(&list).expect("our list");
            let sent = Shared::default();
            let mut request = client.encapsulate_stream(AllowStdIo::new(sent.clone())).expect("stream");
            block_on(async {
                request.write_all(&content).await?;
                request.close().await
            })
            .expect("sent");
            let opened = open_chunked_request(&[&key], &sent.take()).expect("opened");
            assert_eq!(*opened.content, content);
            let (mut answer, mut sealer) = opened.reply.start(&mut seeded("answer")).expect("started");
            sealer.seal(b"first ", &mut answer).expect("sealed");
            sealer.finish(&content, &mut answer).expect("sealed");
            let mut response = request.response(answer.as_slice()).expect("response");
            let mut read = Vec::new();
            block_on(response.read_to_end(&mut read)).expect("the judge opens it");
            assert_eq!(read, [b"first ", content.as_slice()].concat());
        }
    }
}

#[test]
fn our_client_talks_to_the_judge_as_gateway() {
    ohttp::init();
    let suites = [ohttp::hpke::Aead::Aes128Gcm, ohttp::hpke::Aead::ChaCha20Poly1305]
        .map(|aead| SymmetricSuite::new(ohttp::hpke::Kdf::HkdfSha256, aead));
    for kem in [ohttp::hpke::Kem::X25519Sha256, ohttp::hpke::Kem::XWing] {
        let theirs = ohttp::KeyConfig::new(3, kem, suites.to_vec()).expect("keys");
        let list = ohttp::KeyConfig::encode_list(&[&theirs]).expect("list");
        let ours = decode_list(&list).expect("their list").remove(0);
        assert_eq!(ours.aeads, [Aead::Aes128Gcm, Aead::ChaCha20Poly1305]);
        let server = ohttp::Server::new(theirs).expect("server");
        for (aead, content) in ours.aeads.iter().flat_map(|aead| contents().map(|content| (*aead, content))) {
            let (message, pending) = seal_request(&ours, aead, &content, &mut seeded("request")).expect("sealed");
            let (request, reply) = server.decapsulate(&message).expect("the judge opens it");
            assert_eq!(request, content);
            assert_eq!(*pending.open(&reply.encapsulate(&content).expect("answer")).expect("opened"), content);

            let (message, opener) = seal_chunked_request(&ours, aead, &content, &mut seeded("r")).expect("sealed");
            let mut request = server.clone().decapsulate_stream(message.as_slice());
            let mut read = Vec::new();
            block_on(request.read_to_end(&mut read)).expect("the judge opens it");
            assert_eq!(read, content);
            let sent = Shared::default();
            let mut response = request.response(AllowStdIo::new(sent.clone())).expect("response");
            block_on(async {
                response.write_all(&content).await?;
                response.close().await
            })
            .expect("sent");
            assert_eq!(collect(opener, &sent.take(), 1000), Ok(content));
        }
    }
}

/// Feeds an answer in pieces of `size`.
fn collect(mut opener: ChunkOpener, answer: &[u8], size: usize) -> Result<Vec<u8>, AnswerError> {
    let mut content = Vec::new();
    for piece in answer.chunks(size) {
        opener.feed(piece, &mut content)?;
    }
    opener.finish(&mut content)?;
    Ok(content)
}

type Exchange = (Opened<protocol::ohttp::ChunkedReply>, ChunkOpener);

fn exchange(kem: Kem, aead: Aead) -> Exchange {
    let key = gateway(kem);
    let (message, opener) = seal_chunked_request(&key.config(), aead, b"request", &mut seeded("r")).expect("sealed");
    (open_chunked_request(&[&key], &message).expect("opened"), opener)
}

/// The nonce and the sealed chunks `first`, `second`, `last`, framed.
fn frames(exchange: Exchange, rng: &mut impl CryptoRng) -> (Vec<u8>, [Vec<u8>; 3], ChunkOpener) {
    let (nonce, mut sealer) = exchange.0.reply.start(rng).expect("started");
    let mut chunks: [Vec<u8>; 3] = Default::default();
    sealer.seal(b"first", &mut chunks[0]).expect("sealed");
    sealer.seal(b"second", &mut chunks[1]).expect("sealed");
    sealer.finish(b"last", &mut chunks[2]).expect("sealed");
    (nonce, chunks, exchange.1)
}

#[test]
fn a_chunked_answer_streams_in_pieces_of_any_size_in_every_suite() {
    for (kem, aead) in KEMS.iter().flat_map(|kem| AEADS.map(|aead| (*kem, aead))) {
        for size in [1, 2, 5, 100] {
            let (nonce, chunks, opener) = frames(exchange(kem, aead), &mut seeded("n"));
            assert_eq!(collect(opener, &[nonce, chunks.concat()].concat(), size), Ok(b"firstsecondlast".to_vec()));
        }
    }
    // the first chunk can be read before the second is made
    let (nonce, [first, ..], mut opener) = frames(exchange(Kem::X25519, Aead::Aes128Gcm), &mut seeded("n"));
    let mut content = Vec::new();
    opener.feed(&[nonce, first].concat(), &mut content).expect("fed");
    assert_eq!(content, b"first");
}

#[test]
fn an_answer_that_is_cut_off_reordered_repeated_or_changed_is_an_error() {
    let fresh = || frames(exchange(Kem::X25519, Aead::ChaCha20Poly1305), &mut seeded("n"));
    let (nonce, [first, second, last], _) = fresh();
    let read = |parts: &[&[u8]]| collect(fresh().2, &[&[nonce.as_slice()], parts].concat().concat(), 9);
    assert_eq!(read(&[&first, &second, &last]), Ok(b"firstsecondlast".to_vec()));

    assert_eq!(read(&[]), Err(AnswerError::Truncated));
    assert_eq!(read(&[&first]), Err(AnswerError::Truncated));
    assert_eq!(read(&[&first, &second]), Err(AnswerError::Truncated));
    assert_eq!(read(&[&first, &second, &last[..1]]), Err(AnswerError::Undecryptable));
    assert_eq!(read(&[&first, &second, &last[..last.len() - 1]]), Err(AnswerError::Undecryptable));
    assert_eq!(read(&[&second, &first, &last]), Err(AnswerError::Undecryptable));
    assert_eq!(read(&[&first, &first, &second, &last]), Err(AnswerError::Undecryptable));
    assert_eq!(read(&[&first, &last]), Err(AnswerError::Undecryptable));
    assert_eq!(read(&[&first, &second, &last, &last]), Err(AnswerError::Undecryptable), "a second final chunk");
    // a chunk that is not final, as the final one, and the other way round
    assert_eq!(read(&[&first, &[0], &second[1..]]), Err(AnswerError::Undecryptable));
    let length = u8::try_from(last.len() - 1).expect("small");
    assert_eq!(read(&[&first, &second, &[length], &last[1..]]), Err(AnswerError::Undecryptable));
    let whole = [nonce.as_slice(), &first, &second, &last].concat();
    for index in 0..whole.len() {
        let mut changed = whole.clone();
        changed[index] ^= 1;
        assert!(collect(fresh().2, &changed, 50).is_err(), "bit of byte {index}");
    }
}

#[test]
fn a_chunk_over_16_kib_is_refused_by_its_length_alone() {
    let over = u32::try_from(MAX_CHUNK + 17).expect("small") | 0x8000_0000;
    let huge = [0xc0, 0, 0, 0, 0x80, 0, 0, 0];
    for length in [over.to_be_bytes().as_slice(), &huge] {
        let (nonce, _, opener) = frames(exchange(Kem::X25519, Aead::Aes128Gcm), &mut seeded("n"));
        assert_eq!(collect(opener, &[&nonce, length].concat(), 1), Err(AnswerError::TooLong));
    }
    let (nonce, _, opener) = frames(exchange(Kem::X25519, Aead::Aes128Gcm), &mut seeded("n"));
    let endless = [nonce.as_slice(), &[0], &vec![0; MAX_CHUNK + 17]].concat();
    assert_eq!(collect(opener, &endless, 1 << 16), Err(AnswerError::TooLong), "the final chunk");
}

#[test]
fn a_chunk_without_content_that_is_not_final_is_refused() {
    let key = gateway(Kem::X25519);
    let (message, _) = seal_chunked_request(&key.config(), Aead::Aes128Gcm, b"", &mut seeded("r")).expect("sealed");
    assert!(open_chunked_request(&[&key], &message).is_ok(), "the final one may be empty");
    let header = 7 + 32;
    let mut changed = message[..header].to_vec();
    changed.push(16);
    changed.extend(&message[header + 1..]);
    assert_eq!(open_chunked_request(&[&key], &changed).err(), Some(Refusal::Undecryptable));
}

#[test]
fn requests_that_are_cut_off_changed_or_of_the_other_form_are_refused() {
    for kem in KEMS {
        let key = gateway(kem);
        let content = vec![9; MAX_CHUNK + 50];
        let (chunked, _) = seal_chunked_request(&key.config(), Aead::Aes128Gcm, &content, &mut seeded("r")).expect("s");
        let (plain, _) = seal_request(&key.config(), Aead::Aes128Gcm, b"request", &mut seeded("r")).expect("sealed");
        assert!(open_chunked_request(&[&key], &chunked).is_ok() && open_request(&[&key], &plain).is_ok());
        assert!(open_request(&[&key], &chunked).is_err() && open_chunked_request(&[&key], &plain).is_err());
        for end in (0..chunked.len()).step_by(37).chain(chunked.len() - 60..chunked.len()) {
            let refused = open_chunked_request(&[&key], &chunked[..end]).err().expect("refused");
            assert!(matches!(refused, Refusal::Malformed | Refusal::Undecryptable), "{end}: {refused}");
        }
        // header, encapsulated key, length of the first chunk and its beginning; its middle; the final chunk's mark, body and tag
        let lengths = chunked.len() - 16_400 - 4 - 67..chunked.len() - 16_400 - 67;
        for index in
            (0..lengths.end + 60).chain((0..chunked.len()).step_by(37)).chain(chunked.len() - 80..chunked.len())
        {
            let mut changed = chunked.clone();
            changed[index] ^= 1 << (index % 8);
            let refused = open_chunked_request(&[&key], &changed).err().expect("refused");
            let expected = match index {
                0..7 => refused == Refusal::UnknownKey,
                _ if lengths.contains(&index) || index == chunked.len() - 67 => refused != Refusal::UnknownKey,
                _ => refused == Refusal::Undecryptable,
            };
            assert!(expected, "{index}: {refused}");
        }
        for index in 0..plain.len() {
            let mut changed = plain.clone();
            changed[index] ^= 0x10;
            let refused = open_request(&[&key], &changed).err().expect("refused");
            assert_eq!(refused, if index < 7 { Refusal::UnknownKey } else { Refusal::Undecryptable }, "{index}");
        }
    }
}

#[test]
fn a_key_or_a_suite_that_is_not_offered_is_told_apart_from_what_does_not_decrypt() {
    let (current, next) = (gateway(Kem::X25519), GatewayKey { key_id: 8, ..gateway(Kem::X25519) });
    let narrow = GatewayKey { aeads: vec![Aead::Aes256Gcm], ..gateway(Kem::X25519) };
    let (message, _) = seal_request(&current.config(), Aead::Aes128Gcm, b"r", &mut seeded("r")).expect("sealed");
    assert_eq!(open_request(&[&next, &current], &message).expect("opened").key_id, 7);
    assert_eq!(open_request(&[&next], &message).err(), Some(Refusal::UnknownKey));
    assert_eq!(open_request(&[&narrow], &message).err(), Some(Refusal::UnknownKey));
    assert_eq!(open_request(&[], &message).err(), Some(Refusal::UnknownKey));
    let other = GatewayKey { secret: SecretKey::derive(Kem::X25519, &[6; 32]), ..gateway(Kem::X25519) };
    assert_eq!(open_request(&[&other], &message).err(), Some(Refusal::Undecryptable));
    assert_eq!(open_request(&[&current], &message[..6]).err(), Some(Refusal::Malformed));
    assert_eq!(open_request(&[&current], &message[..20]).err(), Some(Refusal::Malformed));
}

#[test]
fn an_answer_opens_for_its_own_request_only() {
    let key = gateway(Kem::X25519);
    for aead in AEADS {
        let (message, _) = seal_request(&key.config(), aead, b"r", &mut seeded("one")).expect("sealed");
        let answer = open_request(&[&key], &message).expect("opened").reply.seal(b"answer", &mut seeded("n"));
        let answer = answer.expect("sealed");
        let again = |seed| seal_request(&key.config(), aead, b"r", &mut seeded(seed)).expect("sealed").1;
        assert_eq!(**again("one").open(&answer).as_ref().expect("opened"), *b"answer");
        assert_eq!(again("two").open(&answer), Err(Undecryptable));
        assert_eq!(again("one").open(&answer[..10]), Err(Undecryptable));
        for index in 0..answer.len() {
            let mut changed = answer.clone();
            changed[index] ^= 1;
            assert_eq!(again("one").open(&changed), Err(Undecryptable));
        }
    }
}

#[test]
fn a_list_of_configurations_keeps_its_order_and_skips_what_is_unknown() {
    let (x25519, xwing) = (gateway(Kem::X25519).config(), gateway(Kem::XWing).config());
    let list = encode_list(&[xwing.clone(), x25519.clone()]);
    assert_eq!(decode_list(&list), Ok(vec![xwing, x25519.clone()]));
    let foreign = [1, 0, 0x10, 1, 2, 3];
    let with = |config: &[u8]| [&u16::try_from(config.len()).expect("small").to_be_bytes(), config].concat();
    let mixed = [with(&foreign), encode_list(std::slice::from_ref(&x25519))].concat();
    assert_eq!(decode_list(&mixed), Ok(vec![x25519.clone()]));
    assert_eq!(decode_list(&with(&foreign)), Err(ConfigError::Unsupported));
    assert_eq!(decode_list(&[]), Err(ConfigError::Unsupported));
    assert_eq!(decode_list(&list[1..]), Err(ConfigError::Malformed));

    let bare = x25519.encode();
    for end in 0..bare.len() {
        assert!(KeyConfig::decode(&bare[..end]).is_err(), "{end}");
    }
    assert_eq!(KeyConfig::decode(&[&bare[..], &[0]].concat()), Err(ConfigError::Malformed));
    let mut unknown = bare.clone();
    for suite in 0..3 {
        unknown[37 + 4 * suite] = 9;
    }
    assert_eq!(KeyConfig::decode(&unknown), Err(ConfigError::Unsupported));
    assert_eq!(
        KeyConfig::decode(&bare).expect("configuration").key,
        PublicKey::from_bytes(Kem::X25519, &bare[3..35]).expect("key")
    );
}
