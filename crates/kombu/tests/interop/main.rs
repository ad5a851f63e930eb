//! Live exchange with Python's Kombu: what one language sends, the other receives, on a real broker.
//!
//! `cargo xtask interop TRANSPORT` starts the broker and runs this. By hand it needs
//! `KOMBU_TEST_<TRANSPORT>_URL` and `KOMBU_INTEROP_PYTHON`, which `cargo xtask start-brokers`
//! prints. Without them every case is ignored, or fails if `KOMBU_REQUIRE_BROKERS` is 1.
//!
//! Each case is written once and run in both directions: `amqp::exchange::direct::rust_to_python`
//! and `amqp::exchange::direct::python_to_rust`. The Python side is `interop/peer.py`.

mod case;
mod cases;
mod entity;
mod failure;
mod holder;
mod notation;
mod pair;
mod peer;
mod post;
mod python;
mod rust;
mod seen;
mod side;
mod stage;
mod suite;
mod transport;

use std::process::ExitCode;

use crate::transport::Transport;

/// The transports, each on the broker of `KOMBU_TEST_<NAME>_URL`, with what Python's Kombu cannot
/// do there: capabilities by name, or those of [`case::PYTHON_ONLY`].
const TRANSPORTS: &[Transport] = &[
    Transport { name: "amqp", python_lacks: &[], options: &[], also_with: &[("driver", "lapin")] },
    Transport {
        name: "filesystem",
        // The order, the priority and the mark of Python's messages are not in the names of files.
        python_lacks: &[
            "empty_text",
            "priority",
            "publishing_order",
            "redelivered",
            "requeue_to_head",
            "shared_types",
            "topic_no_word",
        ],
        options: &[],
        also_with: &[("body_encoding", "utf-8")],
    },
    Transport {
        name: "mongodb",
        python_lacks: &[
            "at_least_once",
            "early_fanout",
            "empty_text",
            "message_expiration",
            "own_fanout",
            "queue_expires",
            "queue_message_ttl",
            "redelivered",
            "requeue_to_head",
            "shared_types",
            "topic_no_word",
        ],
        // Python skips as many messages of an exchange as the collection has of all.
        options: &[("broadcast_collection", "interop.broadcast")],
        also_with: &[],
    },
    Transport {
        name: "pyro",
        python_lacks: &[
            "at_least_once",
            "empty_text",
            "exchange_bindings",
            "fanout",
            "headers",
            "redelivered",
            "requeue_to_head",
            "shared_bindings",
            "shared_types",
            "size_of_empty",
            "topic_no_word",
            // Messages are Python's values, not texts of JSON with its tags.
            "typed_headers",
        ],
        options: &[],
        also_with: &[("body_encoding", "utf-8")],
    },
    Transport {
        name: "redis",
        python_lacks: &[
            "early_fanout",
            "empty_text",
            "requeue_to_head",
            "shared_types",
            "size_of_empty",
            "topic_no_word",
        ],
        // Messages of those who were killed come back after it.
        options: &[("visibility_timeout", "3")],
        also_with: &[],
    },
    Transport {
        name: "sql",
        python_lacks: &[
            "at_least_once",
            "empty_text",
            "exchange_bindings",
            "fanout",
            "headers",
            "message_expiration",
            "priority",
            "queue_message_ttl",
            "redelivered",
            "requeue_to_head",
            "shared_bindings",
            "shared_types",
            "topic_no_word",
            "typed_headers",
        ],
        // Messages of those who were killed come back after it; Python has no such thing.
        options: &[("visibility_timeout", "3")],
        also_with: &[("body_encoding", "utf-8")],
    },
    Transport {
        name: "zookeeper",
        python_lacks: &[
            "at_least_once",
            "empty_text",
            "exchange_bindings",
            "fanout",
            "headers",
            "redelivered",
            "requeue_to_head",
            "shared_bindings",
            "shared_types",
            "size_of_empty",
            "topic_no_word",
        ],
        options: &[],
        also_with: &[],
    },
];

fn main() -> ExitCode {
    match holder::requested() {
        Some(request) => request.hold(),
        None => suite::run(TRANSPORTS),
    }
}
