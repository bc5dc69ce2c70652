//! Register values as tools write them.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::{Refusal, Rule};

/// Largest file of register values, in bytes.
const MAX_BYTES: usize = 64 << 10;

/// A bank of registers, by its digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bank {
    /// 20 bytes each; collides.
    Sha1,
    /// 32 bytes each.
    Sha256,
    /// 48 bytes each.
    Sha384,
}

impl Bank {
    /// Every bank.
    pub const ALL: [Self; 3] = [Self::Sha1, Self::Sha256, Self::Sha384];

    pub(crate) const fn from_algorithm(algorithm: u16) -> Option<Self> {
        match algorithm {
            0x0004 => Some(Self::Sha1),
            0x000b => Some(Self::Sha256),
            0x000c => Some(Self::Sha384),
            _ => None,
        }
    }

    /// Name as in policies and files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
        }
    }

    /// Length of a register in bytes.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }
}

/// Values of registers. Nothing about them is verified until they hash to a quote's digest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registers(BTreeMap<(Bank, u8), Vec<u8>>);

impl Registers {
    /// No values.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets one value; nothing happens if it has another length than the bank's.
    pub fn set(&mut self, bank: Bank, index: u8, value: &[u8]) {
        if value.len() == bank.length() {
            self.0.insert((bank, index), value.to_vec());
        }
    }

    /// The value of a register.
    #[must_use]
    pub fn get(&self, bank: Bank, index: u8) -> Option<&[u8]> {
        self.0.get(&(bank, index)).map(Vec::as_slice)
    }

    /// Reads JSON: an object from bank names, or one bank without a name, to values by number: a list, or an object with the
    /// numbers as keys. Values are hexadecimal; a bank without a name is recognised by their length.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] under P5 for anything else.
    pub fn from_json(bytes: &[u8]) -> Result<Self, Refusal> {
        Rule::P5.require(bytes.len() <= MAX_BYTES, "the register values are too large")?;
        let malformed = || Rule::P5.refuse("the register values are malformed");
        let value: Value = serde_json::from_slice(bytes).map_err(|_| malformed())?;
        let mut registers = Self::new();
        let named = value.as_object().is_some_and(|object| object.keys().any(|key| key.starts_with("sha")));
        if named {
            for (name, values) in value.as_object().into_iter().flatten() {
                let bank = Bank::ALL.into_iter().find(|bank| bank.name() == name).ok_or_else(malformed)?;
                registers.read_bank(values, Some(bank)).ok_or_else(malformed)?;
            }
        } else {
            registers.read_bank(&value, None).ok_or_else(malformed)?;
        }
        Ok(registers)
    }

    fn read_bank(&mut self, values: &Value, bank: Option<Bank>) -> Option<()> {
        let mut read = |index: usize, value: &Value| {
            let bytes = hex::decode(value.as_str()?).ok()?;
            let bank = bank.or_else(|| Bank::ALL.into_iter().find(|bank| bank.length() == bytes.len()))?;
            let index = u8::try_from(index).ok().filter(|index| *index < 32)?;
            (bytes.len() == bank.length() && self.0.insert((bank, index), bytes).is_none()).then_some(())
        };
        match values {
            Value::Array(list) => list.iter().enumerate().try_for_each(|(index, value)| read(index, value)),
            Value::Object(map) => map.iter().try_for_each(|(index, value)| read(index.parse().ok()?, value)),
            _ => None,
        }
    }
}
