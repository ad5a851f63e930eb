//! Topic keys: AMQP's rule, and the pattern text that Kombu keeps beside a binding key.

/// Whether a routing key matches a binding key: `*` is exactly one word, `#` any number of words,
/// none included; words are what dots separate (AMQP 0-9-1 section 3.1.3.3).
///
/// ```
/// use kombu_virtual::topic::matches;
/// assert!(matches("stock.#", "stock"));
/// assert!(matches("*.usd.#", "stock.usd.nyse"));
/// assert!(!matches("stock.*", "stock"));
/// ```
///
/// # Kombu
///
/// Kombu runs the stored [`pattern`], for which `#` needs its dots: `stock.#` misses `stock`. Where
/// the two differ, this rule matches more.
#[must_use]
pub fn matches(binding_key: &str, routing_key: &str) -> bool {
    match binding_key {
        "#" => return true,
        key if !key.contains(['*', '#']) => return key == routing_key,
        _ => {}
    }
    let mut pattern = words(binding_key);
    let mut key = words(routing_key);
    // Where to go on when a match fails: behind the last `#`, with one word more under it.
    let mut retry: Option<(Words<'_>, Words<'_>)> = None;
    loop {
        let before = (pattern.clone(), key.clone());
        let fits = match (pattern.next(), key.next()) {
            (Some("#"), _) => {
                key = before.1;
                retry = Some((pattern.clone(), key.clone()));
                continue;
            }
            (Some("*"), Some(_)) => true,
            (Some(wanted), Some(word)) => wanted == word,
            (None, None) => return true,
            (Some(_), None) => return false,
            (None, Some(_)) => false,
        };
        if !fits {
            let Some((after, longer)) = &mut retry else { return false };
            if longer.next().is_none() {
                return false;
            }
            pattern = after.clone();
            key = longer.clone();
        }
    }
}

/// The text of the regular expression that Kombu 5.7 stores for a binding key, for tables that
/// Python peers read.
///
/// ```
/// assert_eq!(kombu_virtual::topic::pattern("a.*.#"), r"^a\.[^\.]+\..*?$");
/// ```
#[must_use]
pub fn pattern(binding_key: &str) -> String {
    translate(binding_key, r"[^\.]+")
}

/// Whether a stored pattern is a translation of the binding key beside it: Kombu 5.7's, or that of
/// earlier versions. It then means what the key means, and [`matches()`] can decide.
#[must_use]
pub fn is_pattern_of(binding_key: &str, stored: &str) -> bool {
    stored == pattern(binding_key) || stored == translate(binding_key, r".*?[^\.]")
}

/// The words between dots; the empty key has none.
#[derive(Clone)]
struct Words<'a>(Option<&'a str>);

fn words(key: &str) -> Words<'_> {
    Words(if key.is_empty() { None } else { Some(key) })
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0?;
        let (word, rest) = match rest.split_once('.') {
            Some((word, rest)) => (word, Some(rest)),
            None => (rest, None),
        };
        self.0 = rest;
        Some(word)
    }
}

fn translate(binding_key: &str, star: &str) -> String {
    let mut text = String::with_capacity(binding_key.len() * 2 + 8);
    text.push('^');
    for (index, word) in binding_key.split('.').enumerate() {
        if index > 0 {
            text.push_str(r"\.");
        }
        match word {
            "*" => text.push_str(star),
            "#" => text.push_str(".*?"),
            word => escape(word, &mut text),
        }
    }
    text.push('$');
    text
}

/// Escapes as Kombu's `escape_regex` does (`kombu/utils/text.py`).
fn escape(word: &str, text: &mut String) {
    for letter in word.chars() {
        match letter {
            '\0' => text.push_str(r"\000"),
            '*' | '#' => text.push(letter),
            _ if letter.is_alphanumeric() => text.push(letter),
            _ => text.extend(['\\', letter]),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The rule as it is said: by recursion over the words.
    fn reference(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), _) => {
                reference(rest, key) || (!key.is_empty() && reference(pattern, &key[1..]))
            }
            (Some((&"*", rest)), Some((_, others))) => reference(rest, others),
            (Some((wanted, rest)), Some((word, others))) => {
                wanted == word && reference(rest, others)
            }
            _ => false,
        }
    }

    fn split(key: &str) -> Vec<&str> {
        if key.is_empty() { Vec::new() } else { key.split('.').collect() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn topic_matches_as_the_rule_says(
            pattern in prop::collection::vec("[ab*#]|aa|", 0..7),
            key in prop::collection::vec("[ab]|aa|", 0..7),
        ) {
            let (pattern, key) = (pattern.join("."), key.join("."));
            prop_assert_eq!(
                matches(&pattern, &key),
                reference(&split(&pattern), &split(&key)),
                "{} against {}", pattern, key
            );
        }

        #[test]
        fn any_text_has_a_pattern_that_is_recognised(key in ".*") {
            prop_assert!(is_pattern_of(&key, &pattern(&key)));
        }
    }

    #[test]
    fn topic_hash_matches_zero_words() {
        for (pattern, key) in
            [("a.#", "a"), ("#.b", "b"), ("a.#.b", "a.b"), ("*.stock.#", "usd.stock"), ("#", "")]
        {
            assert!(matches(pattern, key), "{pattern} {key}");
        }
        for (pattern, key) in [("*", ""), ("a.*", "a"), ("a*", "ab"), ("a.*.b", "a.b")] {
            assert!(!matches(pattern, key), "{pattern} {key}");
        }
    }

    #[test]
    fn patterns_are_those_of_kombu() {
        assert_eq!(pattern("é_-<x.a b*.#c\0"), "^é\\_\\-\\<x\\.a\\ b*\\.#c\\000$");
        assert_eq!(pattern(""), "^$");
        assert!(is_pattern_of("a.*", r"^a\..*?[^\.]$"));
        assert!(!is_pattern_of("a.*", r"^a\.b$"));
    }

    #[test]
    fn a_hostile_key_takes_no_exponential_time() {
        let pattern = "#.a.".repeat(200) + "b";
        let key = "a.".repeat(2000) + "c";
        assert!(!matches(&pattern, &key));
    }
}
