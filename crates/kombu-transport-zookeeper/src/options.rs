//! The options of this transport.

use std::time::Duration;

use kombu_core::{Error, ErrorKind, OptionReader, Options, Result};
use kombu_virtual::VirtualOptions;
use zookeeper_client::{Acl, Acls, AuthId, CreateMode, CreateOptions, Permission};

/// How to use ZooKeeper, beside what the core and the layer over stores read themselves.
///
/// | option | sets | default |
/// |---|---|---|
/// | `session_timeout` | seconds after which the servers give up a program that went silent, so that what it held goes back | 10 |
/// | `acl` | who may use the nodes that are made: see [`Access`] | `creator` if the URL has a user, else `open` |
/// | `queue_limit` | about how many messages may wait in a queue before publishing to it is refused | 1,000,000 |
///
/// # Kombu
///
/// It has no options for ZooKeeper, and does not authenticate itself: its nodes are open to all.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ZooKeeperOptions {
    /// The time after which the servers give up a silent program. They have limits of their own
    /// for it: 2 and 20 of their ticks.
    pub session_timeout: Duration,
    /// Who may use the nodes that are made; none for the default.
    pub acl: Option<Access>,
    /// About how many messages may wait in a queue: servers list all of them in one answer, of 24
    /// bytes for each.
    pub queue_limit: u64,
    /// The options of the layer.
    pub layer: VirtualOptions,
}

/// Who may use the nodes that this transport makes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Access {
    /// Whoever has the user and password that the node was made with: `creator`.
    Creator,
    /// These: `scheme:id:rights`, divided by commas, where rights are letters of `rwcda`, for
    /// instance `digest:bob:0ezhUayTjEymfNB3K9C0+wkMLMo=:rwcd`.
    List(AccessList),
    /// Everybody: `open`.
    Open,
}

/// The entries of an ACL.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessList(Vec<Acl>);

impl ZooKeeperOptions {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an unknown option, naming those known, and for a wrong value.
    pub fn from_options(options: Options) -> Result<Self> {
        let mut reader = OptionReader::new("zookeeper", options);
        let mut read = Self { layer: VirtualOptions::read(&mut reader)?, ..Self::default() };
        if let Some(timeout) = reader.duration("session_timeout")? {
            if timeout.is_zero() {
                return Err(Error::new(
                    ErrorKind::InvalidArgument,
                    "option session_timeout is 0; write more than 0 seconds",
                ));
            }
            read.session_timeout = timeout;
        }
        if let Some(limit) = reader.u64("queue_limit")? {
            read.queue_limit = limit;
        }
        read.acl = reader.text("acl")?.map(|text| Access::parse(&text)).transpose()?;
        reader.finish()?;
        Ok(read)
    }
}

impl Default for ZooKeeperOptions {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(10),
            acl: None,
            queue_limit: 1_000_000,
            layer: VirtualOptions::default(),
        }
    }
}

impl Access {
    /// Reads the option `acl`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument`.
    pub fn parse(text: &str) -> Result<Self> {
        match text {
            "creator" => Ok(Self::Creator),
            "open" => Ok(Self::Open),
            _ => {
                let entries: Option<Vec<_>> = text.split(',').map(entry).collect();
                entries.map(|entries| Self::List(AccessList(entries))).ok_or_else(|| {
                    Error::new(
                        ErrorKind::InvalidArgument,
                        "option acl is to be `creator`, `open`, or entries `scheme:id:rights` \
                         divided by commas, with rights of the letters rwcda",
                    )
                })
            }
        }
    }

    /// How nodes are made.
    pub(crate) fn node(&self, mode: CreateMode) -> CreateOptions<'_> {
        mode.with_acls(match self {
            Self::Creator => Acls::creator_all(),
            Self::Open => Acls::anyone_all(),
            Self::List(list) => Acls::new(&list.0),
        })
    }
}

/// Reads `scheme:id:rights`; an id may have colons.
fn entry(text: &str) -> Option<Acl> {
    let (scheme, rest) = text.trim().split_once(':')?;
    let (id, rights) = rest.rsplit_once(':')?;
    if rights.is_empty() {
        return None;
    }
    let mut permission = Permission::NONE;
    for right in rights.chars() {
        permission = permission
            | match right {
                'r' => Permission::READ,
                'w' => Permission::WRITE,
                'c' => Permission::CREATE,
                'd' => Permission::DELETE,
                'a' => Permission::ADMIN,
                _ => return None,
            };
    }
    Some(Acl::new(permission, AuthId::new(scheme, id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let options = Options::new().with("session_timeout", "2.5").with("acl", "open");
        let read = ZooKeeperOptions::from_options(options).unwrap();
        assert_eq!(read.session_timeout, Duration::from_millis(2500));
        assert_eq!(read.acl, Some(Access::Open));
        assert_eq!(
            ZooKeeperOptions::from_options(Options::new()).unwrap(),
            ZooKeeperOptions::default()
        );
        assert!(ZooKeeperOptions::from_options(Options::new().with("session_timeout", 0)).is_err());
    }

    #[test]
    fn acls_are_read() {
        let Access::List(list) =
            Access::parse("digest:bob:a=:rwcd, world:anyone:r,ip:::1:rwcda").unwrap()
        else {
            panic!("no list")
        };
        let all = Permission::ALL;
        let but_admin = Permission::READ | Permission::WRITE | Permission::CREATE;
        assert_eq!(
            list.0,
            [
                Acl::new(but_admin | Permission::DELETE, AuthId::new("digest", "bob:a=")),
                Acl::new(Permission::READ, AuthId::new("world", "anyone")),
                Acl::new(all, AuthId::new("ip", "::1")),
            ]
        );
        for wrong in ["", "everybody", "world:anyone", "world:anyone:", "world:anyone:x"] {
            assert!(Access::parse(wrong).is_err(), "{wrong}");
        }
    }
}
