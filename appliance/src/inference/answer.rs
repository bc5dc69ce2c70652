//! Puts an answer together: bytes of tokens to whole characters, up to a stop string and never a part of one.

use std::collections::VecDeque;

use zeroize::{Zeroize, Zeroizing};

use super::job::Logprob;

/// Text that may be sent, with the log probabilities of the tokens it came from.
#[derive(Default)]
pub struct Piece {
    /// Whole characters.
    pub text: Zeroizing<String>,
    /// One entry a token.
    pub logprobs: Vec<Logprob>,
    /// A stop string was found; the text ends before it.
    pub stopped: bool,
}

/// A token's log probability that waits until its text is sent.
struct Waiting {
    /// Where the token's text starts and ends in the answer, in bytes.
    start: usize,
    end: usize,
    entry: Logprob,
}

/// The answer so far.
pub struct Answer {
    stops: Vec<Zeroizing<String>>,
    /// Bytes of a character that is not complete.
    partial: Zeroizing<Vec<u8>>,
    /// Whole characters that may be the beginning of a stop string.
    held: Zeroizing<String>,
    sent_bytes: usize,
    waiting: VecDeque<Waiting>,
}

impl Answer {
    /// An empty answer. Empty stop strings are without effect.
    #[must_use]
    pub fn new(mut stops: Vec<Zeroizing<String>>) -> Self {
        stops.retain(|stop| !stop.is_empty());
        Self {
            stops,
            partial: Zeroizing::new(Vec::new()),
            held: Zeroizing::new(String::new()),
            sent_bytes: 0,
            waiting: VecDeque::new(),
        }
    }

    /// Adds a token's bytes.
    pub fn push(&mut self, bytes: &[u8], logprob: Option<Logprob>) -> Piece {
        let start = self.total();
        self.partial.extend_from_slice(bytes);
        self.decode(false);
        if let Some(entry) = logprob {
            self.waiting.push_back(Waiting { start, end: self.total(), entry });
        }
        self.release(false)
    }

    /// Ends the answer: an incomplete character becomes U+FFFD, and nothing is held back any more.
    pub fn finish(&mut self) -> Piece {
        self.decode(true);
        self.release(true)
    }

    /// Length of the answer in bytes; an incomplete character counts as one.
    fn total(&self) -> usize {
        self.sent_bytes + self.held.len() + usize::from(!self.partial.is_empty())
    }

    /// Moves what is decided from `partial` to `held`.
    fn decode(&mut self, last: bool) {
        let mut rest = std::mem::take(&mut *self.partial);
        let mut bytes = rest.as_slice();
        loop {
            match std::str::from_utf8(bytes) {
                Ok(text) => {
                    self.held.push_str(text);
                    bytes = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = bytes.split_at(error.valid_up_to());
                    self.held.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    // None: the end of the input may become a character when more comes
                    let Some(invalid) = error.error_len().or(last.then_some(after.len())) else {
                        bytes = after;
                        break;
                    };
                    self.held.push(char::REPLACEMENT_CHARACTER);
                    bytes = after.get(invalid..).unwrap_or_default();
                }
            }
        }
        self.partial.extend_from_slice(bytes);
        rest.zeroize();
    }

    fn release(&mut self, last: bool) -> Piece {
        let found = self.stops.iter().filter_map(|stop| self.held.find(stop.as_str())).min();
        let length = match found {
            Some(at) => at,
            None if last => self.held.len(),
            None => self.held.len() - self.possible_stop(),
        };
        let text = Zeroizing::new(self.held.get(..length).unwrap_or_default().to_owned());
        let kept = Zeroizing::new(self.held.get(length..).unwrap_or_default().to_owned());
        self.sent_bytes += length;
        self.held = if found.is_some() { Zeroizing::new(String::new()) } else { kept };
        let logprobs = self.released_logprobs(found.is_some(), last);
        Piece { text, logprobs, stopped: found.is_some() }
    }

    /// Entries whose text is out: all of it, or, at a stop string, a part of it.
    fn released_logprobs(&mut self, stopped: bool, last: bool) -> Vec<Logprob> {
        let sent = self.sent_bytes;
        let out = |waiting: &Waiting| match (stopped, last) {
            (true, _) => waiting.start < sent,
            (false, true) => true,
            (false, false) => waiting.end <= sent,
        };
        let count = self.waiting.iter().take_while(|waiting| out(waiting)).count();
        let entries = self.waiting.drain(..count).map(|waiting| waiting.entry).collect();
        if stopped {
            self.waiting.clear();
        }
        entries
    }

