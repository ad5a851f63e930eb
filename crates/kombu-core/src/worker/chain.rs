//! A handler and what is wrapped around it.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::{IntoVerdict, Job, Verdict};

pub(super) type Handler = Arc<dyn Fn(Job) -> BoxFuture<'static, Verdict> + Send + Sync>;
pub(super) type Layer = Arc<dyn Fn(Job, Next) -> BoxFuture<'static, Verdict> + Send + Sync>;

/// A handler behind the layers of its worker, the first layer outermost.
pub(super) struct Chain {
    pub(super) layers: Arc<[Layer]>,
    pub(super) handler: Handler,
}

impl Chain {
    /// Calls layers and handler. Whatever they do is done while the future is polled.
    pub(super) async fn call(self: &Arc<Self>, job: Job) -> Verdict {
        if self.layers.is_empty() {
            return (self.handler)(job).await;
        }
        Next { chain: Arc::clone(self), layer: 0 }.run(job).await
    }
}

/// What is behind a layer: further layers, and at last the handler.
#[must_use = "without it the handler is not called"]
pub struct Next {
    chain: Arc<Chain>,
    layer: usize,
}

impl Next {
    /// Goes on.
    ///
    /// # Cancel safety
    ///
    /// As cancel safe as the handler; when dropped, the handler is dropped.
    pub async fn run(self, job: Job) -> Verdict {
        match self.chain.layers.get(self.layer) {
            None => (self.chain.handler)(job).await,
            Some(layer) => {
                let next = Self { chain: Arc::clone(&self.chain), layer: self.layer + 1 };
                layer(job, next).await
            }
        }
    }
}

impl fmt::Debug for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left = self.chain.layers.len() - self.layer;
        f.debug_struct("Next").field("layers", &left).finish_non_exhaustive()
    }
}

/// A handler without its types.
pub(super) fn handler<F, Fut>(handler: F) -> Handler
where
    F: Fn(Job) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoVerdict> + Send + 'static,
{
    Arc::new(move |job| handler(job).map(IntoVerdict::into_verdict).boxed())
}

/// A layer without its types.
pub(super) fn layer<F, Fut>(layer: F) -> Layer
where
    F: Fn(Job, Next) -> Fut + Send + Sync + 'static,
    Fut: Future<Output: IntoVerdict> + Send + 'static,
{
    Arc::new(move |job, next| layer(job, next).map(IntoVerdict::into_verdict).boxed())
}
