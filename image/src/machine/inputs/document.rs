//! The deployment document a machine is given, from a file or from the disk it boots.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use deployment::Document;

use crate::disk::reader;
use crate::machine::Error;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::inputs::fixture::file;

    #[test]
    fn a_document_over_the_limit_is_read_no_further_than_needed_to_refuse_it() {
        let document = file(&vec![b'#'; deployment::MAX_BYTES * 3]);
        let bytes = read_document(document.path()).unwrap();
        assert_eq!(bytes.len(), deployment::MAX_BYTES + 1);
        assert!(matches!(parse_document(document.path(), &bytes), Err(Error::Document { .. })));
    }
}
