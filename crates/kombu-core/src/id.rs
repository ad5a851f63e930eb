//! Names that nobody else has.

/// A new random identifier, such as `3f6c…-…`, for correlation ids and names of queues.
///
/// ```
/// assert_eq!(kombu_core::uuid().len(), 36);
/// assert_ne!(kombu_core::uuid(), kombu_core::uuid());
/// ```
///
/// # Kombu
///
/// `kombu.uuid`: a version 4 UUID as text.
#[must_use]
pub fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}
