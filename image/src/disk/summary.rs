//! What was written, for people and for programs.

use std::fmt;
use std::path::PathBuf;

use anyhow::Context as _;
use serde_json::json;

use super::format::Format;
use super::input::Image;
use super::layout::{self, Layout, SECTOR};
use super::output::Written;
use super::sparse::MIB;
use super::table;
use crate::build::manifest::{Authenticode, Document, Part};

/// A written disk.
pub(super) struct Summary {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    pub(super) written: Written,
    /// SHA-256 of the disk itself, which is the same in every format.
    pub(super) sha256: [u8; 32],
    pub(super) layout: Layout,
    pub(super) image: Image,
    pub(super) document: Option<Vec<u8>>,
}

impl Summary {
    /// One JSON object, its keys in byte order.
    pub(super) fn json(&self) -> anyhow::Result<String> {
        let partitions: Vec<_> = table::partitions(&self.layout)
            .iter()
            .map(|(number, partition)| {
                json!({
                    "number": number,
                    "name": partition.name,
                    "type": partition.part_type_guid.guid.to_string(),
                    "guid": partition.part_guid.to_string(),
                    "offset": partition.first_lba * SECTOR,
                    "size": (partition.last_lba + 1 - partition.first_lba) * SECTOR,
                })
            })
            .collect();
        let mut value = json!({
            "file": {
                "path": self.path,
                "format": self.format.name(),
                "sha256": hex::encode(self.written.sha256),
                "size": self.written.length,
            },
            "disk": {
                "sha256": hex::encode(self.sha256),
                "size": self.layout.size_mib * MIB,
                "guid": layout::DISK.to_string(),
            },
            "partitions": partitions,
            "image": Part::of(&self.image.bytes),
            "authenticode": Authenticode::from(self.image.digests),
            "document": self.document.as_deref().map(Document::of),
        });
        value.sort_all_objects();
        let mut text = serde_json::to_string_pretty(&value).context("cannot print the disk")?;
        text.push('\n');
        Ok(text)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let document = match &self.document {
            Some(document) => format!("sha256 {}", hex::encode(deployment::digest_sha256(document))),
            None => "none on this disk".to_owned(),
        };
        writeln!(
            f,
            "{}: {}, a disk of {} MiB\n  sha256    {}\n  document  {document}",
            self.path.display(),
            self.format.name(),
            self.layout.size_mib,
            hex::encode(self.written.sha256),
        )
    }
}
