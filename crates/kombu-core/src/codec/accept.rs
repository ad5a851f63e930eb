//! Which content types a consumer lets in.

use std::borrow::Cow;

use crate::codec::registry::same_type;
use crate::codec::{Codec, Codecs, Json, Raw, Text};
use crate::error::{Error, ErrorKind, Result};

/// The content types that a consumer lets in, by codec name or by MIME type.
///
/// The default is `json` and plain text. `application/data` and `application/text`, raw bytes
/// and raw text, are always let in, also by an empty list: nothing is interpreted in them.
///
/// ```
/// use kombu_core::codec::{Accept, Codecs, Json};
/// let codecs = Codecs::default();
/// assert!(Accept::default().allows("text/plain", &codecs));
/// assert!(!Accept::from([Json]).allows("text/plain", &codecs));
/// assert!(Accept::from(["application/x-report"]).allows("application/x-report", &codecs));
/// let error = Accept::default().with("jsno").check(&codecs).unwrap_err();
/// assert!(error.to_string().contains("jsno"));
/// ```
///
/// # Kombu
///
/// Kombu's consumers without a list let in every codec that is not disabled. Here the list always
/// counts, and its default is what those consumers let in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Accept(List);

#[derive(Clone, Debug, Eq, PartialEq)]
enum List {
    Any,
    Only(Vec<Cow<'static, str>>),
}

impl Accept {
    /// Lets in everything that the set of codecs can read.
    #[must_use]
    pub fn any_enabled() -> Self {
        Self(List::Any)
    }

    /// Adds a codec name, such as `yaml`, or a content type, such as `application/x-yaml`.
    ///
    /// A content type without a codec is read as raw text, or as raw bytes if its encoding is
    /// `binary`.
    #[must_use]
    pub fn with(mut self, name_or_type: impl Into<Cow<'static, str>>) -> Self {
        if let List::Only(list) = &mut self.0 {
            list.push(name_or_type.into());
        }
        self
    }

    /// Whether bodies of this content type are let in.
    #[must_use]
    pub fn allows(&self, content_type: &str, codecs: &Codecs) -> bool {
        self.codec_for(content_type, codecs).is_ok()
    }

    /// Checks that each entry is a codec name or a content type.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidArgument`] for a name (without a slash) that `codecs` does not have.
    pub fn check(&self, codecs: &Codecs) -> Result<()> {
        let List::Only(list) = &self.0 else {
            return Ok(());
        };
        let unknown = list.iter().find(|name| !name.contains('/') && codecs.find(name).is_none());
        unknown.map_or(Ok(()), |name| Err(codecs.unknown(name).during("accept content")))
    }

    /// The codec that reads an accepted content type.
    pub(super) fn codec_for<'a>(
        &self,
        content_type: &str,
        codecs: &'a Codecs,
    ) -> Result<&'a dyn Codec> {
        if ALWAYS.iter().any(|trusted| same_type(trusted, content_type)) {
            return Ok(codecs.find(content_type).unwrap_or(&Raw));
        }
        // A body's content type must not match a codec's short name.
        let codec = codecs.iter().find(|codec| same_type(codec.content_type(), content_type));
        let accepted = match &self.0 {
            List::Any => codec.is_some(),
            List::Only(list) => list.iter().any(|entry| {
                codec.is_some_and(|codec| codec.name() == entry)
                    || (entry.contains('/') && same_type(entry, content_type))
            }),
        };
        if accepted {
            return Ok(codec.unwrap_or(&Raw));
        }
        let reason = match codec {
            Some(codec) => format!(
                "add {:?} to the accept list to read such bodies (it has: {})",
                codec.name(),
                self.names()
            ),
            None => "no codec reads it; accept it by this content type to get the raw body, or \
                     add a codec"
                .to_owned(),
        };
        Err(Error::new(ErrorKind::ContentDisallowed, reason)
            .with("content_type", format_args!("{content_type:?}")))
    }

    fn names(&self) -> String {
        match &self.0 {
            List::Any => "everything with a codec".to_owned(),
            List::Only(list) if list.is_empty() => "nothing".to_owned(),
            List::Only(list) => list.join(", "),
        }
    }
}

impl Default for Accept {
    fn default() -> Self {
        Self::from_iter([Json.name(), Text.name()])
    }
}

impl<S: AsRef<str>> FromIterator<S> for Accept {
    fn from_iter<I: IntoIterator<Item = S>>(names: I) -> Self {
        let own = |name: S| Cow::Owned(name.as_ref().to_owned());
        Self(List::Only(names.into_iter().map(own).collect()))
    }
}

impl<S: AsRef<str>, const N: usize> From<[S; N]> for Accept {
    fn from(names: [S; N]) -> Self {
        names.into_iter().collect()
    }
}

/// Kombu's `TRUSTED_CONTENT`.
const ALWAYS: [&str; 2] = [Raw::TYPE, "application/text"];
