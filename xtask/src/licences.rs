//! `licences`: whether `deny.toml` allows what is in the dependency graph.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, bail};

use crate::metadata::{elements, metadata, text};
use crate::paths;

/// Runs the command.
pub(crate) fn run() -> Result<()> {
    let rules = fs::read_to_string(paths::workspace().join("deny.toml"))?;
    let allowed = list(&rules, "licenses", "allow").context("no allowed licences in deny.toml")?;
    let banned = list(&rules, "bans", "deny").context("no banned crates in deny.toml")?;
    let graph = metadata(&["--all-features"])?;
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut broken = Vec::new();
    for package in elements(&graph["packages"]) {
        let (name, licence) = (text(&package["name"]), text(&package["license"]));
        versions.entry(name).or_default().push(text(&package["version"]));
        if !satisfied(licence, &allowed) {
            broken.push(format!(
                "{name} has the licence {licence:?}, which deny.toml does not allow"
            ));
        }
        if banned.iter().any(|banned| banned == name) {
            broken.push(format!("{name} is banned by deny.toml; see `cargo tree --invert {name}`"));
        }
    }
    for (name, several) in versions.iter().filter(|(_, versions)| versions.len() > 1) {
        eprintln!("warning: {name} is there several times: {}", several.join(", "));
    }
    for rule in &broken {
        eprintln!("error: {rule}");
    }
    if !broken.is_empty() {
        bail!("{} crates are not allowed", broken.len());
    }
    println!("{} crates are allowed", versions.len());
    Ok(())
}

/// Reads the quoted texts of an array in a section of a TOML file: all that stands between its brackets, and of a
/// table in it the only value.
fn list(toml: &str, section: &str, key: &str) -> Option<Vec<String>> {
    let (_, rest) = toml.split_once(&format!("\n[{section}]\n"))?;
    let (section, _) = rest.split_once("\n[").unwrap_or((rest, ""));
    let (_, rest) = section.split_once(&format!("{key} = ["))?;
    let (array, _) = rest.split_once("\n]")?;
    let quoted = array.split('"').skip(1).step_by(2);
    Some(quoted.map(str::to_owned).collect())
}

/// Whether a licence expression can be met with allowed licences alone.
///
/// AND binds closer than OR, and parentheses closer than both; a slash is an old way to write OR.
fn satisfied(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let met = any(&mut words, allowed);
    met && words.next().is_none()
}

/// The words of an expression.
type Words<'text> = std::iter::Peekable<std::str::SplitWhitespace<'text>>;

/// Reads alternatives.
fn any(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = all(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        met |= all(words, allowed);
    }
    met
}

/// Reads what must hold together.
fn all(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

/// Reads a licence, with its exception, or an expression in parentheses.
fn one(words: &mut Words<'_>, allowed: &[String]) -> bool {
    let Some(word) = words.next() else {
        return false;
    };
    if word == "(" {
        let met = any(words, allowed);
        return words.next() == Some(")") && met;
    }
    let mut licence = word.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        licence = format!("{licence} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&licence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_by_precedence() {
        let allowed = ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        for good in [
            "MIT",
            "GPL-3.0 OR MIT",
            "GPL-3.0/MIT",
            "(GPL-3.0 OR MIT) AND Zlib",
            "GPL-3.0 AND MIT OR Zlib",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(satisfied(good, &allowed), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "Apache-2.0", "MIT Zlib"] {
            assert!(!satisfied(bad, &allowed), "{bad}");
        }
    }

    #[test]
    fn arrays_are_read() {
        let toml = "\n[a]\nallow = [\n    \"x\",\n]\n\n[b]\nallow = [\n    { crate = \"y\" },\n    { crate = \"z\" },\n]\n";
        assert_eq!(list(toml, "b", "allow").unwrap(), ["y", "z"]);
        assert_eq!(list(toml, "c", "allow"), None);
    }
}
