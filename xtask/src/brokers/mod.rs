//! The brokers that the tests run against, in one table.
//!
//! A new broker is a type that implements [`Broker`], an entry in [`TRANSPORTS`], a service in
//! `docker-compose.yml` and a line in `ci/packages.list`, each under the broker's name. One that Debian has no package
//! of has no such line, and builds its programs itself.

pub(crate) mod compose_file;
pub(crate) mod control;
pub(crate) mod docker;
pub(crate) mod etcd;
pub(crate) mod etcd_cluster;
pub(crate) mod ferretdb;
pub(crate) mod folder;
pub(crate) mod install;
pub(crate) mod mariadb;
pub(crate) mod mongodb;
pub(crate) mod node;
pub(crate) mod ports;
pub(crate) mod postgres;
pub(crate) mod probe;
pub(crate) mod process;
pub(crate) mod pyro;
pub(crate) mod rabbitmq;
pub(crate) mod redis;
pub(crate) mod redis_cluster;
pub(crate) mod redis_sentinel;
pub(crate) mod run;
pub(crate) mod start;
pub(crate) mod tls;
pub(crate) mod zookeeper;
pub(crate) mod zookeeper_ensemble;

use std::fmt::Debug;
use std::path::Path;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::brokers::etcd::Etcd;
use crate::brokers::etcd_cluster::EtcdCluster;
use crate::brokers::mariadb::MariaDb;
use crate::brokers::mongodb::{MongoDb, MongoDbSecured};
use crate::brokers::node::{Node, Ports};
use crate::brokers::postgres::Postgres;
use crate::brokers::process::Process;
use crate::brokers::pyro::Pyro;
use crate::brokers::rabbitmq::RabbitMq;
use crate::brokers::redis::Redis;
use crate::brokers::redis_cluster::RedisCluster;
use crate::brokers::redis_sentinel::RedisSentinel;
use crate::brokers::zookeeper::ZooKeeper;
use crate::brokers::zookeeper_ensemble::ZooKeeperEnsemble;

/// Everything that `test-brokers` can test, in the order in which it does.
pub(crate) const TRANSPORTS: &[Transport] = &[
    Transport { name: "memory", brokers: &[] },
    Transport { name: "filesystem", brokers: &[] },
    Transport { name: "amqp", brokers: &[&RabbitMq] },
    Transport { name: "redis", brokers: &[&Redis, &RedisSentinel, &RedisCluster] },
    Transport { name: "sql", brokers: &[&Postgres, &MariaDb] },
    Transport { name: "mongodb", brokers: &[&MongoDb, &MongoDbSecured] },
    Transport { name: "etcd", brokers: &[&Etcd, &EtcdCluster] },
    Transport { name: "zookeeper", brokers: &[&ZooKeeper, &ZooKeeperEnsemble] },
    Transport { name: "pyro", brokers: &[&Pyro] },
];

/// A transport crate, `kombu-transport-<name>`, and the brokers it is tested on.
#[derive(Debug)]
pub(crate) struct Transport {
    /// The crate's suffix and the feature's name.
    pub(crate) name: &'static str,
    /// Its brokers; none if it needs no server.
    pub(crate) brokers: &'static [&'static dyn Broker],
}

/// One way to reach a broker that the suite is run for.
#[derive(Debug)]
pub(crate) struct Variant {
    /// What tables call it.
    pub(crate) name: &'static str,
    /// The environment variable that holds its URL.
    pub(crate) url: &'static str,
    /// Which tests run on it.
    pub(crate) tests: Tests,
}

/// Which tests of a transport's crate run on a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tests {
    /// All of them.
    All,
    /// The conformance suite, but not its cases about recovery, which differ only in how long they take.
    Conformance,
}

/// A server that xtask can start, probe, disturb and stop.
pub(crate) trait Broker: Debug + Sync {
    /// Its name in the state file, in `docker-compose.yml`, in `ci/packages.list` and for `control`.
    fn name(&self) -> &'static str;

    /// The container image that is the same server.
    fn image(&self) -> &'static str;

    /// The version that the Debian package has and the image's tag names.
    fn version(&self) -> &'static str;

    /// How the tests reach it.
    fn variants(&self) -> &'static [Variant];

    /// Whether its programs are on this machine.
    fn installed(&self) -> bool;

    /// Builds its programs where Debian has no package of them; false where it has.
    fn build(&self) -> Result<bool> {
        Ok(false)
    }

    /// The names of the ports that clients use; in `docker-compose.yml` they are `KOMBU_<BROKER>_<NAME>_PORT`.
    fn published_ports(&self) -> &'static [&'static str];

    /// The names of ports that its processes need among themselves.
    fn private_ports(&self) -> &'static [&'static str];

    /// Writes its configuration into a folder and says which processes to start, in order.
    fn configure(&self, dir: &Path, ports: &Ports) -> Result<Vec<Process>>;

    /// Asks it once whether it serves and returns its version.
    fn probe(&self, node: &Node) -> Result<String>;

    /// The variables that tests find it by.
    fn exports(&self, node: &Node) -> Vec<(&'static str, String)>;

    /// What `control` can do to it beyond what works on any process.
    fn actions(&self) -> &'static [&'static str];

    /// The signal that makes a server stop at once and in good order.
    fn stop_signal(&self) -> Signal {
        Signal::TERM
    }

    /// Whether clients are served by processes of their own, which freeze with the server.
    fn has_workers(&self) -> bool {
        false
    }

    /// Does one of [`Broker::actions`] and returns when its effect shows.
    fn act(&self, node: &Node, action: &str) -> Result<()>;
}

impl Transport {
    /// The variants of all its brokers, each with its broker.
    pub(crate) fn variants(&self) -> impl Iterator<Item = (&'static dyn Broker, &'static Variant)> {
        self.brokers
            .iter()
            .flat_map(|broker| broker.variants().iter().map(|variant| (*broker, variant)))
    }

    /// The variable that its tests read the broker's URL from.
    pub(crate) fn url_variable(&self) -> String {
        format!("KOMBU_TEST_{}_URL", self.name.to_uppercase())
    }
}

/// Finds transports by name; no names mean all.
pub(crate) fn transports(names: &[String]) -> Result<Vec<&'static Transport>> {
    if names.is_empty() {
        return Ok(TRANSPORTS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            let found = TRANSPORTS.iter().find(|transport| transport.name == name);
            let Some(found) = found else {
                let known: Vec<_> = TRANSPORTS.iter().map(|transport| transport.name).collect();
                bail!("no transport {name}; there are {}", known.join(", "));
            };
            Ok(found)
        })
        .collect()
}

/// Finds a broker by name.
pub(crate) fn broker(name: &str) -> Result<&'static dyn Broker> {
    TRANSPORTS
        .iter()
        .flat_map(|transport| transport.brokers)
        .copied()
        .find(|broker| broker.name() == name)
        .with_context(|| format!("no broker {name}"))
}
