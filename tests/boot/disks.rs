//! Machines that OVMF starts from a disk of `lethe-image disk`, with the document in its partition.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "all of this package is test code: what cannot go on says why and ends"
)]

use lethe_image::machine::description::Bus;
use lethe_tests::guest::{Guest, Plan};
use lethe_tests::{disk, document, program};

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
    let (disk, _) = disk::of(&program::image(), Some(document.as_bytes()));
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
    let (whole, place) = disk::of(&program::image(), Some(document.as_bytes()));
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
    refused(&disk::of(&program::image(), None).0, Bus::Virtio, "document-missing");
}

#[test]
fn a_model_on_an_nvme_disk_is_found_and_a_changed_one_refused() {
    let model = program::tiny_model();
    let document = document::for_model(&model, "");
    let mut plan = Plan::new(&program::image(), &model, Some(document.as_bytes()));
    plan.nvme_model = true;
    let mut guest = plan.start();
    guest.line("lethe: ready");
    drop(guest);

    let mut bytes = std::fs::read(&model).expect("the model is readable");
    *bytes.last_mut().expect("it has bytes") ^= 1;
    let mut plan = Plan::new(&program::image(), &model, Some(document.as_bytes()));
    plan.nvme_model = true;
    plan.machine.model = plan.file("model.gguf", &bytes);
    assert!(plan.start().off().contains("lethe: refused: model-digest "));
}
