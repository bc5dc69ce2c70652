//! Disks of `lethe-image disk`, in memory.

use std::io::{Read as _, Seek as _};
use std::path::Path;

use deployment::Wrapped;
use lethe_image::disk::layout::{DiskMib, Layout};
use lethe_image::disk::{input, make};

/// The bytes of a small disk with this image and this document, and where in them the document begins.
///
/// # Panics
/// When the image is none, or does not fit.
#[must_use]
pub fn of(image: &Path, document: Option<&[u8]>) -> (Vec<u8>, usize) {
    let image = input::image(image).expect("the image is one");
    let layout = Layout::new(image.bytes.len() as u64, document.is_some(), DiskMib(80)).expect("it fits");
    let mut disk =
        make(&layout, &image, document.map(|toml| Wrapped { toml, endorsements: None })).expect("the disk is made");
    let mut bytes = Vec::new();
    disk.rewind().expect("the disk is in memory");
    disk.read_to_end(&mut bytes).expect("the disk is in memory");
    let place = layout.document.map_or(0, |extent| extent.offset() + 12);
    (bytes, usize::try_from(place).expect("the disk is small"))
}
