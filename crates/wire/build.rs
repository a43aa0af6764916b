//! Generates the protobuf types and services of `proto/` in pure Rust: no protoc is needed.

use std::path::PathBuf;

/// The public interface: what server reflection shows.
const PUBLIC: &[&str] = &[
    "quorate/v1/common.proto",
    "quorate/v1/publisher.proto",
    "quorate/v1/consumer.proto",
    "quorate/v1/reader.proto",
    "quorate/v1/admin.proto",
    "quorate/v1/requests.proto",
    "quorate/v1/quotas.proto",
    "quorate/v1/cluster.proto",
    "quorate/v1/backup.proto",
    "quorate/v1/access.proto",
];
const PEER: &[&str] = &["quorate/peer/v1/peer.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", root.display());
    println!("cargo:rerun-if-changed=build.rs");

    let mut public = protox::Compiler::new([&root])?;
    public.include_imports(true).include_source_info(false).open_files(PUBLIC)?;
    std::fs::write(out.join("quorate.v1.bin"), public.encode_file_descriptor_set())?;

    let all = protox::compile([PUBLIC, PEER].concat(), [&root])?;
    tonic_prost_build::configure()
        .bytes(".")
        // Messages stay encoded on their way through a node: see `carried`.
        .extern_path(".quorate.v1.Run", "crate::carried::Run")
        .extern_path(".quorate.v1.PublishRequest", "crate::carried::PublishRequest")
        .extern_path(".quorate.v1.TopicMessages", "crate::carried::TopicMessages")
        .compile_fds(all)?;
    Ok(())
}
