//! Receipts that travel inside of sealed answers, behind the bytes that they are about.

use super::draft::Receipt;

/// Field of a sealed request that asks for the receipt ([`IN_TRAILER`]), and trailer field of the sealed answer that has it.
pub const RECEIPT_FIELD: &str = "x-receipt";

/// Value of [`RECEIPT_FIELD`] in a request.
pub const IN_TRAILER: &str = "trailer";

/// The least size that the part of a padded answer with the receipt has, in bytes: receipts of different answers differ in length,
/// by digits of counts, and are shorter than this.
pub const RECEIPT_BUCKET: usize = 4096;

impl Receipt {
    /// The document in printable ASCII, as a field's value may be: the same JSON, with other characters escaped.
    #[must_use]
    pub fn field(&self) -> String {
        let json = self.json();
        let mut field = String::with_capacity(json.len());
        for character in json.chars() {
            if matches!(character, ' '..='~') {
                field.push(character);
            } else {
                // canonical JSON has other characters within strings alone
                for unit in character.encode_utf16(&mut [0; 2]) {
                    field.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
        field
    }
}
