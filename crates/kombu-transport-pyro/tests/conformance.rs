//! The behaviour suite, on the broker that `KOMBU_TEST_PYRO_URL` names.

fn main() -> std::process::ExitCode {
    let transport = kombu_transport_pyro::PyroTransport::new();
    kombu_conformance::run(kombu_conformance::Target::from_env("PYRO", transport))
}
