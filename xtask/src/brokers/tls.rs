//! A throw-away certificate authority with one server and one client certificate, made by the openssl command.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The name in the client certificate, which EXTERNAL logins use as the user's.
pub(crate) const CLIENT: &str = "tester";

/// Makes `ca.pem`, `server.pem`, `server.key`, `client.pem` and `client.key` in a folder.
///
/// The server's certificate is good for `localhost` and `127.0.0.1`. The keys are readable by everybody,
/// since a server in a container runs as another user; they open nothing but these brokers.
pub(crate) fn make(dir: &Path) -> Result<()> {
    fs::create_dir_all(dir)?;
    fs::set_permissions(dir, Permissions::from_mode(0o755))?;
    openssl(
        dir,
        "req -x509 -newkey rsa:2048 -nodes -days 7 -subj /CN=Kombu-test-CA \
         -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
         -keyout ca.key -out ca.pem",
    )?;
    certificate(
        dir,
        "server",
        "localhost",
        "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n",
    )?;
    certificate(dir, "client", CLIENT, "basicConstraints=CA:FALSE\nextendedKeyUsage=clientAuth\n")?;
    for entry in fs::read_dir(dir)? {
        fs::set_permissions(entry?.path(), Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// Makes one key and its certificate, signed by the authority.
fn certificate(dir: &Path, file: &str, name: &str, extensions: &str) -> Result<()> {
    fs::write(dir.join(format!("{file}.ext")), extensions)?;
    openssl(
        dir,
        &format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {file}.key -out {file}.csr"),
    )?;
    openssl(
        dir,
        &format!(
            "x509 -req -in {file}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 7 -out {file}.pem \
             -extfile {file}.ext"
        ),
    )
}

/// Runs openssl with arguments that hold no spaces.
fn openssl(dir: &Path, arguments: &str) -> Result<()> {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(dir)
        .output()
        .context("cannot run openssl")?;
    if !output.status.success() {
        bail!("openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}
