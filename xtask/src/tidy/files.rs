//! Rules about single files.

use super::SourceFile;

/// A file of code may have this many lines; its tests are not counted.
const MOST_LINES: usize = 800;
/// From this many on it is worth a thought.
const MANY_LINES: usize = 500;
/// Names that say nothing about what is inside.
const VAGUE: &[&str] = &["common.rs", "helpers.rs", "types.rs", "util.rs", "utils.rs"];
/// Text that belongs to one machine. Each is in two parts, so that this file is tidy itself.
const PLACES: &[(&str, &str)] = &[("/wo", "rk/"), ("/ro", "ot/"), ("../sha", "red")];
/// Code that leaves something open.
const OPEN: &[(&str, &str)] = &[("#[ign", "ore"), ("tod", "o!("), ("unimplem", "ented!(")];

/// Says which rules a file breaks.
pub(super) fn check(file: &SourceFile) -> Vec<String> {
    let mut broken = Vec::new();
    let code = is_code(file);
    let lines = lines_of_code(file);
    if code && lines > MOST_LINES {
        broken.push(format!("{} has {lines} lines, {MOST_LINES} at most", file.path));
    }
    let name = file.path.rsplit('/').next().unwrap_or_default();
    if VAGUE.contains(&name) {
        broken.push(format!("{}: name it after what is in it", file.path));
    }
    for (number, line) in file.text.lines().enumerate() {
        let place = format!("{}:{}", file.path, number + 1);
        broken.extend(
            found(PLACES, line).map(|text| format!("{place}: {text} is not part of the project")),
        );
        if code {
            broken.extend(
                found(OPEN, line).map(|text| format!("{place}: {text} leaves something open")),
            );
        }
    }
    broken
}

/// Names a file that is getting long.
pub(super) fn long(file: &SourceFile) -> Option<String> {
    let lines = lines_of_code(file);
    let long = is_code(file) && lines > MANY_LINES;
    long.then(|| format!("{} has {lines} lines: is it about one thing?", file.path))
}

/// Whether the file is Rust.
fn is_code(file: &SourceFile) -> bool {
    file.path.ends_with(".rs")
}

/// Counts lines, without tests.
fn lines_of_code(file: &SourceFile) -> usize {
    if file.path.contains("/tests/") {
        return 0;
    }
    let lines = file.text.lines();
    lines.take_while(|line| *line != "#[cfg(test)]").count()
}

/// Finds texts that are kept in two parts.
fn found(texts: &[(&str, &str)], line: &str) -> impl Iterator<Item = String> {
    texts.iter().map(|(start, end)| format!("{start}{end}")).filter(|text| line.contains(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn tests_are_not_counted() {
        let tests = "\n".repeat(1000);
        assert_eq!(check(&file("a/src/b.rs", &format!("code\n#[cfg(test)]\n{tests}"))).len(), 0);
        assert_eq!(check(&file("a/tests/b.rs", &tests)).len(), 0);
        assert_eq!(check(&file("a/src/b.rs", &tests)).len(), 1);
    }

    #[test]
    fn a_vague_name_is_found() {
        assert_eq!(check(&file("a/src/utils.rs", "")).len(), 1);
    }

    #[test]
    fn a_place_of_one_machine_is_found() {
        let text = format!("see {}{}design", PLACES[0].0, PLACES[0].1);
        assert_eq!(check(&file("README.md", &text)).len(), 1);
    }
}
