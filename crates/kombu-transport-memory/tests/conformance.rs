//! The behaviour suite.

fn main() -> std::process::ExitCode {
    let target =
        kombu_conformance::Target::new("memory://", kombu_transport_memory::MemoryTransport::new());
    kombu_conformance::run(target)
}
