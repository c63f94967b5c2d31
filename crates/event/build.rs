//! Generates the protobuf types from `proto/` with a compiler written in Rust: no system protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = "../../proto";
    println!("cargo:rerun-if-changed={root}");
    let files = protox::compile(["mailbeacon/v1/event.proto"], [root])?;
    prost_build::Config::new().compile_fds(files)?;
    Ok(())
}
