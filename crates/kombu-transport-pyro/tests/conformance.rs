//! The behaviour suite, on the broker that `KOMBU_TEST_PYRO_URL` names.

mod detour;

fn main() -> std::process::ExitCode {
    let transport = kombu_transport_pyro::PyroTransport::new();
    let target = kombu_conformance::Target::from_env("PYRO", transport);
    kombu_conformance::run(target.detour(detour::NameServer))
}
