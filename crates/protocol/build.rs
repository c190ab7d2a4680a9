//! Compiles the messages without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let messages = protox::compile(["proto/task_messenger.proto"], ["proto"])?;
    // `Bytes` point into the frame that was received; ordered maps make equal templates equal bytes.
    prost_build::Config::new().bytes(["."]).btree_map(["."]).compile_fds(messages)?;
    Ok(())
}
