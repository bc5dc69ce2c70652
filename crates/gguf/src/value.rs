//! Metadata values: a scalar, a text, or an array left where it lies in the file.

use crate::{MAX_HEADER_BYTES, Refused, cursor::Cursor};

/// Type of a metadata value, numbered as in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    F32,
    Bool,
    Text,
    U64,
    I64,
    F64,
}

impl Kind {
    /// The type with this number; arrays (9) are no element type and are handled by the caller.
    fn from_number(number: u32, offset: u64) -> Result<Self, Refused> {
        Ok(match number {
            0 => Self::U8,
            1 => Self::I8,
            2 => Self::U16,
            3 => Self::I16,
            4 => Self::U32,
            5 => Self::I32,
            6 => Self::F32,
            7 => Self::Bool,
            8 => Self::Text,
            10 => Self::U64,
            11 => Self::I64,
            12 => Self::F64,
            _ => return Err(Refused::ValueType { number, offset }),
        })
    }

    /// Size of one element in bytes; a text has none of its own.
    fn size(self) -> u64 {
        match self {
            Self::U8 | Self::I8 | Self::Bool => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
            Self::Text => 0,
        }
    }
}

const ARRAY: u32 = 9;

/// A value as the file has it. Integers keep the type they were written with: llama.cpp insists on it.
#[derive(Debug, Clone)]
pub(crate) enum Value<'a> {
    Integer { kind: Kind, number: i128 },
    Float { kind: Kind, number: f64 },
    Bool(bool),
    Text(&'a str),
    Array(Array<'a>),
}

/// An array whose elements were walked once, so that walking them again cannot fail.
#[derive(Debug, Clone)]
pub(crate) struct Array<'a> {
    pub(crate) kind: Kind,
    pub(crate) count: u64,
    bytes: &'a [u8],
}

impl<'a> Value<'a> {
    /// Reads type and value.
    pub(crate) fn read(cursor: &mut Cursor<'a>) -> Result<Self, Refused> {
        let offset = cursor.offset();
        let number = cursor.u32()?;
        if number == ARRAY {
            return Array::read(cursor).map(Self::Array);
        }
        Self::scalar(Kind::from_number(number, offset)?, cursor)
    }

    fn scalar(kind: Kind, cursor: &mut Cursor<'a>) -> Result<Self, Refused> {
        if kind == Kind::Text {
            return cursor.text("a text", MAX_HEADER_BYTES).map(Self::Text);
        }
        let offset = cursor.offset();
        let bytes = cursor.take(kind.size())?;
        let bits = little_endian(bytes);
        Ok(match kind {
            Kind::Bool if bits > 1 => return Err(Refused::ValueType { number: 7, offset }),
            Kind::Bool => Self::Bool(bits == 1),
            Kind::F32 => Self::Float { kind, number: f64::from(f32::from_bits(bits as u32)) },
            Kind::F64 => Self::Float { kind, number: f64::from_bits(bits) },
            Kind::I8 => Self::Integer { kind, number: i128::from(bits as u8 as i8) },
            Kind::I16 => Self::Integer { kind, number: i128::from(bits as u16 as i16) },
            Kind::I32 => Self::Integer { kind, number: i128::from(bits as u32 as i32) },
            Kind::I64 => Self::Integer { kind, number: i128::from(bits as i64) },
            Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 | Kind::Text => {
                Self::Integer { kind, number: i128::from(bits) }
            }
        })
    }
}

impl<'a> Array<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, Refused> {
        let offset = cursor.offset();
        let kind = Kind::from_number(cursor.u32()?, offset)?;
        let count_offset = cursor.offset();
        let count = cursor.u64()?;
        // Every element takes at least one byte (a text eight), so a count above what is left is a lie; this also
        // keeps the product below from overflowing.
        if count > cursor.left() {
            return Err(Refused::Truncated { offset: count_offset, needed: count, left: cursor.left() });
        }
        if kind != Kind::Text {
            let bytes = cursor.take(count.saturating_mul(kind.size()))?;
            return Ok(Self { kind, count, bytes });
        }
        let start = cursor.clone();
        for _ in 0..count {
            cursor.text("a text", MAX_HEADER_BYTES)?;
        }
        let length = cursor.offset() - start.offset();
        Ok(Self { kind, count, bytes: start.clone().take(length)? })
    }

    /// The texts of an array of texts; nothing for any other array.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &'a str> {
        let count = if self.kind == Kind::Text { self.count } else { 0 };
        let mut cursor = Cursor::new(self.bytes, self.bytes.len() as u64);
        (0..count).map_while(move |_| cursor.text("a text", u64::MAX).ok())
    }

    /// The elements of an array of integers; nothing for any other array.
    pub(crate) fn integers(&self) -> impl Iterator<Item = i128> {
        self.scalars().filter_map(|value| match value {
            Value::Integer { number, .. } => Some(number),
            _ => None,
        })
    }

    /// The elements of an array of floating-point numbers; nothing for any other array.
    pub(crate) fn floats(&self) -> impl Iterator<Item = f64> {
        self.scalars().filter_map(|value| match value {
            Value::Float { number, .. } => Some(number),
            _ => None,
        })
    }

    fn scalars(&self) -> impl Iterator<Item = Value<'a>> {
        let kind = self.kind;
        let count = if kind == Kind::Text { 0 } else { self.count };
        let mut cursor = Cursor::new(self.bytes, self.bytes.len() as u64);
        (0..count).map_while(move |_| Value::scalar(kind, &mut cursor).ok())
    }
}

fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |bits, byte| (bits << 8) | u64::from(*byte))
}
