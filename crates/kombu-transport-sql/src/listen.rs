//! Hears of messages that other processes store, where the database passes that on.

use crate::core::Core;
use crate::driver::Driver;

/// Listens on a connection of its own, while there are consumers.
#[derive(Debug)]
pub(crate) struct Listener {
    #[cfg(feature = "postgres")]
    postgres: Option<postgres::Listener>,
}

impl Listener {
    /// A listener; one that hears nothing where the database has no notices.
    pub(crate) fn new(driver: &Driver) -> Self {
        #[cfg(feature = "postgres")]
        return Self { postgres: driver.postgres().map(postgres::Listener::new) };
        #[cfg(not(feature = "postgres"))]
        {
            let _unused = driver;
            Self {}
        }
    }

    /// Wakes those who wait, until it cannot any more. Cancel safe.
    pub(crate) async fn listen(&self, core: &Core) {
        #[cfg(feature = "postgres")]
        if let Some(listener) = &self.postgres {
            return listener.listen(core).await;
        }
        let _hears_nothing = core;
        std::future::pending().await
    }

    /// Ends its connection.
    pub(crate) async fn close(&self) {
        #[cfg(feature = "postgres")]
        if let Some(listener) = &self.postgres {
            listener.close().await;
        }
    }
}

#[cfg(feature = "postgres")]
mod postgres {
    use std::time::Duration;

    use sqlx::postgres::{PgConnectOptions, PgListener, PgPool, PgPoolOptions};
    use tokio::sync::Mutex;
    use tokio::time::{sleep, timeout};

    use crate::core::Core;

    #[derive(Debug)]
    pub(super) struct Listener {
        options: PgConnectOptions,
        open: Mutex<Option<(PgPool, PgListener)>>,
    }

    impl Listener {
        pub(super) fn new(options: PgConnectOptions) -> Self {
            Self { options, open: Mutex::default() }
        }

        pub(super) async fn listen(&self, core: &Core) {
            let mut consuming = core.consuming.subscribe();
            if consuming.wait_for(|consuming| *consuming).await.is_err() {
                return std::future::pending().await;
            }
            let mut open = self.open.lock().await;
            if open.is_none() {
                match self.start(core).await {
                    Ok(started) => *open = Some(started),
                    Err(error) => {
                        tracing::debug!(%error, "cannot listen for messages, looking for them");
                        return sleep(AGAIN).await;
                    }
                }
                // What came before it listened.
                core.shared.waiters.wake_all();
            }
            while let Some((_, listener)) = open.as_mut() {
                match listener.try_recv().await {
                    Ok(Some(notice)) if notice.payload().is_empty() => {
                        core.shared.waiters.wake_all();
                    }
                    Ok(Some(notice)) => core.shared.waiters.wake_queue(notice.payload()),
                    Ok(None) => {
                        core.lose("the server closed the connection that listens".to_owned());
                        *open = None;
                    }
                    Err(error) => {
                        core.lose(crate::error::failure(error).error.to_string());
                        *open = None;
                    }
                }
            }
            std::future::pending().await
        }

        async fn start(&self, core: &Core) -> Result<(PgPool, PgListener), sqlx::Error> {
            let pool = PgPoolOptions::new()
                .max_connections(1)
                .acquire_timeout(AGAIN)
                .max_lifetime(None)
                .idle_timeout(None)
                .test_before_acquire(false)
                .connect_lazy_with(self.options.clone());
            let mut listener = PgListener::connect_with(&pool).await?;
            listener.eager_reconnect(false);
            listener.listen(&core.statements.names.message).await?;
            Ok((pool, listener))
        }

        pub(super) async fn close(&self) {
            // Whoever listens has ended.
            if let Some((pool, listener)) = self.open.lock().await.take() {
                drop(listener);
                let _slow = timeout(AGAIN, pool.close()).await;
            }
        }
    }

    /// How long before it is tried again.
    const AGAIN: Duration = Duration::from_secs(2);
}
