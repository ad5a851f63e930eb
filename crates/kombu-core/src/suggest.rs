//! "Did you mean": the known name that is most like a mistyped one.
//!
//! The measure is Ratcliff and Obershelp's: twice the number of characters in common blocks,
//! divided by the length of both. A name is like another from 0.6 on.
//!
//! # Kombu
//!
//! `kombu.utils.text.fmatch_best`, with the same measure, threshold and choice between equals.

/// The candidate that is most like `word`, if one is alike enough. Case matters.
///
/// ```
/// use kombu_core::suggest::closest;
/// assert_eq!(closest("pyampq", ["amqp", "pyamqp"]), Some("pyamqp"));
/// assert_eq!(closest("AMQP", ["amqp", "pyamqp"]), None);
/// ```
#[must_use]
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (similarity(word, candidate), candidate))
        .filter(|(similarity, _)| *similarity >= THRESHOLD)
        .max_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(b.1)))
        .map(|(_, candidate)| candidate)
}

/// The end of an error message: `; did you mean "redis"?`, or nothing.
///
/// A candidate that differs in case alone is always suggested.
#[must_use]
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str, IntoIter: Clone>,
) -> String {
    let mut candidates = candidates.into_iter();
    closest(word, candidates.clone())
        .or_else(|| candidates.find(|candidate| candidate.eq_ignore_ascii_case(word)))
        .map_or_else(String::new, |candidate| format!("; did you mean {candidate:?}?"))
}

/// How alike two texts are: from 0 for nothing in common to 1 for equal.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "lengths of names are small")]
pub fn similarity(a: &str, b: &str) -> f64 {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let length = a.len() + b.len();
    if length == 0 {
        return 1.0;
    }
    2.0 * common(&a, &b) as f64 / length as f64
}

/// The characters in the longest common block, and in those to the left and right of it.
fn common(a: &[char], b: &[char]) -> usize {
    let (start_a, start_b, length) = longest_block(a, b);
    if length == 0 {
        return 0;
    }
    length
        + common(&a[..start_a], &b[..start_b])
        + common(&a[start_a + length..], &b[start_b + length..])
}

/// Where the longest common block starts in both, and its length; the earliest of equals.
fn longest_block(a: &[char], b: &[char]) -> (usize, usize, usize) {
    let mut best = (0, 0, 0);
    // For each end in `b`: the length of the block that ends there and at the current end in `a`.
    let mut lengths = vec![0; b.len() + 1];
    for (end_a, from_a) in a.iter().enumerate() {
        let mut next = vec![0; b.len() + 1];
        for (end_b, from_b) in b.iter().enumerate() {
            if from_a == from_b {
                let length = lengths[end_b] + 1;
                next[end_b + 1] = length;
                if length > best.2 {
                    best = (end_a + 1 - length, end_b + 1 - length, length);
                }
            }
        }
        lengths = next;
    }
    best
}

const THRESHOLD: f64 = 0.6;

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMES: &[&str] = &[
        "amqp",
        "amqps",
        "pyamqp",
        "librabbitmq",
        "memory",
        "redis",
        "rediss",
        "SQS",
        "sqs",
        "mongodb",
        "zookeeper",
        "sqlalchemy",
        "sqla",
        "SLMQ",
        "slmq",
        "filesystem",
        "qpid",
        "sentinel",
        "consul",
        "etcd",
        "azurestoragequeues",
        "azureservicebus",
        "pyro",
    ];

    #[test]
    fn suggestions_are_those_of_kombu() {
        for (word, expected) in [
            ("AMQP", None),
            ("Redis", Some("redis")),
            ("reds", Some("redis")),
            ("mongo", Some("mongodb")),
            ("pyampq", Some("pyamqp")),
            ("rediz", Some("redis")),
            ("xyz", None),
            ("", None),
        ] {
            assert_eq!(closest(word, SCHEMES.iter().copied()), expected, "{word}");
        }
    }

    #[test]
    fn of_equally_alike_names_the_last_one_wins() {
        assert_eq!(closest("ab", ["abc", "abd"]), Some("abd"));
        assert_eq!(closest("ab", ["abd", "abc"]), Some("abd"));
    }

    #[test]
    fn similarity_is_that_of_pythons_difflib() {
        for (a, b, expected) in [
            ("", "", 1.0),
            ("a", "", 0.0),
            ("abcd", "bcde", 0.75),
            ("private volatile", "private Thread currentThread", 0.5),
            ("tide", "diet", 0.25),
            ("diet", "tide", 0.5),
            ("pyampq", "pyamqp", 10.0 / 12.0),
        ] {
            assert!((similarity(a, b) - expected).abs() < 1e-12, "{a} {b} {}", similarity(a, b));
        }
    }

    #[test]
    fn a_name_in_the_wrong_case_is_suggested_in_words() {
        assert_eq!(did_you_mean("AMQP", SCHEMES.iter().copied()), "; did you mean \"amqp\"?");
        assert_eq!(did_you_mean("kafka9", SCHEMES.iter().copied()), "");
    }
}
