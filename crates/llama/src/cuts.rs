//! Where a long text may be cut before it is tokenized, so that no call has to find more than a few control tokens.
//!
//! llama.cpp splits a text at the control tokens that are written in it, and walks the list of pieces from its start for each of
//! them: a megabyte of `<|im_start|>` takes a minute. Behind a control token the text goes on as if it began there, so a cut
//! at that place changes no token. Cuts are made only where that is certain: behind an occurrence that overlaps no other
//! (or holds all that it overlaps), and not before white space, which some control tokens swallow.

/// Control tokens in one piece of text.
const TOKENS_IN_PIECE: usize = 64;

/// Texts of the control tokens of a vocabulary.
pub(crate) struct Cuts {
    /// Longest first, by their first byte.
    texts: Box<[Vec<Box<[u8]>>]>,
    /// Some of them swallow the white space behind them.
    swallow_white: bool,
}

impl Cuts {
    /// For the texts that the tokenizer looks for.
    pub(crate) fn new(texts: impl Iterator<Item = Vec<u8>>, swallow_white: bool) -> Self {
        let mut by_first = vec![Vec::new(); 256];
        for text in texts {
            let slot = text.first().and_then(|&first| by_first.get_mut(usize::from(first)));
            if let Some(slot) = slot {
                slot.push(text.into_boxed_slice());
            }
        }
        for slot in &mut by_first {
            slot.sort_by_key(|text| std::cmp::Reverse(text.len()));
        }
        Self { texts: by_first.into_boxed_slice(), swallow_white }
    }

    /// The pieces of a text, in order.
    pub(crate) fn pieces<'a>(&'a self, text: &'a str) -> Pieces<'a> {
        Pieces { cuts: self, text, from: 0 }
    }

    /// Length of the longest control token that starts at `at`; 0 if none does.
    fn longest_at(&self, bytes: &[u8], at: usize) -> usize {
        let rest = bytes.get(at..).unwrap_or_default();
        let texts = rest.first().and_then(|&first| self.texts.get(usize::from(first)));
        let found = texts.and_then(|texts| texts.iter().find(|text| rest.starts_with(text)));
        found.map_or(0, |text| text.len())
    }
}

/// Iterator over the pieces of a text.
pub(crate) struct Pieces<'a> {
    cuts: &'a Cuts,
    text: &'a str,
    from: usize,
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.text.get(self.from..).filter(|rest| !rest.is_empty())?;
        let bytes = rest.as_bytes();
        let mut seen = 0;
        let mut at = 0;
        while at < bytes.len() {
            let length = self.cuts.longest_at(bytes, at);
            if length == 0 {
                at += 1;
                continue;
            }
            // what starts inside the occurrence may reach beyond it: then it is one group, and its end no place to cut
            let (mut end, own_end) = (at + length, at + length);
            let mut inside = at + 1;
            while inside < end {
                end = end.max(inside + self.cuts.longest_at(bytes, inside));
                inside += 1;
            }
            seen += 1;
            at = end;
            let swallowed = self.cuts.swallow_white && bytes.get(end).is_some_and(u8::is_ascii_whitespace);
            if seen >= TOKENS_IN_PIECE && end == own_end && !swallowed && rest.is_char_boundary(end) {
                self.from += end;
                return rest.get(..end);
            }
        }
        self.from = self.text.len();
        Some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(tokens: &[&str], text: &str) -> Vec<usize> {
        lengths(&Cuts::new(tokens.iter().map(|token| token.as_bytes().to_vec()), false), text)
    }

    fn lengths(cuts: &Cuts, text: &str) -> Vec<usize> {
        let pieces: Vec<&str> = cuts.pieces(text).collect();
        assert_eq!(pieces.concat(), text);
        pieces.iter().map(|piece| piece.len()).collect()
    }

    #[test]
    fn text_without_control_tokens_is_one_piece() {
        assert_eq!(pieces(&["<s>"], &"a < b ".repeat(1000)), [6000]);
        assert_eq!(pieces(&[], "x"), [1]);
        assert_eq!(pieces(&["<s>"], ""), [0usize; 0]);
        assert_eq!(pieces(&["", "<s>"], "x"), [1]);
    }

    #[test]
    fn many_control_tokens_are_cut_behind_every_sixty_fourth() {
        assert_eq!(pieces(&["<s>"], &"<s>".repeat(130)), [192, 192, 6]);
        assert_eq!(pieces(&["<s>", "</s>"], &"<s>a</s>".repeat(64)), [256, 256]);
    }

    #[test]
    fn there_is_no_cut_before_white_space_that_may_be_swallowed() {
        let text = "<s> ".repeat(100);
        assert_eq!(lengths(&Cuts::new([b"<s>".to_vec()].into_iter(), true), &text), [400]);
        assert_eq!(lengths(&Cuts::new([b"<s>".to_vec()].into_iter(), false), &text), [255, 145]);
    }

    #[test]
    fn there_is_no_cut_inside_overlapping_tokens() {
        assert_eq!(pieces(&["<s>", ">>"], &"<s>>".repeat(100)), [400]);
        // one that holds the other whole is fine
        assert_eq!(pieces(&["<s>", "s"], &"<s>".repeat(100)), [192, 108]);
    }
}
