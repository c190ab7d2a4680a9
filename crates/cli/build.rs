//! What Windows shows of the program.

fn main() -> std::io::Result<()> {
    task_messenger_resources::embed("task-messenger", "TaskMessenger client")
}
