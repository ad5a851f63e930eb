//! The behaviour suite, on the server that `KOMBU_TEST_REDIS_URL` names.

fn main() -> std::process::ExitCode {
    let transport = kombu_transport_redis::RedisTransport::new();
    kombu_conformance::run(kombu_conformance::Target::from_env("REDIS", transport))
}
