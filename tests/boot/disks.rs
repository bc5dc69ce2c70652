//! Machines that OVMF starts from a disk of `lethe-image disk`, with the document in its partition.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this package is test code: what cannot go on says why and ends"
)]

use std::io::{Read as _, Seek as _};

use lethe_image::disk::layout::{DiskMib, Layout};
use lethe_image::disk::{input, make};
use lethe_image::machine::description::Bus;
use lethe_tests::guest::{Guest, Plan};
use lethe_tests::{document, program};

/// The bytes of a small disk with the image and this document, and where in them the document begins.
fn disk(document: Option<&[u8]>) -> (Vec<u8>, usize) {
    let image = input::image(&program::image()).expect("the image is one");
    let layout = Layout::new(image.bytes.len() as u64, document.is_some(), DiskMib(80)).expect("it fits");
    let mut disk = make(&layout, &image, document).expect("the disk is made");
    let mut bytes = Vec::new();
    disk.rewind().expect("the disk is in memory");
    disk.read_to_end(&mut bytes).expect("the disk is in memory");
    let place = layout.document.map_or(0, |extent| extent.offset() + 12);
    (bytes, usize::try_from(place).expect("the disk is small"))
}

fn booted(disk: &[u8], bus: Bus) -> Guest {
    let mut plan = Plan::new(&program::image(), &program::tiny_model(), None);
    plan.ovmf().disk(disk, bus);
    plan.start()
}

fn refused(disk: &[u8], bus: Bus, code: &str) {
    let console = booted(disk, bus).off();
    assert!(console.contains(&format!("lethe: refused: {code} ")), "no refusal {code}:\n{console}");
    assert!(!console.contains("lethe: ready"), "it served before it refused:\n{console}");
}

#[test]
fn a_machine_serves_from_virtio_and_from_nvme_with_the_document_of_the_disk() {
    let document = document::for_model(&program::tiny_model(), "");
    let (disk, _) = disk(Some(document.as_bytes()));
    let digest = hex::encode(deployment::digest_sha256(document.as_bytes()));
    for bus in [Bus::Virtio, Bus::Nvme] {
        let mut guest = booted(&disk, bus);
        guest.line("lethe: ready port=8443");
        let line = guest.line("lethe: stage document ");
        assert!(line.contains("source=disk") && line.contains(&digest), "{bus:?}: {line}");
    }
}

#[test]
fn a_machine_refuses_a_disk_whose_document_has_one_changed_byte() {
    let document = document::for_model(&program::tiny_model(), "");
    let (whole, place) = disk(Some(document.as_bytes()));
    let changed = |at: usize, bit: u8| {
        let mut disk = whole.clone();
        disk[at] ^= bit;
        disk
    };
    let key = document.find("size_bytes").expect("the key is there");
    refused(&changed(place + key, 1), Bus::Virtio, "document-invalid");
    let digest = document.find("sha256 = \"").expect("the key is there") + 10;
    let other = if document.as_bytes()[digest] == b'0' { 1 } else { document.as_bytes()[digest] ^ b'0' };
    refused(&changed(place + digest, other), Bus::Nvme, "model-digest");
    refused(&changed(place + document.len(), 1), Bus::Nvme, "document-disk");
}

#[test]
fn a_disk_without_a_document_leaves_the_machine_without_one() {
    refused(&disk(None).0, Bus::Virtio, "document-missing");
}
