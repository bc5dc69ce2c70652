//! ggml's tensor types: how many elements share a block, how many bytes a block takes, and whether it can hold weights.
//!
//! Sizes from `ggml-common.h` (the `static_assert`s below each block), numbers from `enum ggml_type` in `ggml.h`.

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TensorType {
    pub(crate) number: u32,
    pub(crate) name: &'static str,
    pub(crate) block_elements: u64,
    pub(crate) block_bytes: u64,
}

const fn row(number: u32, name: &'static str, block_elements: u64, block_bytes: u64) -> TensorType {
    TensorType { number, name, block_elements, block_bytes }
}

/// Types that llama.cpp can multiply with and look rows up in on a CPU.
///
/// Left out, because computing with them as weights aborts: the integers, F64, and Q8_1 and Q8_K, which exist only
/// for intermediate results. Numbers 4, 5, 31 to 33 and 36 to 38 were removed from the format.
const WEIGHTS: &[TensorType] = &[
    row(0, "F32", 1, 4),
    row(1, "F16", 1, 2),
    row(2, "Q4_0", 32, 18),
    row(3, "Q4_1", 32, 20),
    row(6, "Q5_0", 32, 22),
    row(7, "Q5_1", 32, 24),
    row(8, "Q8_0", 32, 34),
    row(10, "Q2_K", 256, 84),
    row(11, "Q3_K", 256, 110),
    row(12, "Q4_K", 256, 144),
    row(13, "Q5_K", 256, 176),
    row(14, "Q6_K", 256, 210),
    row(16, "IQ2_XXS", 256, 66),
    row(17, "IQ2_XS", 256, 74),
    row(18, "IQ3_XXS", 256, 98),
    row(19, "IQ1_S", 256, 50),
    row(20, "IQ4_NL", 32, 18),
    row(21, "IQ3_S", 256, 110),
    row(22, "IQ2_S", 256, 82),
    row(23, "IQ4_XS", 256, 136),
    row(29, "IQ1_M", 256, 56),
    row(30, "BF16", 1, 2),
    row(34, "TQ1_0", 256, 54),
    row(35, "TQ2_0", 256, 66),
    row(39, "MXFP4", 32, 17),
    row(40, "NVFP4", 64, 36),
    row(41, "Q1_0", 128, 18),
    row(42, "Q2_0", 64, 18),
];

impl TensorType {
    /// The type with this number, if weights may have it.
    pub(crate) fn of_weights(number: u32) -> Option<&'static Self> {
        WEIGHTS.iter().find(|row| row.number == number)
    }

    /// Size in bytes of `elements` elements in whole blocks, if it can be represented.
    pub(crate) fn bytes(&self, elements: u64) -> Option<u64> {
        (elements / self.block_elements).checked_mul(self.block_bytes)
    }
}
