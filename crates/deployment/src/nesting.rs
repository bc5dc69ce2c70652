//! Bounds the nesting of a document before it becomes a tree.
//!
//! The TOML reader bounds brackets and dotted keys each for itself, at 80; multiplied, 13 KiB of text make a tree so
//! deep that reading and dropping it takes over 4 MiB of stack, and a stack that overflows is a crash without a word.
//! Here both are bounded far lower, with the reader's own lexer, so that strings and comments count for nothing.

use toml_parser::Source;
use toml_parser::lexer::TokenKind;

/// Most brackets that are open at once; a document needs three.
const MAX_BRACKETS: usize = 8;
/// Most dots in one key; a document needs two.
const MAX_DOTS: usize = 8;

/// The offset in bytes of the first token that nests too deeply; absent if none does.
pub(crate) fn too_deep(text: &str) -> Option<usize> {
    let mut open = Vec::with_capacity(MAX_BRACKETS + 1);
    let mut dots = 0;
    for token in Source::new(text).lex() {
        match token.kind() {
            TokenKind::LeftSquareBracket => open.push(TokenKind::RightSquareBracket),
            TokenKind::LeftCurlyBracket => open.push(TokenKind::RightCurlyBracket),
            // A bracket that closes nothing closes nothing here either: the text is no TOML, and counting on is safe.
            kind if open.last() == Some(&kind) => {
                open.pop();
            }
            _ => {}
        }
        match token.kind() {
            TokenKind::Dot => dots += 1,
            TokenKind::Atom | TokenKind::Whitespace | TokenKind::BasicString | TokenKind::LiteralString => {}
            _ => dots = 0,
        }
        if open.len() > MAX_BRACKETS || dots > MAX_DOTS {
            return Some(token.span().start());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_brackets_and_eight_dots_pass_and_a_ninth_does_not() {
        let brackets = |count| format!("a = {}{}", "[".repeat(count), "]".repeat(count));
        assert_eq!(too_deep(&brackets(8)), None);
        assert_eq!(too_deep(&brackets(9)), Some(12));
        let dots = |count: usize| format!("{}a = 1", "a . \"b\".".repeat(count / 2));
        assert_eq!(too_deep(&dots(8)), None);
        assert!(too_deep(&dots(10)).is_some());
    }

    #[test]
    fn brackets_and_dots_of_strings_and_comments_do_not_count() {
        let many = "[.{".repeat(50);
        assert_eq!(too_deep(&format!("# {many}\na = \"{many}\"\nb = '{many}'\nc = '''\n{many}\n'''")), None);
    }

    #[test]
    fn keys_and_brackets_that_follow_each_other_do_not_add_up() {
        assert_eq!(too_deep(&"[a.b.c.d]\ne.f = [[1.5, 2.5], {g.h = 3.5}]\n".repeat(500)), None);
    }

    #[test]
    fn a_bracket_of_the_other_kind_closes_nothing() {
        assert!(too_deep(&"[ } ".repeat(9)).is_some());
        assert!(too_deep(&"{ ] ".repeat(9)).is_some());
    }
}
