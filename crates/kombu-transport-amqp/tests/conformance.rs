//! The behaviour suite, on the broker that `KOMBU_TEST_AMQP_URL` names.

fn main() -> std::process::ExitCode {
    let transport = kombu_transport_amqp::AmqpTransport::new();
    kombu_conformance::run(kombu_conformance::Target::from_env("AMQP", transport))
}
