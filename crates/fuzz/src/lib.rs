//! What fuzz targets share. A target is a test beside a decoder: `cargo test` runs it for a moment with inputs that are drawn
//! anew each time, `cargo bolero test` for as long as one likes, led by coverage (docs/fuzzing.md).
//!
//! Of bytes that are nothing but random no decoder sees more than its first check. So a target makes a value ([`Source::any`]),
//! encodes it, damages that ([`Source::damage`]), and makes checksums good again where there are some; what it asserts is in
//! [`Target`]. All of it follows from the input's bytes, so that whoever draws these draws everything.

mod any;
mod damage;
mod memory;
mod run;
mod source;
mod target;

pub use any::Unsuited;
pub use bolero;
pub use memory::peak_bytes;
pub use run::{Seen, TIME};
pub use source::Source;
pub use target::{Codec, Target};
