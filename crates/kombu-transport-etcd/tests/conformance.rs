//! The behaviour suite, on the cluster that `KOMBU_TEST_ETCD_URL` names.

fn main() -> std::process::ExitCode {
    let transport = kombu_transport_etcd::EtcdTransport::new();
    kombu_conformance::run(kombu_conformance::Target::from_env("ETCD", transport))
}
