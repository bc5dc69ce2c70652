//! No bytes make the reader panic, overflow its stack or talk too much.
#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "clippy knows test functions, not their helpers")]

use deployment::{DocumentError, Wrapped, faults, parse, unwrap_disk, wrap_disk};

const FULL: &str = include_str!("full.toml");

/// xorshift64: the same documents in every run, so that a failure can be had again.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).expect("64 bits") % bound.max(1)
    }
}

/// Pieces that mean something to TOML or to the document.
const PIECES: &[&str] = &[
    "\"",
    "'",
    "'''",
    "\"\"\"",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "#",
    "\n",
    "\\u{0}",
    "\0",
    "-",
    "+",
    "0x",
    "1e999",
    "nan",
    "inf",
    "true",
    "1979-05-27T07:32:00Z",
    "é",
    "\u{feff}",
    "version",
    "[network]",
    "mode = \"static\"\n",
    "aliases = [",
    "9223372036854775807",
    "-9223372036854775808",
    "[[clients.tokens]]\n",
    "a.b.c.d = 1\n",
];

fn mutate(random: &mut Random, bytes: &mut Vec<u8>) {
    let place = random.below(bytes.len() + 1);
    match random.below(5) {
        0 if place < bytes.len() => bytes[place] = u8::try_from(random.below(256)).expect("a byte"),
        1 => {
            let end = (place + random.below(40)).min(bytes.len());
            bytes.drain(place..end);
        }
        2 => {
            let piece = PIECES[random.below(PIECES.len())].bytes();
            bytes.splice(place..place, piece);
        }
        3 => {
            let end = (place + random.below(200)).min(bytes.len());
            let copy = bytes[place..end].to_vec();
            let place = random.below(bytes.len() + 1);
            bytes.splice(place..place, copy);
        }
        _ => bytes.truncate(bytes.len() - random.below(20).min(bytes.len())),
    }
}

fn judge(bytes: &[u8]) -> bool {
    match parse(bytes) {
        Ok(_) => {
            assert_eq!(faults(bytes), []);
            true
        }
        Err(error) => {
            assert_ne!(error, DocumentError::Unreadable, "{}", String::from_utf8_lossy(bytes));
            assert_eq!(faults(bytes).first(), Some(&error));
            let message = error.to_string();
            assert!(message.len() < 500 && message.bytes().all(|b| b == b' ' || b.is_ascii_graphic()), "{message:?}");
            false
        }
    }
}

#[test]
fn mutated_documents_are_read_or_refused() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut accepted, mut refused) = (0, 0);
    for _ in 0..20_000 {
        let mut bytes = FULL.as_bytes().to_vec();
        for _ in 0..=random.below(4) {
            mutate(&mut random, &mut bytes);
        }
        if judge(&bytes) { accepted += 1 } else { refused += 1 }
    }
    // Both must occur, else the mutations test nothing: most hit a value, some a comment or a digit.
    assert!(accepted > 100 && refused > 10_000, "{accepted} accepted, {refused} refused");
}

#[test]
fn random_bytes_are_refused() {
    let mut random = Random(1);
    for _ in 0..2_000 {
        let length = random.below(512);
        let bytes: Vec<u8> = (0..length).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect();
        assert!(!judge(&bytes));
    }
}

#[test]
fn mutated_disks_are_unwrapped_or_refused() {
    let mut random = Random(7);
    let disk = wrap_disk(Wrapped { toml: FULL.as_bytes(), endorsements: Some(b"vendors") });
    for _ in 0..5_000 {
        let mut bytes = disk.clone();
        let place = random.below(16);
        bytes[place] = u8::try_from(random.below(256)).expect("a byte");
        bytes.truncate(disk.len() - random.below(2) * random.below(disk.len()));
        if let Ok(wrapped) = unwrap_disk(&bytes) {
            judge(wrapped.toml);
        }
    }
}

/// PID 1 reads the document on a thread whose stack the host does not choose; 128 KiB is far below any default.
#[test]
fn nesting_ends_in_a_refusal_before_the_stack_does() {
    let documents = [
        "a=".to_owned() + &"[".repeat(60_000),
        "a=".to_owned() + &"[".repeat(30_000) + &"]".repeat(30_000),
        "a=".to_owned() + &"{a=".repeat(20_000),
        "a.".repeat(32_000) + "a=1",
        "[".to_owned() + &"a.".repeat(32_000) + "a]",
        "a=".to_owned() + &"[}".repeat(30_000),
        "[[a]]\n".repeat(9_000),
        (1..75).fold("[a]\n".to_owned(), |text, depth| text + "[[" + &"a.".repeat(depth) + "a]]\n"),
        format!("[{0}a]\n{0}a = ", "a.".repeat(78))
            + &format!("{{ {}a = ", "a.".repeat(78)).repeat(78)
            + "1"
            + &"}".repeat(78),
    ];
    let judge_all = move || documents.iter().for_each(|document| assert!(!judge(document.as_bytes())));
    let thread = std::thread::Builder::new().stack_size(128 * 1024).spawn(judge_all).expect("a thread");
    thread.join().expect("no document made the reader panic");
}
