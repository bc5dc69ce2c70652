//! Calculators of what a platform will report for an image.
