//! How fast messages are sealed and opened, and what a receipt costs, on one core.
//!
//! `cargo run --release -p protocol --example speed [SECONDS]`: the best of so many seconds a figure, half a second without it.

use std::hint::black_box;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use protocol::hpke::{Aead, AnswerKey, Kem, Random, SecretKey, Undecryptable, Unsealable, receive, send};
use protocol::legacy::{self, LegacyKeys, SigningAlgorithm};
use protocol::ohttp::{GatewayKey, MAX_CHUNK, open_chunked_request, seal_chunked_request};
use protocol::receipt::event::{Launch, Model, Place, Prompt, Sampling, Usage};
use protocol::receipt::{Draft, Head, ReceiptKey, Verified};
use protocol::{Keyset, Sha256Digest};

const AEADS: [Aead; 3] = [Aead::ChaCha20Poly1305, Aead::Aes128Gcm, Aead::Aes256Gcm];
const BODY: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Seal(#[from] Unsealable),
    #[error(transparent)]
    Open(#[from] Undecryptable),
    #[error(transparent)]
    Refused(#[from] protocol::Refusal),
    #[error(transparent)]
    Canonical(#[from] protocol::JcsError),
    #[error(transparent)]
    Receipt(#[from] protocol::receipt::ReceiptError),
    #[error(transparent)]
    Legacy(#[from] protocol::legacy::NotAKey),
    #[error("usage: speed [SECONDS]")]
    Usage,
}

/// How long each figure is looked for.
static PATIENCE: OnceLock<Duration> = OnceLock::new();

/// The time of one call: the shortest of many short runs of `times` calls, since whatever else the machine does only makes them
/// longer.
fn best<T>(times: u32, mut call: impl FnMut() -> Result<T, Failure>) -> Result<Duration, Failure> {
    let (mut best, begun) = (Duration::MAX, Instant::now());
    let patience = PATIENCE.get().copied().unwrap_or(Duration::from_millis(500));
    while begun.elapsed() < patience {
        let start = Instant::now();
        for _ in 0..times {
            drop(black_box(call()?));
        }
        best = best.min(start.elapsed() / times);
    }
    Ok(best)
}

fn gigabytes(bytes: usize, time: Duration) -> f64 {
    // a body of some MiB is exact in a double
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX)) / time.as_secs_f64() / 1e9
}

/// Not random: speed does not depend on it.
fn fixed() -> Random<impl FnMut(&mut [u8])> {
    Random(|bytes: &mut [u8]| bytes.fill(7))
}

fn bodies() -> Result<(), Failure> {
    let content = vec![5; BODY];
    println!("GB/s per core            seal   open   chunks of 16 KiB: seal   open   OHTTP request: seal   open");
    for aead in AEADS {
        let key = SecretKey::derive(Kem::X25519, &[1; 32]);
        let (enc, _) = send(aead, &key.public_key(), b"", &mut fixed())?;
        let (mut sealed, mut opened) = (Vec::with_capacity(BODY + 16), Vec::with_capacity(BODY + 16));
        let seal = best(1, || {
            sealed.clear();
            Ok(send(aead, &key.public_key(), b"", &mut fixed())?.1.seal_into(b"", &content, &mut sealed)?)
        })?;
        let open = best(1, || {
            opened.clear();
            Ok(receive(aead, &key, &enc, b"")?.open_into(b"", &sealed, &mut opened)?)
        })?;
        let (chunk_seal, chunk_open) = chunks(aead, &content)?;
        let gateway = GatewayKey { key_id: 1, secret: key, aeads: AEADS.to_vec() };
        let config = gateway.config();
        let request_seal = best(1, || Ok(seal_chunked_request(&config, aead, &content, &mut fixed())?))?;
        let (message, _) = seal_chunked_request(&config, aead, &content, &mut fixed())?;
        let request_open = best(1, || Ok(open_chunked_request(&[&gateway], &message)?))?;
        let [a, b, c, d, e, f] = [seal, open, chunk_seal, chunk_open, request_seal, request_open]
            .map(|time| format!("{:.2}", gigabytes(BODY, time)));
        println!("{:<23} {a:>5}  {b:>5}  {c:>22}  {d:>5}  {e:>19}  {f:>5}", format!("{aead:?}"));
    }
    Ok(())
}

fn chunks(aead: Aead, content: &[u8]) -> Result<(Duration, Duration), Failure> {
    let key = || AnswerKey::derive(aead, b"secret", b"enc", b"nonce");
    let (mut sealed, mut opened) = (Vec::with_capacity(BODY + BODY / 512), Vec::with_capacity(BODY));
    let seal = best(1, || {
        sealed.clear();
        let mut key = key()?;
        Ok(content.chunks(MAX_CHUNK).try_for_each(|piece| key.seal_into(b"", piece, &mut sealed))?)
    })?;
    let open = best(1, || {
        opened.clear();
        let mut key = key()?;
        Ok(sealed.chunks(MAX_CHUNK + 16).try_for_each(|chunk| key.open_into(b"", chunk, &mut opened))?)
    })?;
    Ok((seal, open))
}

fn keys() -> Result<(), Failure> {
    for kem in [Kem::X25519, Kem::XWing] {
        let secret = SecretKey::derive(kem, &[1; 32]);
        let public = secret.public_key();
        let sender = best(5, || Ok(send(Aead::Aes128Gcm, &public, b"", &mut fixed())?))?;
        let (enc, _) = send(Aead::Aes128Gcm, &public, b"", &mut fixed())?;
        let receiver = best(5, || Ok(receive(Aead::Aes128Gcm, &secret, &enc, b"")?))?;
        println!("{kem:?}: {sender:?} to encapsulate, {receiver:?} to decapsulate");
    }
    Ok(())
}

fn receipts() -> Result<(), Failure> {
    let key = ReceiptKey::from_seed(&[2; 32]);
    let keyset = Keyset {
        subject: None,
        not_after: 4_102_444_800,
        receipt_signing_keys: vec![key.public_key()],
        e2ee_public_keys: Vec::new(),
        tls_public_keys: Vec::new(),
    };
    let digest = keyset.digest()?;
    let sign = best(5, || Ok(draft(digest).sign(digest, &key)?))?;
    let receipt = draft(digest).sign(digest, &key)?;
    let check = best(5, || Ok(Verified::check(receipt.json().as_bytes(), &keyset)?))?;
    println!("receipt of {} bytes: {sign:?} to make and sign, {check:?} to verify", receipt.json().len());
    let keys = LegacyKeys::from_seeds(&[1; 32], &[1; 32])?;
    for algorithm in [SigningAlgorithm::Ecdsa, SigningAlgorithm::Ed25519] {
        let text = legacy::text(digest, digest);
        let sign = best(5, || Ok(keys.sign(algorithm, &text)))?;
        println!("older signature, {}: {sign:?}", algorithm.name());
    }
    Ok(())
}

fn draft(digest: Sha256Digest) -> Draft {
    let head = Head {
        receipt_id: "rcpt-0001".to_owned(),
        chat_id: Some("chatcmpl-123".to_owned()),
        model: Some("model".to_owned()),
        workload_keyset_digest: digest,
        endpoint: "/v1/chat/completions".to_owned(),
        method: "POST".to_owned(),
        served_at: 1_790_000_000,
    };
    let mut draft = Draft::new(head, digest);
    draft.forwarded(digest);
    draft.push(&Model { name: "model".to_owned(), gguf_sha256: digest, chat_template_sha256: Some(digest) });
    draft.push(&Prompt { prompt_sha256: digest });
    let parameters = ["temperature", "top_p", "top_k", "min_p"].map(|name| (name.to_owned(), "0.5".to_owned())).into();
    draft.push(&Sampling { seed: "1".to_owned(), max_tokens: 256, parameters });
    draft.push(&Usage { prompt_tokens: 1, completion_tokens: 1, finish_reason: "stop".to_owned() });
    let (tee_type, boot_id) = ("sev_snp".to_owned(), "ab".repeat(16));
    draft.push(&Launch { tee_type, measurement: Some("ab".repeat(48)), boot_id, epoch: 1 });
    draft.push(&Place { counter: 1, previous: Some(digest) });
    draft
}

fn main() -> Result<(), Failure> {
    if let Some(seconds) = std::env::args().nth(1) {
        let seconds = seconds.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        PATIENCE.set(seconds.ok_or(Failure::Usage)?).map_err(|_| Failure::Usage)?;
    }
    bodies()?;
    keys()?;
    receipts()
}
