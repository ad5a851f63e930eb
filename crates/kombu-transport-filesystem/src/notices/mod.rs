//! What the operating system tells of the files in a folder.

#[cfg(target_os = "linux")]
mod linux;
#[cfg(not(target_os = "linux"))]
mod none;

#[cfg(target_os = "linux")]
pub(crate) use linux::{Alarm, Notices};
#[cfg(not(target_os = "linux"))]
pub(crate) use none::{Alarm, Notices};

/// What is told of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum About {
    /// Whatever changes.
    Changes,
    /// Files that are complete: written and closed, or moved here.
    Complete,
}

/// One notice.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Notice<'a> {
    /// A file of that name; none for a name that is no text.
    File(Option<&'a str>),
    /// The folder is not there any more; nothing will be told.
    Gone,
    /// Something was not told.
    Missed,
}
