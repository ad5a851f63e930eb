//! Free ports on the loopback address.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Result, bail};

/// Below the range that systems take the ports of outgoing connections from, so that a port is still
/// free when a broker comes back to it after a restart.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// Picks a free port for each name, none of them in `taken`.
pub(crate) fn pick(names: &[&str], taken: &BTreeSet<u16>) -> Result<BTreeMap<String, u16>> {
    let clock = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let start = u16::try_from(clock / 1000 % u128::from(COUNT))?;
    let mut ports = BTreeMap::new();
    let mut held = Vec::new();
    for step in 0..COUNT {
        let Some(name) = names.get(ports.len()) else {
            return Ok(ports);
        };
        let port = FIRST + (start + step) % COUNT;
        if taken.contains(&port) {
            continue;
        }
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push(listener);
            ports.insert((*name).to_owned(), port);
        }
    }
    bail!("no free ports between {FIRST} and {}", FIRST + COUNT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_distinct_and_free() {
        let ports = pick(&["a", "b", "c"], &BTreeSet::new()).unwrap();
        let distinct: BTreeSet<_> = ports.values().collect();
        assert_eq!(distinct.len(), 3);
        for port in ports.values() {
            TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).unwrap();
        }
    }

    #[test]
    fn a_taken_port_is_not_picked() {
        let taken: BTreeSet<u16> = (FIRST..FIRST + COUNT - 100).collect();
        let ports = pick(&["a"], &taken).unwrap();
        assert!(!taken.contains(&ports["a"]));
    }
}
