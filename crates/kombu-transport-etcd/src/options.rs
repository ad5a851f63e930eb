//! The options of this transport.

use std::time::Duration;

use kombu_core::{Error, ErrorKind, OptionReader, Options, Result};
use kombu_virtual::VirtualOptions;

/// How to use etcd, beside what the core and the layer over stores read themselves.
///
/// | option | sets | default |
/// |---|---|---|
/// | `prefix` | what all keys begin with, before a slash | `kombu` |
/// | `lease_ttl` | seconds after which the servers give up a program that went silent, so that what it held goes back | 10 |
///
/// # Kombu
///
/// It has no options for etcd; the prefix is the same.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EtcdOptions {
    /// What all keys begin with. The URL's path is added to it.
    pub prefix: String,
    /// The time after which the servers give up a silent program, in whole seconds. They make it
    /// longer than three halves of their election timeout.
    pub lease_ttl: Duration,
    /// The options of the layer.
    pub layer: VirtualOptions,
}

impl EtcdOptions {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an unknown option, naming those known, and for a wrong value.
    pub fn from_options(options: Options) -> Result<Self> {
        let mut reader = OptionReader::new("etcd", options);
        let mut read = Self { layer: VirtualOptions::read(&mut reader)?, ..Self::default() };
        if let Some(prefix) = reader.text("prefix")? {
            prefix.trim_matches('/').clone_into(&mut read.prefix);
        }
        if let Some(ttl) = reader.duration("lease_ttl")? {
            if ttl < Duration::from_secs(1) {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    "option lease_ttl is less than a second",
                ));
            }
            read.lease_ttl = ttl;
        }
        reader.finish()?;
        Ok(read)
    }
}

impl Default for EtcdOptions {
    fn default() -> Self {
        Self {
            prefix: "kombu".to_owned(),
            lease_ttl: Duration::from_secs(10),
            layer: VirtualOptions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let options = Options::new().with("prefix", "/mine/").with("lease_ttl", "5");
        let read = EtcdOptions::from_options(options).unwrap();
        assert_eq!((read.prefix.as_str(), read.lease_ttl), ("mine", Duration::from_secs(5)));
        assert_eq!(EtcdOptions::from_options(Options::new()).unwrap(), EtcdOptions::default());
        assert!(EtcdOptions::from_options(Options::new().with("lease_ttl", "0.5")).is_err());
    }
}
