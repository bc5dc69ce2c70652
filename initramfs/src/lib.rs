//! The root file system: its list, and a deterministic cpio writer.
