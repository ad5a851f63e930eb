//! Brokers that are a folder or a file: no server, and gone with the run.

use std::fs;
use std::path::Path;

use anyhow::Result;

use crate::brokers::Transport;
use crate::brokers::run::Run;

/// Makes the folders of those transports that have such brokers and are wanted.
pub(crate) fn make(run: &Run, transports: &[&'static Transport]) -> Result<()> {
    for (name, folders, _) in FOLDERS {
        if transports.iter().any(|transport| transport.name == *name) {
            fs::create_dir_all(run.dir().join(name))?;
            for folder in *folders {
                fs::create_dir_all(run.dir().join(name).join(folder))?;
            }
        }
    }
    Ok(())
}

/// The variables that lead tests to the folders that were made.
pub(crate) fn exports(run: &Run) -> Vec<(String, String)> {
    let made = FOLDERS.iter().filter_map(|(name, _, url)| {
        let folder = run.dir().join(name);
        let variable = format!("KOMBU_TEST_{}_URL", name.to_uppercase());
        folder.is_dir().then(|| (variable, url(&folder)))
    });
    made.collect()
}

/// A transport, the folders in its own, and the URL that leads there.
type Folder = (&'static str, &'static [&'static str], fn(&Path) -> String);

const FOLDERS: &[Folder] = &[
    ("filesystem", &["data", "control"], |folder| {
        format!(
            "filesystem://?data_folder_in={0}/data&data_folder_out={0}/data&control_folder={0}/control",
            folder.display()
        )
    }),
    ("sql", &[], |folder| format!("sqla+sqlite:///{}/kombu.db", folder.display())),
];
