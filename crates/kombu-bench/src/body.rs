//! What is published.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A body of an exact size: as a value, and as the JSON that the raw drivers send.
#[derive(Clone, Debug)]
pub(crate) struct Body {
    pub(crate) job: Job,
    pub(crate) bytes: Bytes,
}

/// A job as a program would send it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Job {
    id: u64,
    task: String,
    items: Vec<Item>,
    note: String,
}

/// A part of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Item {
    name: String,
    size: u64,
    tags: Vec<String>,
}

impl Body {
    /// A body of `size` bytes: a small one has no items, a large one many.
    pub(crate) fn of(size: usize) -> anyhow::Result<Self> {
        let item = |number: usize| Item {
            name: format!("video-{number:04}"),
            size: 1_301_013,
            tags: vec!["cats".to_owned(), "dogs".to_owned()],
        };
        let mut job = Job {
            id: 1_234_567,
            task: "transcode".to_owned(),
            // An item takes about 60 bytes; the note fills what is left.
            items: (0..size.saturating_sub(200) / 64).map(item).collect(),
            note: String::new(),
        };
        let bare = serde_json::to_vec(&job)?.len();
        anyhow::ensure!(bare <= size, "a job takes at least {bare} bytes");
        job.note = "n".repeat(size - bare);
        let bytes = serde_json::to_vec(&job)?.into();
        Ok(Self { job, bytes })
    }

    /// The size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_size_asked_for() {
        for size in [100, 10_000] {
            let body = Body::of(size).unwrap();
            assert_eq!(body.len(), size);
            assert_eq!(serde_json::from_slice::<Job>(&body.bytes).unwrap(), body.job);
        }
    }
}
