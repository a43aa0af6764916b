//! Fuzz targets of this crate's decoders: see docs/fuzzing.md.

mod entries;
mod images;
mod rows;
mod seeds;

/// What `bincode` makes room for before it looks whether there is as much: the bytes of one text, up to the limit of a value. Nothing
/// is written there, so that it costs an address range and no memory.
const BINCODE_BYTES: usize = 64 << 20;
