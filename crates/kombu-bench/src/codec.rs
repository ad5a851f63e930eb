//! What a message costs before it meets a broker: its codec and its envelope, against bare serde.

use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use kombu::transport::Publish;
use kombu::{Accept, Codecs, Message, Properties};
use kombu_virtual::envelope::{self, Stamp};

use crate::body::{Body, Job};
use crate::case::{Case, Contender, Kind};
use crate::sample::Sample;
use crate::work::Work;

/// Everything that is compared.
pub(crate) fn cases() -> Result<Vec<Case>> {
    let sizes = [(100, "100 B"), (10_000, "10 KB")];
    let case = |(size, words): (usize, &str)| {
        let mut contenders: Vec<Arc<dyn Contender>> = vec![Arc::new(Serde)];
        for (name, codec, enveloped) in OURS {
            contenders.push(Arc::new(Ours { name, codec, enveloped }));
        }
        Ok(Case {
            title: format!("codec write a job and read it, {words} of JSON, no broker"),
            kind: Kind::InProcess,
            url: String::new(),
            broker: None,
            body: Body::of(size)?,
            prefetch: 0,
            window: 0,
            most: 3_000_000,
            contenders,
            aim: None,
        })
    };
    sizes.into_iter().map(case).collect()
}

/// What the raw rows use.
#[derive(Debug)]
struct Serde;

#[async_trait]
impl Contender for Serde {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let meter = work.meter();
        let mut read = None;
        for _ in 0..work.count {
            let body = serde_json::to_vec(black_box(&work.body.job))?;
            read = Some(serde_json::from_slice::<Job>(black_box(&body))?);
        }
        let sample = meter.stop(work.count);
        same(read, work)?;
        Ok(sample)
    }
}

/// A codec of ours, alone or with the envelope that virtual transports put a message into.
#[derive(Debug)]
struct Ours {
    name: &'static str,
    codec: &'static str,
    enveloped: bool,
}

#[async_trait]
impl Contender for Ours {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn run(&self, work: &Work) -> Result<Sample> {
        let codecs = Codecs::default();
        let accept = Accept::any_enabled();
        let tag = envelope::new_tag();
        let meter = work.meter();
        let mut read = None;
        for _ in 0..work.count {
            let encoded = codecs.encode(Some(self.codec), black_box(&work.body.job))?;
            if !self.enveloped {
                let (kind, encoding) = (&encoded.content_type, &encoded.content_encoding);
                let body = black_box(&encoded.body);
                read = Some(codecs.decode::<Job>(Some(kind), Some(encoding), body, &accept)?);
                continue;
            }
            let mut properties = Properties::new();
            properties.content_type = Some(encoded.content_type);
            properties.content_encoding = Some(encoded.content_encoding);
            let message = Message::new(encoded.body, properties);
            let stored = envelope::encode(&Publish::new("", "jobs", message), &Stamp::new(&tag))?;
            let message = envelope::decode(black_box(stored.as_bytes()))?.message;
            let kind = message.properties.content_type.as_deref();
            let encoding = message.properties.content_encoding.as_deref();
            read = Some(codecs.decode::<Job>(kind, encoding, &message.body, &accept)?);
        }
        let sample = meter.stop(work.count);
        same(read, work)?;
        Ok(sample)
    }
}

fn same(read: Option<Job>, work: &Work) -> Result<()> {
    let read = read.context("nothing was read")?;
    ensure!(read == work.body.job, "another job was read than was written");
    Ok(())
}

/// The raw contender's name.
pub(crate) const NAME: &str = "bare serde_json";

const OURS: [(&str, &str, bool); 6] = [
    ("json", "json", false),
    ("json, envelope", "json", true),
    ("msgpack", "msgpack", false),
    ("msgpack, envelope", "msgpack", true),
    ("pickle", "pickle", false),
    ("yaml", "yaml", false),
];
