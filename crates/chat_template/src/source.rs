//! Rewriting of template sources: what minijinja cannot be given by its settings.
//!
//! - Line ends become `\n`, as jinja2's lexer makes them.
//! - `{% generation %}` … `{% endgeneration %}`, which transformers adds to mark what the assistant wrote, become
//!   `{% with %}` … `{% endwith %}`: the text between them is written, and variables set between them end there.
//! - Slices such as `messages[1:]` become a method call, `messages.__slice__(1, none, none)`. The engine's own slices
//!   panic on empty lists with a negative step, count the wrong items with one, and are no lists afterwards.

/// Name of the method that stands for a slice.
pub(crate) const SLICE: &str = "__slice__";

/// The source with all three rewritten. Lines keep their numbers.
pub(crate) fn rewrite(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let source = source.as_str();
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    let mut raw = false;
    while let Some(at) = rest.find("{%").into_iter().chain(rest.find("{#")).chain(rest.find("{{")).min() {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let length = if raw && !tag.starts_with("{%") { 2 } else { tag_length(tag) };
        let (tag, after) = tag.split_at(length);
        rest = after;
        match word(tag) {
            Some("raw") => raw = true,
            Some("endraw") => raw = false,
            Some("generation") if !raw => {
                out.push_str(&tag.replacen("generation", "with", 1));
                continue;
            }
            Some("endgeneration") if !raw => {
                out.push_str(&tag.replacen("endgeneration", "endwith", 1));
                continue;
            }
            _ => {}
        }
        if raw || tag.starts_with("{#") || !tag.contains('[') {
            out.push_str(tag);
        } else {
            rewrite_slices(&mut out, tag, 0);
        }
    }
    out.push_str(rest);
    out
}

/// The one word of a tag that has nothing else: `{%- word -%}`.
fn word(tag: &str) -> Option<&str> {
    let inner = tag.strip_prefix("{%")?.strip_suffix("%}")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
    let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
    Some(inner.trim())
}

/// Walks over the characters of an expression that are not within quotes.
struct Unquoted<'a> {
    letters: std::str::CharIndices<'a>,
}

impl<'a> Unquoted<'a> {
    fn new(text: &'a str) -> Self {
        Self { letters: text.char_indices() }
    }
}

impl Iterator for Unquoted<'_> {
    type Item = (usize, char);

    fn next(&mut self) -> Option<(usize, char)> {
        let (at, letter) = self.letters.next()?;
        if matches!(letter, '\'' | '"') {
            while let Some((_, within)) = self.letters.next() {
                if within == '\\' {
                    self.letters.next();
                } else if within == letter {
                    break;
                }
            }
        }
        Some((at, letter))
    }
}

/// Length in bytes of the tag that `text` begins with; all of it if the tag never ends.
fn tag_length(text: &str) -> usize {
    let end = match text.get(..2) {
        Some("{#") => return text.find("#}").map_or(text.len(), |at| at + 2),
        Some("{{") => "}}",
        _ => "%}",
    };
    // A dictionary may end right before the tag does: `{{ {'a': {}} }}`.
    let mut braces = 0_usize;
    for (at, letter) in Unquoted::new(text.get(2..).unwrap_or_default()) {
        let at = at + 2;
        if braces == 0 && text.get(at..).is_some_and(|rest| rest.starts_with(end)) {
            return at + 2;
        }
        match letter {
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            _ => {}
        }
    }
    text.len()
}

/// Deepest nesting of brackets that is looked into; the engine's own limit on nested expressions is lower.
const MAX_NESTING: usize = 200;

