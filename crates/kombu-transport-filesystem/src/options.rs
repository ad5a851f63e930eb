//! The options of this transport.

use std::path::PathBuf;

use kombu_core::{OptionReader, Options, Result};
use kombu_virtual::VirtualOptions;

/// Where queues are kept, beside what the core and the layer over stores read themselves.
///
/// Paths are relative to the folder in which the program runs. The folders must be there, but for
/// that of exchanges.
///
/// | option | sets | default |
/// |---|---|---|
/// | `data_folder_in` | the folder that messages are read from | `data_in` |
/// | `data_folder_out` | the folder that messages are written to | `data_out` |
/// | `control_folder` | the folder of exchanges, which is made if its parent is there | `control` |
/// | `store_processed` | whether acknowledged and rejected messages are kept | false |
/// | `processed_folder` | where they are kept | `processed` |
/// | `fsync` | whether a persistent message is on the disk before it is confirmed | true |
/// | `polling_interval` | seconds between two looks at a folder whose file system tells of no changes | 1 |
///
/// # Kombu
///
/// The keys of `transport_options` with the same names and defaults, and `fsync`, which Kombu does
/// not have: it never syncs. There, `data_folder_in` is read from and `data_folder_out` written to
/// as well, whatever its documentation says: most programs give both the same folder.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct FilesystemOptions {
    /// The folder that messages are read from.
    pub data_folder_in: PathBuf,
    /// The folder that messages are written to.
    pub data_folder_out: PathBuf,
    /// The folder of exchanges.
    pub control_folder: PathBuf,
    /// Whether acknowledged and rejected messages are kept.
    pub store_processed: bool,
    /// Where they are kept.
    pub processed_folder: PathBuf,
    /// Whether a persistent message is on the disk before it is confirmed.
    pub fsync: bool,
    /// The options of the layer.
    pub layer: VirtualOptions,
}

impl FilesystemOptions {
    /// Reads the options.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for an unknown option, naming those known, and for a wrong value.
    pub fn from_options(options: Options) -> Result<Self> {
        let mut reader = OptionReader::new("filesystem", options);
        let mut read = Self { layer: VirtualOptions::read(&mut reader)?, ..Self::default() };
        for (name, place) in [
            ("data_folder_in", &mut read.data_folder_in),
            ("data_folder_out", &mut read.data_folder_out),
            ("control_folder", &mut read.control_folder),
            ("processed_folder", &mut read.processed_folder),
        ] {
            if let Some(path) = reader.path(name)? {
                *place = path;
            }
        }
        if let Some(store) = reader.bool("store_processed")? {
            read.store_processed = store;
        }
        if let Some(fsync) = reader.bool("fsync")? {
            read.fsync = fsync;
        }
        reader.finish()?;
        Ok(read)
    }
}

impl Default for FilesystemOptions {
    fn default() -> Self {
        Self {
            data_folder_in: "data_in".into(),
            data_folder_out: "data_out".into(),
            control_folder: "control".into(),
            store_processed: false,
            processed_folder: "processed".into(),
            fsync: true,
            layer: VirtualOptions::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kombu_core::BrokerUrl;

    use super::*;

    #[test]
    fn query_map_and_fields_give_the_same() {
        let url = BrokerUrl::parse(
            "filesystem://?data_folder_in=/a&data_folder_out=b%20c&control_folder=d\
             &store_processed=1&processed_folder=e&fsync=false&polling_interval=0.5",
        )
        .unwrap();
        let query = FilesystemOptions::from_options(Options::from_query(&url)).unwrap();
        let map = Options::new()
            .with("data_folder_in", "/a")
            .with("data_folder_out", "b c")
            .with("control_folder", "d")
            .with("store_processed", true)
            .with("processed_folder", "e")
            .with("fsync", false)
            .with("polling_interval", 0.5);
        let map = FilesystemOptions::from_options(map).unwrap();
        let mut layer = VirtualOptions::new();
        layer.polling_interval = Some(Duration::from_millis(500));
        let fields = FilesystemOptions {
            data_folder_in: "/a".into(),
            data_folder_out: "b c".into(),
            control_folder: "d".into(),
            store_processed: true,
            processed_folder: "e".into(),
            fsync: false,
            layer,
        };
        assert_eq!(query, fields);
        assert_eq!(map, fields);
    }

    #[test]
    fn an_unknown_option_is_refused_with_those_known() {
        let error = FilesystemOptions::from_options(Options::new().with("folder", "x"));
        let text = error.unwrap_err().to_string();
        assert!(text.contains("data_folder_in") && text.contains("fsync"), "{text}");
    }

    #[test]
    fn defaults_are_those_of_kombu() {
        let read = FilesystemOptions::from_options(Options::new()).unwrap();
        assert_eq!(read, FilesystemOptions::default());
        assert!(read.fsync && !read.store_processed);
    }
}
