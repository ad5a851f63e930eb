//! Patterns for the names of nodes.

use regex_lite::RegexBuilder;

/// How a pattern is compared with the names of nodes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Matcher {
    /// As file names are matched: `*` is any text, `?` any character, `[abc]` and `[!a-c]` one of
    /// some. The whole name has to match.
    Glob,
    /// A regular expression, which has to match the beginning of a name. Kombu calls it `pcre`;
    /// neither side has all of Perl's, and this side bounds the work: no look-around, no references.
    Regex,
}

impl Matcher {
    /// Kombu's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Glob => "glob",
            Self::Regex => "pcre",
        }
    }

    /// The matcher of a name of Kombu's.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Glob, Self::Regex].into_iter().find(|matcher| matcher.name() == name)
    }

    /// Whether a node's name matches. A pattern that cannot be understood, or is longer than 1000
    /// bytes, matches nothing.
    #[must_use]
    pub fn matches(self, pattern: &str, node: &str) -> bool {
        if pattern.len() > LONGEST {
            return false;
        }
        match self {
            Self::Glob => {
                let (pattern, node): (Vec<_>, Vec<_>) =
                    (pattern.chars().collect(), node.chars().collect());
                glob(&pattern, &node)
            }
            Self::Regex => RegexBuilder::new(&format!(r"\A(?:{pattern})"))
                .size_limit(LARGEST)
                .build()
                .is_ok_and(|regex| regex.is_match(node)),
        }
    }
}

/// Matches with one step back at most per star, as in `fnmatch`.
fn glob(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Where the last star was, and how far it reaches so far.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, from));
                at += 1;
                continue;
            }
            Some('?') => {
                at += 1;
                from += 1;
                continue;
            }
            Some('[') => {
                if let Some(end) = set_end(&pattern[at..]) {
                    if set_has(&pattern[at + 1..at + end], text[from]) {
                        at += end + 1;
                        from += 1;
                        continue;
                    }
                } else if text[from] == '[' {
                    at += 1;
                    from += 1;
                    continue;
                }
            }
            Some(c) if *c == text[from] => {
                at += 1;
                from += 1;
                continue;
            }
            Some(_) | None => {}
        }
        let Some((place, reach)) = star else { return false };
        star = Some((place, reach + 1));
        at = place + 1;
        from = reach + 1;
    }
    pattern[at..].iter().all(|c| *c == '*')
}

/// Where the set ends that a pattern begins with; a `]` at its beginning belongs to it.
fn set_end(pattern: &[char]) -> Option<usize> {
    let first = if pattern.get(1) == Some(&'!') { 3 } else { 2 };
    (first..pattern.len()).find(|at| pattern[*at] == ']')
}

/// Whether a set, without its brackets, has a character.
fn set_has(set: &[char], c: char) -> bool {
    let (negated, set) = match set {
        ['!', rest @ ..] => (true, rest),
        set => (false, set),
    };
    let mut at = 0;
    let mut has = false;
    while let Some(low) = set.get(at) {
        if let (Some('-'), Some(high)) = (set.get(at + 1), set.get(at + 2)) {
            has |= (*low..=*high).contains(&c);
            at += 3;
        } else {
            has |= *low == c;
            at += 1;
        }
    }
    has != negated
}

const LONGEST: usize = 1000;
/// The most bytes that a compiled regular expression may take.
const LARGEST: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_pythons_fnmatch() {
        for (pattern, text, matches) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("worker*@host", "worker12@host", true),
            ("worker*@host", "worker12@hosts", false),
            ("w?", "w1", true),
            ("w?", "w", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b", "ab ab a", false),
            ("[abc]x", "bx", true),
            ("[!abc]x", "bx", false),
            ("[a-c]x", "bx", true),
            ("[a-c]x", "dx", false),
            ("[]x]", "]", true),
            ("[!]]", "x", true),
            ("[ab", "[ab", true),
            ("[ab", "a", false),
            ("[a-]", "-", true),
            ("W", "w", false),
            ("a.b", "axb", false),
            ("ü?", "üé", true),
        ] {
            assert_eq!(Matcher::Glob.matches(pattern, text), matches, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn regular_expressions_match_at_the_beginning() {
        for (pattern, text, matches) in [
            ("worker", "worker1", true),
            ("orker", "worker", false),
            (r"\w+\d$", "worker1", true),
            ("a|b", "bx", true),
            ("(", "(", false),
            ("(?=w)w", "w", false),
        ] {
            assert_eq!(Matcher::Regex.matches(pattern, text), matches, "{pattern:?} {text:?}");
        }
    }

    #[test]
    fn hostile_patterns_end_soon() {
        let begun = std::time::Instant::now();
        let text = "a".repeat(10_000);
        assert!(!Matcher::Glob.matches(&"*a".repeat(400), &format!("{text}b")));
        assert!(!Matcher::Regex.matches("(a*)*b", &text));
        assert!(!Matcher::Regex.matches("((a{1000}){1000}){1000}", &text));
        assert!(!Matcher::Glob.matches(&"*".repeat(2000), "a"));
        assert!(begun.elapsed().as_secs() < 10);
    }
}
