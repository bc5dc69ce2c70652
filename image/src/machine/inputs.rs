//! Checks what `boot` was given before a machine is started: a clear error now saves a boot that would be refused.

use std::fs::File;
use std::io::{BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use deployment::Document;
use sha2::{Digest as _, Sha256};

use super::Error;
use super::description::{Fixed, Network};
use crate::disk::reader;
use crate::progress::Progress;

const MIB: u64 = 1024 * 1024;
/// Kernel, unpacked initramfs, server and its threads, in MiB.
const BASE_MIB: u64 = 128;
/// Cache and buffers of a model whose head cannot be read, in bytes.
const UNKNOWN_BYTES: u64 = 1 << 30;

/// Memory of a machine, written `512M` or `2G`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryMib(pub u64);

impl FromStr for MemoryMib {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "write a size such as 512M or 2G".to_owned();
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.get(number.len()..).unwrap_or_default().to_ascii_uppercase().as_str() {
            "M" | "MIB" => 1,
            "G" | "GIB" => 1024,
            _ => return Err(wrong()),
        };
        let mib = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)?;
        if (64..=16 * MIB).contains(&mib) { Ok(Self(mib)) } else { Err("between 64M and 16384G".to_owned()) }
    }
}

/// The deployment document's bytes; at most one more than is allowed, which the parser then refuses.
///
/// # Errors
/// If the file cannot be read.
pub fn read_document(path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let limit = deployment::MAX_BYTES as u64 + 1;
    let file = File::open(path).map_err(Error::file("read the deployment document", path))?;
    file.take(limit).read_to_end(&mut bytes).map_err(Error::file("read the deployment document", path))?;
    Ok(bytes)
}

/// The document those bytes are.
///
/// # Errors
/// [`Error::Document`] with the key and the reason.
pub fn parse_document(path: &Path, bytes: &[u8]) -> Result<Document, Error> {
    deployment::parse(bytes).map_err(|source| Error::Document { path: path.to_owned(), source })
}

/// An absolute path to a regular file.
///
/// # Errors
/// If there is none.
pub fn existing_file(what: &'static str, option: &'static str, path: &Path) -> Result<PathBuf, Error> {
    let input = |reason: String| Error::Input {
        what: format!("{what} {}: {reason}", path.display()),
        help: format!("name it with {option} FILE"),
    };
    let absolute = path.canonicalize().map_err(|error| input(error.to_string()))?;
    if !absolute.is_file() {
        return Err(input("not a file".to_owned()));
    }
    Ok(absolute)
}

/// SHA-256 of the image, once it is known to be an EFI program.
///
/// # Errors
/// If it cannot be read or is something else.
pub fn digest_image(image: &Path) -> Result<String, Error> {
    let mut file = File::open(image).map_err(Error::file("read the image", image))?;
    let mut magic = [0; 2];
    file.read_exact(&mut magic).map_err(Error::file("read the image", image))?;
    if magic != *b"MZ" {
        return Err(Error::Input {
            what: format!("the image {} is no EFI program", image.display()),
            help: "make one with `lethe-image build`".to_owned(),
        });
    }
    let mut digest = Sha256::new();
    digest.update(magic);
    std::io::copy(&mut file, &mut digest).map_err(Error::file("read the image", image))?;
    Ok(hex::encode(digest.finalize()))
}

/// SHA-256 of the disk a machine boots from.
///
/// # Errors
/// If it cannot be read.
pub fn digest_disk(disk: &Path, progress: &Progress) -> Result<String, Error> {
    let file = File::open(disk).map_err(Error::file("read the disk", disk))?;
    let length = file.metadata().map_err(Error::file("read the disk", disk))?.len();
    let mut source = progress.reader("Hashing", length, BufReader::with_capacity(1 << 20, file));
    let mut digest = Sha256::new();
    std::io::copy(&mut source, &mut digest).map_err(Error::file("read the disk", disk))?;
    Ok(hex::encode(digest.finalize()))
}

/// The bytes of the document on the disk a machine boots from, if there is one.
///
/// # Errors
/// If it is no raw disk, or holds a damaged document.
pub fn document_on_disk(disk: &Path) -> Result<Option<Vec<u8>>, Error> {
    reader::document(disk).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        Error::Input {
            what: format!("the disk {} is not booted: {error}{cause}", disk.display()),
            help: "write one with `lethe-image disk --format raw`".to_owned(),
        }
    })
}

