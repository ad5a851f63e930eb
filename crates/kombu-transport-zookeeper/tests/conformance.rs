//! The behaviour suite, on the ensemble that `KOMBU_TEST_ZOOKEEPER_URL` names.

fn main() -> std::process::ExitCode {
    let transport = kombu_transport_zookeeper::ZooKeeperTransport::new();
    kombu_conformance::run(kombu_conformance::Target::from_env("ZOOKEEPER", transport))
}
