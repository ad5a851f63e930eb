//! The whole program, on the transport that needs no broker.

use std::env;
use std::fs;
use std::process::Command;

#[test]
fn memory_is_measured_and_reported() {
    let folder = env::temp_dir().join(format!("kombu-bench-test-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let (page, chart) = (folder.join("page.md"), folder.join("chart.svg"));
    let output = Command::new(env!("CARGO_BIN_EXE_kombu-bench"))
        .args(["memory", "--quick", "--markdown"])
        .arg(&page)
        .arg("--svg")
        .arg(&chart)
        .env_remove("KOMBU_INTEROP_PYTHON")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");

    let text = String::from_utf8(output.stdout).unwrap();
    for row in ["kombu, publish_batch", "kombu, values", "tokio channel and map", "not measured"] {
        assert!(text.contains(row), "{row:?} is not in\n{text}");
    }
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("![ratios](chart.svg)"), "{page}");
    assert!(page.contains("| contender | msg/s |"), "{page}");
    let chart = fs::read_to_string(chart).unwrap();
    assert!(chart.starts_with("<svg") && chart.contains("class=\"ours\""), "{chart}");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn codecs_are_measured_without_a_broker() {
    let output = Command::new(env!("CARGO_BIN_EXE_kombu-bench"))
        .args(["codec", "--quick"])
        .env_remove("KOMBU_INTEROP_PYTHON")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    for row in ["bare serde_json", "json, envelope", "msgpack", "pickle", "yaml"] {
        assert!(text.contains(row), "{row:?} is not in\n{text}");
    }
}

#[test]
fn a_missing_broker_is_an_error() {
    let output = Command::new(env!("CARGO_BIN_EXE_kombu-bench"))
        .args(["amqp", "--quick"])
        .env_remove("KOMBU_INTEROP_PYTHON")
        .env_remove("KOMBU_TEST_AMQP_URL")
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(errors.contains("KOMBU_TEST_AMQP_URL is not set"), "{errors}");
}
