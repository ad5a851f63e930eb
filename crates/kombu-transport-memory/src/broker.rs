//! A broker in this process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use kombu_core::Result;
use kombu_virtual::{LocalTopology, Presence, Targets, Topology as _, dead_letter};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::state::State;

/// Queues, exchanges and who uses them.
#[derive(Debug, Default)]
pub(crate) struct Broker {
    state: Mutex<State>,
    pub(crate) topology: LocalTopology,
    pub(crate) presence: Arc<Presence>,
    /// Something expires or is due earlier than the clock knew.
    clock: Notify,
}

impl Broker {
    /// The queues, for a moment.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something to the queues, and then what follows from it: dead letters are published and
    /// the clock is set.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> Result<T> {
        let (result, mut dead, look) = {
            let mut state = self.state();
            let result = change(&mut state);
            (result, state.take_dead(), state.clock_should_look)
        };
        if look {
            self.clock.notify_waiters();
        }
        // A letter may push another one out of its queue.
        while let Some(letter) = dead.pop() {
            let publish = letter.letters.letter(&letter.publish, letter.reason);
            // A topology in this process answers at once.
            let targets = dead_letter::route(&self.topology, &publish).now_or_never();
            let targets = targets.unwrap_or_else(|| Ok(Targets::default()))?;
            let mut state = self.state();
            // A queue that refuses letters loses them.
            let _refused = state.put(&targets.queues, &Arc::new(publish));
            dead.extend(state.take_dead());
        }
        Ok(result)
    }

    /// Waits for the next time at which something expires or is due, and lets it.
    pub(crate) async fn tick(&self) -> Result<()> {
        let earlier = self.clock.notified();
        tokio::pin!(earlier);
        earlier.as_mut().enable();
        let (unused, next) = self.change(|state| {
            state.look_at_clock(|queue| {
                let name = &queue.name;
                (self.presence.consumers(name) == 0).then(|| {
                    let left = self.presence.idle_since(name);
                    left.map_or(queue.last_used, |left| left.max(queue.last_used))
                })
            })
        })?;
        for queue in unused {
            self.topology.forget_queue(&queue).await?;
            self.state().delete(&queue);
            self.presence.queue_is_gone(&queue);
        }
        match next {
            Some(next) => tokio::select! {
                () = tokio::time::sleep_until(next.max(Instant::now())) => {}
                () = earlier => {}
            },
            None => earlier.await,
        }
        Ok(())
    }
}
