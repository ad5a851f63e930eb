//! Several URLs, of which any will do.

use std::fmt;
use std::str::FromStr;

use super::broker_url::BrokerUrl;
use super::parse::{invalid, no_scheme};
use crate::error::{Error, Result};

/// One URL or more: the brokers that stand in for each other. Never empty.
///
/// Each URL stands alone: nothing of one is carried over to the next.
///
/// ```
/// use kombu_core::BrokerUrls;
/// let urls: BrokerUrls = "amqp://u:secret@a:5673/v;amqp://b".parse()?;
/// assert_eq!(urls.as_slice().len(), 2);
/// assert_eq!(urls.as_slice()[1].port(), None);
/// assert_eq!(urls.to_string(), "amqp://u:**@a:5673/v;amqp://b");
/// # Ok::<(), kombu_core::Error>(())
/// ```
///
/// # Kombu
///
/// The `;` list of `kombu.Connection`, where a part without `://` is a bare host (so that
/// `guest:guest@other` is not understood), and port and virtual host of one URL leak into the
/// next. Here such a part is an error.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct BrokerUrls(Vec<BrokerUrl>);

impl BrokerUrls {
    /// Parses one URL, or several joined by `;`.
    ///
    /// # Errors
    ///
    /// `InvalidUrl`, naming which URL of several and which part of it is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let texts: Vec<&str> = text.split(';').collect();
        let count = texts.len();
        // All schemes first: a `;` in a password is then named as such, and not as a bad port.
        if let Some((index, part)) =
            texts.iter().enumerate().find(|(_, part)| !part.contains("://"))
            && count > 1
        {
            return Err(nth(bad_alternate(index, part), index, count));
        }
        texts
            .into_iter()
            .enumerate()
            .map(|(index, part)| BrokerUrl::parse(part).map_err(|error| nth(error, index, count)))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// The URLs, at least one, in the order given.
    #[must_use]
    pub fn as_slice(&self) -> &[BrokerUrl] {
        &self.0
    }

    /// The first URL.
    #[must_use]
    pub fn first(&self) -> &BrokerUrl {
        &self.0[0]
    }

    /// The URLs, in the order given.
    pub fn iter(&self) -> std::slice::Iter<'_, BrokerUrl> {
        self.0.iter()
    }

    /// The whole list joined by `;`, passwords and all. For handing on, not for showing.
    #[must_use]
    pub fn to_string_unmasked(&self) -> String {
        let texts: Vec<String> = self.iter().map(BrokerUrl::to_string_unmasked).collect();
        texts.join(";")
    }
}

impl fmt::Display for BrokerUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, url) in self.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { ";" })?;
            url.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for BrokerUrls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BrokerUrls({self})")
    }
}

impl FromStr for BrokerUrls {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl From<BrokerUrl> for BrokerUrls {
    fn from(url: BrokerUrl) -> Self {
        Self(vec![url])
    }
}

impl<'a> IntoIterator for &'a BrokerUrls {
    type Item = &'a BrokerUrl;
    type IntoIter = std::slice::Iter<'a, BrokerUrl>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// What names one broker or several: a text, a list of texts, or URLs parsed before.
pub trait IntoUrls {
    /// Makes the list.
    ///
    /// # Errors
    ///
    /// `InvalidUrl` if a text is not a URL, or if the list is empty.
    fn into_urls(self) -> Result<BrokerUrls>;
}

impl IntoUrls for BrokerUrls {
    fn into_urls(self) -> Result<BrokerUrls> {
        Ok(self)
    }
}

impl IntoUrls for &BrokerUrls {
    fn into_urls(self) -> Result<BrokerUrls> {
        Ok(self.clone())
    }
}

impl IntoUrls for BrokerUrl {
    fn into_urls(self) -> Result<BrokerUrls> {
        Ok(self.into())
    }
}

impl IntoUrls for &BrokerUrl {
    fn into_urls(self) -> Result<BrokerUrls> {
        Ok(self.clone().into())
    }
}

impl IntoUrls for &str {
    fn into_urls(self) -> Result<BrokerUrls> {
        BrokerUrls::parse(self)
    }
}

impl IntoUrls for String {
    fn into_urls(self) -> Result<BrokerUrls> {
        BrokerUrls::parse(&self)
    }
}

impl IntoUrls for &String {
    fn into_urls(self) -> Result<BrokerUrls> {
        BrokerUrls::parse(self)
    }
}

impl<U: IntoUrls> IntoUrls for Vec<U> {
    fn into_urls(self) -> Result<BrokerUrls> {
        joined(self)
    }
}

impl<U: IntoUrls, const N: usize> IntoUrls for [U; N] {
    fn into_urls(self) -> Result<BrokerUrls> {
        joined(self)
    }
}

impl<U: IntoUrls + Clone> IntoUrls for &[U] {
    fn into_urls(self) -> Result<BrokerUrls> {
        joined(self.iter().cloned())
    }
}

fn joined(lists: impl IntoIterator<Item = impl IntoUrls>) -> Result<BrokerUrls> {
    let mut urls = Vec::new();
    for list in lists {
        urls.extend(list.into_urls()?.0);
    }
    if urls.is_empty() {
        return Err(invalid("the list of URLs is empty; give at least one"));
    }
    Ok(BrokerUrls(urls))
}

fn bad_alternate(index: usize, part: &str) -> Error {
    if part.is_empty() {
        invalid("an empty URL in the list; remove the extra \";\"")
    } else if index == 0 {
        no_scheme(part)
    } else {
        invalid(
            "no \"://\" after the \";\": write the whole URL of each broker, and write a \";\" \
             inside a password as %3B",
        )
    }
    .during("parse broker URL")
}

/// Says which URL of several the error is about.
fn nth(error: Error, index: usize, count: usize) -> Error {
    if count == 1 {
        return error;
    }
    error.with("url", format_args!("{} of {count}", index + 1))
}
