//! Part of Kombu for Rust.
