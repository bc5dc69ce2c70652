//! A reader of DER (X.690): definite lengths in their shortest form, single-byte tags, nothing past the end.

/// Tags that the structures here use.
pub(crate) mod tag {
    pub(crate) const BOOLEAN: u8 = 0x01;
    pub(crate) const INTEGER: u8 = 0x02;
    pub(crate) const BIT_STRING: u8 = 0x03;
    pub(crate) const OCTET_STRING: u8 = 0x04;
    pub(crate) const NULL: u8 = 0x05;
    pub(crate) const OID: u8 = 0x06;
    pub(crate) const ENUMERATED: u8 = 0x0a;
    pub(crate) const UTF8_STRING: u8 = 0x0c;
    pub(crate) const PRINTABLE_STRING: u8 = 0x13;
    pub(crate) const IA5_STRING: u8 = 0x16;
    pub(crate) const UTC_TIME: u8 = 0x17;
    pub(crate) const GENERALIZED_TIME: u8 = 0x18;
    pub(crate) const SEQUENCE: u8 = 0x30;
    pub(crate) const SET: u8 = 0x31;

    /// Context-specific, constructed.
    pub(crate) const fn context(number: u8) -> u8 {
        0xa0 | number
    }
}

/// A position in DER.
#[derive(Debug, Clone)]
pub(crate) struct Der<'a>(&'a [u8]);

/// One element.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    /// Tag, length and content.
    pub(crate) raw: &'a [u8],
    pub(crate) content: &'a [u8],
}

impl<'a> Der<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next element.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The next element, whatever its tag.
    pub(crate) fn any(&mut self) -> Option<Element<'a>> {
        let [tag, first, ..] = *self.0 else { return None };
        // Tags of several bytes do not occur in the structures read here.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (header, length) = match first {
            0..=0x7f => (2, usize::from(first)),
            0x81..=0x83 => {
                let octets = usize::from(first & 0x7f);
                let bytes = self.0.get(2..2 + octets)?;
                let length = bytes.iter().fold(0_usize, |length, byte| length << 8 | usize::from(*byte));
                // The shortest form: no leading zero, and no long form for what fits the short one.
                if bytes.first() == Some(&0) || length < 0x80 {
                    return None;
                }
                (2 + octets, length)
            }
            _ => return None,
        };
        let raw = self.0.get(..header.checked_add(length)?)?;
        self.0 = self.0.get(raw.len()..)?;
        Some(Element { tag, raw, content: raw.get(header..)? })
    }

    /// The next element, which must have this tag.
    pub(crate) fn element(&mut self, tag: u8) -> Option<Element<'a>> {
        let element = self.any()?;
        (element.tag == tag).then_some(element)
    }

    /// The content of the next element, which must have this tag.
    pub(crate) fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element(tag).map(|element| element.content)
    }

    /// The next element if it has this tag; `None` inside if it has another one or there is none.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        if self.peek() == Some(tag) { self.content(tag).map(Some) } else { Some(None) }
    }

    /// A nested structure.
    pub(crate) fn nested(&mut self, tag: u8) -> Option<Der<'a>> {
        self.content(tag).map(Der)
    }

    /// An unsigned integer's magnitude, without a leading zero. Negative and padded ones are refused.
    pub(crate) fn unsigned(&mut self) -> Option<&'a [u8]> {
        match self.content(tag::INTEGER)? {
            [] => None,
            [0] => Some(&[0]),
            [0, rest @ ..] => (rest.first()? & 0x80 != 0).then_some(rest),
            bytes => (bytes.first()? & 0x80 == 0).then_some(bytes),
        }
    }

    /// An unsigned integer of at most 32 bits.
    pub(crate) fn small(&mut self) -> Option<u32> {
        let bytes = self.unsigned()?;
        (bytes.len() <= 4).then(|| bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    /// The bytes of a bit string whose length is a multiple of eight bits.
    pub(crate) fn bit_string(&mut self) -> Option<&'a [u8]> {
        match self.content(tag::BIT_STRING)? {
            [0, bytes @ ..] => Some(bytes),
            _ => None,
        }
    }

    /// A boolean; DER knows 0x00 and 0xff.
    pub(crate) fn boolean(&mut self) -> Option<bool> {
        match self.content(tag::BOOLEAN)? {
            [0] => Some(false),
            [0xff] => Some(true),
            _ => None,
        }
    }

    /// `Some` at the end, nothing if bytes are left.
    pub(crate) fn end(&self) -> Option<()> {
        self.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Der, tag};

    #[test]
    fn lengths_in_their_shortest_form_are_read() {
        let mut long = vec![0x04, 0x81, 0x80];
        long.extend([7; 0x80]);
        assert_eq!(Der::new(&long).content(tag::OCTET_STRING).map(<[u8]>::len), Some(0x80));
        assert_eq!(Der::new(&[0x02, 0x02, 0x00, 0x80]).unsigned(), Some(&[0x80][..]));
    }

    #[test]
    fn other_forms_are_refused() {
        for bytes in [
            &[0x04, 0x81, 0x01, 0x00][..], // long form of a short length
            &[0x04, 0x80, 0x00, 0x00],     // indefinite
            &[0x04, 0x82, 0x00, 0x80],     // leading zero
            &[0x04, 0x05, 0x00],           // past the end
            &[0x1f, 0x01, 0x00],           // long tag
            &[0x04],
        ] {
            assert!(Der::new(bytes).any().is_none(), "{bytes:02x?}");
        }
        assert!(Der::new(&[0x02, 0x02, 0x00, 0x7f]).unsigned().is_none(), "padded");
        assert!(Der::new(&[0x02, 0x01, 0x80]).unsigned().is_none(), "negative");
        assert!(Der::new(&[0x03, 0x02, 0x01, 0x80]).bit_string().is_none(), "unused bits");
        assert!(Der::new(&[0x01, 0x01, 0x01]).boolean().is_none());
    }
}
