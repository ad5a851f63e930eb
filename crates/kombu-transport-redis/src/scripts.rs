//! The scripts, and how they are called.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use kombu_core::Result;

use crate::driver::Link;
use crate::reply::Reply;

/// A script by its text.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Script(&'static str);

pub(crate) const BIND_EXPIRING: Script = Script(include_str!("lua/bind_expiring.lua"));
pub(crate) const CLAIM: Script = Script(include_str!("lua/claim.lua"));
pub(crate) const DUE: Script = Script(include_str!("lua/due.lua"));
pub(crate) const FORGET: Script = Script(include_str!("lua/forget.lua"));
pub(crate) const RELEASE: Script = Script(include_str!("lua/release.lua"));
pub(crate) const RENEW: Script = Script(include_str!("lua/renew.lua"));
pub(crate) const RESTORE: Script = Script(include_str!("lua/restore.lua"));

/// Calls scripts by their digest, which the server made.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    digests: Mutex<HashMap<Script, Bytes>>,
    /// What stands before each text.
    head: &'static str,
}

impl Scripts {
    /// For a server of this version.
    pub(crate) fn new(version: &str) -> Self {
        let major: u32 = version.split('.').next().and_then(|part| part.parse().ok()).unwrap_or(0);
        // These scripts move data and need no more memory; a full server may run them. Servers
        // before 7 do not know flags.
        let head = if major >= 7 { "#!lua flags=allow-oom\n" } else { "" };
        Self { digests: Mutex::default(), head }
    }

    /// Runs a script. Its first key says on which node of a cluster.
    pub(crate) async fn run(
        &self,
        link: &Link,
        script: Script,
        keys: &[Bytes],
        arguments: impl IntoIterator<Item = Bytes>,
    ) -> Result<Reply> {
        let first: &[u8] = keys.first().map_or(b"", |key| key);
        let mut sent = vec![self.digest(link, script, first).await?, number(keys.len())];
        sent.extend(keys.iter().cloned());
        sent.extend(arguments);
        match link.ask(first, "EVALSHA", sent.clone()).await? {
            // The server, or this node of the cluster, does not know it: it was not run.
            Reply::Refused(text) if text.starts_with("NOSCRIPT") => {
                if let Some(place) = sent.first_mut() {
                    *place = self.text(script);
                }
                link.call(first, "EVAL", sent).await
            }
            Reply::Refused(text) => Err(link.refuse(&text).with("command", "EVALSHA")),
            reply => Ok(reply),
        }
    }

    async fn digest(&self, link: &Link, script: Script, key: &[u8]) -> Result<Bytes> {
        let known = self.lock().get(&script).cloned();
        if let Some(digest) = known {
            return Ok(digest);
        }
        let load = vec![Bytes::from_static(b"LOAD"), self.text(script)];
        let digest = link.call(key, "SCRIPT", load).await?.into_bytes()?.unwrap_or_default();
        self.lock().insert(script, digest.clone());
        Ok(digest)
    }

    fn text(&self, script: Script) -> Bytes {
        Bytes::from(format!("{}{}", self.head, script.0))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Script, Bytes>> {
        self.digests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number as the server reads it.
pub(crate) fn number(number: impl std::fmt::Display) -> Bytes {
    Bytes::from(number.to_string())
}
