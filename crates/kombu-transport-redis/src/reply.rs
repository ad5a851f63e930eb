//! What the server answers, apart from the driver.

use bytes::Bytes;
use kombu_core::{Error, ErrorKind, Result, Scope};

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Reply {
    /// Nothing is there.
    Nil,
    Int(i64),
    Bytes(Bytes),
    List(Vec<Self>),
    /// An error as the server writes it, its code first.
    Refused(String),
}

impl Reply {
    pub(crate) fn into_list(self) -> Result<Vec<Self>> {
        match self {
            Self::List(list) => Ok(list),
            Self::Nil => Ok(Vec::new()),
            other => Err(unexpected("a list", &other)),
        }
    }

    pub(crate) fn into_int(self) -> Result<i64> {
        match &self {
            Self::Int(number) => Ok(*number),
            Self::Nil => Ok(0),
            Self::Bytes(bytes) => std::str::from_utf8(bytes)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| unexpected("a number", &self)),
            other => Err(unexpected("a number", other)),
        }
    }

    pub(crate) fn into_count(self) -> Result<u64> {
        Ok(u64::try_from(self.into_int()?).unwrap_or(0))
    }

    /// Bytes; none for nothing.
    pub(crate) fn into_bytes(self) -> Result<Option<Bytes>> {
        match self {
            Self::Nil => Ok(None),
            Self::Bytes(bytes) => Ok(Some(bytes)),
            Self::Int(number) => Ok(Some(Bytes::from(number.to_string()))),
            other => Err(unexpected("a text", &other)),
        }
    }

    pub(crate) fn into_text(self) -> Result<String> {
        let bytes = self.into_bytes()?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Bytes of all elements.
    pub(crate) fn into_all_bytes(self) -> Result<Vec<Bytes>> {
        let list = self.into_list()?.into_iter();
        list.map(|item| Ok(item.into_bytes()?.unwrap_or_default())).collect()
    }
}

fn unexpected(wanted: &str, got: &Reply) -> Error {
    let got = match got {
        Reply::Nil => "nothing",
        Reply::Int(_) => "a number",
        Reply::Bytes(_) => "a text",
        Reply::List(_) => "a list",
        Reply::Refused(_) => "an error",
    };
    Error::new(ErrorKind::Protocol, format!("the server answered {got} instead of {wanted}"))
        .scoped(Scope::Connection)
}
