//! The behaviour suite, on the server that `KOMBU_TEST_MONGODB_URL` names.

fn main() -> std::process::ExitCode {
    let transport = kombu_transport_mongodb::MongodbTransport::new();
    kombu_conformance::run(kombu_conformance::Target::from_env("MONGODB", transport))
}
