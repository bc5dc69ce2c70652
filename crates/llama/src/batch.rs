//! The tokens of one decode, of any number of sequences.

use zeroize::Zeroize;

/// Names the logits of one token of a decoded batch; see [`Batch::add`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row(pub(crate) i32);

/// Tokens with their sequence and position. Its buffers are allocated once and wiped on drop.
#[derive(Debug)]
pub struct Batch {
    pub(crate) tokens: Vec<i32>,
    pub(crate) positions: Vec<i32>,
    pub(crate) sequences: Vec<i32>,
    pub(crate) wants_logits: Vec<i8>,
    capacity: usize,
}

impl Batch {
    /// An empty batch with room for `capacity` tokens.
    #[must_use]
    pub fn new(capacity: u32) -> Self {
        let capacity = capacity as usize;
        Self {
            tokens: Vec::with_capacity(capacity),
            positions: Vec::with_capacity(capacity),
            sequences: Vec::with_capacity(capacity),
            wants_logits: Vec::with_capacity(capacity),
            capacity,
        }
    }

    /// Forgets all tokens.
    pub fn clear(&mut self) {
        self.tokens.zeroize();
        self.positions.clear();
        self.sequences.clear();
        self.wants_logits.clear();
    }

    /// Adds a token. Answers the row of its logits (meaningful when `wants_logits`), or `None` when the batch is full or a number
    /// does not fit llama.cpp's 32 signed bits.
    pub fn add(&mut self, sequence: u32, position: u32, token: u32, wants_logits: bool) -> Option<Row> {
        if self.tokens.len() >= self.capacity {
            return None;
        }
        let (sequence, position) = (i32::try_from(sequence).ok()?, i32::try_from(position).ok()?);
        let (token, row) = (i32::try_from(token).ok()?, i32::try_from(self.tokens.len()).ok()?);
        self.tokens.push(token);
        self.positions.push(position);
        self.sequences.push(sequence);
        self.wants_logits.push(i8::from(wants_logits));
        Some(Row(row))
    }

    /// Number of tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// True when there is no token.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.tokens.zeroize();
    }
}
