//! The broker's process, found by the port that it listens on.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// A broker on this machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Broker {
    pub(crate) pid: u32,
}

impl Broker {
    /// Finds the process that listens on a port, unless it is on another machine, in a container
    /// or another user's.
    pub(crate) fn listening_on(port: u16) -> Option<Self> {
        let socket = format!("socket:[{}]", listener(port)?);
        let processes = fs::read_dir("/proc").ok()?;
        processes.flatten().find_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let mut files = fs::read_dir(process.path().join("fd")).ok()?.flatten();
            let holds = files.any(|file| {
                fs::read_link(file.path()).is_ok_and(|target| target == Path::new(&socket))
            });
            holds.then_some(Self { pid })
        })
    }

    /// The CPU that its threads have used.
    pub(crate) fn cpu(self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).into_iter().flatten();
        let nanos = threads.flatten().filter_map(|thread| {
            let times = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            times.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(nanos.sum())
    }
}

/// The inode of the socket that listens on a port.
fn listener(port: u16) -> Option<String> {
    let suffix = format!(":{port:04X}");
    ["/proc/net/tcp", "/proc/net/tcp6"].iter().find_map(|table| {
        let text = fs::read_to_string(table).ok()?;
        text.lines().find_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let local = fields.next()?;
            let state = fields.nth(1)?;
            let inode = fields.nth(5)?;
            (local.ends_with(&suffix) && state == LISTEN).then(|| inode.to_owned())
        })
    })
}

/// The state of a listening socket in the kernel's tables.
const LISTEN: &str = "0A";

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_process_behind_a_port_is_found() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let broker = Broker::listening_on(socket.local_addr().unwrap().port()).unwrap();
        assert_eq!(broker.pid, std::process::id());
        assert!(broker.cpu() > Duration::ZERO);
    }
}