    /// Bytes at the end of `held` that may be the beginning of a stop string.
    fn possible_stop(&self) -> usize {
        let longest = self.stops.iter().map(|stop| stop.len() - 1).max().unwrap_or(0).min(self.held.len());
        let begins = |length: &usize| {
            let start = self.held.len() - length;
            let tail = self.held.get(start..);
            tail.is_some_and(|tail| self.stops.iter().any(|stop| stop.starts_with(tail) && stop.len() > tail.len()))
        };
        (1..=longest).rev().find(begins).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::job::Candidate;

    fn answer(stops: &[&str]) -> Answer {
        Answer::new(stops.iter().map(|stop| Zeroizing::new((*stop).to_owned())).collect())
    }

    /// Pieces as they come out, and whether it stopped.
    fn run(stops: &[&str], tokens: &[&[u8]]) -> (Vec<String>, bool) {
        let mut answer = answer(stops);
        let mut pieces = Vec::new();
        for token in tokens {
            let piece = answer.push(token, None);
            pieces.push(piece.text.to_string());
            if piece.stopped {
                return (pieces, true);
            }
        }
        pieces.push(answer.finish().text.to_string());
        (pieces, false)
    }

    fn texts(pieces: &[&str]) -> Vec<String> {
        pieces.iter().map(|piece| (*piece).to_owned()).collect()
    }

    #[test]
    fn characters_are_never_split() {
        let lock = "🔒é".as_bytes();
        for cut in 1..lock.len() {
            let (pieces, _) = run(&[], &[&lock[..cut], &lock[cut..]]);
            assert_eq!(pieces.concat(), "🔒é");
        }
        let (pieces, _) = run(&[], &[&lock[..2], &lock[2..3], &lock[3..5], &lock[5..]]);
        assert_eq!(pieces, texts(&["", "", "🔒", "é", ""]));
    }

    #[test]
    fn bytes_that_are_no_character_become_replacement_characters() {
        assert_eq!(run(&[], &[b"a\xff", b"b"]).0, texts(&["a\u{fffd}", "b", ""]));
        // incomplete until the end
        assert_eq!(run(&[], &[b"a\xf0\x9f"]).0, texts(&["a", "\u{fffd}"]));
        // incomplete and then something else
        assert_eq!(run(&[], &[b"\xf0\x9f", b"x"]).0, texts(&["", "\u{fffd}x", ""]));
    }

    #[test]
    fn a_stop_string_and_what_follows_never_shows() {
        assert_eq!(run(&["END"], &[b"one END two"]), (texts(&["one "]), true));
        assert_eq!(run(&["END"], &[b"one E", b"N", b"D"]), (texts(&["one ", "", ""]), true));
        assert_eq!(run(&["END"], &[b"END"]), (texts(&[""]), true));
    }

    #[test]
    fn what_turns_out_not_to_be_a_stop_string_is_sent() {
        assert_eq!(run(&["END"], &[b"EN", b"EN", b"D"]), (texts(&["", "EN", ""]), true));
        assert_eq!(run(&["END"], &[b"EN", b"o"]), (texts(&["", "ENo", ""]), false));
        assert_eq!(run(&["END"], &[b"EN"]), (texts(&["", "EN"]), false));
    }

    #[test]
    fn the_earliest_of_several_stop_strings_counts() {
        assert_eq!(run(&["yy", "x"], &[b"a x yy"]), (texts(&["a "]), true));
        assert_eq!(run(&["\n\n", "###"], &[b"a\n", b"#", b"#\n", b"\nb"]), (texts(&["a", "\n", "##", ""]), true));
        assert_eq!(run(&["", "z"], &[b"abc"]).0, texts(&["abc", ""]));
    }

    #[test]
    fn a_stop_string_of_several_bytes_a_character_is_found_across_tokens() {
        let stop = "。終";
        let all = "はい。終わり".as_bytes();
        for cut in 1..all.len() {
            let (pieces, stopped) = run(&[stop], &[&all[..cut], &all[cut..]]);
            assert!(stopped);
            assert_eq!(pieces.concat(), "はい");
        }
    }

    fn entry(token: u32) -> Logprob {
        Logprob { chosen: Candidate { token, bytes: Zeroizing::new(Vec::new()), logprob: -1.0 }, top: Vec::new() }
    }

    fn ids(piece: &Piece) -> Vec<u32> {
        piece.logprobs.iter().map(|logprob| logprob.chosen.token).collect()
    }

    #[test]
    fn log_probabilities_come_with_their_text() {
        let mut answer = answer(&["END"]);
        assert_eq!(ids(&answer.push(b"a", Some(entry(1)))), [1]);
        assert_eq!(ids(&answer.push(b"\xc3", Some(entry(2)))), [0u32; 0]);
        assert_eq!(ids(&answer.push(b"\xa9", Some(entry(3)))), [2, 3]);
        assert_eq!(ids(&answer.push(b"b E", Some(entry(4)))), [0u32; 0]);
        assert_eq!(ids(&answer.push(b"N", Some(entry(5)))), [0u32; 0]);
        assert_eq!(ids(&answer.push(b"!", Some(entry(6)))), [4, 5, 6]);
        assert_eq!(ids(&answer.push(b"E", Some(entry(7)))), [0u32; 0]);
        assert_eq!(ids(&answer.finish()), [7]);
    }

    #[test]
    fn tokens_of_a_stop_string_have_no_log_probabilities() {
        let mut answer = answer(&["END"]);
        assert_eq!(ids(&answer.push(b"a E", Some(entry(1)))), [0u32; 0]);
        let piece = answer.push(b"ND", Some(entry(2)));
        assert!(piece.stopped);
        assert_eq!(ids(&piece), [1]);
    }
}
