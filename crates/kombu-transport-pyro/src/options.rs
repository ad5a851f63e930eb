//! The options of this transport.

use kombu_core::{Error, ErrorKind, OptionReader, Options, Result, Secret};
use kombu_virtual::VirtualOptions;

use crate::frame::LARGEST;

/// How to use a Pyro broker, beside what the core and the layer over stores read themselves.
///
/// | option | sets | default |
/// |---|---|---|
/// | `hmac_key` | the key that frames are signed with | the URL's password, else none |
/// | `name_server_hmac_key` | the key of the name server, where it has another one; empty for none | `hmac_key` |
/// | `max_message_size` | the most bytes of a message, sent or received, envelope included | 1 GiB |
///
/// # Kombu
///
/// It has no options for Pyro, and signs nothing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PyroOptions {
    /// The key that frames are signed with, as UTF-8; none for the URL's password, if it has one.
    pub hmac_key: Option<Secret>,
    /// The key of the name server; none for the same.
    pub name_server_hmac_key: Option<Secret>,
    /// The most bytes of the data of a frame: a message with its envelope and its queue's name.
    /// Should be what the daemon's configuration has as `MAX_MESSAGE_SIZE`, where that has a limit.
    pub max_message_size: usize,
    /// The options of the layer.
    pub layer: VirtualOptions,
}

impl Default for PyroOptions {
    fn default() -> Self {
        Self {
            hmac_key: None,
            name_server_hmac_key: None,
            max_message_size: 1 << 30,
            layer: VirtualOptions::new(),
        }
    }
}

impl PyroOptions {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads options from a map or from a URL's query.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a value that does not fit, naming what would be right, and for an
    /// unknown option, naming the known ones.
    pub fn from_options(options: Options) -> Result<Self> {
        let mut reader = OptionReader::new("pyro", options);
        let layer = VirtualOptions::read(&mut reader)?;
        let mut read = Self {
            hmac_key: reader.secret("hmac_key")?,
            name_server_hmac_key: reader.secret("name_server_hmac_key")?,
            layer,
            ..Self::default()
        };
        if let Some(size) = reader.u64("max_message_size")? {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            if !(LEAST..=LARGEST).contains(&size) {
                let message = format!(
                    "option max_message_size is {size}; write a number from {LEAST} to {LARGEST}, \
                     which is the protocol's limit"
                );
                return Err(Error::new(ErrorKind::InvalidArgument, message));
            }
            read.max_message_size = size;
        }
        reader.finish()?;
        Ok(read)
    }

    /// Sets the key that frames are signed with.
    #[must_use]
    pub fn hmac_key(mut self, key: Secret) -> Self {
        self.hmac_key = Some(key);
        self
    }

    /// Sets the key of the name server.
    #[must_use]
    pub fn name_server_hmac_key(mut self, key: Secret) -> Self {
        self.name_server_hmac_key = Some(key);
        self
    }

    /// Sets the most bytes of a message.
    #[must_use]
    pub fn max_message_size(mut self, bytes: usize) -> Self {
        self.max_message_size = bytes;
        self
    }
}

/// Room for an exception with its traceback.
const LEAST: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let options = Options::new()
            .with("hmac_key", "hunter2")
            .with("name_server_hmac_key", "")
            .with("max_message_size", 1 << 20);
        let read = PyroOptions::from_options(options).unwrap();
        let set = PyroOptions::new()
            .hmac_key(Secret::new("hunter2"))
            .name_server_hmac_key(Secret::new(""))
            .max_message_size(1 << 20);
        assert_eq!(read, set);
        assert!(!format!("{read:?}").contains("hunter2"));
        assert_eq!(PyroOptions::from_options(Options::new()).unwrap(), PyroOptions::default());
    }

    #[test]
    fn sizes_out_of_bounds_are_refused() {
        for size in [0_u64, 1000, 1 << 31] {
            let options = Options::new().with("max_message_size", size.to_string());
            let error = PyroOptions::from_options(options).unwrap_err();
            assert!(error.to_string().contains("write a number from"), "{error}");
        }
    }
}