/// Compares the model file with the document: its size, then its digest.
///
/// # Errors
/// [`Error::WrongModel`] if the machine would refuse it.
pub fn check_model(path: &Path, document: &Document, progress: &Progress) -> Result<(), Error> {
    let wanted = &document.model;
    let file = File::open(path).map_err(Error::file("read the model", path))?;
    let size = file.metadata().map_err(Error::file("read the model", path))?.len();
    if size < wanted.size_bytes {
        let what = format!("{} has {size} bytes, the document says {}", path.display(), wanted.size_bytes);
        return Err(Error::WrongModel { what });
    }
    let mut digest = Sha256::new();
    let source = BufReader::with_capacity(1 << 20, file.take(wanted.size_bytes));
    let mut source = progress.reader("Checking", wanted.size_bytes, source);
    std::io::copy(&mut source, &mut digest).map_err(Error::file("read the model", path))?;
    let found = hex::encode(digest.finalize());
    let expected = hex::encode(wanted.sha256);
    if found == expected {
        Ok(())
    } else {
        let what = format!("{} has SHA-256 {found}, the document says {expected}", path.display());
        Err(Error::WrongModel { what })
    }
}

/// Memory for a model of this size under this document, in MiB: the weights (twice where the machine `repacks` them while loading), the
/// cache of keys and values, what a step of the engine needs, and everything else.
#[must_use]
pub fn memory_for(model: &Path, model_bytes: u64, document: Option<&Document>, repacks: bool) -> u64 {
    let engine = document.map_or_else(deployment::Engine::default, |document| document.engine.clone());
    let header = File::open(model).ok().and_then(|file| gguf::check_reader(BufReader::new(file)).ok());
    let weights = model_bytes.saturating_mul(if repacks && engine.repack { 2 } else { 1 });
    let work = header.map_or(UNKNOWN_BYTES, |header| {
        let context = u64::from(engine.context_tokens.min(header.context_length));
        let sequences = u64::from(engine.parallel_sequences);
        let batch = u64::from(engine.prefill_chunk_tokens) + sequences;
        // Cached values have two bytes; scores of a batch, activations and logits four.
        let cache = header.attention.cached_per_token.saturating_mul(2 * context).saturating_mul(sequences);
        let scores = u64::from(header.attention.heads).saturating_mul(4 * context).saturating_mul(batch);
        let activations = u64::from(header.embedding_length).saturating_mul(4 * 32).saturating_mul(batch);
        let logits = u64::from(header.vocabulary_size).saturating_mul(4 * 4).saturating_mul(sequences);
        [cache, scores.saturating_mul(2), activations, logits].into_iter().fold(0, u64::saturating_add)
    });
    (weights.saturating_add(work).div_ceil(MIB) + BASE_MIB).next_multiple_of(64)
}

/// How the document's port is reached from this computer.
///
/// # Errors
/// If the document listens where nothing can be forwarded to, or no port is free.
pub fn network(document: Option<&Document>, port: Option<u16>) -> Result<Network, Error> {
    let listen = document.map_or_else(deployment::Listen::default, |document| document.listen.clone());
    if listen.address.ip().is_loopback() {
        return Err(Error::Input {
            what: format!("the document listens on {}, which is the machine's own loopback", listen.address),
            help: "write address = \"0.0.0.0:8443\" under [listen]".to_owned(),
        });
    }
    let fixed = match document.map(|document| &document.network) {
        Some(deployment::Network::Static { address: IpAddr::V4(address), prefix_bits, gateway }) => {
            let gateway = match gateway {
                Some(IpAddr::V4(gateway)) => Some(*gateway),
                _ => None,
            };
            Some(Fixed { address: *address, prefix_bits: (*prefix_bits).min(24), gateway })
        }
        Some(deployment::Network::Static { address: IpAddr::V6(address), .. }) => {
            return Err(Error::Input {
                what: format!("the document gives the machine the address {address}; only IPv4 can be forwarded here"),
                help: "use an IPv4 address or mode = \"dhcp\" under [network]".to_owned(),
            });
        }
        Some(deployment::Network::Dhcp) | None => None,
    };
    Ok(Network { host_port: host_port(port)?, guest_port: listen.address.port(), fixed })
}

/// The port that was asked for if it is free, or a free one.
fn host_port(port: Option<u16>) -> Result<u16, Error> {
    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, port.unwrap_or(0))).and_then(|listener| listener.local_addr());
    bound.map(|address| address.port()).map_err(|error| Error::Input {
        what: format!("port {} on 127.0.0.1 cannot be used: {error}", port.unwrap_or(0)),
        help: "choose another with --port, or leave it out for a free one".to_owned(),
    })
}

#[cfg(test)]
mod tests;
