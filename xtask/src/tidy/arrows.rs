//! Which crates of the workspace may depend on which.

use anyhow::Result;
use serde_json::Value;

use crate::metadata::{elements, metadata, text};

/// Says which dependencies between crates of the workspace go the wrong way.
pub(super) fn check() -> Result<Vec<String>> {
    let workspace = metadata(&["--no-deps"])?;
    Ok(elements(&workspace["packages"]).flat_map(wrong).collect())
}

/// The wrong arrows of one package.
fn wrong(package: &Value) -> Vec<String> {
    let name = text(&package["name"]);
    elements(&package["dependencies"])
        .filter(|dependency| !dependency["path"].is_null())
        .filter(|dependency| !allowed(name, text(&dependency["name"]), dependency["kind"] == "dev"))
        .map(|dependency| format!("{name} must not depend on {}", text(&dependency["name"])))
        .collect()
}

/// Whether a crate may depend on another.
fn allowed(from: &str, to: &str, for_tests: bool) -> bool {
    if to == "kombu-conformance" {
        return for_tests && from != "kombu-core" && from != "xtask";
    }
    match from {
        "xtask" => false,
        // Their tests need some transport.
        "kombu-core" => for_tests && to == "kombu-transport-memory",
        "kombu-conformance" => to == "kombu-core" || (for_tests && to == "kombu-transport-memory"),
        "kombu-virtual" => to == "kombu-core",
        "kombu" | "kombu-bench" => true,
        "kombu-cli" => to == "kombu",
        _ => to == "kombu-core" || to == "kombu-virtual",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrows_go_downwards() {
        assert!(allowed("kombu-transport-amqp", "kombu-core", false));
        assert!(!allowed("kombu-core", "kombu-virtual", false));
        assert!(allowed("kombu-conformance", "kombu-transport-memory", true));
        assert!(!allowed("kombu-conformance", "kombu-transport-memory", false));
        assert!(!allowed("kombu-transport-amqp", "kombu-conformance", false));
        assert!(!allowed("xtask", "kombu-core", true));
    }
}
