//! The behaviour suite, on folders that are made for it.

use std::env;
use std::fs;
use std::process::ExitCode;

fn main() -> ExitCode {
    let folder = env::temp_dir().join(format!("kombu-filesystem-{}", std::process::id()));
    let made =
        ["data", "control"].iter().try_for_each(|name| fs::create_dir_all(folder.join(name)));
    if let Err(error) = made {
        drop(std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("{error}\n")));
        return ExitCode::FAILURE;
    }
    let data = folder.join("data").display().to_string();
    let url = format!(
        "filesystem://?data_folder_in={data}&data_folder_out={data}&control_folder={}",
        folder.join("control").display()
    );
    let transport = kombu_transport_filesystem::FilesystemTransport::new();
    let code = kombu_conformance::run(kombu_conformance::Target::new(url, transport));
    drop(fs::remove_dir_all(folder));
    code
}
