//! The layers inside `kombu-core`: what a transport needs never uses what a user holds.

use super::SourceFile;

/// Modules that transports are written against, and what those stand on.
const LOWER: &[&str] = &[
    "codec",
    "compression",
    "entity",
    "error",
    "failover",
    "id",
    "message",
    "options",
    "retry",
    "suggest",
    "tls",
    "transport",
    "url",
    "value",
];
/// Modules of handles and what is built of them.
const UPPER: &[&str] = &[
    "blocking",
    "channel",
    "connection",
    "consumer",
    "pool",
    "producer",
    "rpc",
    "simple",
    "worker",
];

/// Says where a lower module uses an upper one.
pub(super) fn check(file: &SourceFile) -> Vec<String> {
    let Some(path) = file.path.strip_prefix("crates/kombu-core/src/") else {
        return Vec::new();
    };
    let module = path.split(['/', '.']).next().unwrap_or_default();
    if !LOWER.contains(&module) {
        return Vec::new();
    }
    let lines = file.text.lines().enumerate();
    lines
        .take_while(|(_, line)| *line != "#[cfg(test)]")
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .flat_map(|(number, line)| {
            UPPER
                .iter()
                .filter(|upper| uses(line, upper))
                .map(move |upper| format!("{}:{}: {module} uses {upper}", file.path, number + 1))
        })
        .collect()
}

/// Whether a line names a module of this crate.
fn uses(line: &str, module: &str) -> bool {
    let path = format!("crate::{module}");
    line.match_indices(&path).any(|(at, _)| {
        let after = line[at + path.len()..].chars().next();
        !after.is_some_and(|after| after.is_alphanumeric() || after == '_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_line(path: &str, line: &str) -> usize {
        let file =
            SourceFile { path: format!("crates/kombu-core/src/{path}"), text: line.to_owned() };
        check(&file).len()
    }

    #[test]
    fn only_lower_modules_are_held_to_it() {
        let line = "use crate::connection::Connection;";
        assert_eq!(check_line("transport/params.rs", line), 1);
        assert_eq!(check_line("url.rs", line), 1);
        assert_eq!(check_line("producer/mod.rs", line), 0);
    }

    #[test]
    fn a_longer_name_is_another_module() {
        assert_eq!(check_line("retry.rs", "use crate::pool_size::X;"), 0);
        assert_eq!(check_line("retry.rs", "/// See [`crate::pool`]."), 0);
    }
}
