//! Where nothing is told, folders are looked at again and again.

use std::io;
use std::path::Path;

use super::{About, Notice};

/// None.
#[derive(Debug)]
pub(crate) enum Notices {}

impl Notices {
    pub(crate) fn of(_: &Path, _: About) -> io::Result<Option<Self>> {
        Ok(None)
    }

    pub(crate) fn compare(&self, _: &Path) {
        match *self {}
    }

    pub(crate) fn have_ended(&self) -> bool {
        match *self {}
    }

    pub(crate) fn take(&self, _: impl FnMut(Notice<'_>)) -> io::Result<()> {
        match *self {}
    }
}

/// None.
#[derive(Debug)]
pub(crate) enum Alarm {}

impl Alarm {
    pub(crate) fn new(notices: Notices) -> io::Result<Self> {
        match notices {}
    }

    pub(crate) fn notices(&self) -> &Notices {
        match *self {}
    }

    pub(crate) async fn ring(&self) {
        match *self {}
    }
}
