//! What the connections of this process share that lead to the same tables.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use kombu_virtual::Waiters;

/// What is shared, by the identity that the tables have, whatever way leads to them.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    known: Mutex<HashMap<String, Weak<Shared>>>,
    /// What lost connections held, by the identity of the tables.
    left: Mutex<HashMap<String, Vec<Estate>>>,
}

/// What connections to the same tables share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) waiters: Waiters<Arc<str>>,
    /// Changes with each exchange, binding or queue that this process changes.
    pub(crate) changes: AtomicU64,
}

/// What a lost connection held.
#[derive(Clone, Debug)]
pub(crate) struct Estate {
    pub(crate) holder: i64,
    /// What the server calls its connections.
    pub(crate) numbers: Vec<i64>,
}

impl Registry {
    /// What is shared by those who use these tables.
    pub(crate) fn shared(&self, identity: &str) -> Arc<Shared> {
        let mut known = lock(&self.known);
        known.retain(|_, shared| shared.strong_count() > 0);
        if let Some(shared) = known.get(identity).and_then(Weak::upgrade) {
            return shared;
        }
        let shared = Arc::new(Shared::default());
        known.insert(identity.to_owned(), Arc::downgrade(&shared));
        shared
    }

    /// Keeps what a lost connection held, for the next one to give back.
    pub(crate) fn bequeath(&self, identity: &str, estate: Estate) {
        lock(&self.left).entry(identity.to_owned()).or_default().push(estate);
    }

    /// What lost connections held.
    pub(crate) fn estates(&self, identity: &str) -> Vec<Estate> {
        lock(&self.left).get(identity).cloned().unwrap_or_default()
    }

    /// Forgets an estate that was given back.
    pub(crate) fn settled(&self, identity: &str, holder: i64) {
        if let Some(left) = lock(&self.left).get_mut(identity) {
            left.retain(|estate| estate.holder != holder);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