/// Writes an expression with every bracket that holds a colon of its own turned into a call. Only slices do: the
/// colons of dictionaries stand within braces.
fn rewrite_slices(out: &mut String, expression: &str, nesting: usize) {
    let mut rest = expression;
    while let Some((open, _)) = Unquoted::new(rest).find(|(_, letter)| *letter == '[') {
        let (before, bracket) = rest.split_at(open);
        out.push_str(before);
        let Some((inner, after)) = bracket_content(bracket).filter(|_| nesting < MAX_NESTING) else {
            out.push_str(bracket);
            return;
        };
        let parts = split_at_colons(inner);
        if parts.len() == 1 {
            out.push('[');
            rewrite_slices(out, inner, nesting + 1);
            out.push(']');
        } else {
            write_call(out, &parts, nesting);
        }
        rest = after;
    }
    out.push_str(rest);
}

fn write_call(out: &mut String, parts: &[&str], nesting: usize) {
    out.push('.');
    out.push_str(SLICE);
    out.push('(');
    // A fourth part is an error in jinja2 too; the method takes three.
    for (index, part) in parts.iter().enumerate() {
        out.push_str(if index > 0 { "," } else { "" });
        if part.trim().is_empty() {
            out.push_str("none");
        } else {
            rewrite_slices(out, part, nesting + 1);
        }
    }
    out.push(')');
}

/// What stands between the bracket that `text` begins with and its partner, and what stands behind that.
fn bracket_content(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, letter) in Unquoted::new(text) {
        match letter {
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return if letter == ']' { Some((text.get(1..at)?, text.get(at + 1..)?)) } else { None };
        }
    }
    None
}

fn split_at_colons(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    for (at, letter) in Unquoted::new(text) {
        match letter {
            '[' | '(' | '{' => depth += 1,
            ']' | ')' | '}' => depth = depth.saturating_sub(1),
            ':' if depth == 0 => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

#[cfg(test)]
mod tests {
    use super::rewrite;

    #[test]
    fn generation_tags_become_blocks() {
        for (source, rewritten) in [
            ("{% generation %}x{% endgeneration %}", "{% with %}x{% endwith %}"),
            ("{%- generation -%}x{%+ endgeneration +%}", "{%- with -%}x{%+ endwith +%}"),
            ("{{ '{% generation %}' }}{# {% generation %} #}", "{{ '{% generation %}' }}{# {% generation %} #}"),
            ("{{ \"\\\"{% generation %}\" }}", "{{ \"\\\"{% generation %}\" }}"),
            ("{% raw %}{% generation %}{{ {% endraw %}", "{% raw %}{% generation %}{{ {% endraw %}"),
            ("{% if add_generation_prompt %}", "{% if add_generation_prompt %}"),
            ("{{ {'a': {}}}}{% generation %}", "{{ {'a': {}}}}{% with %}"),
            ("{% generation", "{% generation"),
            ("{{ generation", "{{ generation"),
        ] {
            assert_eq!(rewrite(source), rewritten);
        }
    }

    #[test]
    fn slices_become_calls() {
        for (source, rewritten) in [
            ("{{ a[1:] }}", "{{ a.__slice__(1,none) }}"),
            ("{{ a[::-1] }}", "{{ a.__slice__(none,none,-1) }}"),
            ("{{ a['b'][:n[0]][1:2] }}", "{{ a['b'].__slice__(none,n[0]).__slice__(1,2) }}"),
            ("{% for m in m[i[1:][0]:] %}", "{% for m in m.__slice__(i.__slice__(1,none)[0],none) %}"),
            ("{{ a[{'b': 1}['b']] }}", "{{ a[{'b': 1}['b']] }}"),
            ("{{ [a, {'b': 1}, 'x:y'] }}", "{{ [a, {'b': 1}, 'x:y'] }}"),
            ("{{ a['[:'] }}", "{{ a['[:'] }}"),
            ("a[1:] {# a[1:] #}{% raw %}{{ a[1:] }}{% endraw %}", "a[1:] {# a[1:] #}{% raw %}{{ a[1:] }}{% endraw %}"),
            ("{{ a[1: }}", "{{ a[1: }}"),
        ] {
            assert_eq!(rewrite(source), rewritten);
        }
    }
}
