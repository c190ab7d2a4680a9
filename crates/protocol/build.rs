//! Compiles the messages without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let messages = protox::compile(["proto/task_messenger.proto"], ["proto"])?;
    // `Bytes` point into the frame that was received; ordered maps make equal templates equal bytes.
    let mut config = prost_build::Config::new();
    config.bytes(["."]).btree_map(["."]);
    // Much larger than what else is sent, and much rarer.
    config.boxed(".task_messenger.Answer.answer.status");
    config.compile_fds(messages)?;
    Ok(())
}
